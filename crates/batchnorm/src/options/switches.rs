//! Switches of a pass: four questions that "training or evaluation" answers all at once, each with an answer of its
//! own.

use crate::options::averaging::UpdateWeight;

/// The statistics by which a pass normalises.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum NormalizeBy {
    /// Mean and population variance of the batch.
    #[default]
    Batch,
    /// The running mean and variance.
    Running,
    /// A mix, the batch with the weight of the new value:
    ///
    /// ```text
    /// mean     = old * running mean     + new * batch mean
    /// variance = old * running variance + new * batch variance (population)
    /// ```
    ///
    /// For another domain than that of the training, of which a batch shows too little to go by it alone: with N for
    /// the samples that the running statistics are worth and n in the batch, new = n / (N + n) (Schneider et al. 2020).
    /// The weights 0 and 1 give the bits of the other two.
    Mix(UpdateWeight),
}

impl NormalizeBy {
    /// A mix of weight 0 or 1 as the pass by one of the two, which it is to the bit.
    pub(crate) fn simplified(self) -> NormalizeBy {
        match self {
            NormalizeBy::Mix(weight) if weight.new_value() == 0.0 => NormalizeBy::Running,
            NormalizeBy::Mix(weight) if weight.old_value() == 0.0 => NormalizeBy::Batch,
            other => other,
        }
    }
}

/// Four independent switches. Each preset is a usual combination; any other is as good:
///
/// | preset | normalises by | updates the running statistics | trains gamma and beta | gradient through the statistics |
/// |---|---|---|---|---|
/// | [`train`](Self::train) | batch | yes | yes | yes |
/// | [`evaluate`](Self::evaluate) | running | no | yes, if one asks for gradients | constants have none |
/// | [`frozen`](Self::frozen) | running | no | no | constants have none |
/// | [`frozen_affine`](Self::frozen_affine) | batch | yes | no | yes |
/// | [`test_time`](Self::test_time) | mix | no | yes | yes |
///
/// ```
/// use batchnorm::{Axes, BatchNorm, NormalizeBy, Switches, View};
/// let mut layer = BatchNorm::new(2)?;
/// let x = View::new(&[1.0f32, 10.0, 3.0, 30.0], &[2, 2], Axes::NCHW)?;
///
/// layer.pin(Some(Switches::frozen()));
/// layer.train(&x)?; // whoever calls it
/// assert_eq!(layer.running().unwrap().batches(), 0);
///
/// // The batch decides the output, but nothing is learnt of it.
/// let by_batch = Switches { update_running: false, ..Switches::train() };
/// let y = layer.forward(&x, by_batch)?.y;
/// assert!((y.data()[0] + 1.0).abs() < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Switches {
    /// The statistics that normalise.
    pub normalize_by: NormalizeBy,
    /// True if the moments of the batch go into the running statistics.
    pub update_running: bool,
    /// True if the backward pass gives the gradients of gamma and beta.
    pub train_parameters: bool,
    /// True if the gradient flows through the batch's part in mean and variance too; if not, these count as constants,
    /// and dx = gamma / sqrt(variance + eps) * dy, of a channel whose values are all alike too.
    pub gradient_through_statistics: bool,
}

impl Switches {
    /// Ordinary training.
    pub const fn train() -> Switches {
        Switches {
            normalize_by: NormalizeBy::Batch,
            update_running: true,
            train_parameters: true,
            gradient_through_statistics: true,
        }
    }

    /// Ordinary evaluation.
    pub const fn evaluate() -> Switches {
        Switches {
            normalize_by: NormalizeBy::Running,
            update_running: false,
            train_parameters: true,
            // Constants have no gradient; but a policy may let the batch stand in for missing running statistics.
            gradient_through_statistics: true,
        }
    }

    /// A layer that stays as it is while others train: a fixed scale and shift.
    pub const fn frozen() -> Switches {
        Switches { train_parameters: false, ..Switches::evaluate() }
    }

    /// Transfer learning where gamma and beta stay as they were trained and the statistics become those of the new
    /// data.
    pub const fn frozen_affine() -> Switches {
        Switches { train_parameters: false, ..Switches::train() }
    }

    /// Adaptation while in use: normalises by a mix of the running statistics and the batch, which has the weight of
    /// the new value; nothing is kept of it. (With the weight 1, by the batch alone: Nado et al. 2020. gamma and beta
    /// may be trained on the way, as Tent does: Wang et al. 2021.)
    pub const fn test_time(weight: UpdateWeight) -> Switches {
        Switches { normalize_by: NormalizeBy::Mix(weight), update_running: false, ..Switches::train() }
    }
}
