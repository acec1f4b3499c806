//! Changes of inputs that leave them readable. libFuzzer's own ones hit lengths that do not fit any more, nearly always: then nothing
//! behind the first check of a reader is ever reached.

mod message;
mod safetensors;

use libfuzzer_sys::fuzzer_mutate;

pub use message::mutate as mutate_message;
pub use safetensors::mutate as mutate_safetensors;

/// Bytes that a part of an input may become longer by at once.
const GROWTH: usize = 64;

/// Random numbers out of a seed (SplitMix64): a change that is found again by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// A part of an input, changed as libFuzzer does.
fn changed(part: &[u8]) -> Vec<u8> {
    let mut changed = part.to_vec();
    changed.resize(part.len() + GROWTH, 0);
    let most = changed.len();
    let size = fuzzer_mutate(&mut changed, part.len(), most);
    changed.truncate(size);
    changed
}

/// Puts a new input in the place of the old one, if there is room; else libFuzzer changes the old one.
fn put(new: &[u8], data: &mut [u8], size: usize, max_size: usize) -> usize {
    if new.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..new.len()].copy_from_slice(new);
    new.len()
}
