//! What is wrong with a network in training, as it arises: looks at one batch that change nothing.

use std::fmt;

use std::collections::BTreeMap;

use batchnorm_burn::norms;
use burn::tensor::Tensor;
use serde::Serialize;

use crate::data::{DataSummary, Examples};
use crate::network::{ActivationKind, HEAD, Network, is_of_norm, walk};
use crate::plan::Plan;
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
        /// The network is another one's, so that its norms are what they are.
        #[serde(skip)]
        transferred: bool,
    },
}

/// What a batch shows of a network in training.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// What is wrong.
    pub warnings: Vec<Warning>,
    /// Its norms, by path.
    pub norms: BTreeMap<String, NormState>,
}

/// A norm in training.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NormState {
    /// Its gamma; empty if it has none.
    pub gamma: Vec<f32>,
    /// Its beta.
    pub beta: Vec<f32>,
    /// Its running statistics, if it is a batch norm.
    pub running: Option<Running>,
}

/// The running statistics of a batch norm, and how far they are from a batch's, which frozen ones are not compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Running mean of each channel.
    pub mean: Vec<f64>,
    /// Running variance of each channel.
    pub variance: Vec<f64>,
    /// The median over channels of |running mean - batch's mean| / batch's standard deviation.
    pub mean_off: Option<f64>,
    /// The median over channels of running variance / batch's variance (epsilon is part of both).
    pub variance_ratio: Option<f64>,
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
            Warning::TinyBatches { values, transferred } => write!(
                f,
                "the norm's statistics come from {values} values a channel, mostly noise; try a larger --batch-size, {}",
                if *transferred { "or --statistics frozen" } else { "--norm renorm or --norm group" }
            ),
        }
    }
}

/// What can be said before a training begins.
pub fn before(plan: &Plan, data: &DataSummary) -> Option<Warning> {
    let by_batch = plan.by_batch(data);
    let values = by_batch.iter().map(|layer| plan.batch_size.saturating_mul(layer.output.plane())).min()?;
    (values < FEW_VALUES).then_some(Warning::TinyBatches { values, transferred: plan.transfer.is_some() })
}

/// What a batch shows, layer after layer. Of layers that are frozen whole, which nothing can change, there are no warnings.
pub fn during(training: &Training, plan: &Plan, data: &DataSummary, batch: &Examples) -> Shown {
    let mut warnings = Vec::new();
    let rectified = plan.network.activation == ActivationKind::Relu;
    let copy = observed(training.network().apart(), training, batch, |layer, output| {
        let [_, channels, _] = output.dims();
        if !rectified || layer == HEAD || plan.is_frozen(data, layer) {
            return;
        }
        // (The greatest of each channel over the batch.)
        let greatest = output.abs().max_dim(0).max_dim(2).into_data();
        let dead = greatest.iter::<f32>().filter(|greatest| *greatest == 0.0).count();
        if dead > 0 {
            warnings.push(Warning::DeadChannels { layer: layer.to_owned(), dead, channels });
        }
    });
    let norms = states(&copy);
    warnings.extend(norms.iter().filter_map(|(path, state)| stale(path, state.running.as_ref()?)));
    Shown { warnings, norms }
}

/// The first layer whose output for a batch is not finite.
pub fn not_finite(training: &Training, batch: &Examples) -> Option<String> {
    let mut first = None;
    observed(training.network().apart(), training, batch, |layer, output| {
        if first.is_none() && output.into_data().iter::<f32>().any(|value| !value.is_finite()) {
            first = Some(layer.to_owned());
        }
    });
    first
}

/// A training pass on a copy of a training's network, which holds the moments of its norms apart.
fn observed(copy: Network, training: &Training, batch: &Examples, mut look: impl FnMut(&str, Tensor<3>)) -> Network {
    norms(&copy).hold();
    copy.observe(training.input(batch), &mut look);
    copy
}

/// The norms of a network on a batch, without dropout; also those that are frozen, whose running statistics stay as they are.
pub(crate) fn norms_on(training: &Training, batch: &Examples) -> BTreeMap<String, NormState> {
    states(&observed(training.network().apart().by_whole_batches(), training, batch, |_, _| {}))
}

fn states(network: &Network) -> BTreeMap<String, NormState> {
    let mut states: BTreeMap<String, NormState> = BTreeMap::new();
    walk(network, |met| {
        if let Some((norm, name)) = met.path.rsplit_once('.').filter(|_| is_of_norm(&met.path)) {
            let state = states.entry(norm.to_owned()).or_default();
            *(if name == "gamma" { &mut state.gamma } else { &mut state.beta }) = met.values();
        }
    });
    for norm in &norms(network) {
        let Ok(running) = norm.running_statistics() else { continue };
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        let held = norm.held_moments();
        let channels = held.first().map(|batch| batch.channels()).into_iter().flatten();
        for ((batch, mean), variance) in channels.zip(running.mean()).zip(running.variance()) {
            let of_batch = batch.population_variance() + norm.epsilon;
            means.push((mean - batch.mean()).abs() / of_batch.sqrt());
            variances.push((variance + norm.epsilon) / of_batch);
        }
        states.entry(norm.path().to_owned()).or_default().running = Some(Running {
            mean: running.mean().to_vec(),
            variance: running.variance().to_vec(),
            mean_off: median(means),
            variance_ratio: median(variances),
        });
    }
    states
}

fn stale(path: &str, running: &Running) -> Option<Warning> {
    let (mean, variance) = (running.mean_off?, running.variance_ratio?);
    let off = variance.max(variance.recip());
    let stale = mean > STALE_MEAN || off > STALE_VARIANCE;
    stale.then(|| Warning::StaleAverages { layer: path.to_owned(), mean, variance })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
