//! What is wrong with a network in training, as it arises: looks at one batch that change nothing.

use std::fmt;

use batchnorm_burn::norms;
use burn::tensor::Tensor;
use serde::Serialize;

use crate::data::{DataSummary, Examples};
use crate::network::{ActivationKind, Network, Recipe};
use crate::training::Training;

/// A channel's running mean is stale if it is off by this share of the batch's standard deviation.
const STALE_MEAN: f64 = 0.5;
/// Running variances are stale if they are off by this factor.
const STALE_VARIANCE: f64 = 2.0;
/// Values a channel below which the statistics of a batch are mostly noise.
const FEW_VALUES: usize = 16;

/// Something that is wrong, or is likely to become so.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Warning {
    /// Channels behind ReLU that were 0 for the whole batch.
    DeadChannels {
        /// The layer's path.
        layer: String,
        /// Channels that are 0.
        dead: usize,
        /// All its channels.
        channels: usize,
    },
    /// Running statistics that are far from those of a batch: evaluation sees another network than training.
    StaleAverages {
        /// The path of the norm.
        layer: String,
        /// The median over channels of |running mean - batch's mean| / batch's standard deviation.
        mean: f64,
        /// The median over channels of running variance / batch's variance.
        variance: f64,
    },
    /// Batches with few values a channel.
    TinyBatches {
        /// Values a channel.
        values: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::DeadChannels { layer, dead, channels } => write!(
                f,
                "{layer}: {dead} of {channels} channels are 0 for a whole batch behind ReLU; they may never learn again: try a lower \
                 --learning-rate"
            ),
            Warning::StaleAverages { layer, mean, variance } => write!(
                f,
                "{layer}: the running statistics are far from a batch's (means off by {mean:.2} standard deviations, variances {variance:.2} \
                 times theirs, by the median channel), so the test scores are not those of the network in training; a larger \
                 --update-weight follows sooner"
            ),
            Warning::TinyBatches { values } => write!(
                f,
                "the norm's statistics come from {values} values a channel, mostly noise; try a larger --batch-size, --norm renorm or --norm group"
            ),
        }
    }
}

/// What can be said before a training begins.
pub fn before(recipe: &Recipe, data: &DataSummary, batch_size: usize) -> Option<Warning> {
    let outline = recipe.outline(data.input, data.classes.len());
    let normed = outline.iter().filter(|layer| layer.path.ends_with(".norm"));
    let values = normed.map(|layer| batch_size.saturating_mul(layer.output.plane())).min()?;
    (recipe.needs_batches() && values < FEW_VALUES).then_some(Warning::TinyBatches { values })
}

/// What a batch shows, layer after layer.
pub fn during(training: &Training, recipe: &Recipe, batch: &Examples) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let rectified = recipe.activation == ActivationKind::Relu;
    let copy = observed(training, batch, |layer, output| {
        let [_, channels, _] = output.dims();
        if !rectified || layer == OUTPUT {
            return;
        }
        // (The greatest of each channel over the batch.)
        let greatest = output.abs().max_dim(0).max_dim(2).into_data();
        let dead = greatest.iter::<f32>().filter(|greatest| *greatest == 0.0).count();
        if dead > 0 {
            warnings.push(Warning::DeadChannels { layer: layer.to_owned(), dead, channels });
        }
    });
    warnings.extend(stale(&copy));
    warnings
}

/// The first layer whose output for a batch is not finite.
pub fn not_finite(training: &Training, batch: &Examples) -> Option<String> {
    let mut first = None;
    observed(training, batch, |layer, output| {
        if first.is_none() && output.into_data().iter::<f32>().any(|value| !value.is_finite()) {
            first = Some(layer.to_owned());
        }
    });
    first
}

/// The path of the last layer.
const OUTPUT: &str = "output";

/// A training pass on a copy of the network, which holds the moments of its norms apart.
fn observed(training: &Training, batch: &Examples, mut look: impl FnMut(&str, Tensor<3>)) -> Network {
    let copy = training.network().apart();
    norms(&copy).hold();
    copy.observe(training.input(batch), &mut look);
    copy
}

fn stale(network: &Network) -> Vec<Warning> {
    let of_norm = |norm: &batchnorm_burn::Norm| {
        let (held, running) = (norm.held_moments(), norm.running_statistics().ok()?);
        let channels = held.first()?.channels().iter().zip(running.mean()).zip(running.variance());
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        for ((batch, mean), variance) in channels {
            let of_batch = batch.population_variance() + norm.epsilon;
            means.push((mean - batch.mean()).abs() / of_batch.sqrt());
            variances.push((variance + norm.epsilon) / of_batch);
        }
        let (mean, variance) = (median(means)?, median(variances)?);
        let off = variance.max(variance.recip());
        let stale = mean > STALE_MEAN || off > STALE_VARIANCE;
        stale.then(|| Warning::StaleAverages { layer: norm.path().to_owned(), mean, variance })
    };
    norms(network).iter().filter_map(of_norm).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
