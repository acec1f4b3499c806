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
    pub fn put_values(&self, file: &[u8], bytes: &[u8], edits: &mut Edits) -> Result<(), WireError> {
        let mut raw = Vec::new();
        put_bytes(&mut raw, RAW, bytes);
        let mut new = Some(raw);
        for field in fields(file, self.content.clone()) {
            let field = field?;
            match field.number {
                // Values of each type, and those of another file: where it is, and that it is there.
                4..=7 | RAW | 10 | 11 | 13 | 14 => edits.replace(field.whole, new.take().unwrap_or_default()),
                _ => {}
            }
        }
        if let Some(raw) = new {
            edits.append(self.content.clone(), &raw);
        }
        Ok(())
    }
}
