//! Whether a layer with its norms folded in gives what layer and norms gave: a bound, predicted from how its numbers were rounded, and
//! samples of its output, computed both ways in f64 by plain loops that share nothing with the folding.

use super::affine::Affine;
use super::linear::Linear;
use super::unit::{Exact, Unit};
use crate::foldable::Target;
use crate::numbers::Precision;

/// Positions of the output that are sampled.
pub const POSITIONS: usize = 64;
/// Where the samples' numbers start.
pub const SEED: u64 = 24;
/// Standard deviations to both sides over which the values before a norm are spread.
const SPREAD: f64 = 4.0;

/// What was predicted of a folded layer, and seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proof {
    /// The largest error that rounding the layer's new numbers can make, in units of its output, where values before the norm lie within
    /// four deviations of its mean.
    pub bound: f64,
    /// The largest error of the samples.
    pub largest_error: f64,
    /// The largest output of the samples, by size.
    pub largest_output: f64,
    /// Each error is within the bound of its own output.
    pub holds: bool,
}

/// What goes into an output: each weight with the size that its input has at most, and how it is drawn.
struct Tap {
    weight: usize,
    /// The input's channel of the norm in front.
    channel: usize,
    /// The middle of its range, and half of its width.
    middle: f64,
    half: f64,
}

/// Proves a unit whose new numbers, as they stand in the file, are given by their places (its weights) and in order (what is added), where
/// `exact` ones were to be rounded to a type. (The bound is of that rounding, and not of what is stored: a mistake there does not widen it.)
pub(super) fn prove(
    unit: &Unit,
    exact: &Exact,
    precision: Precision,
    weights: impl Fn(usize) -> f64,
    bias: &[f64],
) -> Proof {
    let mut random = Random(SEED);
    let rounding = Rounding::of(precision);
    let outputs = unit.linear.outputs();
    let mut proof = Proof { bound: 0.0, largest_error: 0.0, largest_output: 0.0, holds: true };
    // Every output has a bound; as many as there are samples are looked at, spread over all of them.
    for (output, &bias) in bias.iter().enumerate() {
        let range = Range::of(unit, output);
        let bound = bound(unit, exact, &rounding, output, &range);
        proof.bound = proof.bound.max(bound);
        let samples = POSITIONS * (output + 1) / outputs - POSITIONS * output / outputs;
        if samples == 0 {
            continue;
        }
        let taps = taps(unit, output, &range);
        for _ in 0..samples {
            let inputs: Vec<f64> = taps.iter().map(|tap| tap.middle + tap.half * random.next()).collect();
            let before = original(unit, output, &taps, &inputs);
            let sum: f64 = taps.iter().zip(&inputs).map(|(tap, input)| weights(tap.weight) * input).sum();
            let after = unit.linear.alpha * sum + bias;
            let error = (before - after).abs();
            proof.largest_error = proof.largest_error.max(error);
            proof.largest_output = proof.largest_output.max(before.abs());
            proof.holds &= error <= bound;
        }
    }
    proof
}

/// The weights of an output, with the inputs that they are of, by loops over the layer's own axes.
fn each(linear: &Linear, output: usize, mut take: impl FnMut(usize, usize)) {
    let taps: usize = linear.shape.iter().skip(2).product();
    match linear.target {
        Target::Conv => {
            let own = linear.shape[1];
            let group = output / (linear.shape[0] / linear.group);
            for channel in 0..own {
                for tap in 0..taps {
                    take((output * own + channel) * taps + tap, group * own + channel);
                }
            }
        }
        Target::ConvTranspose => {
            let (of_group, inputs) = (linear.shape[1], linear.shape[0] / linear.group);
            let group = output / of_group;
            for input in group * inputs..(group + 1) * inputs {
                for tap in 0..taps {
                    take((input * of_group + output % of_group) * taps + tap, input);
                }
            }
        }
        Target::Gemm if linear.transposed => {
            let inputs = linear.shape[1];
            (0..inputs).for_each(|input| take(output * inputs + input, input));
        }
        Target::Gemm | Target::MatMul => {
            let outputs = linear.shape[1];
            (0..linear.shape[0]).for_each(|input| take(input * outputs + output, input));
        }
        Target::BatchNorm => take(output, output),
    }
}

