//! The gap between training and use: which batch norms of a model have statistics that are not those of what they see.

mod report;

use std::fmt;
use std::sync::Arc;

use batchnorm::{RunningStatistics, StandardErrors, inverse_deviation};
use burn::module::Module;
use burn::tensor::Tensor;
use thiserror::Error;

pub use report::{Exchanged, ExchangedScores, GapReport, LayerGap};

use crate::error::ForwardError;
use crate::reach::{Norm, norms};
use crate::recalibration::{Measured, RecalibratedLayer, Recalibration, RecalibrationError};
use crate::running::dequantized;

/// A way to learn which batch norms make a model that is good in training bad in use: those whose running statistics are
/// not those of what they see.
///
/// The right statistics S* of every batch norm are measured on data, layer by layer, each with those before it already
/// right ([`Recalibration::layer_by_layer`]). Then the model is run with statistics exchanged in two directions:
///
/// | | statistics | its output `a` is held against the output `b` of |
/// |---|---|---|
/// | only this | the model's own, this layer's from S* | the model as it is |
/// | all but this | S*, this layer's from the model | the model with S* |
/// | by chance | S*, this layer's moved at random by their standard errors | the model with S* |
///
/// ```text
/// change = sqrt(sum (a - b)^2 / sum b^2)      over all values of all batches
/// drift  = sqrt(mean over channels of ((m_new - m_old) / s_old)^2 + (s_new / s_old - 1)^2),   s = sqrt(variance + epsilon)
/// ```
///
/// A layer is a gap where *all but this* changes the output more than 3 times as much as *by chance* (and more than
/// 3 times what `f32` resolves): the rest is what so few data leave open. The drift, by how much a layer's normalised output is off, costs
/// nothing more than S*; the runs are made for the 8 layers that drifted most, or for [as many as one likes](Self::top).
///
/// With n batch norms and k of them run, the data are gone through n + 1 times, with n + 2 + 3 k forward passes of each
/// batch. The model itself is never written to: all is done on a copy in evaluation (`model.valid()`).
///
/// ```
/// use batchnorm_burn::{BatchNorm, BatchNormConfig, Gap, Recalibration};
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
///     [64, 64, 60].map(|n| Tensor::random([n, 3], Distribution::Normal(5.0, 2.0), &device)).into();
/// let again = || batches.iter().cloned();
/// Recalibration::layer_by_layer().run(&model, again, |model, x| drop(model.forward(x)))?;
///
/// // Somebody trained on with inputs of another scale.
/// model.norm.running_mean.update(model.norm.running_mean.value() * 4.0);
/// let report = Gap::new().measure(&model, again, |model, x| model.forward(x))?;
/// println!("{report}"); // a line for each layer, the widest gap first
/// assert_eq!(report.gaps().map(|layer| layer.path.as_str()).collect::<Vec<_>>(), ["norm"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Gap {
    /// Number of layers that are run with exchanged statistics.
    top: usize,
    seed: u64,
    /// Chooses layers by their paths.
    chosen: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

/// The reason why no gap could be measured. The model is as it was.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum GapError {
    /// The right statistics could not be measured.
    #[error(transparent)]
    Statistics(#[from] RecalibrationError),
    /// No batch was left for the runs.
    #[error(
        "batches: expected the data from the start at every call, got none at the last one; begin a new iterator in it"
    )]
    NoBatches,
    /// An output whose shape depends on the statistics cannot be held against another one.
    #[error(
        "forward: expected an output of shape {expected:?}, as with other statistics, got {got:?}; give one whose shape depends on the batch alone, such as logits"
    )]
    OutputShape {
        /// Shape of the first output of the batch.
        expected: Vec<usize>,
        /// The other one.
        got: Vec<usize>,
    },
}

impl From<ForwardError> for GapError {
    fn from(error: ForwardError) -> Self {
        GapError::Statistics(error.into())
    }
}

impl Default for Gap {
    fn default() -> Self {
        Self::new()
    }
}

