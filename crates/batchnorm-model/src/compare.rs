//! Two models on the same data: how far apart their outputs are, beside how far rounding alone moves those of one of them.
//!
//! The floor is what the engine itself does to the original: with its optimiser on against off, and with weights and input each moved by at
//! most one unit in the last place, at random. A difference below a few floors says nothing; an exact change cannot be below it.

use batchnorm::reference::random::Random;
use serde::{Deserialize, Serialize};

use crate::engine::{Array, Engine, Given, Numbers, PassError, Source, Written, borrowed, given, moved_by_one};

/// The difference, of the largest output, that is never too large.
pub const LEAST: f64 = 1e-5;
/// How many floors a difference may be.
pub const FLOORS: f64 = 4.0;
/// Samples that run together.
const TOGETHER: usize = 4;

/// How far apart two models are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// The largest difference of an output, of the largest output.
    pub difference: f64,
    /// What rounding alone does.
    pub floor: f64,
    /// Samples.
    pub samples: usize,
    /// The engine that ran them, with its version.
    pub engine: String,
}

impl Comparison {
    /// The largest difference that passes, where no other one is given.
    pub fn limit(&self) -> f64 {
        LEAST.max(FLOORS * self.floor)
    }
}

/// A model in an engine.
pub struct Loaded<'l> {
    /// What was written for it.
    pub written: &'l Written,
    /// The engine that has it.
    pub engine: &'l dyn Engine,
}

/// Compares a model with its original on data, and the original with itself: optimised, and with moved weights.
///
/// # Errors
/// What the engine and the data say; outputs of another shape.
pub fn compare(
    original: &Loaded,
    changed: &Loaded,
    optimised: &Loaded,
    moved: &Loaded,
    source: &dyn Source,
    seed: u64,
) -> Result<Comparison, PassError> {
    let mut random = Random::new(seed);
    // By outputs: the largest one, and the largest differences.
    let mut largest = vec![0.0f64; original.written.outputs.len()];
    let mut differences = vec![[0.0f64; 3]; largest.len()];
    let mut first = 0;
    while first < source.len() {
        let places = first..(first + TOGETHER).min(source.len());
        first = places.end;
        let values = source.read(places).map_err(PassError::Data)?;
        let nudged: Vec<(String, Array)> =
            values.iter().map(|(name, array)| (name.clone(), self::moved(array, &mut random))).collect();
        let expected = outputs(original, &values)?;
        for (which, (model, values)) in
            [(changed, &values), (optimised, &values), (moved, &nudged)].into_iter().enumerate()
        {
            for (at, (one, other)) in expected.iter().zip(outputs(model, values)?).enumerate() {
                if one.shape != other.shape {
                    return Err(PassError::Data(format!(
                        "{}: expected an output of shape {:?} as the original gives it, got {:?}",
                        original.written.outputs[at], one.shape, other.shape
                    )));
                }
                let (Some(one), Some(other)) = (one.as_floats(), other.as_floats()) else { continue };
                for (&one, &other) in one.iter().zip(other) {
                    // (NaN in both, or the same infinity, is no difference.)
                    if one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan() {
                        continue;
                    }
                    let difference = (f64::from(one) - f64::from(other)).abs();
                    let difference = if difference.is_nan() { f64::INFINITY } else { difference };
                    differences[at][which] = differences[at][which].max(difference);
                }
                if which == 0 {
                    let size = one.iter().map(|one| f64::from(one.abs())).filter(|one| one.is_finite());
                    largest[at] = size.fold(largest[at], f64::max);
                }
            }
        }
    }
    let relative = |which: usize| {
        let of = |(largest, all): (&f64, &[f64; 3])| match all[which] {
            0.0 => 0.0,
            difference => difference / largest.max(f64::MIN_POSITIVE),
        };
        largest.iter().zip(&differences).map(of).fold(0.0, f64::max)
    };
    Ok(Comparison {
        difference: relative(0),
        floor: relative(1).max(relative(2)),
        samples: source.len(),
        engine: original.engine.name().to_owned(),
    })
}

fn outputs(model: &Loaded, values: &[(String, Array)]) -> Result<Vec<Array>, PassError> {
    let statistics: Vec<Given> = model.written.norms.iter().map(|norm| Given::of(&norm.statistics)).collect();
    let wanted: Vec<&str> = model.written.outputs.iter().map(String::as_str).collect();
    Ok(model.engine.run(given(model.written, borrowed(values), &statistics), &wanted)?)
}

/// Numbers each moved by at most one unit in the last place.
fn moved(array: &Array, random: &mut Random) -> Array {
    let numbers = match &array.numbers {
        Numbers::F32(numbers) => Numbers::F32(numbers.iter().map(|&number| moved_by_one(number, random)).collect()),
        other => other.clone(),
    };
    Array { shape: array.shape.clone(), numbers }
}
