//! Interleaved timing, and values to time on.

use std::fmt;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};

/// The source of all random values.
pub const SEED: u64 = 3;

/// Random values, the same in every run that has seeded the device.
pub fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.5, 2.0), device)
}

/// Milliseconds of a call.
pub fn milliseconds(call: impl FnOnce()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds of each contender in each round; two rounds before these are not counted. Rounds rotate the order, so
/// that nobody always runs on the caches that another one left.
pub fn interleaved<const N: usize>(rounds: usize, contenders: [&mut dyn FnMut() -> f64; N]) -> [Vec<f64>; N] {
    let mut times = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for round in 0..rounds + 2 {
        for turn in 0..N {
            let which = (round + turn) % N;
            let time = contenders[which]();
            if round >= 2 {
                times[which].push(time);
            }
        }
    }
    times
}

/// A median and quartiles.
pub struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// The spread of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        // Interpolated where the place is between two values.
        let quantile = |part: f64| {
            let place = (values.len() - 1) as f64 * part;
            let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        Spread { median: quantile(0.5), low: quantile(0.25), high: quantile(0.75) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.3} ({:.3}..{:.3})", self.median, self.low, self.high);
        write!(f, "{text:<width$}", width = f.width().unwrap_or(0))
    }
}

/// Ends the program unless two answers agree to `bound`, relative to the greatest value.
pub fn agree<const D: usize>(what: &str, ours: Tensor<D>, theirs: Tensor<D>, bound: f64) {
    let greatest = |tensor: Tensor<D>| tensor.abs().max().into_scalar::<f64>();
    let (scale, error) = (greatest(theirs.clone()), greatest(ours - theirs));
    assert!(error <= bound * scale, "{what}: the answers differ by {error:e}, of at most {scale:e}");
}
