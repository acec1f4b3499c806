//! Paired differences between two arms, with intervals, and what may be said of them.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::random::{Purpose, generator};

/// The share of intervals that hold the true difference.
pub const LEVEL: f64 = 0.95;
/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;
const BOOTSTRAP_SEED: u64 = 0;
/// Pairs below which nothing is said: an interval of two says hardly more than its width.
pub const FEWEST_PAIRS: usize = 3;

/// Differences of pairs: of runs that had the same start and the same batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Pairs.
    pub pairs: usize,
    /// Mean difference.
    pub mean: f64,
    /// Its interval by Student's t: mean +- t(n - 1) s / sqrt(n); none below two pairs.
    pub by_t: Option<[f64; 2]>,
    /// Its interval by the bootstrap (Efron 1979): the middle of the means of so many pairs drawn with replacement; none below two pairs.
    pub by_bootstrap: Option<[f64; 2]>,
}

/// What may be said of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Above 0 by both intervals.
    Greater,
    /// Below 0 by both.
    Less,
    /// 0 is in an interval.
    NoDifferenceShown,
    /// Fewer than [`FEWEST_PAIRS`].
    TooFewPairs,
}

impl Paired {
    /// The paired differences of a figure that is known to `resolution`: an accuracy on n examples to 1 / n. No interval is narrower, for runs that
    /// agree to all digits that there are have not agreed to more.
    pub fn of(differences: &[f64], resolution: f64) -> Paired {
        let pairs = differences.len();
        let mean = differences.iter().sum::<f64>() / pairs as f64;
        let widened =
            |[least, greatest]: [f64; 2]| [least.min(mean - resolution / 2.0), greatest.max(mean + resolution / 2.0)];
        let several = pairs >= 2;
        Paired {
            pairs,
            mean,
            by_t: several.then(|| widened(by_t(differences, mean))),
            by_bootstrap: several.then(|| widened(by_bootstrap(differences))),
        }
    }

    /// The same with intervals that reach so much further down and up: for figures that are known to that alone.
    #[must_use]
    pub fn widened(self, below: f64, above: f64) -> Paired {
        let wider = |[least, greatest]: [f64; 2]| [least - below, greatest + above];
        Paired { by_t: self.by_t.map(wider), by_bootstrap: self.by_bootstrap.map(wider), ..self }
    }

    /// What may be said of it.
    pub fn verdict(&self) -> Verdict {
        let (Some(t), Some(bootstrap), true) = (self.by_t, self.by_bootstrap, self.pairs >= FEWEST_PAIRS) else {
            return Verdict::TooFewPairs;
        };
        match [t, bootstrap] {
            both if both.iter().all(|[least, _]| *least > 0.0) => Verdict::Greater,
            both if both.iter().all(|[_, greatest]| *greatest < 0.0) => Verdict::Less,
            _ => Verdict::NoDifferenceShown,
        }
    }

    /// Tells whether both intervals say the same of 0.
    pub fn intervals_agree(&self) -> bool {
        let holds = |[least, greatest]: [f64; 2]| least <= 0.0 && 0.0 <= greatest;
        self.by_t.map(holds) == self.by_bootstrap.map(holds)
    }
}

fn by_t(differences: &[f64], mean: f64) -> [f64; 2] {
    let count = differences.len() as f64;
    let variance = differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let student = StudentsT::new(0.0, 1.0, count - 1.0).expect("a degree of freedom or more");
    let half = student.inverse_cdf(0.5 + LEVEL / 2.0) * (variance / count).sqrt();
    [mean - half, mean + half]
}

fn by_bootstrap(differences: &[f64]) -> [f64; 2] {
    let mut generator = generator(BOOTSTRAP_SEED, Purpose::Bootstrap);
    let count = differences.len();
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..count).map(|_| differences[generator.random_range(0..count)]).sum::<f64>() / count as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (RESAMPLES - 1) as f64).round() as usize];
    [at(0.5 - LEVEL / 2.0), at(0.5 + LEVEL / 2.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn intervals_of_t_are_those_of_the_tables() {
        // Student's t for 95 %: 4.303 at 2 degrees of freedom, 2.776 at 4.
        let Paired { mean, by_t: Some([least, greatest]), .. } = Paired::of(&[1.0, 2.0, 3.0], 0.0) else { panic!() };
        let half = 4.302_65 / 3f64.sqrt();
        assert!(mean == 2.0 && (least - 2.0 + half).abs() < 1e-4 && (greatest - 2.0 - half).abs() < 1e-4);
        let Paired { by_t: Some([least, _]), .. } = Paired::of(&[0.0, 0.0, 1.0, 2.0, 2.0], 0.0) else { panic!() };
        assert!((least - 1.0 + 2.776_45 * 0.2f64.sqrt()).abs() < 1e-4, "{least}");
    }

    #[test]
    fn one_pair_says_nothing_and_equal_pairs_not_more_than_their_digits() {
        assert_eq!(Paired::of(&[0.5], 0.01).verdict(), Verdict::TooFewPairs);
        assert_eq!(Paired::of(&[0.5, 0.6], 0.01).verdict(), Verdict::TooFewPairs);
        assert_eq!(Paired::of(&[0.0; 5], 0.01).verdict(), Verdict::NoDifferenceShown);
        assert_eq!(Paired::of(&[0.004; 5], 0.01).verdict(), Verdict::NoDifferenceShown);
        assert_eq!(Paired::of(&[0.02; 5], 0.01).verdict(), Verdict::Greater);
        assert_eq!(Paired::of(&[-0.02; 5], 0.01).verdict(), Verdict::Less);
    }

    /// The share of 2,000 comparisons of `pairs` normal differences of a mean in which a difference is found.
    fn found(pairs: usize, mean: f64, seed: u64) -> f64 {
        let mut normal = StandardNormal.sample_iter(generator(seed, Purpose::Order));
        let comparisons = 2000;
        let count = (0..comparisons).filter(|_| {
            let differences: Vec<f64> = normal.by_ref().take(pairs).map(|z: f64| mean + z).collect();
            Paired::of(&differences, 0.0).verdict() != Verdict::NoDifferenceShown
        });
        count.count() as f64 / comparisons as f64
    }

    #[test]
    fn differences_that_are_none_are_found_in_a_twentieth_and_planted_ones_nearly_always() {
        let seed = 22;
        println!("seed {seed}");
        for pairs in [3, 5, 10] {
            let share = found(pairs, 0.0, seed);
            // 5 % and four standard errors of a share over 2,000.
            assert!(share < 0.05 + 4.0 * (0.05f64 * 0.95 / 2000.0).sqrt(), "{pairs} pairs: {share}");
        }
        let share = found(5, 3.0, seed);
        assert!(share > 0.95, "{share}");
    }
}
