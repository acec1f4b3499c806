//! Count, mean and sum of squared deviations of a set of values: what batch norm knows of a channel.

/// Count, mean and M2 (the sum of squared deviations from the mean) of the values of one channel.
///
/// Kept in `f64`, the mean as an unevaluated sum of two `f64`, so that `x - mean` keeps its digits when the mean is
/// large against the spread.
///
/// Moments of disjoint sets merge to the moments of their union (Chan, Golub and LeVeque 1983), whatever the sizes:
///
/// ```
/// use batchnorm_kernel::Moments;
/// let all = Moments::of(&[1.0, 2.0, 4.0, 9.0]);
/// let merged = Moments::of(&[1.0, 2.0]).merge(Moments::of(&[4.0, 9.0]));
/// assert_eq!(merged, all);
/// assert_eq!(all.mean(), 4.0);
/// assert_eq!(all.population_variance(), 9.5); // (9 + 4 + 0 + 25) / 4
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    count: u64,
    /// Sum of the weights: the count, where nothing was weighted.
    weight: f64,
    mean: f64,
    /// The low part of the mean, which `mean` does not hold; below half a unit in its last place.
    mean_low: f64,
    m2: f64,
}

/// Square of the mean, over the variance, up to which plain sums tell the variance: they lose a factor of 1 + this of the 53
/// bits of an `f64`.
pub(crate) const MAX_MEAN_TO_VARIANCE: f64 = 16.0;

impl Moments {
    /// Moments of no values.
    pub const EMPTY: Moments = Moments { count: 0, weight: 0.0, mean: 0.0, mean_low: 0.0, m2: 0.0 };

    /// From what somebody else computed: a number of values, the sum of their weights (the number again, where they have
    /// none), mean and population variance. `None` of what no values have: a weight without a value or a value without one, a
    /// spread of one value or none, a negative variance or weight. NaN and infinity are those of values that are not finite.
    pub fn from_statistics(count: u64, weight: f64, mean: f64, variance: f64) -> Option<Moments> {
        let weighs = weight.is_finite() && weight >= 0.0 && (count == 0) == (weight == 0.0);
        if !weighs || variance < 0.0 || (count < 2 && variance > 0.0) {
            return None;
        }
        match count {
            0 => Some(Moments::EMPTY),
            _ => Some(Moments { count, weight, mean, mean_low: 0.0, m2: variance * weight }),
        }
    }

    /// These moments with M2 at least the smallest number: for values that differ by less than `f64` can square.
    pub fn not_constant(self) -> Moments {
        Moments { m2: self.m2.max(f64::from_bits(1)), ..self }
    }

    /// From a shift `k` near the values, `d` = sum of (x - k) and `q` = sum of (x - k)^2.
    pub(crate) fn from_shifted(count: usize, k: f64, d: f64, q: f64) -> Moments {
        Self::from_weighted(count as u64, count as f64, k, [d, q])
    }

    /// From the sums of values less `shift` and of their squares. `None` where these do not tell the variance well
    /// enough: where the mean is so far from the shift, measured by the deviation, that the difference loses digits, where all
    /// values might be alike, and where something is not finite.
    #[inline(always)]
    pub(crate) fn from_power_sums(count: usize, shift: f64, sum: f64, squares: f64) -> Option<Moments> {
        let weight = count as f64;
        // n times M2, and n times what the mean's square takes off: of small whole numbers both are exact.
        let (scaled_m2, scaled_square) = (weight * squares - sum * sum, sum * sum);
        // Squares add up to 0 where all values are the shift; written so that NaN is neither.
        let alike = squares == 0.0;
        let told = scaled_m2 > 0.0 && scaled_m2 < f64::INFINITY && scaled_square <= MAX_MEAN_TO_VARIANCE * scaled_m2;
        let (step, m2) = (sum / weight, scaled_m2 / weight);
        let (mean, mean_low) = if shift == 0.0 { (step, 0.0) } else { two_sum(shift, step) };
        (alike || told).then_some(Moments { count: count as u64, weight, mean, mean_low, m2 })
    }

    /// A shift for the power sums of a channel, from those of its first values: 0, or where these lie together far from 0
    /// their mean.
    pub(crate) fn shift_from(count: usize, sum: f64, squares: f64) -> f64 {
        let (scaled_m2, scaled_square) = (count as f64 * squares - sum * sum, sum * sum);
        // Values that are all alike say nothing of the others: an edge, a background.
        let far = scaled_m2 > 0.0 && scaled_square < f64::INFINITY && scaled_square > MAX_MEAN_TO_VARIANCE * scaled_m2;
        if far { sum / count as f64 } else { 0.0 }
    }