/// Inputs are drawn so that the values before the norm spread over its mean and four deviations to both sides: in front of the layer
/// these are the inputs themselves; behind it they lie along the layer's weights, with noise.
enum Range<'u> {
    /// An example that became a row has the numbers of each channel side by side.
    OfNorm {
        before: &'u Affine,
        side_by_side: usize,
    },
    AlongWeights {
        along: f64,
        noise: f64,
    },
}

impl Range<'_> {
    fn of(unit: &Unit, output: usize) -> Range<'_> {
        if let Some(before) = &unit.before {
            return Range::OfNorm { before, side_by_side: unit.linear.inputs() / before.channels() };
        }
        let mut squares = 0.0;
        each(&unit.linear, output, |weight, _| squares += unit.weights[weight] * unit.weights[weight]);
        let (mean, deviation) = match unit.behind.first() {
            Some(first) => (first.mean[output], first.variance[output].abs().sqrt()),
            None => (0.0, 1.0),
        };
        let reach = squares * unit.linear.alpha;
        let (along, noise) = match reach.is_normal() {
            // Uniform noise of this half width has half the spread for a standard deviation.
            true => (
                (mean - unit.bias[output]) / reach,
                SPREAD / 2.0 * 3f64.sqrt() * deviation / (squares.sqrt() * unit.linear.alpha).abs(),
            ),
            false => (0.0, 1.0),
        };
        Range::AlongWeights { along, noise }
    }

    fn tap(&self, unit: &Unit, weight: usize, input: usize) -> Tap {
        match self {
            Range::OfNorm { before, side_by_side } => {
                let channel = input / side_by_side;
                let half = SPREAD * before.variance[channel].abs().sqrt();
                Tap { weight, channel, middle: before.mean[channel], half }
            }
            Range::AlongWeights { along, noise } => {
                Tap { weight, channel: input, middle: along * unit.weights[weight], half: *noise }
            }
        }
    }
}

fn taps(unit: &Unit, output: usize, range: &Range) -> Vec<Tap> {
    let mut taps = Vec::new();
    each(&unit.linear, output, |weight, input| taps.push(range.tap(unit, weight, input)));
    taps
}

/// The bound of an output: what its weights and bias may be rounded by, times the largest inputs; and what f64 itself rounds.
fn bound(unit: &Unit, exact: &Exact, rounding: &Rounding, output: usize, range: &Range) -> f64 {
    let alpha = unit.linear.alpha.abs();
    // The sizes that numbers have on their way, as large as they can be.
    let normed = |norm: &Affine, channel: usize, size: f64| {
        (size + norm.mean[channel].abs()) * norm.scale_and_shift(channel).0.abs() + norm.beta[channel].abs()
    };
    let (mut rounded, mut size, mut count) = (0.0, 0.0, 0);
    each(&unit.linear, output, |weight, input| {
        let tap = range.tap(unit, weight, input);
        let largest = tap.middle.abs() + tap.half;
        rounded += rounding.half_a_unit(exact.weights[weight]) * largest;
        let input = unit.before.as_ref().map_or(largest, |before| normed(before, tap.channel, largest));
        size += unit.weights[weight].abs() * input;
        count += 1;
    });
    // (Of a bias that is kept over Gemm's beta it is as much of it.)
    let of_bias = rounding.half_a_unit(exact.bias[output]);
    let sum = alpha * size + unit.bias[output].abs();
    let sizes = unit.behind.iter().fold(sum, |size, norm| normed(norm, output, size));
    alpha * rounded + of_bias + (count + 16) as f64 * f64::EPSILON * sizes
}

/// Rounding to nearest of a type: half a unit of a number's last digit, as a part of the number, and of the smallest numbers.
struct Rounding {
    part: f64,
    smallest: f64,
}

impl Rounding {
    fn of(precision: Precision) -> Rounding {
        // Bits of a number, and the exponent of the smallest one.
        let (bits, smallest) = match precision {
            Precision::F64 => (53, -1074),
            Precision::F32 => (24, -149),
            Precision::F16 => (11, -24),
            Precision::Bf16 => (8, -133),
        };
        Rounding { part: 2f64.powi(-bits), smallest: 2f64.powi(smallest - 1) }
    }

