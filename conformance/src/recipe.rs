//! Values of arrays: recipes of those that are too large to be stored, and random numbers for all others.

use batchnorm_io::npy::Numbers;
use batchnorm_reference::random::Random;
use serde::{Deserialize, Serialize};

use crate::kinds::Element;

/// Number k from a seed in 0..1, a multiple of 2^-24, so that it is exact in f32 too. It is read by position, not drawn,
/// and whole numbers and shifts are all it takes, so that any language makes the same arrays from a recipe.
fn uniform(seed: u64, k: u64) -> f64 {
    (Random::bits_at(seed, k) >> 40) as f64 / (1u64 << 24) as f64
}

/// A formula for an array: element k, in C order, is `offset + scale * uniform(seed, k)`, computed in f64 and rounded to
/// the element type.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The generator's seed.
    pub seed: u64,
    /// Added to each element.
    pub offset: f64,
    /// Multiplies each number of the generator.
    pub scale: f64,
}

impl Recipe {
    /// Element k, before it is rounded to the element type.
    pub fn value(&self, k: usize) -> f64 {
        self.offset + self.scale * uniform(self.seed, k as u64)
    }

    /// The first `count` elements, rounded to the element type.
    pub fn numbers(&self, element: Element, count: usize) -> Numbers {
        let values = (0..count).map(|k| self.value(k));
        match element {
            Element::F32 => Numbers::F32(values.map(|value| value as f32).collect()),
            _ => element.numbers(&values.map(|value| element.round(value)).collect::<Vec<f64>>()),
        }
    }
}

/// Random numbers for a case, seeded by its name: adding a case changes no other.
#[derive(Debug)]
pub struct Values {
    seed: u64,
    taken: u64,
}

impl Values {
    /// Numbers seeded by this name.
    pub fn of(name: &str) -> Values {
        // FNV-1a.
        let seed = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Values { seed, taken: 0 }
    }

    /// A number uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        self.taken += 1;
        uniform(self.seed, self.taken - 1)
    }

    /// A whole number below another.
    pub fn below(&mut self, end: u32) -> f64 {
        (self.uniform() * f64::from(end)).floor()
    }

    /// A nearly normal number, of mean 0 and deviation 1, within -6..6: the sum of twelve uniform numbers less 6. Additions
    /// alone make it, so that it is the same on every machine.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Nearly normal numbers about a mean.
    pub fn normals(&mut self, count: usize, mean: f64, deviation: f64) -> Vec<f64> {
        (0..count).map(|_| mean + deviation * self.normal()).collect()
    }
}

#[test]
fn normal_values_have_mean_0_and_deviation_1() {
    let values = Values::of("a name").normals(100_000, 0.0, 1.0);
    let moments = batchnorm::Moments::of(&values);
    assert!(moments.mean().abs() < 0.01 && (moments.population_variance() - 1.0).abs() < 0.02);
}
