//! What a recalibration that is interrupted leaves beside its output, to go on from.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use batchnorm_io::atomic;
use batchnorm_model::job::{Job, Task};
use batchnorm_model::recalibrate::Progress;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The file of an unfinished recalibration.
pub struct Unfinished {
    path: PathBuf,
    of: u64,
}

#[derive(Serialize, Deserialize)]
struct Content {
    /// What it is a part of.
    of: u64,
    progress: Progress,
}

impl Unfinished {
    /// That of an output and a piece of work, which is another one when the model, the data or what is asked for change.
    pub fn of(output: &Path, job: &Job, model: &[u8]) -> Unfinished {
        let mut hasher = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        model.hash(&mut hasher);
        if let Task::Recalibrate { layers, one_pass, batch, blend, .. } = &job.task {
            // (Other batches change no bit layer by layer, but states stand between batches.)
            (layers, one_pass, batch, format!("{blend:?}")).hash(&mut hasher);
        }
        if let Some(data) = &job.data {
            format!("{:?}", (&data.recipe, data.header, &job.engine)).hash(&mut hasher);
            stamp(&data.path, &mut hasher);
        }
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        Unfinished { path: output.with_file_name(name), of: hasher.finish() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From where it goes on, if there is something of this piece of work.
    pub fn read(&self) -> Option<Progress> {
        let bytes = fs::read(&self.path).ok()?;
        let content: Content = ciborium::from_reader(&bytes[..]).ok()?;
        (content.of == self.of).then_some(content.progress)
    }

    pub fn write(&self, progress: &Progress) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        let content = Content { of: self.of, progress: progress.clone() };
        ciborium::into_writer(&content, &mut bytes).map_err(Failure::output)?;
        atomic::write_file(&self.path, |out| out.write_all(&bytes)).map_err(Failure::output)
    }

    /// It is finished.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
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
