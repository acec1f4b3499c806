//! Numbers from a counter: arrays that are too large to be stored, and the values of all others.

use batchnorm_io::npy::Numbers;
use serde::{Deserialize, Serialize};

use crate::case::Element;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The k-th output of SplitMix64 (Steele et al. 2014) from a seed: it needs no output before it.
pub fn bits(seed: u64, k: u64) -> u64 {
    let mut z = seed.wrapping_add(GOLDEN.wrapping_mul(k.wrapping_add(1)));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The k-th number of the generator in 0..1: a multiple of 2^-24.
pub fn uniform(seed: u64, k: u64) -> f64 {
    (bits(seed, k) >> 40) as f64 / (1u64 << 24) as f64
}

/// How an array is made: element k, in C order, is `offset + scale * uniform(seed, k)`, computed in f64 and rounded to
/// the element type.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Where the generator starts.
    pub seed: u64,
    /// Added.
    pub offset: f64,
    /// Multiplied by.
    pub scale: f64,
}

impl Recipe {
    /// Element k, before it is rounded to the element type.
    pub fn value(&self, k: usize) -> f64 {
        self.offset + self.scale * uniform(self.seed, k as u64)
    }

    /// So many elements.
    pub fn numbers(&self, element: Element, count: usize) -> Numbers {
        let values = (0..count).map(|k| self.value(k));
        match element {
            Element::F32 => Numbers::F32(values.map(|value| value as f32).collect()),
            _ => element.numbers(&values.map(|value| element.round(value)).collect::<Vec<f64>>()),
        }
    }
}

/// Values of a case, from its name: adding a case changes no other.
#[derive(Debug)]
pub struct Values {
    seed: u64,
    taken: u64,
}

impl Values {
    /// Those of this name.
    pub fn of(name: &str) -> Values {
        // FNV-1a.
        let seed = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Values { seed, taken: 0 }
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        self.taken += 1;
        uniform(self.seed, self.taken - 1)
    }

    /// Nearly normal, of mean 0 and deviation 1, within -6..6: the sum of twelve uniform numbers less 6. Nothing but
    /// additions, so that it is the same on every machine.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// So many of them, about a mean.
    pub fn normals(&mut self, count: usize, mean: f64, deviation: f64) -> Vec<f64> {
        (0..count).map(|_| mean + deviation * self.normal()).collect()
    }
}

#[test]
fn the_generator_is_splitmix64() {
    // The outputs from seed 1234567, of the authors' C code.
    let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431];
    assert_eq!([0, 1, 2, 3].map(|k| bits(1_234_567, k)), expected);
}

#[test]
fn normal_values_have_mean_0_and_deviation_1() {
    let values = Values::of("a name").normals(100_000, 0.0, 1.0);
    let moments = batchnorm::Moments::of(&values);
    assert!(moments.mean().abs() < 0.01 && (moments.population_variance() - 1.0).abs() < 0.02);
}