    /// From a shift likewise, of values with weights, which are in the sums and in `weight`, their own sum.
    pub fn from_weighted(count: u64, weight: f64, k: f64, [d, q]: [f64; 2]) -> Moments {
        let step = d / weight;
        let (mean, mean_low) = two_sum(k, step);
        let m2 = q - d * step;
        // Rounding may leave a hair below zero; written so that NaN stays NaN.
        let m2 = if m2 < 0.0 { 0.0 } else { m2 };
        Moments { count, weight, mean, mean_low, m2 }
    }

    /// The moments of the union of two disjoint sets. (The count stops at `u64::MAX`.)
    #[must_use]
    pub fn merge(self, other: Moments) -> Moments {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        if other.weight > self.weight {
            // From the heavier side: the step to the common mean is the smaller one, and so is its rounding.
            return other.merge(self);
        }
        let (count, weight) = (self.count.saturating_add(other.count), self.weight + other.weight);
        let share = other.weight / weight;
        // Rounded relative to the *difference* of the means, not to the means: the pair keeps what they share.
        let delta = (other.mean - self.mean) + (other.mean_low - self.mean_low);
        let (mean, mean_low) = two_sum(self.mean, self.mean_low + delta * share);
        let m2 = self.m2 + other.m2 + delta * delta * (self.weight * share);
        let union = Moments { count, weight, mean, mean_low, m2 };
        if m2 == 0.0 && delta != 0.0 { union.not_constant() } else { union }
    }

    /// The moments of what is left when a part is taken out of a set, the inverse of [`merge`](Self::merge); `None` if it
    /// cannot be a part: it has more values, or spreads more, than the set. Where little is left, M2 is off by about 1e-16 of
    /// what it was.
    #[must_use]
    pub fn without(self, part: Moments) -> Option<Moments> {
        let count = self.count.checked_sub(part.count)?;
        if count == 0 {
            return Some(Moments::EMPTY);
        }
        if part.count == 0 {
            return Some(self);
        }
        // The means of set, part and rest lie on a line: the rest's is as far beyond the set's as the counts say.
        let delta = (part.mean - self.mean) + (part.mean_low - self.mean_low);
        let weight = self.weight - part.weight;
        let share = part.weight / weight;
        let (mean, mean_low) = two_sum(self.mean, self.mean_low - delta * share);
        let m2 = self.m2 - part.m2 - delta * delta * (self.weight * share);
        if weight <= 0.0 || m2 < -1e-9 * self.m2 {
            return None;
        }
        // One value has no spread, but for what rounding leaves.
        let nothing = count == 1 || m2 < 0.0;
        Some(Moments { count, weight, mean, mean_low, m2: if nothing { 0.0 } else { m2 } })
    }

    /// Numbers to be stored or sent: count, exact up to 2^53, weight, high and low part of the mean, M2.
    pub fn to_parts(self) -> [f64; 5] {
        [self.count as f64, self.weight, self.mean, self.mean_low, self.m2]
    }

    /// From what [`to_parts`](Self::to_parts) gave.
    pub fn from_parts([count, weight, mean, mean_low, m2]: [f64; 5]) -> Moments {
        Moments { count: count as u64, weight, mean, mean_low, m2 }
    }

    /// Number of values; of weighted ones, of those that count.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of the values' weights, which stands for n in the formulas: the count, where nothing was weighted.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// Whether the values, if there are any, are too few to have a spread: one, or weights that sum up to no more than one.
    /// (One value of weight 2 is two equal values.)
    pub fn is_single(&self) -> bool {
        self.count > 0 && self.weight <= 1.0
    }

    /// Mean, rounded to `f64`; 0 for no values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Sum of squared deviations from the mean.
    pub fn m2(&self) -> f64 {
        self.m2
    }

    /// Population variance M2 / n: what batch norm normalises by. 0 for no values.
    pub fn population_variance(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.m2 / self.weight }
    }

    /// Sample variance M2 / (n - 1); `None` for fewer than two values, of which there is none.
    pub fn sample_variance(&self) -> Option<f64> {
        (self.count > 0 && !self.is_single()).then(|| self.m2 / (self.weight - 1.0))
    }

    /// Whether all values are alike (or there are none).
    pub fn is_constant(&self) -> bool {
        self.m2 == 0.0
    }

    /// Whether mean and variance are finite: false where the channel held NaN or infinity, or where the `f64`
    /// variance overflowed (f64 deviations beyond about 1e154).
    pub fn is_finite(&self) -> bool {
        self.mean.is_finite() && self.m2.is_finite()
    }

    /// The mean as an unevaluated sum: `x - mean` is computed as `(x - .0) - .1`.
    pub fn mean_pair(&self) -> (f64, f64) {
        (self.mean, self.mean_low)
    }
}

/// `a + b` as the rounded sum and its rounding error (Knuth 1969).
pub fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}
