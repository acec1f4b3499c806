//! Standard errors of statistics, from how those of batches differ from each other.

/// Weighted sums over batches, with d = the batch's mean less a shift near all means, u = the batch's population
/// variance, and w = n^2. Sums of products of up to four, for a standard error of the variance has squares of squares
/// in it; a few digits of it are enough, which plain sums about a near shift keep.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Spread {
    /// The shift near all means.
    pub shift: f64,
    /// Sums of w times 1, d, d^2, d^3, d^4, u, u^2, u d, u d^2.
    pub sums: [f64; SUMS],
    /// Bounds on the rounding in the sums of squares whose roots are the standard errors of the mean and of the
    /// variance. After a batch that lay far off was taken out, rounding may be most of what is left in them.
    pub noise: [f64; 2],
}

/// Number of sums.
pub(crate) const SUMS: usize = 9;
/// The sums that cannot be negative: those of even powers of d.
pub(crate) const NON_NEGATIVE: [usize; 6] = [0, 2, 4, 5, 6, 8];

/// Standard errors of a channel's statistics.
///
/// ```
/// use batchnorm::{Axes, BatchNorm, Population, View};
/// let layer = BatchNorm::new(1)?;
/// let mut population = Population::new(1)?;
/// for batch in [[1.0f64, 3.0], [2.0, 6.0], [0.0, 1.0]] {
///     population.observe(&layer.forward_train(&View::new(&batch, &[2, 1], Axes::NCHW)?)?.batch)?;
/// }
/// let errors = population.standard_errors()[0];
/// assert!(errors.is_some_and(|errors| errors.mean > 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StandardErrors {
    /// Standard error of the mean.
    pub mean: f64,
    /// Standard error of the variance.
    pub variance: f64,
}

/// The sums over d + e, from those over d.
fn moved_sums([w, d, d2, d3, d4, u, u2, ud, ud2]: [f64; SUMS], e: f64) -> [f64; SUMS] {
    [
        w,
        d + e * w,
        d2 + e * (2.0 * d + e * w),
        d3 + e * (3.0 * d2 + e * (3.0 * d + e * w)),
        d4 + e * (4.0 * d3 + e * (6.0 * d2 + e * (4.0 * d + e * w))),
        u,
        u2,
        ud + e * u,
        ud2 + e * (2.0 * ud + e * u),
    ]
}

impl Spread {
    /// The sums over one batch, about its own mean.
    pub fn of_batch(mean: f64, variance: f64, weight: f64) -> Spread {
        let (w, u) = (weight * weight, variance);
        Spread { shift: mean, sums: [w, 0.0, 0.0, 0.0, 0.0, w * u, w * u * u, 0.0, 0.0], noise: [0.0; 2] }
    }

    /// The sum of the batches' weights w.
    pub fn weight(&self) -> f64 {
        self.sums[0]
    }

    /// The sums about another shift.
    fn about(self, shift: f64) -> Spread {
        let e = self.shift - shift;
        if e == 0.0 {
            return self;
        }
        // Rounding is relative to the sizes of all terms that are added, not to their sum.
        let sizes = moved_sums(self.sums.map(f64::abs), e.abs());
        let noise =
            [self.noise[0] + f64::EPSILON * sizes[2], self.noise[1] + f64::EPSILON * (sizes[4] + 2.0 * sizes[8])];
        Spread { shift, sums: moved_sums(self.sums, e), noise }
    }

    /// The sums with those of other batches, or for `sign` -1 without them.
    #[must_use]
    pub fn with(self, other: Spread, sign: f64) -> Spread {
        if other.weight() == 0.0 {
            return self;
        }
        let shift = if self.weight() == 0.0 { other.shift } else { self.shift };
        // Sums about different shifts do not add.
        let (mut merged, other) = (self.about(shift), other.about(shift));
        let size = |sums: [f64; SUMS]| [sums[2], sums[4] + sums[6] + 2.0 * sums[8]];
        let [before, added] = [size(merged.sums), size(other.sums)];
        for kind in 0..2 {
            merged.noise[kind] += other.noise[kind] + f64::EPSILON * (before[kind] + added[kind]);
        }
        merged.sums.iter_mut().zip(other.sums).for_each(|(sum, other)| *sum += sign * other);
        // No weight is left: neither are batches, and what the sums hold is rounding.
        if merged.sums[0] <= 0.0 {
            return Spread::default();
        }
        for sum in NON_NEGATIVE {
            // Rounding may leave a hair below zero; and where a sum overflowed, the error is infinite, not unknown.
            let value = merged.sums[sum];
            merged.sums[sum] = if value.is_nan() { f64::INFINITY } else { value.max(0.0) };
        }
        merged
    }

    /// Standard errors of the mean and variance that `batches` batches have together, over values of the weight
    /// `total_weight`. With n, m, u a
    /// batch's weight, mean and variance, its share in the whole's variance is n q with q = u + (m - mean)^2, so that
    /// both are ratios of sums over batches (Cochran 1977, section 2.11, without the finite population).
    pub fn standard_errors(self, [mean, variance]: [f64; 2], total_weight: f64, batches: u64) -> StandardErrors {
        let Spread { sums: [w, _, d2, _, d4, u, u2, _, ud2], noise, .. } = self.about(mean);
        // sum w (u + (m - mean)^2 - variance)^2, multiplied out.
        let variance_squares = u2 + d4 + variance * variance * w + 2.0 * (ud2 - variance * (u + d2));
        let b = batches as f64;
        // What may be rounding is added: a standard error that is not known must not look small.
        let error = |squares: f64, noise: f64| {
            let error = (b / (b - 1.0) * (squares.max(0.0) + noise)).sqrt() / total_weight;
            if error.is_nan() || squares.is_nan() { f64::INFINITY } else { error }
        };
        StandardErrors { mean: error(d2, noise[0]), variance: error(variance_squares, noise[1]) }
    }
}
