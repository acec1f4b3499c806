//! Recalibration: running statistics of a trained model, computed again on data.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use batchnorm::{NormalizeBy, Population, RunningStatistics, UpdateWeight};
use burn::module::Module;
use thiserror::Error;

use crate::error::{ForwardError, Reason};
use crate::held::Observation;
use crate::module::BatchNorm;
use crate::reach::{Norm, norms};

/// A way to compute running statistics again: exactly, over all values of all batches, whatever their sizes. For
/// weights that were averaged (EMA, SWA) or changed since the statistics were taken, for another batch size, for data
/// of another kind.
///
/// All batch norms of the model are recalibrated, or [those](Self::only) whose path one chooses, in the order in which they
/// first see a batch. The model is run in evaluation (`model.valid()`: no dropout, nothing else that trains). It changes
/// only when all is done: an error or a panic on the way leaves it as it was. The old statistics are kept in
/// [`Recalibrated`], to go back to. Moments that a layer [holds](BatchNorm::hold) are dropped.
///
/// ```
/// use batchnorm_burn::{BatchNorm, BatchNormConfig, Recalibration};
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Distribution, Tensor, activation::relu};
///
/// #[derive(Module, Debug)]
/// struct Model {
///     norm: BatchNorm,
///     linear: Linear,
///     output_norm: BatchNorm,
/// }
///
/// impl Model {
///     fn forward(&self, x: Tensor<2>) -> Tensor<2> {
///         self.output_norm.forward(relu(self.linear.forward(self.norm.forward(x))))
///     }
/// }
///
/// let device = Device::default();
/// let model = Model {
///     norm: BatchNormConfig::new(3).init(&device),
///     linear: LinearConfig::new(3, 4).init(&device),
///     output_norm: BatchNormConfig::new(4).init(&device),
/// };
/// let batches: Vec<Tensor<2>> =
///     [16, 14, 2].map(|n| Tensor::random([n, 3], Distribution::Normal(5.0, 2.0), &device)).into();
///
/// let done = Recalibration::layer_by_layer().run(
///     &model,
///     || batches.iter().cloned(),
///     |model, batch| drop(model.forward(batch)),
/// )?;
/// println!("{done}"); // a line each for `norm` and `output_norm`
/// assert!((done.layers[0].new.mean()[0] - 5.0).abs() < 2.0);
/// done.roll_back(&model)?;
/// assert_eq!(model.norm.running_statistics()?.mean(), [0.0; 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Recalibration {
    order: Order,
    /// The weight of the new statistics beside the old ones.
    weight: Option<UpdateWeight>,
    /// Chooses layers by their paths.
    chosen: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    OnePass,
    LayerByLayer,
}

/// The result of a recalibration.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalibrated {
    /// The layers, in the order in which they first saw a batch.
    pub layers: Vec<RecalibratedLayer>,
    /// The score before and after, if one was measured.
    pub measured: Option<Measured>,
}

/// A layer that was recalibrated.
#[derive(Debug, Clone, PartialEq)]
pub struct RecalibratedLayer {
    /// Its path in the model.
    pub path: String,
    /// Its running statistics before.
    pub old: RunningStatistics,
    /// Its running statistics now, before they are rounded to `f32`.
    pub new: RunningStatistics,
    /// The moments of all batches that it saw; their [standard errors](Population::standard_errors) tell whether that
    /// was enough.
    pub seen: Population,
}

/// A score of the model before and after, such as its accuracy: the greater the better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The score with the old statistics.
    pub before: f64,
    /// The score with the new ones.
    pub after: f64,
}

impl Measured {
    /// Tells whether the model is worse than before (or its score is NaN).
    pub fn became_worse(&self) -> bool {
        // `!(after >= before)`, spelt out: NaN counts as worse.
        !matches!(self.after.partial_cmp(&self.before), Some(std::cmp::Ordering::Greater | std::cmp::Ordering::Equal))
    }
}