impl Gap {
    /// All batch norms are measured, and the 8 that drifted most are run with exchanged statistics.
    pub fn new() -> Self {
        Gap { top: 8, seed: 0, chosen: Arc::new(|_| true) }
    }

    /// Runs so many layers with exchanged statistics: those that drifted most.
    #[must_use]
    pub fn top(self, layers: usize) -> Self {
        Gap { top: layers, ..self }
    }

    /// Runs every layer with exchanged statistics.
    #[must_use]
    pub fn all(self) -> Self {
        self.top(usize::MAX)
    }

    /// Measures only layers whose path is such as `which` says; the others keep the model's statistics throughout.
    #[must_use]
    pub fn only(self, which: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Gap { chosen: Arc::new(which), ..self }
    }

    /// Seed of the numbers by which statistics are moved within their standard errors; 0 by default.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Gap { seed, ..self }
    }

    /// Measures the gap. `batches` begins the data from the start, and `forward` runs the model it is given, which is in
    /// evaluation, on one batch, on a device without autodiff, and gives its output, of any shape. It must give the same
    /// for the same batch and statistics. There should be ten batches or more: standard errors are from how they differ.
    ///
    /// # Errors
    /// No layer; a layer that saw nothing; an output whose shape is not always the same. A panic of `forward` goes
    /// through. The model is as it was in any case.
    pub fn measure<M: Module, B: Clone, I: IntoIterator<Item = B>, const D: usize>(
        self,
        model: &M,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B) -> Tensor<D>,
    ) -> Result<GapReport, GapError> {
        self.compare(&model.valid(), batches, forward, None)
    }

    /// [`measure`](Self::measure), with a score of the model, the greater the better, in each of the states. `score` is
    /// given the model in evaluation; it is called 2 + 2 k times for k layers.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub fn scored<M: Module, B: Clone, I: IntoIterator<Item = B>, const D: usize>(
        self,
        model: &M,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B) -> Tensor<D>,
        score: impl Fn(&M) -> f64,
    ) -> Result<GapReport, GapError> {
        self.compare(&model.valid(), batches, forward, Some(&score))
    }

    /// Measures on the model it is given: a copy, in evaluation.
    fn compare<M: Module, B: Clone, I: IntoIterator<Item = B>, const D: usize>(
        self,
        model: &M,
        batches: impl Fn() -> I,
        forward: impl Fn(&M, B) -> Tensor<D>,
        score: Option<&dyn Fn(&M) -> f64>,
    ) -> Result<GapReport, GapError> {
        let Gap { top, seed, chosen } = self;
        let by_layer = Recalibration::layer_by_layer().only(move |path| chosen(path));
        let measured = by_layer.compute(model, &batches, |model, batch| drop(forward(model, batch)))?;
        let states = States::of(model, measured, seed)?;

        let mut runs: Vec<usize> = (0..states.layers.len()).collect();
        runs.sort_by(|&one, &other| states.layers[other].drift.total_cmp(&states.layers[one].drift));
        runs.truncate(top);

        // Each batch goes through all states, so that no output is kept for longer than a batch.
        let mut whole = Difference::default();
        let mut differences = vec![[Difference::default(); 3]; states.layers.len()];
        let mut any = false;
        for batch in batches() {
            any = true;
            let (mut as_it_is, mut right) = (Vec::new(), Vec::new());
            let mut shape = None;
            states.each(&runs, |state| {
                let output = forward(model, batch.clone());
                let (got, output) = (output.dims().to_vec(), output_values(output));
                let expected = shape.get_or_insert_with(|| got.clone());
                if *expected != got {
                    return Err(GapError::OutputShape { expected: expected.clone(), got });
                }
                match state {
                    State::AsItIs => as_it_is = output,
                    State::OnlyThis(layer) => differences[layer][0].add(&output, &as_it_is),
                    State::Right => {
                        whole.add(&as_it_is, &output);
                        right = output;
                    }
                    State::AllButThis(layer) => differences[layer][1].add(&output, &right),
                    State::Moved(layer) => differences[layer][2].add(&output, &right),
                }
                Ok(())
            })?;
        }
        if !any {
            return Err(GapError::NoBatches);
        }

        let mut scores = None;
        let mut scored = vec![None; states.layers.len()];
        if let Some(score) = score {
            let mut both = Measured { before: f64::NAN, after: f64::NAN };
            let mut of_layers = vec![ExchangedScores { only_this: f64::NAN, all_but_this: f64::NAN }; scored.len()];
            states.each(&runs, |state| {
                match state {
                    State::AsItIs => both.before = score(model),
                    State::OnlyThis(layer) => of_layers[layer].only_this = score(model),
                    State::Right => both.after = score(model),
                    State::AllButThis(layer) => of_layers[layer].all_but_this = score(model),
                    State::Moved(_) => {}
                }
                Ok(())
            })?;
            scores = Some(both);
            scored = of_layers.into_iter().map(Some).collect();
        }

        let layers = states.layers.into_iter().enumerate().map(|(number, layer)| {
            let [only_this, all_but_this, moved] = differences[number].map(Difference::relative);
            let by_chance = layer.moved.as_ref().map(|_| moved);
            let exchanged = runs.contains(&number).then_some(Exchanged {
                only_this,
                all_but_this,
                by_chance,
                scores: scored[number],
            });
            LayerGap {
                path: layer.statistics.path.clone(),
                statistics: layer.statistics,
                drift: layer.drift,
                exchanged,
            }
        });
        Ok(GapReport { layers: layers.collect(), change: whole.relative(), scores, seed })
    }
}

