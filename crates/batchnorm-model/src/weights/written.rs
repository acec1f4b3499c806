//! safetensors as it is written: a header of JSON, and the values behind it.

use crate::numbers::Precision;
use crate::onnx::{NewTensor, NewValues};

/// The entry of notes.
pub(super) const NOTES: &str = "__metadata__";

/// Tensors to be written as a safetensors file, of one's own and not out of another file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewWeights {
    /// The tensors, each name once.
    pub tensors: Vec<NewTensor>,
    /// Notes by name.
    pub metadata: Vec<(String, String)>,
}

impl NewWeights {
    /// The file's bytes: whole numbers first, so that each tensor begins at a multiple of its numbers' size; otherwise in their order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let is_whole = |tensor: &&NewTensor| matches!(tensor.values, NewValues::Ints(_));
        let (whole, floats): (Vec<&NewTensor>, Vec<&NewTensor>) = self.tensors.iter().partition(is_whole);
        let values: Vec<(&NewTensor, Vec<u8>)> =
            whole.into_iter().chain(floats).map(|tensor| (tensor, bytes(tensor))).collect();
        let entries = values.iter().map(|(tensor, bytes)| Entry {
            name: &tensor.name,
            element: match &tensor.values {
                NewValues::Floats(precision, _) | NewValues::Bytes(precision, _) => dtype(*precision),
                NewValues::Ints(_) => I64,
            },
            shape: &tensor.shape,
            bytes: bytes.len() as u64,
        });
        let mut out = head(&self.metadata, entries);
        values.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
        out
    }
}

fn bytes(tensor: &NewTensor) -> Vec<u8> {
    match &tensor.values {
        NewValues::Floats(precision, values) => precision.bytes_of(values.iter().copied()),
        NewValues::Bytes(_, bytes) => bytes.clone(),
        NewValues::Ints(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// A tensor as the header has it: its name, its element type as the format names it, its shape, and how many bytes it takes.
pub(super) struct Entry<'w> {
    pub name: &'w str,
    pub element: &'w str,
    pub shape: &'w [usize],
    pub bytes: u64,
}

/// What stands before the values of these tensors, which follow in this order without a gap: the header with its length.
pub(super) fn head<'w>(notes: &[(String, String)], entries: impl Iterator<Item = Entry<'w>>) -> Vec<u8> {
    let mut header = String::from("{");
    if !notes.is_empty() {
        let notes: Vec<String> = notes.iter().map(|(key, text)| format!("{}:{}", json(key), json(text))).collect();
        header += &format!("{}:{{{}}},", json(NOTES), notes.join(","));
    }
    let mut at = 0;
    for Entry { name, element, shape, bytes } in entries {
        let (name, element, end) = (json(name), json(element), at + bytes);
        header += &format!("{name}:{{\"dtype\":{element},\"shape\":{shape:?},\"data_offsets\":[{at},{end}]}},");
        at = end;
    }
    header.truncate(header.trim_end_matches(',').len());
    header.push('}');
    // Values begin at a multiple of eight bytes, as the format asks for.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The format's name of i64.
pub(super) const I64: &str = "I64";

/// The format's name of an element type.
pub(super) fn dtype(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "F32",
        Precision::F64 => "F64",
        Precision::F16 => "F16",
        Precision::Bf16 => "BF16",
    }
}

#[cfg(all(test, feature = "read"))]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_stand_first_and_the_crate_of_the_format_reads_it() {
        let tensor =
            |name: &str, shape: &[usize], values| NewTensor { name: name.into(), shape: shape.to_vec(), values };
        let floats = tensor("n.\"w\"", &[3, 1], NewValues::Floats(Precision::F32, vec![0.5, -2.0, 3.0]));
        let count = tensor("n.count", &[], NewValues::Ints(vec![-7]));
        let metadata = vec![("a\n".to_owned(), "\u{1}\"".to_owned())];
        let bytes = NewWeights { tensors: vec![floats, count], metadata: metadata.clone() }.to_bytes();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!((header % 8, &bytes[8 + header..][..8]), (0, &(-7i64).to_le_bytes()[..]));
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let floats = read.tensor("n.\"w\"").unwrap();
        assert_eq!((floats.shape(), floats.data()), (&[3, 1][..], &[0, 0, 0, 63, 0, 0, 0, 192, 0, 0, 64, 64][..]));
        assert_eq!(read.tensor("n.count").unwrap().shape(), [0usize; 0]);
        let (_, read) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(read.metadata().clone().unwrap().into_iter().collect::<Vec<_>>(), metadata);
    }
}
