//! The moments of a batch.

use crate::batch_norm::input::Input;
use crate::batch_norm::normalizer::Normalizer;
use crate::call_error::CallError;
use crate::statistics::batch::BatchMoments;
use batchnorm_kernel::passes::{Call, Readable};
use batchnorm_kernel::{Element, Moments, View};

impl Normalizer {
    /// Moments of each channel: one sweep over the input.
    pub fn moments<T: Element>(&self, x: &View<T>) -> BatchMoments {
        let _call = Call::begin();
        self.moments_by(x, None)
    }

    /// Moments of each channel of an input, by its weights where it has some: [`moments`](Self::moments) for all kinds.
    ///
    /// # Errors
    /// Weights that do not fit the array.
    pub fn moments_of<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
    ) -> Result<BatchMoments, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let weights = input.weights().map(|weights| weights.repeated_over(input.x().layout())).transpose()?;
        Ok(self.moments_by(input.x(), weights.as_ref().map(|(_, memory)| memory)))
    }

    /// Moments of each channel, by weights that fit or without any.
    fn moments_by<T: Element>(&self, x: &View<T>, weights: Option<&Readable<T>>) -> BatchMoments {
        let mut channels = T::operations().moments(&self.machine, x.memory(), weights);
        // The loops give none for an empty batch.
        channels.resize(x.channels(), Moments::EMPTY);
        BatchMoments::from(channels)
    }
}
