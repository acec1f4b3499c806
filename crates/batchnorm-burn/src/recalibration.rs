//! Recalibration: running statistics of a trained model, computed again on data.

use std::fmt;

use batchnorm::{NormalizeBy, Population, RunningStatistics, UpdateWeight};
use burn::module::Module;
use thiserror::Error;

use crate::error::{ForwardError, Reason};
use crate::held::Observation;
use crate::module::BatchNorm;

/// A way to compute running statistics again: exactly, over all values of all batches, whatever their sizes. For
/// weights that were averaged (EMA, SWA) or changed since the statistics were taken, for another batch size, for data
/// of another kind.
///
/// The model is run in evaluation (`model.valid()`: no dropout, nothing else that trains). Only the layers that are
/// named change, and only when all is done: an error or a panic on the way leaves the model as it was. The old
/// statistics are kept in [`Recalibrated`], to go back to. Moments that a layer [holds](BatchNorm::hold) are dropped.
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
///     norm: BatchNormConfig::new(3).with_name(Some("norm".into())).init(&device),
///     linear: LinearConfig::new(3, 4).init(&device),
///     output_norm: BatchNormConfig::new(4).with_name(Some("output_norm".into())).init(&device),
/// };
/// let batches: Vec<Tensor<2>> =
///     [16, 14, 2].map(|n| Tensor::random([n, 3], Distribution::Normal(5.0, 2.0), &device)).into();
///
/// fn layers(model: &Model) -> Vec<&BatchNorm> {
///     vec![&model.norm, &model.output_norm] // in the order of the forward pass
/// }
/// let done = Recalibration::layer_by_layer().run(
///     &model,
///     layers,
///     || batches.iter().cloned(),
///     |model, batch| drop(model.forward(batch)),
/// )?;
/// println!("{done}");
/// assert!((done.layers[0].new.mean()[0] - 5.0).abs() < 2.0);
/// done.roll_back(&model, layers)?;
/// assert_eq!(model.norm.running_statistics()?.mean(), [0.0; 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recalibration {
    order: Order,
    /// The weight of the new statistics beside the old ones.
    weight: Option<UpdateWeight>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    OnePass,
    LayerByLayer,
}

/// The result of a recalibration.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalibrated {
    /// The layers, in the order in which they were named.
    pub layers: Vec<RecalibratedLayer>,
    /// The score before and after, if one was measured.
    pub measured: Option<Measured>,
}