impl fmt::Debug for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gap").field("top", &self.top).field("seed", &self.seed).finish()
    }
}

/// Whose statistics the model has while it is run.
#[derive(Debug, Clone, Copy)]
enum State {
    /// All layers have the model's.
    AsItIs,
    OnlyThis(usize),
    /// All layers have the right ones, S*.
    Right,
    AllButThis(usize),
    /// All have the right ones, this layer's moved by their standard errors.
    Moved(usize),
}

/// The layers of a model, whose statistics are exchanged.
struct States {
    layers: Vec<Layer>,
}

struct Layer {
    norm: Norm,
    statistics: RecalibratedLayer,
    /// The right statistics moved by their standard errors, where there are any.
    moved: Option<RunningStatistics>,
    drift: f64,
}

impl States {
    fn of<M: Module>(model: &M, measured: Vec<RecalibratedLayer>, seed: u64) -> Result<States, GapError> {
        let mut found: Vec<Option<Norm>> = norms(model).into_iter().map(Some).collect();
        let mut layers = Vec::new();
        for (number, statistics) in measured.into_iter().enumerate() {
            let at_path = |norm: &&mut Option<Norm>| norm.as_ref().is_some_and(|norm| norm.path() == statistics.path);
            let norm = found.iter_mut().find(at_path).and_then(Option::take);
            let norm = norm.ok_or_else(|| RecalibrationError::Gone { path: statistics.path.clone() })?;
            let drift = drift(&statistics.old, &statistics.new, norm.epsilon);
            // By its place, so that it does not depend on how many layers are run.
            let moved = moved(&statistics, &mut Normals::new(seed, number as u64));
            layers.push(Layer { norm, statistics, moved, drift });
        }
        Ok(States { layers })
    }

    /// Brings the model into each state in turn, for the layers of these numbers, and calls `run` in it.
    fn each(&self, numbers: &[usize], mut run: impl FnMut(State) -> Result<(), GapError>) -> Result<(), GapError> {
        self.layers.iter().try_for_each(|layer| layer.norm.set_running_statistics(&layer.statistics.old))?;
        run(State::AsItIs)?;
        for &number in numbers {
            let Layer { norm, statistics, .. } = &self.layers[number];
            norm.set_running_statistics(&statistics.new)?;
            run(State::OnlyThis(number))?;
            norm.set_running_statistics(&statistics.old)?;
        }
        self.layers.iter().try_for_each(|layer| layer.norm.set_running_statistics(&layer.statistics.new))?;
        run(State::Right)?;
        for &number in numbers {
            let Layer { norm, statistics, moved, .. } = &self.layers[number];
            norm.set_running_statistics(&statistics.old)?;
            run(State::AllButThis(number))?;
            if let Some(moved) = moved {
                norm.set_running_statistics(moved)?;
                run(State::Moved(number))?;
            }
            norm.set_running_statistics(&statistics.new)?;
        }
        Ok(())
    }
}

