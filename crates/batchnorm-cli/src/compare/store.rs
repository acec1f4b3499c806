//! The files of a comparison, written whole after every run, both or none.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use batchnorm_io::atomic::FileSet;
use batchnorm_lab::comparison::{Comparison, Difference, FORMAT};
use batchnorm_lab::report;

use crate::failure::Failure;
use crate::flags;

const NAME: &str = "compare.json";
/// For people; never read.
const REPORT: &str = "report.html";

/// compare.json and its report in their folder.
pub struct Store {
    folder: PathBuf,
    path: PathBuf,
    report: PathBuf,
}

impl Store {
    pub fn new(folder: &Path) -> Store {
        Store { folder: folder.to_path_buf(), path: folder.join(NAME), report: folder.join(REPORT) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn report(&self) -> &Path {
        &self.report
    }

    /// The comparison in the file; none where there is no file.
    pub fn load(&self) -> Result<Option<Comparison>, Failure> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            // A path through a file is reported when the folder is created.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(self.broken(&error)),
        };
        let format = serde_json::from_str::<serde_json::Value>(&text).map_err(|error| self.broken(&error))?;
        let format = &format["format"];
        if format != FORMAT {
            return Err(self.broken(&format!("expected format \"{FORMAT}\", got {format}")));
        }
        serde_json::from_str(&text).map(Some).map_err(|error| self.broken(&error))
    }

    fn broken(&self, reason: &dyn std::fmt::Display) -> Failure {
        Failure::input(format!(
            "{}: no comparison to go on from: {reason}; name another --output-dir, or --restart to replace it",
            self.path.display()
        ))
    }

    /// The failure of an earlier comparison with other settings.
    pub fn refusal(&self, differences: &[Difference]) -> Failure {
        Failure::usage(format!(
            "--output-dir: {} holds another comparison ({}); name another folder, or --restart to replace it",
            self.path.display(),
            flags::differences(differences)
        ))
    }

    /// Writes the comparison and its report, both whole or none; the folder is created.
    pub fn save(&mut self, comparison: &Comparison) -> Result<(), Failure> {
        let write = || {
            let mut files = FileSet::open(&self.folder)?;
            files.file(NAME, |out| {
                serde_json::to_writer(&mut *out, comparison).map_err(io::Error::from)?;
                out.write_all(b"\n")
            })?;
            files.file(REPORT, |out| out.write_all(report::html(comparison).as_bytes()))?;
            files.commit()
        };
        write().map_err(Failure::output)
    }
}
