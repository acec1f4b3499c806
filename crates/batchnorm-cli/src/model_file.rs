//! A model from its file.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use batchnorm_lab::model::{MOST_BYTES, Model};

/// The model in a file, ready for training or not; else the reason, without the file's name.
pub fn read(path: &Path) -> Result<Model, String> {
    let bytes = || {
        // Before it is opened, because opening a pipe waits for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("expected a file, got a folder, pipe or device"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = bytes().map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("expected a model of at most {MOST_BYTES} bytes, got a larger file"));
    }
    Model::from_bytes(bytes).map_err(|error| error.to_string())
}
