//! The moments of one batch, which a forward pass gives and running statistics take in.

use crate::call_error::CallError;
use crate::check::same_length;
use batchnorm_kernel::Moments;

/// The moments of one training batch, one for each channel: what a commit takes into the running statistics.
/// Those of micro-batches or of other machines are merged channel by channel first ([`Moments::merge`]).
#[derive(Debug, Clone, PartialEq)]
pub struct BatchMoments(Vec<Moments>);

impl From<Vec<Moments>> for BatchMoments {
    /// Moments that were computed or merged elsewhere, one for each channel.
    fn from(channels: Vec<Moments>) -> Self {
        BatchMoments(channels)
    }
}

impl BatchMoments {
    /// The moments, one for each channel.
    pub fn channels(&self) -> &[Moments] {
        &self.0
    }

    /// Channels that held NaN or infinity, or whose `f64` variance overflowed; ascending.
    pub fn non_finite(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|&channel| !self.0[channel].is_finite()).collect()
    }

    /// The moments of two parts of a batch together, channel by channel ([`Moments::merge`]).
    ///
    /// # Errors
    /// Another number of channels.
    pub fn merge(&self, other: &BatchMoments) -> Result<BatchMoments, CallError> {
        same_length("other", self.channels().len(), other.channels().len())?;
        let pairs = self.channels().iter().zip(other.channels());
        Ok(pairs.map(|(moments, other)| moments.merge(*other)).collect::<Vec<Moments>>().into())
    }
}
