//! What batch renormalisation leaves beside a pass of batch norm: r and d, which are constants to all that follows.
//!
//! y = gamma * (r xhat + d) + beta is batch norm with the parameters gamma r and beta + gamma d: so the loops know batch norm alone,
//! and only what goes to gamma and comes from it is translated.

use crate::gradients::ParameterGradients;

/// r and d of each channel: what takes xhat by the batch to r xhat + d.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Correction {
    pub r: Vec<f64>,
    pub d: Vec<f64>,
}

impl Correction {
    /// Those of some of the channels.
    pub fn selected(&self, channels: &[usize]) -> Self {
        let of = |values: &[f64]| channels.iter().map(|&channel| values[channel]).collect();
        Correction { r: of(&self.r), d: of(&self.d) }
    }

    /// gamma and beta with which batch norm does the same, or their directions, of a channel. (Neither 1 nor 0 is multiplied by, so
    /// that what is infinite or negative zero stays.)
    pub fn parameters(&self, channel: usize, [gamma, beta]: [f64; 2]) -> [f64; 2] {
        let (r, d) = (self.r[channel], self.d[channel]);
        [if r == 1.0 { gamma } else { gamma * r }, if d == 0.0 { beta } else { beta + gamma * d }]
    }

    /// The parameters' gradients, or how fast they move, from those of batch norm.
    pub fn gradients(&self, mut of: ParameterGradients) -> ParameterGradients {
        for ((dgamma, dbeta), (&r, &d)) in of.dgamma.iter_mut().zip(&of.dbeta).zip(self.r.iter().zip(&self.d)) {
            let scaled = if r == 1.0 { *dgamma } else { *dgamma * r };
            *dgamma = if d == 0.0 { scaled } else { scaled + d * dbeta };
        }
        of
    }

    /// The sum of dz xhat by the batch, from the gradients of gamma and beta.
    pub fn sum_by_batch(&self, channel: usize, dgamma: f64, dbeta: f64) -> f64 {
        match (self.r[channel], self.d[channel]) {
            // The batch has no spread, and xhat is 0.
            (0.0, _) => 0.0,
            (r, 0.0) => dgamma / r,
            (r, d) => (dgamma - d * dbeta) / r,
        }
    }
}
