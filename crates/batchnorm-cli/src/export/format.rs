//! The formats of exports.

use std::path::Path;

use crate::failure::Failure;

/// What the output's name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Onnx,
    Safetensors,
}

impl Format {
    /// The format that a name ends in.
    pub fn of(output: &Path) -> Result<Format, Failure> {
        let extension = output.extension().map(|end| end.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("onnx") => Ok(Format::Onnx),
            Some("safetensors") => Ok(Format::Safetensors),
            _ => Err(Failure::usage(format!(
                "OUTPUT: expected a name that ends in .onnx or .safetensors, got {}",
                output.display()
            ))),
        }
    }
}
