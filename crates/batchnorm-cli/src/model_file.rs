//! Reading of model files.

use std::io::ErrorKind;
use std::path::Path;

use batchnorm_io::whole;
use batchnorm_lab::model::{MOST_BYTES, Model};

/// The model in a file, ready for training or not; else the reason, without the file's name.
pub fn read(path: &Path) -> Result<Model, String> {
    let bytes = whole::read(path, MOST_BYTES).map_err(|error| match path.read_link() {
        Ok(target) if error.kind() == ErrorKind::NotFound => {
            format!("it is a link to {}, where nothing is", target.display())
        }
        _ => error.to_string(),
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("expected a model of at most {MOST_BYTES} bytes, got a larger file"));
    }
    Model::from_bytes(bytes).map_err(|error| error.to_string())
}
