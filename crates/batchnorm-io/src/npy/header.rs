//! The header: from its text to what it says, and back.

use super::array::python_tuple;
use super::defect::{Defect, excerpt};
use super::dtype::{self, ByteOrder};
use super::literal;
use super::number::NumberType;

/// The bytes every `.npy` file begins with.
pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// NumPy aligns the numbers to this, for mapping files into memory.
const ALIGNMENT: usize = 64;

/// NumPy leaves room for the first axis to grow to this many digits, so that a file can be appended to
/// and its header changed in place.
const GROWTH_DIGITS: usize = 21;

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    pub number_type: NumberType,
    pub byte_order: ByteOrder,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
}

impl Header {
    /// Reads the dictionary in `bytes`, all of the header after its length, for a major version.
    pub fn parse(bytes: &[u8], major: u8) -> Result<Self, Defect> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        literal::dictionary(decode_text(bytes, major)?, |key, value| {
            let (key, slot) = match key {
                "descr" => ("descr", &mut descr),
                "fortran_order" => ("fortran_order", &mut fortran_order),
                "shape" => ("shape", &mut shape),
                _ => return Err(Defect::UnknownKey { key: excerpt(key) }),
            };
            match slot.replace(value) {
                Some(_) => Err(Defect::DuplicateKey { key }),
                None => Ok(()),
            }
        })?;
        let descr = descr.ok_or(Defect::MissingKey { key: "descr" })?;
        let fortran_order = fortran_order.ok_or(Defect::MissingKey { key: "fortran_order" })?;
        let shape = shape.ok_or(Defect::MissingKey { key: "shape" })?;

        let (number_type, byte_order) = dtype::of_descr(descr)?;
        Ok(Self {
            number_type,
            byte_order,
            fortran_order: truth(fortran_order)?,
            shape: literal::tuple_of_lengths(shape).ok_or_else(|| Defect::Value {
                key: "shape",
                expected: "a tuple of non-negative integers that fit this machine, like (2, 3) or (2,)",
                found: excerpt(shape),
            })?,
        })
    }
}

fn decode_text(bytes: &[u8], major: u8) -> Result<&str, Defect> {
    if major < 3
        && let Some(at) = bytes.iter().position(|b| !b.is_ascii())
    {
        return Err(Defect::Encoding { expected: "ASCII", at });
    }
    str::from_utf8(bytes).map_err(|e| Defect::Encoding { expected: "UTF-8", at: e.valid_up_to() })
}

fn truth(value: &str) -> Result<bool, Defect> {
    match value {
        "True" => Ok(true),
        "False" => Ok(false),
        _ => Err(Defect::Value { key: "fortran_order", expected: "True or False", found: excerpt(value) }),
    }
}

/// Everything before the numbers, as NumPy writes it for a little endian array in C order: version 1.0
/// if the header fits its two bytes of length, else 2.0.
pub(super) fn encode(number_type: NumberType, shape: &[usize]) -> Result<Vec<u8>, Defect> {
    let mut text =
        format!("{{'descr': '<f{}', 'fortran_order': False, 'shape': {}, }}", number_type.size(), python_tuple(shape));
    if let Some(first) = shape.first() {
        let room = GROWTH_DIGITS.saturating_sub(first.to_string().len());
        text.extend(std::iter::repeat_n(' ', room));
    }
    let too_many = || Defect::Axes { axes: shape.len() };

    let (version, length_bytes) = match u16::try_from(padded_length(&text, 2)) {
        Ok(length) => ([1, 0], length.to_le_bytes().to_vec()),
        Err(_) => {
            let length = u32::try_from(padded_length(&text, 4)).map_err(|_| too_many())?;
            ([2, 0], length.to_le_bytes().to_vec())
        }
    };
    let padding = padded_length(&text, length_bytes.len()) - text.len() - 1;
    let mut bytes = [MAGIC.as_slice(), &version, &length_bytes, text.as_bytes()].concat();
    bytes.extend(std::iter::repeat_n(b' ', padding));
    bytes.push(b'\n');
    Ok(bytes)
}

/// The length of the text with its spaces and newline. Text that is aligned already gets 64 more
/// spaces: NumPy does so, and files are to be the same byte for byte.
fn padded_length(text: &str, length_bytes: usize) -> usize {
    let with_newline = text.len() + 1;
    let before = MAGIC.len() + 2 + length_bytes;
    with_newline + ALIGNMENT - (before + with_newline) % ALIGNMENT
}