    /// What rounding can change of a number at most.
    fn half_a_unit(&self, number: f64) -> f64 {
        (number.abs() * self.part).max(self.smallest)
    }
}

/// Norm, layer, norms, as they were.
fn original(unit: &Unit, output: usize, taps: &[Tap], inputs: &[f64]) -> f64 {
    let norm = |norm: &Affine, channel: usize, x: f64| {
        let deviation = (norm.variance[channel] + norm.epsilon).sqrt();
        norm.gamma[channel] * ((x - norm.mean[channel]) / deviation) + norm.beta[channel]
    };
    let mut sum = 0.0;
    for (tap, &input) in taps.iter().zip(inputs) {
        let input = unit.before.as_ref().map_or(input, |before| norm(before, tap.channel, input));
        sum += unit.weights[tap.weight] * input;
    }
    let mut value = unit.linear.alpha * sum + unit.bias[output];
    for behind in &unit.behind {
        value = norm(behind, output, value);
    }
    value
}

/// SplitMix64 (Steele, Lea and Flood 2014), as numbers between -1 and 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A convolution with a norm behind it, one in front, and a bias.
    fn unit(before: bool) -> Unit {
        let mut random = Random(7);
        let mut numbers = |count: usize, add: f64| -> Vec<f64> { (0..count).map(|_| random.next() + add).collect() };
        let linear = Linear { target: Target::Conv, shape: vec![6, 2, 3, 3], group: 2, transposed: false, alpha: 1.0 };
        let (weights, bias) = (numbers(6 * 2 * 9, 0.0), numbers(6, 0.0));
        let mut affine = |channels: usize| {
            let (gamma, beta, mean) = (numbers(channels, 0.0), numbers(channels, 0.0), numbers(channels, 0.0));
            let variance = numbers(channels, 1.5).iter().map(|deviation| deviation * deviation).collect();
            Affine { gamma, beta, mean, variance, epsilon: 0.0 }
        };
        let (behind, before) = (vec![affine(6)], before.then(|| affine(4)));
        Unit { linear, weights, bias, before, behind }
    }

    fn stored(exact: &Exact) -> Exact {
        let round = |numbers: &[f64]| numbers.iter().map(|number| f64::from(*number as f32)).collect();
        Exact { weights: round(&exact.weights), bias: round(&exact.bias) }
    }

    #[test]
    fn rounding_is_within_the_bound_and_a_mistake_of_ten_bounds_is_not() {
        for before in [false, true] {
            let unit = unit(before);
            let exact = unit.exact();
            let right = stored(&exact);
            let proof = |stored: &Exact| prove(&unit, &exact, Precision::F32, |at| stored.weights[at], &stored.bias);
            let bound = proof(&right).bound;
            assert!(proof(&right).holds && proof(&right).largest_error > 0.0 && bound < 1e-5, "{:?}", proof(&right));
            for output in 0..6 {
                let mut wrong = right.clone();
                wrong.bias[output] += 10.0 * bound;
                assert!(!proof(&wrong).holds, "a bias of output {output}");
                // In a weight: so much that its input makes as much of it.
                let mut wrong = right.clone();
                let tap = &taps(&unit, output, &Range::of(&unit, output))[3];
                wrong.weights[tap.weight] += 10.0 * bound / (tap.middle.abs() + tap.half) * 4.0;
                assert!(!proof(&wrong).holds, "a weight of output {output}");
            }
            let mut wrong = right.clone();
            wrong.weights.swap(0, 1);
            assert!(!proof(&wrong).holds, "two weights in each other's place");
        }
    }

    #[test]
    fn half_a_unit_is_the_most_that_rounding_does() {
        let mut random = Random(3);
        for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
            for exponent in -30..10 {
                let number = random.next() * 2f64.powi(exponent);
                let bytes = precision.bytes_of(std::iter::once(number));
                let rounded = crate::numbers::Numbers::of_bytes(bytes, precision).unwrap().to_vec()[0];
                assert!(
                    (rounded - number).abs() <= Rounding::of(precision).half_a_unit(number),
                    "{precision} {number:e}"
                );
            }
        }
    }
}
