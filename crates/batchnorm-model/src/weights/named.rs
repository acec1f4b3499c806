//! Named tensors, wherever their values are.

use std::fs::File;
use std::path::PathBuf;

use batchnorm_io::beside;

#[cfg(feature = "pth")]
use crate::excerpt::beginning;
use crate::excerpt::excerpt;
use crate::numbers::{Numbers, Precision};

/// Named tensors, of whose values none is read yet.
#[derive(Debug)]
pub struct Weights {
    /// The tensors, in the order of the file.
    pub tensors: Vec<Named>,
    /// Notes by name, in order.
    pub metadata: Vec<(String, String)>,
    pub(super) files: Vec<PathBuf>,
}

/// A named tensor.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its element type.
    pub element: Element,
    pub(super) place: Place,
}

/// An element type, as far as batch norms have any use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// Floating point.
    Floats(Precision),
    /// i64, little-endian: counts are of this type.
    I64,
    /// Another one, by its name in the file.
    Other(String),
}

/// Where the values of a tensor are.
#[derive(Debug)]
pub(super) enum Place {
    /// A range of one of the files.
    Range { file: usize, offset: u64, length: u64 },
    /// Where the reader of PyTorch's files finds it; its numbers are of this machine's byte order.
    #[cfg(feature = "pth")]
    Pth(pytorch_reader::Tensor),
}

impl Named {
    /// Bytes of its values.
    pub fn bytes(&self) -> u64 {
        match &self.place {
            Place::Range { length, .. } => *length,
            #[cfg(feature = "pth")]
            Place::Pth(tensor) => tensor.byte_len() as u64,
        }
    }
}

impl Weights {
    /// The values of a tensor as they stand in the file.
    ///
    /// # Errors
    /// What the system says; a file that has changed; values that contradict themselves.
    pub fn bytes(&self, tensor: &Named) -> Result<Vec<u8>, String> {
        match &tensor.place {
            Place::Range { file, offset, length } => {
                let path = &self.files[*file];
                let read = || beside::read_range(&mut File::open(path)?, *offset, *length);
                read().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
            }
            #[cfg(feature = "pth")]
            Place::Pth(inner) => inner.read().map_err(beginning),
        }
    }

    /// The values of a tensor of floating point.
    ///
    /// # Errors
    /// Another element type; otherwise as [`bytes`](Self::bytes).
    pub fn numbers(&self, tensor: &Named) -> Result<Numbers<'static>, String> {
        let name = excerpt(&tensor.name);
        let precision = match &tensor.element {
            Element::Floats(precision) => *precision,
            Element::I64 => return Err(format!("{name}: expected floating-point values, got i64")),
            Element::Other(other) => return Err(format!("{name}: expected f32, f64, f16 or bf16, got {other}")),
        };
        let bytes = self.bytes(tensor)?;
        Numbers::of_bytes(bytes, precision).ok_or_else(|| format!("{name}: expected whole numbers of bytes a value"))
    }

    /// The one value of a count.
    pub fn count(&self, tensor: &Named) -> Option<i64> {
        let of_one = tensor.element == Element::I64 && tensor.bytes() == 8;
        let bytes = if of_one { self.bytes(tensor).ok()? } else { return None };
        Some(i64::from_le_bytes(bytes.try_into().ok()?))
    }
}
