//! From the sums of a channel to the coefficients of its map.

use crate::EPSILON;

/// What a call computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Train,
    Eval,
    Backward,
}

/// What sums become, and where the results that have a value a channel go.
pub struct Finish<'a> {
    pub kind: Kind,
    /// Values a channel.
    pub count: f64,
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    /// Mean and variance.
    pub running: [&'a [f32]; 2],
    pub mean: *mut f64,
    pub inverse: *mut f64,
    pub dgamma: *mut f32,
    pub dbeta: *mut f32,
}
// SAFETY: each channel is finished by one thread, which alone reads and writes its places.
unsafe impl Sync for Finish<'_> {}

impl Finish<'_> {
    /// Forward k with y = fma(x - k0, k1, k2), backward k with dx = fma(dy, k3, fma(x - k0, k1, k2)). The sums are those of x and x * x,
    /// backward those of dy and dy * x.
    ///
    /// # Safety
    /// The channel is below the lengths of all arrays, and no other thread has it.
    pub unsafe fn coefficients(&self, channel: usize, sums: [f64; 2]) -> [f64; 4] {
        let (gamma, beta) = (f64::from(self.gamma[channel]), f64::from(self.beta[channel]));
        let [first, second] = sums;
        // SAFETY: the caller's promise.
        let (mean, inverse) = unsafe { (&mut *self.mean.add(channel), &mut *self.inverse.add(channel)) };
        match self.kind {
            Kind::Train => {
                *mean = first / self.count;
                let variance = ((second - first * *mean) / self.count).max(0.0);
                *inverse = 1.0 / (variance + EPSILON).sqrt();
                [*mean, gamma * *inverse, beta, 0.0]
            }
            Kind::Eval => {
                let [mean, variance] = self.running.map(|array| f64::from(array[channel]));
                [mean, gamma / (variance + EPSILON).sqrt(), beta, 0.0]
            }
            Kind::Backward => {
                let dgamma = *inverse * (second - *mean * first);
                // SAFETY: the caller's promise.
                unsafe {
                    *self.dgamma.add(channel) = dgamma as f32;
                    *self.dbeta.add(channel) = first as f32;
                }
                let scale = gamma * *inverse;
                [*mean, -scale * *inverse * dgamma / self.count, -scale * first / self.count, scale]
            }
        }
    }
}
