//! `batchnorm inspect`: which batch norms are in a model file, whether they are healthy, and what to do where they are not.
//!
//! `batchnorm-model` reads and judges; here it is shown: as a table, as JSON, as annotations of GitHub's, one layer's channels, or
//! written with its statistics by another convention, or mended.

mod channels;
mod conversion;
mod fix;
mod gap;
mod github;
mod json;
mod options;
mod page;
mod shown;
mod table;

use std::path::Path;

use batchnorm_io::atomic;
use batchnorm_model::file::{Inspection, ModelFile};
use batchnorm_model::health::Severity;
pub use options::Arguments;

use crate::failure::{Failure, tell};
use crate::terminal::put;

/// Reads, looks, and shows. `flags` are those for data, as they were given.
pub fn run(arguments: &Arguments, flags: String) -> Result<(), Failure> {
    arguments.check()?;
    let path = &arguments.file;
    let failed = |error: batchnorm_model::file::FileError| Failure::input(format!("{}: {error}", path.display()));
    let file = ModelFile::open(path).map_err(failed)?;
    if let (Some(conventions), Some(output)) = (&arguments.convert, &arguments.output) {
        return conversion::write(arguments, &file, conventions, output);
    }
    let inspection = file.inspect().map_err(failed)?;
    if let Some(output) = &arguments.html {
        let same = |other: &Path| {
            output == other
                || output.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
        };
        let others = [Some(path), arguments.data.data.as_ref(), arguments.fix.as_ref()];
        if others.into_iter().flatten().any(|other| same(other)) {
            return Err(Failure::usage(format!(
                "--html {}: expected a path of its own, got that of the model, the data or --fix",
                output.display()
            )));
        }
        atomic::expect_writable(output).map_err(Failure::output)?;
    }
    let found = gap::found(arguments, flags, &file)?;
    if let (Some(output), Some(found)) = (&arguments.html, &found) {
        let page = page::html(&inspection, path, found);
        atomic::write_file(output, |out| out.write_all(page.as_bytes())).map_err(Failure::output)?;
        tell(format_args!("wrote {}", output.display()));
    }
    if let Some(output) = &arguments.fix {
        let left = fix::write(&file, &inspection, path, output, found.as_ref(), arguments.json)?;
        return arguments.deny.map_or(Ok(()), |deny| denied(&left, output, deny));
    }
    if let Some(name) = &arguments.layer {
        let layer = channels::named(&inspection, path, name)?;
        let parameters = file.parameters(&layer.name).map_err(failed)?;
        put(&match arguments.json {
            true => json::of_layer(&inspection, path, layer, parameters),
            false => channels::text(&inspection, path, layer, parameters),
        })?;
    } else if arguments.json {
        put(&json::text(&inspection, path, found.as_ref()))?;
    } else if arguments.github {
        put(&github::annotations(&inspection, path))?;
        github::summarise(&inspection, path)?;
    } else {
        put(&table::text(&inspection, path))?;
        found.as_ref().map_or(Ok(()), |found| put(&found.text(path)))?;
    }
    arguments.deny.map_or(Ok(()), |deny| denied(&inspection, path, deny))
}

/// Fails where there is a finding of a severity, or a worse one.
fn denied(inspection: &Inspection, path: &Path, deny: Severity) -> Result<(), Failure> {
    let count = inspection.findings.iter().filter(|finding| finding.severity >= deny).count();
    let worse = if deny == Severity::Error { String::new() } else { String::from(" or worse") };
    let findings = if count == 1 { "finding is" } else { "findings are" };
    match count {
        0 => Ok(()),
        _ => Err(Failure::Wrong(format!("{}: {count} {findings} a {deny}{worse} (--deny {deny})", path.display()))),
    }
}