/// The reason why a model could not be recalibrated. It is as it was.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum RecalibrationError {
    /// No batch norm in the model, or none that was chosen.
    #[error("model: expected at least one batch norm to recalibrate, got none (the model has {in_model})")]
    NoLayers {
        /// Batch norms of the model.
        in_model: usize,
    },
    /// A layer, or a channel of it, saw no value.
    #[error(
        "{layer}: expected at least one batch with finite values, got none in channel {channel}; are there batches, and is the layer a part of the forward pass? (`only` leaves it out)"
    )]
    Unseen {
        /// The layer.
        layer: String,
        /// The first channel concerned.
        channel: usize,
    },
    /// A channel saw a single value, which has no variance.
    #[error(
        "{layer}: expected at least 2 values a channel in all batches together, got 1 in channel {channel}; give it more data"
    )]
    Single {
        /// The layer.
        layer: String,
        /// The first channel concerned.
        channel: usize,
    },
    /// A model without a layer that was recalibrated.
    #[error("model: expected a batch norm at {path}, which was recalibrated, got none; is it the same model?")]
    Gone {
        /// The layer's path.
        path: String,
    },
    /// A layer refused its new statistics, or its own are invalid.
    #[error(transparent)]
    Layer(#[from] ForwardError),
}

impl Recalibration {
    /// One pass over the data, in which every layer normalises by the batch, as in training. Cheap; but a layer sees
    /// the inputs of training, not those of use, where the layers before it go by statistics of all data. Batches need
    /// two values a channel.
    pub fn one_pass() -> Self {
        Recalibration { order: Order::OnePass, weight: None, chosen: Arc::new(|_| true) }
    }

    /// One pass over the data for each layer. Each layer sees what the deployed model sees: inputs that have
    /// passed the layers before it by their new statistics. Batches may be of any size.
    pub fn layer_by_layer() -> Self {
        Recalibration { order: Order::LayerByLayer, ..Self::one_pass() }
    }

    /// Mixes the old statistics in ([`RunningStatistics::mixed`]): for little data, as when a model meets another
    /// domain.
    #[must_use]
    pub fn mixing(self, weight: UpdateWeight) -> Self {
        Recalibration { weight: Some(weight), ..self }
    }

    /// Recalibrates only layers whose path is such as `which` says: `|path| path.starts_with("backbone.")`.
    #[must_use]
    pub fn only(self, which: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Recalibration { chosen: Arc::new(which), ..self }
    }

    /// Recalibrates the model. `batches` begins the data from the start, and `forward` runs the model it is given, which
    /// is in evaluation, on one batch, on a device without autodiff.
    ///
    /// # Errors
    /// No layer; a layer that saw nothing. A panic of `forward` goes through.
    pub fn run<M: Module, B, I: IntoIterator<Item = B>>(
        self,
        model: &M,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B),
    ) -> Result<Recalibrated, RecalibrationError> {
        let layers = self.compute(&model.valid(), batches, forward)?;
        install(model, layers.iter().map(|layer| (layer.path.as_str(), &layer.new)))?;
        Ok(Recalibrated { layers, measured: None })
    }

    /// [`run`](Self::run), with a score of the model, the greater the better, before and after: recalibrating can make
    /// a model worse, on data that are not those it is used on or are too few. `measure` is given the model in
    /// evaluation.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn measured<M: Module, B, I: IntoIterator<Item = B>>(
        self,
        model: &M,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B),
        measure: impl Fn(&M) -> f64,
    ) -> Result<Recalibrated, RecalibrationError> {
        let evaluated = model.valid();
        let before = measure(&evaluated);
        let layers = self.compute(&evaluated, batches, forward)?;
        let measured = Some(Measured { before, after: measure(&evaluated) });
        install(model, layers.iter().map(|layer| (layer.path.as_str(), &layer.new)))?;
        Ok(Recalibrated { layers, measured })
    }

    /// Recalibrates the model it is given: a copy, in evaluation.
    pub(crate) fn compute<M: Module, B, I: IntoIterator<Item = B>>(
        self,
        model: &M,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B),
    ) -> Result<Vec<RecalibratedLayer>, RecalibrationError> {
        let all = norms(model);
        let in_model = all.len();
        let mut chosen: Vec<Norm> = all.filter(|path| (self.chosen)(path)).into_iter().collect();
        if chosen.is_empty() {
            return Err(RecalibrationError::NoLayers { in_model });
        }
        // One pass, in which each layer notes its place in the order of the forward pass. What the first one saw is right
        // already; each other one is observed again, when those before it have their new statistics.
        let normalize_by = match self.order {
            Order::OnePass => NormalizeBy::Batch,
            Order::LayerByLayer => NormalizeBy::Running,
        };
        let pass = |observed: &[Norm]| -> Result<(), RecalibrationError> {
            let counter = Arc::new(AtomicUsize::new(0));
            for norm in observed {
                let [channels] = norm.gamma.dims();
                let seen = Population::new(channels).map_err(|error| norm.error(error.into()))?;
                norm.held.observe(Observation {
                    normalize_by,
                    seen,
                    first_at: Arc::default(),
                    counter: counter.clone(),
                });
            }
            batches().into_iter().for_each(|batch| forward(model, batch));
            Ok(())
        };
        pass(&chosen)?;
        chosen.sort_by_key(|norm| norm.held.first_batch_at().unwrap_or(usize::MAX));
        let mut done = Vec::new();
        let mut seen = chosen.iter().map(|norm| norm.held.end_observation()).collect::<Vec<_>>();
        for (number, norm) in chosen.iter().enumerate() {
            if number > 0 && self.order == Order::LayerByLayer && seen[number].as_ref().is_some_and(Observation::begun)
            {
                pass(&chosen[number..=number])?;
                seen[number] = norm.held.end_observation();
            }
            done.push(self.finish(norm, seen[number].take())?);
        }
        Ok(done)
    }

    /// Gives a layer the statistics of what it has seen.
    fn finish(&self, norm: &Norm, seen: Option<Observation>) -> Result<RecalibratedLayer, RecalibrationError> {
        let (path, layer, old) = (norm.path().to_string(), norm.name.to_string(), norm.running_statistics()?);
        let Some(Observation { seen, .. }) = seen else { return Err(RecalibrationError::Unseen { layer, channel: 0 }) };
        if let Some(channel) = seen.channels().iter().position(|moments| moments.count() == 0) {
            return Err(RecalibrationError::Unseen { layer, channel });
        }
        if let Some(channel) = seen.channels().iter().position(|moments| moments.is_single()) {
            return Err(RecalibrationError::Single { layer, channel });
        }
        let refused = |error: Reason| norm.error(error);
        let new = seen.running(norm.running_variance.estimator()).map_err(|error| refused(error.into()))?;
        let new = match self.weight {
            Some(weight) => old.mixed(&new, weight).map_err(|error| refused(error.into()))?,
            None => new,
        };
        norm.set_running_statistics(&new)?;
        Ok(RecalibratedLayer { path, old, new, seen })
    }
}

