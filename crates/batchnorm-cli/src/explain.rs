//! `batchnorm explain`: the computation graph of a norm with one's own numbers, as a table, JSON, DOT or a page.
//!
//! `subject` is what is explained: one feature, or one row, of an array. `layer` runs the library's layer on it, and
//! `explanation` walks `batchnorm::reference::graph` and holds the two against each other. The outputs, one file each, only
//! show what is in there.

mod dot;
mod explanation;
mod figure;
mod formula;
mod html;
mod json;
mod layer;
mod options;
mod selection;
mod subject;
mod table;
mod words;

use crate::failure::{Failure, tell};
use crate::terminal::put;
use batchnorm_io::atomic;
use explanation::Explanation;
pub use options::Arguments;
use std::path::Path;
use subject::Subject;

/// Reads, computes, checks, and shows.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.check()?;
    let outputs = [&arguments.html, &arguments.dot];
    // Before anything is read: that it can be written.
    for path in outputs.into_iter().flatten().filter(|path| !is_stdout(path)) {
        atomic::expect_writable(path).map_err(Failure::output)?;
    }
    let subject = Subject::new(&arguments)?;
    if arguments.html.is_some() {
        subject.expect_few_for_page()?;
    }
    let explanation = Explanation::new(subject)?;
    if let Some(path) = &arguments.html {
        write(path, &html::page(&explanation))?;
    }
    if let Some(path) = &arguments.dot {
        write(path, &dot::graph(&explanation))?;
    }
    if arguments.json {
        put(&json::text(&explanation))?;
    } else if outputs.iter().all(|path| path.is_none()) {
        put(&table::text(&explanation))?;
    }
    Ok(())
}

/// `-` stands for it.
fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if is_stdout(path) {
        return put(text);
    }
    atomic::write_file(path, |file| file.write_all(text.as_bytes())).map_err(Failure::output)?;
    tell(format_args!("wrote {}", path.display()));
    Ok(())
}