/// A layer that was recalibrated.
#[derive(Debug, Clone, PartialEq)]
pub struct RecalibratedLayer {
    /// Its name.
    pub name: String,
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
    /// No layer was named.
    #[error("layers: expected at least one batch norm of the model, got none")]
    NoLayers,
    /// A layer was named twice.
    #[error("layers: {name} is there twice, as number {first} and as number {second}; name each layer once")]
    Twice {
        /// The layer.
        name: String,
        /// Its first place in the list.
        first: usize,
        /// Its second place.
        second: usize,
    },
    /// A layer, or a channel of it, saw no value.
    #[error(
        "{name} (number {number}): expected at least one batch with finite values, got none in channel {channel}; is the layer a part of the forward pass, and are there batches?"
    )]
    Unseen {
        /// The layer.
        name: String,
        /// Its number among those that were named.
        number: usize,
        /// The first channel concerned.
        channel: usize,
    },
    /// A channel saw a single value, which has no variance.
    #[error(
        "{name} (number {number}): expected at least 2 values a channel in all batches together, got 1 in channel {channel}; give it more data"
    )]
    Single {
        /// The layer.
        name: String,
        /// Its number among those that were named.
        number: usize,
        /// The first channel concerned.
        channel: usize,
    },
    /// Another list of layers than before.
    #[error("layers: expected {expected}, as were recalibrated, got {got}; name the same ones in the same order")]
    Count {
        /// Layers that were recalibrated.
        expected: usize,
        /// Layers that were named.
        got: usize,
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
        Recalibration { order: Order::OnePass, weight: None }
    }

    /// One pass over the data for each layer. Each layer sees what the deployed model sees: inputs that have
    /// passed the layers before it by their new statistics. Batches may be of any size.
    pub fn layer_by_layer() -> Self {
        Recalibration { order: Order::LayerByLayer, weight: None }
    }

    /// Mixes the old statistics in ([`RunningStatistics::mixed`]): for little data, as when a model meets another
    /// domain.
    #[must_use]
    pub fn mixing(self, weight: UpdateWeight) -> Self {
        Recalibration { weight: Some(weight), ..self }
    }

    /// Recalibrates the layers that `layers` names, in the order of the forward pass. `batches` begins the data from
    /// the start, and `forward` runs the model it is given, which is in evaluation, on one batch, on a device without
    /// autodiff.
    ///
    /// # Errors
    /// No layer, or one twice; a layer that saw nothing. A panic of `forward` goes through.
    pub fn run<M: Module, B, I: IntoIterator<Item = B>>(
        self,
        model: &M,
        layers: impl Fn(&M) -> Vec<&BatchNorm>,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B),
    ) -> Result<Recalibrated, RecalibrationError> {
        let evaluated = model.valid();
        let done = self.compute(&evaluated, &layers, batches, forward)?;
        install(&layers(model), done.iter().map(|layer| &layer.new))?;
        Ok(Recalibrated { layers: done, measured: None })
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
        layers: impl Fn(&M) -> Vec<&BatchNorm>,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B),
        measure: impl Fn(&M) -> f64,
    ) -> Result<Recalibrated, RecalibrationError> {
        let evaluated = model.valid();
        let before = measure(&evaluated);
        let done = self.compute(&evaluated, &layers, batches, forward)?;
        let measured = Some(Measured { before, after: measure(&evaluated) });
        install(&layers(model), done.iter().map(|layer| &layer.new))?;
        Ok(Recalibrated { layers: done, measured })
    }

    /// Recalibrates the model it is given: a copy, in evaluation.
    fn compute<M, B, I: IntoIterator<Item = B>>(
        self,
        model: &M,
        layers: &impl Fn(&M) -> Vec<&BatchNorm>,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B),
    ) -> Result<Vec<RecalibratedLayer>, RecalibrationError> {
        let norms = layers(model);
        check_distinct(&norms)?;
        let pass = |observed: &[&BatchNorm], normalize_by: NormalizeBy| -> Result<(), RecalibrationError> {
            for norm in observed {
                let [channels] = norm.gamma.dims();
                let seen = Population::new(channels).map_err(|error| norm.error(error.into()))?;
                norm.held.observe(Observation { normalize_by, seen });
            }
            batches().into_iter().for_each(|batch| forward(model, batch));
            Ok(())
        };
        let mut done = Vec::new();
        match self.order {
            Order::OnePass => {
                pass(&norms, NormalizeBy::Batch)?;
                for (number, norm) in norms.iter().enumerate() {
                    done.push(self.finish(norm, number)?);
                }
            }
            Order::LayerByLayer => {
                for (number, norm) in norms.iter().enumerate() {
                    pass(&[norm], NormalizeBy::Running)?;
                    done.push(self.finish(norm, number)?);
                }
            }
        }
        Ok(done)
    }

    /// Ends a layer's observation, and gives it the statistics of what it has seen.
    fn finish(self, norm: &BatchNorm, number: usize) -> Result<RecalibratedLayer, RecalibrationError> {
        let (name, old) = (norm.name.clone(), norm.running_statistics()?);
        let unseen = |channel| RecalibrationError::Unseen { name: norm.name.clone(), number, channel };
        let seen = norm.held.end_observation().ok_or_else(|| unseen(0))?;
        if let Some(channel) = seen.channels().iter().position(|moments| moments.count() == 0) {
            return Err(unseen(channel));
        }
        if let Some(channel) = seen.channels().iter().position(|moments| moments.is_single()) {
            return Err(RecalibrationError::Single { name: norm.name.clone(), number, channel });
        }
        let refused = |error: Reason| norm.error(error);
        let new = seen.running(norm.running_variance.estimator()).map_err(|error| refused(error.into()))?;
        let new = match self.weight {
            Some(weight) => old.mixed(&new, weight).map_err(|error| refused(error.into()))?,
            None => new,
        };
        norm.set_running_statistics(&new)?;
        Ok(RecalibratedLayer { name, old, new, seen })
    }
}

/// Checks that there are layers, each once.
fn check_distinct(norms: &[&BatchNorm]) -> Result<(), RecalibrationError> {
    if norms.is_empty() {
        return Err(RecalibrationError::NoLayers);
    }
    for (second, norm) in norms.iter().enumerate() {
        if let Some(first) = norms[..second].iter().position(|other| std::ptr::eq(*other, *norm)) {
            return Err(RecalibrationError::Twice { name: norm.name.clone(), first, second });
        }
    }
    Ok(())
}

/// Installs statistics in all layers, or in none. Moments that the layers hold are from before, and are dropped.
fn install<'r>(
    norms: &[&BatchNorm],
    statistics: impl Iterator<Item = &'r RunningStatistics> + Clone,
) -> Result<(), RecalibrationError> {
    check_distinct(norms)?;
    for (norm, statistics) in norms.iter().zip(statistics.clone()) {
        norm.check_running_statistics(statistics)?;
    }
    for (norm, statistics) in norms.iter().zip(statistics) {
        norm.set_running_statistics(statistics)?;
        norm.discard_held();
    }
    Ok(())
}

impl Recalibrated {
    /// Gives the layers back the statistics that they had.
    ///
    /// # Errors
    /// Another number of layers, or of channels of one.
    pub fn roll_back<M>(&self, model: &M, layers: impl Fn(&M) -> Vec<&BatchNorm>) -> Result<(), RecalibrationError> {
        let norms = layers(model);
        let (expected, got) = (self.layers.len(), norms.len());
        if expected != got {
            return Err(RecalibrationError::Count { expected, got });
        }
        install(&norms, self.layers.iter().map(|layer| &layer.old))
    }
}

impl fmt::Display for Recalibrated {
    /// A line for each layer, with how far its statistics moved, and one for what was measured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for RecalibratedLayer { name, old, new, seen } in &self.layers {
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
                "{name}: {batches} batches; means moved by up to {moved:.2} deviations, variances by up to {spread:.2} times"
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
