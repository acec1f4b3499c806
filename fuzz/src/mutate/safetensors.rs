//! Changes of safetensors files: of the header or of what stands behind it, with lengths that fit, mostly.

use libfuzzer_sys::fuzzer_mutate;

use super::{Random, changed, put};

/// Bytes of the length that stands before the header.
const BEFORE: usize = 8;

/// Changes the header or the tensors of a file; one time in four, and where there is no header, libFuzzer changes whatever it likes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed));
    let Some((header, behind)) = parts(&data[..size]).filter(|_| random.below(4) > 0) else {
        return fuzzer_mutate(data, size, max_size);
    };
    let (mut header, mut behind) = (header.to_vec(), behind.to_vec());
    match random.below(4) {
        0 => behind = changed(&behind),
        _ => header = changed(&header),
    }
    // As many bytes as the header asks for, if it is not too many.
    if random.below(2) == 0
        && let Some(end) = ends(&header).max().filter(|end| *end <= max_size)
    {
        behind.resize(end, 0x3f);
    }
    let new = [&(header.len() as u64).to_le_bytes()[..], &header, &behind].concat();
    put(&new, data, size, max_size)
}

fn parts(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = file.split_first_chunk::<BEFORE>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// Numbers that stand before a closing bracket: of ranges these are the ends.
fn ends(header: &[u8]) -> impl Iterator<Item = usize> {
    let before = header.split(|byte| *byte == b']');
    before.filter_map(|text| {
        let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        str::from_utf8(&text[text.len() - digits..]).ok()?.parse().ok()
    })
}
