//! What is finished of work that runs a model, kept in a file from which it goes on when it was interrupted.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use batchnorm_io::atomic;
use batchnorm_model::file::ModelFile;
use batchnorm_model::job::{Job, Resume, Task};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What is kept means the same as long as this number stays.
const FORMAT: u32 = 2;
/// How long what nobody went on with stays in the folder for all.
const KEPT: Duration = Duration::from_hours(24 * 30);

/// The file of unfinished work.
pub struct Unfinished {
    path: PathBuf,
    of: u64,
    /// Without it the work goes on all the same.
    may_fail: bool,
}

#[derive(Serialize, Deserialize)]
struct Content {
    /// What it is a part of.
    of: u64,
    resume: Resume,
}

impl Unfinished {
    /// Beside the work's output.
    pub fn beside(output: &Path, job: &Job, model: &ModelFile) -> Unfinished {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        Unfinished { path: output.with_file_name(name), of: key(job, model), may_fail: false }
    }

    /// In the folder of the user's home for what can be had again, for work that has no output; none where nothing can be written there.
    pub fn in_cache(job: &Job, model: &ModelFile) -> Option<Unfinished> {
        let of = key(job, model);
        let folder = env::home_dir()?.join(".cache/batchnorm/unfinished");
        fs::create_dir_all(&folder).ok()?;
        let is_old = |file: &fs::DirEntry| {
            let age = file.metadata().and_then(|metadata| metadata.modified()).map(|changed| changed.elapsed());
            matches!(age, Ok(Ok(age)) if age > KEPT)
        };
        fs::read_dir(&folder).ok()?.flatten().filter(is_old).for_each(|file| drop(fs::remove_file(file.path())));
        let path = folder.join(format!("{of:016x}"));
        atomic::expect_writable(&path).ok()?;
        Some(Unfinished { path, of, may_fail: true })
    }

    pub fn exists(&self) -> bool {
        self.path.is_file()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From where it goes on, if there is something of this piece of work.
    pub fn read(&self) -> Option<Resume> {
        let bytes = fs::read(&self.path).ok()?;
        let content: Content = ciborium::from_reader(&bytes[..]).ok()?;
        (content.of == self.of).then_some(content.resume)
    }

    pub fn write(&self, resume: Resume) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        let content = Content { of: self.of, resume };
        ciborium::into_writer(&content, &mut bytes).map_err(Failure::output)?;
        match atomic::write_file(&self.path, |out| out.write_all(&bytes)) {
            Err(error) if !self.may_fail => Err(Failure::output(error)),
            _ => Ok(()),
        }
    }

    /// It is finished.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What tells a piece of work from others: it is another one when the model, the data or what is asked for change.
fn key(job: &Job, model: &ModelFile) -> u64 {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), FORMAT).hash(&mut hasher);
    model.onnx().unwrap_or_default().hash(&mut hasher);
    model.data_files().iter().for_each(|data| stamp(data, &mut hasher));
    // (Other batches change no bit layer by layer, but states stand between batches.)
    match &job.task {
        Task::Recalibrate { layers, one_pass, cut, batch, blend, .. } => {
            (layers, one_pass, cut, batch, format!("{blend:?}")).hash(&mut hasher);
        }
        Task::Gap { layers, top, quantiles, batch, .. } => (layers, top, quantiles, batch).hash(&mut hasher),
        Task::Fingerprint | Task::Fold { .. } => {}
    }
    if let Some(data) = &job.data {
        format!("{:?}", (&data.recipe, data.header, &job.engine)).hash(&mut hasher);
        stamp(&data.path, &mut hasher);
        data.labels.iter().for_each(|labels| stamp(labels, &mut hasher));
    }
    hasher.finish()
}

/// What tells data from others without reading them: sizes, times and names.
fn stamp(path: &Path, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    let Ok(metadata) = fs::metadata(path) else { return };
    metadata.len().hash(hasher);
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    changed.map(|time| time.as_nanos()).hash(hasher);
    if metadata.is_dir()
        && let Ok(entries) = fs::read_dir(path)
    {
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().for_each(|path| stamp(path, hasher));
    }
}