impl fmt::Debug for Recalibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recalibration").field("order", &self.order).field("weight", &self.weight).finish()
    }
}

/// Installs statistics in all layers of these paths, or in none. Moments that the layers hold are from before, and are
/// dropped.
fn install<'r, M: Module>(
    model: &M,
    statistics: impl Iterator<Item = (&'r str, &'r RunningStatistics)>,
) -> Result<(), RecalibrationError> {
    let norms = norms(model);
    let mut found: Vec<(&BatchNorm, &RunningStatistics)> = Vec::new();
    for (path, statistics) in statistics {
        let at_path = norms.iter().find(|norm| norm.path() == path);
        let norm = at_path.ok_or_else(|| RecalibrationError::Gone { path: path.to_string() })?;
        norm.check_running_statistics(statistics)?;
        found.push((norm, statistics));
    }
    for (norm, statistics) in found {
        norm.set_running_statistics(statistics)?;
        norm.discard_held();
    }
    Ok(())
}

impl Recalibrated {
    /// Gives the layers back the statistics that they had.
    ///
    /// # Errors
    /// A model without one of the layers, or with another number of channels of one.
    pub fn roll_back<M: Module>(&self, model: &M) -> Result<(), RecalibrationError> {
        install(model, self.layers.iter().map(|layer| (layer.path.as_str(), &layer.old)))
    }
}

impl fmt::Display for Recalibrated {
    /// A line for each layer, with how far its statistics moved, and one for what was measured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for RecalibratedLayer { path, old, new, seen } in &self.layers {
            let largest = |change: &dyn Fn(usize) -> f64| (0..new.channels()).map(change).fold(0.0f64, f64::max);
            let deviation = |c: usize| new.variance()[c].sqrt().max(f64::MIN_POSITIVE);
            let moved = largest(&|c| (new.mean()[c] - old.mean()[c]).abs() / deviation(c));
            let spread = largest(&|c| {
                let ratio = (new.variance()[c] / old.variance()[c]).ln().abs();
                if ratio.is_finite() { ratio.exp() } else { f64::INFINITY }
            });
            let batches = seen.batches();
            writeln!(
                f,
                "{path}: {batches} batches; means moved by up to {moved:.2} deviations, variances by up to {spread:.2} times"
            )?;
        }
        match self.measured {
            Some(measured) if measured.became_worse() => {
                let Measured { before, after } = measured;
                write!(f, "WORSE than before: {before} before, {after} now; `roll_back` restores the old statistics")
            }
            Some(Measured { before, after }) => write!(f, "{before} before, {after} now"),
            None => write!(f, "not measured"),
        }
    }
}
