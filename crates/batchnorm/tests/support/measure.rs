//! The measures of the accuracy contract, one channel at a time, against double-double truth.

use super::wide::{DoubleDouble, largest, widened};
use batchnorm::reference::{Real, compact};
use batchnorm::{Element, Moments};

/// Worst errors seen, each by its measure.
#[derive(Debug, Clone, Copy, Default)]
pub struct Worst {
    /// |error| / sqrt(variance + eps).
    pub mean: f64,
    /// |error| / variance; infinite if the variance should be 0 and is not.
    pub variance: f64,
    /// Units in the last place of max(|y|, |beta|).
    pub y_ulps: f64,
    /// |error| / max(|y|, |beta|).
    pub y: f64,
    /// max|error| / (|gamma| inv_std max|dy|).
    pub dx: f64,
    /// |error| / sum|dy xhat|.
    pub dgamma: f64,
    /// |error| / sum|dy|.
    pub dbeta: f64,
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Worst { mean, variance, y_ulps, y, dx, dgamma, dbeta } = self;
        write!(f, "mean {mean:.1e}, variance {variance:.1e}, y {y_ulps:.3} ulp = {y:.1e}, ")?;
        write!(f, "dx {dx:.1e}, dgamma {dgamma:.1e}, dbeta {dbeta:.1e}")
    }
}

impl Worst {
    pub fn join(&mut self, other: Worst) {
        let Worst { mean, variance, y_ulps, y, dx, dgamma, dbeta } = self;
        // Written so that NaN counts as worst.
        for (own, other) in [
            (mean, other.mean),
            (variance, other.variance),
            (y_ulps, other.y_ulps),
            (y, other.y),
            (dx, other.dx),
            (dgamma, other.dgamma),
            (dbeta, other.dbeta),
        ] {
            if other.is_nan() || other > *own {
                *own = other;
            }
        }
    }
}

/// Spacing of the type's numbers at a magnitude, never below that of its smallest numbers.
pub fn ulp<T: Element>(magnitude: f64) -> f64 {
    let one = T::from_f64(1.0).to_f64();
    // Bits of the fraction, and the exponent of the smallest normal number.
    let bits = (1..60).find(|&bits| T::from_f64(one + 2f64.powi(-bits)).to_f64() == one).expect("a finite type") - 1;
    let smallest = match (size_of::<T>(), bits) {
        (8, _) => -1022,
        (2, 10) => -14,
        _ => -126,
    };
    let exponent = if magnitude == 0.0 { smallest } else { (magnitude.log2().floor() as i32).max(smallest) };
    2f64.powi(exponent - bits).max(f64::from_bits(1))
}

/// What a layer computed of one channel.
pub struct Channel<'a, T> {
    pub x: &'a [T],
    pub dy: &'a [T],
    pub gamma: f64,
    pub beta: f64,
    pub epsilon: f64,
    pub moments: Moments,
    pub y: &'a [T],
    pub dx: &'a [T],
    pub dgamma: f64,
    pub dbeta: f64,
}

impl<T: Element> Channel<'_, T> {
    /// The errors of the training passes.
    pub fn errors(&self) -> Worst {
        let constant = DoubleDouble::from;
        let (x, dy) = (widened(self.x), widened(self.dy));
        let (gamma, beta, epsilon) = (constant(self.gamma), constant(self.beta), constant(self.epsilon));
        let forward = compact::forward(&x, gamma, beta, epsilon);
        let backward = compact::backward(&x, gamma, epsilon, &dy);

        let distance = |got: f64, truth: DoubleDouble| (constant(got) - truth).to_f64().abs();
        let relative = |error: f64, scale: f64| if error == 0.0 { 0.0 } else { error / scale };
        let deviation = (forward.variance + epsilon).sqrt().to_f64();
        let variance = forward.variance.to_f64();
        let mut worst = Worst {
            mean: relative(distance(self.moments.mean(), forward.mean), deviation),
            variance: relative(distance(self.moments.population_variance(), forward.variance), variance),
            ..Worst::default()
        };
        for (y, &truth) in self.y.iter().zip(&forward.y) {
            let scale = truth.to_f64().abs().max(self.beta.abs());
            let error = distance(y.to_f64(), truth);
            worst.join(Worst { y_ulps: error / ulp::<T>(scale), y: relative(error, scale), ..Worst::default() });
        }
        let max_dy = largest(self.dy.iter().map(|dy| dy.to_f64()));
        let dx_scale = self.gamma.abs() / deviation * max_dy;
        for (dx, &truth) in self.dx.iter().zip(&backward.dx) {
            worst.join(Worst { dx: relative(distance(dx.to_f64(), truth), dx_scale), ..Worst::default() });
        }
        let products: f64 = dy.iter().zip(&forward.normalized).map(|(&dy, &xhat)| (dy * xhat).to_f64().abs()).sum();
        let sums: f64 = self.dy.iter().map(|dy| dy.to_f64().abs()).sum();
        worst.dgamma = relative(distance(self.dgamma, backward.dgamma), products);
        worst.dbeta = relative(distance(self.dbeta, backward.dbeta), sums);
        worst
    }
}