/// By how much the normalised output by old statistics is off where the values are as the new ones say, in the root mean
/// square over channels: `(x - m_old) / s_old` is `(s_new / s_old) z + (m_new - m_old) / s_old` for `x = m_new + s_new z`.
fn drift(old: &RunningStatistics, new: &RunningStatistics, epsilon: f64) -> f64 {
    let of_channel = |channel: usize| {
        let [by_old, by_new] = [old, new].map(|of| inverse_deviation(of.variance()[channel], epsilon));
        // Without variance and epsilon nothing is normalised, and the output is beta by both.
        if by_old == 0.0 && by_new == 0.0 {
            return 0.0;
        }
        let ratio = if by_new == 0.0 { 0.0 } else { by_old / by_new };
        ((new.mean()[channel] - old.mean()[channel]) * by_old).powi(2) + (ratio - 1.0).powi(2)
    };
    let channels = new.channels().min(old.channels());
    ((0..channels).map(of_channel).sum::<f64>() / channels as f64).sqrt()
}

/// The new statistics of a layer moved by their standard errors: `mean + z error`, and `variance exp(z error / variance)`,
/// which is `variance + z error` where the error is small and never below 0. `None` where a channel has no standard errors.
fn moved(layer: &RecalibratedLayer, normals: &mut Normals) -> Option<RunningStatistics> {
    let errors: Vec<StandardErrors> = layer.seen.standard_errors().into_iter().collect::<Option<_>>()?;
    let limit = f64::from(f32::MAX);
    let (mut means, mut variances) = (Vec::new(), Vec::new());
    for (channel, errors) in errors.iter().enumerate() {
        let (mean, variance) = (layer.new.mean()[channel], layer.new.variance()[channel]);
        let (of_mean, of_variance) = (normals.next(), normals.next());
        means.push((mean + of_mean * errors.mean).clamp(-limit, limit));
        let factor = if variance > 0.0 { (of_variance * errors.variance / variance).exp() } else { 1.0 };
        variances.push((variance * factor).min(limit));
    }
    let moved = RunningStatistics::from_parts(&means, &variances, layer.new.batches());
    // What a layer counts of its updates stays what it was.
    moved.and_then(|moved| moved.with_updates(layer.new.updates())).ok()
}

/// Normal numbers from a seed: SplitMix64, by the method of Box and Muller.
struct Normals(u64);

impl Normals {
    fn new(seed: u64, stream: u64) -> Normals {
        let mut normals = Normals(seed);
        normals.0 = normals.bits() ^ stream;
        normals
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1]: its logarithm is finite.
    fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

fn output_values<const D: usize>(output: Tensor<D>) -> Vec<f64> {
    dequantized(output).into_data().iter::<f64>().collect()
}

/// The sums of a relative change, batch by batch.
#[derive(Debug, Clone, Copy, Default)]
struct Difference {
    squares: f64,
    reference: f64,
}

impl Difference {
    /// Takes in an output. Values that are both NaN, or the same infinity, do not differ; else such a value differs
    /// infinitely.
    fn add(&mut self, output: &[f64], reference: &[f64]) {
        for (&a, &b) in output.iter().zip(reference) {
            if a.is_finite() && b.is_finite() {
                self.squares += (a - b).powi(2);
            } else if a != b && !(a.is_nan() && b.is_nan()) {
                self.squares = f64::INFINITY;
            }
            if b.is_finite() {
                self.reference += b.powi(2);
            }
        }
    }

    fn relative(self) -> f64 {
        if self.squares == 0.0 { 0.0 } else { (self.squares / self.reference).sqrt() }
    }
}
