//! The vectors of a batch norm, and what they are like.

use crate::numbers::{Numbers, Precision};

/// Numbers of one vector, at most.
pub(crate) const LONGEST_VECTOR: usize = 1 << 20;

/// The vectors of a batch norm, a number for each channel.
#[derive(Debug, Clone)]
pub struct Parameters<'f> {
    /// Scale; none where the layer has none.
    pub gamma: Option<Numbers<'f>>,
    /// Shift; none where the layer has none.
    pub beta: Option<Numbers<'f>>,
    /// Running mean.
    pub mean: Numbers<'f>,
    /// Running variance.
    pub variance: Numbers<'f>,
}

/// What the vectors of a batch norm are like, in one look at each.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Number of its channels.
    pub channels: usize,
    /// The element type of its statistics.
    pub precision: Precision,
    /// The least and largest finite mean.
    pub mean: Option<[f64; 2]>,
    /// The least and largest finite variance.
    pub variance: Option<[f64; 2]>,
    /// Numbers that are NaN or infinite, in all four vectors.
    pub not_finite: usize,
    /// Channels of a negative variance.
    pub negative: usize,
    /// Channels of variance 0.
    pub zero: usize,
    /// Channels of a variance that is not 0 and less than a hundredth of epsilon.
    pub below_epsilon: usize,
    /// Channels whose gamma is 0.
    pub dead: usize,
    /// The gamma of all channels, where they have one.
    pub gamma_alike: Option<f64>,
    /// Mean 0 and variance 1 in every channel.
    pub at_start: bool,
    /// Statistics at the limits of f16, where they are of that type.
    pub at_limits: usize,
}

/// The variance below which epsilon decides, as a share of it.
const FAR_BELOW: f64 = 0.01;
/// The largest f16, and the smallest one with all its digits.
const HALF: [f64; 2] = [65_504.0, 6.103_515_625e-5];

impl<'f> Parameters<'f> {
    /// Vectors of one length; what is wrong with them otherwise, in words.
    pub fn of(
        gamma: Option<Numbers<'f>>,
        beta: Option<Numbers<'f>>,
        mean: Numbers<'f>,
        variance: Numbers<'f>,
    ) -> Result<Parameters<'f>, String> {
        let lengths: Vec<usize> = gamma.iter().chain(&beta).chain([&mean, &variance]).map(Numbers::len).collect();
        match lengths.iter().all(|length| *length == lengths[0]) && lengths[0] > 0 {
            true => Ok(Parameters { gamma, beta, mean, variance }),
            false => Err(format!("expected vectors of one length, got {}", listed(&lengths))),
        }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Looks at them.
    pub fn summary(&self, epsilon: Option<f64>) -> Summary {
        let (mut mean, mut variance) = (Seen::default(), Seen::default());
        let (mut negative, mut zero, mut below_epsilon, mut at_limits, mut at_start) = (0, 0, 0, 0, true);
        let [largest, smallest] = HALF;
        for number in self.mean.iter() {
            mean.take(number);
            at_start &= number == 0.0;
            at_limits += usize::from(number.is_finite() && number.abs() >= largest);
        }
        for number in self.variance.iter() {
            variance.take(number);
            at_start &= number == 1.0;
            negative += usize::from(number < 0.0);
            zero += usize::from(number == 0.0);
            below_epsilon += usize::from(number > 0.0 && number < FAR_BELOW * epsilon.unwrap_or(0.0));
            at_limits += usize::from(number.is_finite() && (number >= largest || (number > 0.0 && number < smallest)));
        }
        let (mut gammas, mut betas, mut dead) = (Seen::default(), Seen::default(), 0);
        for gamma in self.gamma.iter().flat_map(Numbers::iter) {
            gammas.take(gamma);
            dead += usize::from(gamma == 0.0);
        }
        self.beta.iter().flat_map(Numbers::iter).for_each(|beta| betas.take(beta));
        let precision = self.variance.precision();
        let finite = gammas.not_finite == 0;
        let gamma_alike = gammas.range.filter(|[least, most]| finite && least == most).map(|[gamma, _]| gamma);
        Summary {
            channels: self.channels(),
            precision,
            mean: mean.range,
            variance: variance.range,
            not_finite: mean.not_finite + variance.not_finite + gammas.not_finite + betas.not_finite,
            negative,
            zero,
            below_epsilon,
            dead,
            gamma_alike,
            at_start,
            at_limits: if precision == Precision::F16 { at_limits } else { 0 },
        }
    }
}

/// The range of the finite numbers seen, and how many are not.
#[derive(Default)]
struct Seen {
    range: Option<[f64; 2]>,
    not_finite: usize,
}

impl Seen {
    fn take(&mut self, number: f64) {
        if !number.is_finite() {
            self.not_finite += 1;
            return;
        }
        let [least, most] = self.range.unwrap_or([number; 2]);
        self.range = Some([least.min(number), most.max(number)]);
    }
}

/// Numbers in a row, for people.
fn listed(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[f64], precision: Precision) -> Numbers<'static> {
        Numbers::of_bytes(precision.bytes_of(values.iter().copied()), precision).unwrap()
    }

    #[test]
    fn each_thing_is_counted_where_it_is_and_nowhere_else() {
        let f64s = |values: &[f64]| numbers(values, Precision::F64);
        let of = |gamma: &[f64], mean: &[f64], variance: &[f64]| {
            Parameters::of(Some(f64s(gamma)), Some(f64s(&[0.5; 3])), f64s(mean), f64s(variance))
                .unwrap()
                .summary(Some(1e-5))
        };
        let usual = of(&[1.0, 2.0, 0.0], &[-1.0, 0.0, 4.0], &[1.0, 2.0, 1.1e-7]);
        assert_eq!((usual.mean, usual.variance), (Some([-1.0, 4.0]), Some([1.1e-7, 2.0])));
        assert_eq!((usual.not_finite, usual.negative, usual.zero, usual.below_epsilon), (0, 0, 0, 0));
        assert_eq!((usual.dead, usual.gamma_alike, usual.at_start, usual.at_limits), (1, None, false, 0));
        let odd = of(&[3.0; 3], &[f64::NAN, 0.0, 1.0], &[-1.0, 0.0, 0.9e-7]);
        assert_eq!((odd.not_finite, odd.negative, odd.zero, odd.below_epsilon), (1, 1, 1, 1));
        assert_eq!((odd.mean, odd.gamma_alike), (Some([0.0, 1.0]), Some(3.0)));
        assert!(of(&[1.0; 3], &[0.0; 3], &[1.0; 3]).at_start);
        assert!(!of(&[1.0; 3], &[0.0, 0.0, 1e-9], &[1.0; 3]).at_start);
    }

    #[test]
    fn limits_are_those_of_f16_alone() {
        let of = |precision| {
            let [mean, variance] = [[0.0, 65_504.0], [3e-5, 6.2e-5]].map(|values| numbers(&values, precision));
            Parameters::of(None, None, mean, variance).unwrap().summary(None).at_limits
        };
        assert_eq!((of(Precision::F16), of(Precision::F32), of(Precision::Bf16)), (2, 0, 0));
    }

    #[test]
    fn vectors_of_several_lengths_are_none() {
        let [two, three] = [&[1.0; 2][..], &[1.0; 3]].map(|values| numbers(values, Precision::F32));
        let said = Parameters::of(None, Some(two.clone()), two.clone(), three).unwrap_err();
        assert_eq!(said, "expected vectors of one length, got 2, 2, 3");
        assert!(Parameters::of(None, None, numbers(&[], Precision::F32), numbers(&[], Precision::F32)).is_err());
    }
}
