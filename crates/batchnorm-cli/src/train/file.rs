//! The file that a training writes and goes on from.

use std::path::{Path, PathBuf};

use batchnorm_io::atomic::{expect_writable, remove_abandoned, write_file};
use batchnorm_lab::data::DataSummary;
use batchnorm_lab::model::{Description, Model};
use batchnorm_lab::plan::Plan;

use crate::failure::Failure;
use crate::flags;
use crate::model_file::{self, Unreadable};

/// The model's file.
pub struct Store {
    /// The file that is written.
    place: PathBuf,
    /// As it was asked for: `place` or a link to it.
    path: PathBuf,
}

impl Store {
    /// The file at a path, without what killed trainings left beside it.
    pub fn new(path: &Path) -> Store {
        // Through a link to the file it leads to, which alone is replaced.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        remove_abandoned(&place);
        Store { place, path: path.to_path_buf() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether a path leads to the file that is written.
    pub fn is_at(&self, path: &Path) -> bool {
        path == self.path || path.canonicalize().is_ok_and(|path| path == self.place)
    }

    /// The model in the file; none where there is no file. A file of anything else is an error: it is not replaced.
    pub fn load(&self, description: Option<Description>) -> Result<Option<Model>, Failure> {
        // Not `exists`: that is false for a link to nothing, and for a file in a folder that may not be read.
        match self.place.symlink_metadata() {
            // A folder, pipe or device: never replaced, as writing says.
            Ok(_) if self.place.metadata().is_ok_and(|metadata| !metadata.is_file()) => Ok(None),
            Ok(_) => model_file::read(&self.place, description).map(Some).map_err(|Unreadable { reason, mend }| {
                let mend = mend.map_or(String::new(), |mend| format!("{mend}; or "));
                Failure::input(format!(
                    "--output: {}: no training to go on from: {reason}; {mend}name another --output, or --restart to replace it",
                    self.path.display()
                ))
            }),
            Err(_) => Ok(None), // writing says what is wrong with the folder
        }
    }

    /// Errs unless the training in the file follows this plan on these data, and has not gone beyond it.
    pub fn expect_same(&self, there: &Description, data: &DataSummary, plan: &Plan) -> Result<(), Failure> {
        let path = self.path.display();
        let mut differences = there.data.differences(data);
        differences.extend(there.plan.differences(plan));
        if !differences.is_empty() {
            return Err(Failure::usage(format!(
                "--output: {path} holds another training ({}); name another file, or --restart to replace it",
                flags::differences(&differences)
            )));
        }
        if there.steps_done > plan.steps {
            return Err(Failure::usage(format!(
                "--steps: {path} has {} steps behind it, {} asked for; ask for more, name another --output, or \
                 --restart to replace it",
                there.steps_done, plan.steps
            )));
        }
        Ok(())
    }

    /// Errs unless the file can be written; changes nothing.
    pub fn expect_writable(&self) -> Result<(), Failure> {
        expect_writable(&self.place).map_err(Failure::output)
    }

    pub fn save(&self, bytes: &[u8]) -> Result<(), Failure> {
        write_file(&self.place, |out| out.write_all(bytes)).map_err(Failure::output)
    }
}
