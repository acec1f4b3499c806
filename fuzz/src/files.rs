//! Inputs as files, for what reads a path. `fuzz/run` sets TMPDIR to a folder in memory, which it removes.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Numbers of the file `weights.bin`, which stands beside every input: models of ONNX may name it.
const BESIDE: usize = 64;

/// A folder of this process.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("batchnorm-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for inputs");
        let numbers: Vec<u8> = (0..BESIDE).flat_map(|number| (number as f32).to_le_bytes()).collect();
        fs::write(folder.join("weights.bin"), numbers).expect("a file beside the inputs");
        folder
    })
}

/// Writes an input to a file of a name. Each one takes the place of the one before.
pub fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("an input as a file");
    path
}
