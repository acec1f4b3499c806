//! What kind of model file this is, by its first bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use batchnorm_io::whole;
use thiserror::Error;

/// A kind of model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// ONNX.
    Onnx,
    /// safetensors.
    Safetensors,
    /// An index of several safetensors files.
    SafetensorsIndex,
    /// PyTorch's `.pth`, `.pt` or `.bin`.
    PyTorch,
}

/// A file of another kind.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KindError {
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nothing.
    #[error("expected a model, got an empty file")]
    Empty,
    /// A pointer to a file that git-lfs has elsewhere.
    #[error("expected a model, got git-lfs's pointer to one; `git lfs pull` fetches it")]
    LfsPointer,
    /// A kind that is not read, and what to do.
    #[error("expected ONNX, safetensors or a file of PyTorch, got {got}; {mend}")]
    Other {
        /// What it is.
        got: &'static str,
        /// What to do.
        mend: &'static str,
    },
}

/// Bytes that tell the kind.
const FIRST: u64 = 512;

impl Kind {
    /// The kind of a file. What its first bytes leave open its name decides.
    ///
    /// # Errors
    /// What the system says; a file of another kind.
    pub fn of(path: &Path) -> Result<Kind, KindError> {
        let mut start = Vec::new();
        let file: File = whole::open(path)?;
        file.take(FIRST).read_to_end(&mut start)?;
        let extension =
            path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
        of_bytes(&start, &extension)
    }

    /// Its name, for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Onnx => "ONNX",
            Kind::Safetensors => "safetensors",
            Kind::SafetensorsIndex => "safetensors, several files",
            Kind::PyTorch => "PyTorch",
        }
    }
}

fn of_bytes(start: &[u8], extension: &str) -> Result<Kind, KindError> {
    let other = |got: &'static str, mend: &'static str| Err(KindError::Other { got, mend });
    let keras = "export it to ONNX (tf2onnx; keras: model.export(PATH, format=\"onnx\"))";
    let header_begins = start.get(8) == Some(&b'{') && start.get(4..8) == Some(&[0; 4]);
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    match start {
        [] => Err(KindError::Empty),
        _ if start.starts_with(b"version https://git-lfs.github.com/spec/") => Err(KindError::LfsPointer),
        _ if start.starts_with(b"\x89HDF\r\n\x1a\n") => other("an HDF5 file, as Keras writes", keras),
        _ if start.starts_with(b"PK") && extension == "keras" => other("an archive of Keras", keras),
        _ if start.starts_with(b"PK") && extension == "npz" => {
            other("an archive of NumPy's arrays", "save the tensors as safetensors")
        }
        _ if start.starts_with(b"GGUF") => other("a GGUF file", "no network with batch norm is kept in one"),
        _ if start.get(4..8) == Some(b"TFL3") => other(
            "a file of TensorFlow Lite",
            "its batch norms are folded already; look at the model that it was made from",
        ),
        _ if start.starts_with(b"\x93NUMPY") => other("an array of NumPy's", "save the tensors as safetensors"),
        _ if start.starts_with(b"PK") || start.get(257..262) == Some(b"ustar") => Ok(Kind::PyTorch),
        _ if header_begins || extension == "safetensors" => Ok(Kind::Safetensors),
        _ if first == Some(&b'{') => Ok(Kind::SafetensorsIndex),
        [0x80, ..] => Ok(Kind::PyTorch),
        _ if matches!(extension, "pth" | "pt" | "bin" | "ckpt" | "pkl") => Ok(Kind::PyTorch),
        _ if first == Some(&b'<') => {
            other("a page or another text", "if it was downloaded, look at it: the address may be that of a page")
        }
        _ => Ok(Kind::Onnx),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_bytes_and_else_by_their_names() {
        let cases: [(&[u8], &str, Kind); 9] = [
            (b"\x08\x07\x12\x07pytorch", "onnx", Kind::Onnx),
            (b"\x08\x07\x12\x07pytorch", "", Kind::Onnx),
            (b"\x10\0\0\0\0\0\0\0{\"a\":", "bin", Kind::Safetensors),
            (b"\x10\0\0\0\0\0\0\0 {\"a\":", "safetensors", Kind::Safetensors),
            (b"\x80\0\0\0\0\0\0\0{\"a\":", "", Kind::Safetensors),
            (b"{\n \"metadata\": {}", "json", Kind::SafetensorsIndex),
            (b"PK\x03\x04", "bin", Kind::PyTorch),
            (b"\x80\x02\x8a\x0a\x6c\xfc", "", Kind::PyTorch),
            (b"}q\x00.", "pt", Kind::PyTorch),
        ];
        for (start, extension, kind) in cases {
            assert_eq!(of_bytes(start, extension).unwrap(), kind, "{start:?} {extension}");
        }
    }

    #[test]
    fn other_kinds_are_named_with_what_to_do() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
        let cases: [(&[u8], &str, &str); 6] = [
            (b"", "onnx", "empty"),
            (lfs, "onnx", "git lfs pull"),
            (b"\x89HDF\r\n\x1a\n", "h5", "tf2onnx"),
            (b"PK\x03\x04", "keras", "tf2onnx"),
            (b"GGUF", "gguf", "GGUF"),
            (b"\x1c\0\0\0TFL3", "tflite", "Lite"),
        ];
        for (start, extension, words) in cases {
            let said = of_bytes(start, extension).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
