//! Changes of a model's parts, as edits of its file.

use super::message::Tensor;
use crate::edit::Edits;
use crate::wire::{WireError, fields, put_bytes};

/// The field of a tensor that has its values as bytes.
const RAW: u32 = 9;

impl Tensor<'_> {
    /// Puts other values of the same number and type into the tensor, as little-endian bytes: where its own stand in the file, and where
    /// they are in another file into this one. Its other fields stay as they are.
    ///
    /// # Errors
    /// None for a tensor that was read from this file.
    pub fn put_values(&self, file: &[u8], bytes: Vec<u8>, edits: &mut Edits) -> Result<(), WireError> {
        let mut new = Some(bytes);
        for field in fields(file, self.content.clone()) {
            let field = field?;
            // Values of each type, and those of another file: where it is, and that it is there.
            if let 4..=7 | RAW | 10 | 11 | 13 | 14 = field.number {
                match new.take() {
                    Some(bytes) => edits.replace_by_bytes(field.whole, RAW, bytes),
                    None => edits.remove(field.whole),
                }
            }
        }
        if let Some(bytes) = new {
            let mut raw = Vec::new();
            put_bytes(&mut raw, RAW, &bytes);
            edits.append(self.content.clone(), &raw);
        }
        Ok(())
    }
}
