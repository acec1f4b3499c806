//! What a header's `descr` says about the numbers.

use super::defect::{Defect, excerpt};
use super::literal;
use super::number::{NumberType, WholeType};

/// Which byte of a number comes first in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

const NATIVE: ByteOrder = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };

/// Number type and byte order of a `descr`, given as source text.
///
/// `<` and `>` are little and big endian. `=`, `|` and no mark at all are the order of the machine that
/// reads, as for NumPy, which never writes them for these types.
pub(super) fn of_descr(value: &str) -> Result<(NumberType, ByteOrder), Defect> {
    let Some(name) = literal::whole_string(value) else {
        return Err(not_accepted(value, structure(value)?));
    };
    let (order, kind) = match name.as_bytes() {
        [b'<', kind @ ..] => (ByteOrder::Little, kind),
        [b'>', kind @ ..] => (ByteOrder::Big, kind),
        [b'=' | b'|', kind @ ..] => (NATIVE, kind),
        kind => (NATIVE, kind),
    };
    let number_type = match kind {
        b"f2" => NumberType::F16,
        b"f4" => NumberType::F32,
        b"f8" => NumberType::F64,
        b"b1" | b"?" => NumberType::Whole(WholeType::Bool),
        [b'i', size @ (b'1' | b'2' | b'4' | b'8')] => NumberType::Whole(WholeType::Signed(size - b'0')),
        [b'u', size @ (b'1' | b'2' | b'4' | b'8')] => NumberType::Whole(WholeType::Unsigned(size - b'0')),
        _ => return Err(not_accepted(value, meaning(kind))),
    };
    Ok((number_type, order))
}

fn not_accepted(value: &str, meaning: &'static str) -> Defect {
    Defect::NumberType { found: excerpt(value), meaning }
}

/// What NumPy stores under a kind character; only for the message.
fn meaning(kind: &[u8]) -> &'static str {
    match kind {
        [b'i' | b'u', ..] => "whole numbers of an odd size",
        [b'c', ..] => "complex numbers; take x.real or np.abs(x) first",
        [b'O', ..] => "Python objects, which are never unpickled",
        [b'S' | b'a' | b'U', ..] => "text",
        [b'M' | b'm', ..] => "dates or times",
        b"V2" => "raw bytes; bfloat16 is saved so, convert it before saving",
        [b'V', ..] => "raw bytes",
        b"f12" | b"f16" => "long double",
        _ => "",
    }
}

/// A `descr` that is no string: NumPy writes a list for fields, a tuple for a type repeated.
fn structure(value: &str) -> Result<&'static str, Defect> {
    match value.as_bytes().first() {
        Some(b'[') => Ok("a structured type; save one field, x['name']"),
        Some(b'(') => Ok("a type repeated"),
        _ => Err(Defect::Value { key: "descr", expected: "a dtype in quotes like '<f4'", found: excerpt(value) }),
    }
}
