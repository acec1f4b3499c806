//! Batch norms folded into the layers in front of them, for use.

use batchnorm_burn::{Foldable, ForwardError};

use super::Network;
use super::layers::{Block, Convolution, Hidden};
use super::norm::Norm;
use super::recipe::Placement;

impl Network {
    /// The network for use, with each batch norm [folded](batchnorm_burn::BatchNorm::fold_into) into the convolution or the linear map in front of it; none
    /// where no batch norm stands right behind one.
    ///
    /// # Errors
    /// Running statistics or parameters that are not finite.
    pub fn folded(mut self) -> Result<Option<Network>, ForwardError> {
        if self.order.placement != Placement::Before {
            return Ok(None);
        }
        let mut norms = 0;
        let of_blocks = self.blocks.iter_mut().flat_map(|Block { first, second, shortcut }| {
            [Some(first), Some(second), shortcut.as_mut()].into_iter().flatten()
        });
        for Convolution { convolution, norm } in self.convolutions.iter_mut().chain(of_blocks) {
            norms += fold(convolution, norm)?;
        }
        for Hidden { linear, norm } in &mut self.hidden {
            norms += fold(linear, norm)?;
        }
        Ok((norms > 0).then_some(self))
    }
}

/// Folds a batch norm into the layer in front of it; gives the number of those folded.
fn fold<L: Foldable + Clone>(before: &mut L, norm: &mut Option<Norm>) -> Result<usize, ForwardError> {
    let Some(Norm::Batch(batch_norm)) = norm else { return Ok(0) };
    *before = batch_norm.fold_into(before.clone())?;
    *norm = None;
    Ok(1)
}
