//! The seeded generator behind recipes and the values of cases: SplitMix64 (Steele, Lea and Flood 2014).
//!
//! It is read by position, not drawn from: the k-th output of a seed needs none of those before it. Whole numbers and
//! shifts are all it does, so that any language makes the same arrays from a recipe.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The k-th output of the generator from a seed.
pub fn bits(seed: u64, k: u64) -> u64 {
    let mut z = seed.wrapping_add(GOLDEN.wrapping_mul(k.wrapping_add(1)));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The k-th number from a seed in 0..1: a multiple of 2^-24, so that it is exact in f32 too.
pub fn uniform(seed: u64, k: u64) -> f64 {
    (bits(seed, k) >> 40) as f64 / (1u64 << 24) as f64
}

#[test]
fn the_generator_is_splitmix64() {
    // The outputs from seed 1234567, of the authors' C code.
    let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431];
    assert_eq!([0, 1, 2, 3].map(|k| bits(1_234_567, k)), expected);
}
