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
use options::is_stdout;
use std::path::{Path, PathBuf};
use subject::Subject;

/// Reads, computes, checks, and shows.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.check()?;
    let outputs = [&arguments.html, &arguments.dot];
    keep_files_apart(&arguments)?;
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

/// Errors if an output is a file that is read, or both outputs are one file, whatever they are called.
fn keep_files_apart(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { input, gradient, gamma, beta, running_mean, running_var, weights, html, dot, .. } = arguments;
    let outputs = [("--html", html), ("--dot", dot)];
    let outputs = outputs.iter().filter_map(|(flag, path)| Some((*flag, path.as_deref()?)));
    let outputs: Vec<(&str, &Path)> = outputs.filter(|(_, path)| !is_stdout(path)).collect();
    let read = [("--input", input), ("--gradient", gradient), ("--weights", weights)]
        .into_iter()
        .filter_map(|(flag, path)| Some((flag, path.as_deref()?)));
    // Numbers, where they are no file.
    let parameters =
        [("--gamma", gamma), ("--beta", beta), ("--running-mean", running_mean), ("--running-var", running_var)];
    let parameters = parameters.into_iter().filter_map(|(flag, text)| Some((flag, Path::new(text.as_deref()?))));
    let read: Vec<(&str, &Path)> = read.chain(parameters).collect();
    for (number, &(flag, path)) in outputs.iter().enumerate() {
        let Some(place) = place(path) else { continue }; // writing it will say what is wrong
        let others = read.iter().chain(&outputs[number + 1..]);
        if let Some((other, _)) = others.into_iter().find(|(_, other)| self::place(other).as_ref() == Some(&place)) {
            return Err(Failure::usage(format!(
                "{flag} {}: expected a file of its own, got that of {other}; name another one",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The canonical path of a file that is there or may be created; `None` where its folder is not there.
fn place(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if is_stdout(path) {
        return put(text);
    }
    atomic::write_file(path, |file| file.write_all(text.as_bytes())).map_err(Failure::output)?;
    tell(format_args!("wrote {}", path.display()));
    Ok(())
}
