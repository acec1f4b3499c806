//! The layer: parameters and running statistics around a [`Normalizer`], which does all work on elements.

use crate::batch_norm::buffers::GradientBuffers;
use crate::batch_norm::input::{Input, InputKind};
use crate::batch_norm::invertible::Invertible;
use crate::batch_norm::normalizer::Normalizer;
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::{same_channels, same_length};
use crate::gradients::{Gradients, ParameterGradients};
use crate::options::config::Config;
use crate::options::error::ConfigError;
use crate::options::limits::{check_channels, finite_values};
use crate::options::policies::Affine;
use crate::options::switches::{NormalizeBy, Switches};
use crate::parameters::{AffineParameters, Parameters};
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::{RunningStatistics, updates_any_channel};
use crate::tensor::Tensor;
use batchnorm_kernel::passes::Call;
use batchnorm_kernel::{Element, MAX_CHANNELS, Parameter, Threads, View, ViewMut};
use std::borrow::Cow;

/// A batch-norm layer (Ioffe and Szegedy 2015).
///
/// Training and evaluation are different calls, never a mode. The layer does not depend on the number type of its
/// arrays: it keeps parameters and statistics in `f64`, and its calls take arrays of any [`Element`] type, rank,
/// layout and channel axis.
///
/// ```
/// use batchnorm::{Axes, BatchNorm, View};
/// let mut layer = BatchNorm::new(2)?; // PyTorch's conventions
/// let x: Vec<f32> = (0..24).map(|i| (i * i) as f32).collect();
/// let x = View::new(&x, &[3, 2, 2, 2], Axes::NCHW)?;
///
/// let trained = layer.train(&x)?; // normalises by the batch, updates the running statistics
/// let dy = View::new(trained.y.data(), &[3, 2, 2, 2], Axes::NCHW)?;
/// let gradients = layer.backward(&x, &dy, &trained.saved)?;
/// assert_eq!(gradients.dx.shape(), [3, 2, 2, 2]);
///
/// let y = layer.eval(&x)?.y; // normalises by the running statistics
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchNorm {
    config: Config,
    normalizer: Normalizer,
    parameters: AffineParameters,
    running: Option<RunningStatistics>,
}

/// The results of a training call.
#[derive(Debug, Clone)]
pub struct Trained<T> {
    /// The output, of the input's shape.
    pub y: Tensor<T>,
    /// The values saved for the backward pass.
    pub saved: Saved,
    /// The moments for the running statistics to take in: the batch's, or those of no values where the pass is not to
    /// update them.
    pub batch: BatchMoments,
}

/// The results of an evaluation call.
#[derive(Debug, Clone)]
pub struct Evaluated<T> {
    /// The output, of the input's shape.
    pub y: Tensor<T>,
    /// The values saved for the backward pass.
    pub saved: Saved,
}

impl BatchNorm {
    /// A layer of so many channels by PyTorch's conventions; [`Config`] has the others.
    ///
    /// # Errors
    /// Zero channels.
    pub fn new(channels: usize) -> Result<BatchNorm, ConfigError> {
        Config::pytorch().channels(channels).build()
    }

    /// Fixes the number of channels, and starts the running statistics if the layer keeps some and has none yet.
    fn set_channels(&mut self, channels: usize) -> Result<(), ConfigError> {
        if self.config.track_running_statistics && self.running.is_none() {
            self.running = Some(RunningStatistics::start(channels)?);
        }
        self.config.channels = Some(channels);
        Ok(())
    }

    /// The options the layer was built with; `channels` is filled in once known.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The layer's options, checked.
    pub(crate) fn normalizer(&self) -> &Normalizer {
        &self.normalizer
    }

    /// Number of channels, once given, seen in training, or installed with parameters or statistics.
    pub fn channels(&self) -> Option<usize> {
        self.config.channels
    }

    /// Scale of each channel; `None` if the layer has none or still does not know its channels.
    pub fn gamma(&self) -> Option<Vec<f64>> {
        self.parameters.gamma(self.config.channels?)
    }

    /// Shift of each channel; `None` if the layer has none or still does not know its channels.
    pub fn beta(&self) -> Option<Vec<f64>> {
        self.parameters.beta(self.config.channels?)
    }

    /// Running statistics: `None` if the layer keeps none or does not know its channels yet.
    pub fn running(&self) -> Option<&RunningStatistics> {
        self.running.as_ref()
    }

    /// Sets gamma.
    ///
    /// # Errors
    /// A layer without gamma, another length than the channels, NaN or infinity.
    pub fn set_gamma<P: Parameter>(&mut self, gamma: &[P]) -> Result<(), ConfigError> {
        let channels = self.config.channels;
        self.parameters.set_gamma(|argument| checked_values(argument, gamma, channels))?;
        self.set_channels(gamma.len())
    }

    /// Sets beta.
    ///
    /// # Errors
    /// A layer without beta, another length than the channels, NaN or infinity.
    pub fn set_beta<P: Parameter>(&mut self, beta: &[P]) -> Result<(), ConfigError> {
        let channels = self.config.channels;
        self.parameters.set_beta(|argument| checked_values(argument, beta, channels))?;
        self.set_channels(beta.len())
    }

    /// Installs running statistics.
    ///
    /// # Errors
    /// A layer that keeps none, another number of channels.
    pub fn set_running(&mut self, running: RunningStatistics) -> Result<(), ConfigError> {
        let got = running.channels();
        if !self.config.track_running_statistics {
            return Err(ConfigError::Untracked { got });
        }
        if let Some(expected) = self.config.channels.filter(|&expected| expected != got) {
            return Err(ConfigError::Length { argument: "running_mean", expected, got });
        }
        self.config.channels = Some(got);
        self.running = Some(running);
        Ok(())
    }

    /// Sets the threads of the passes from here on ([`Config::threads`]).
    pub fn set_threads(&mut self, threads: Threads) {
        self.normalizer = self.normalizer.clone().threads(threads.clone());
        self.config.threads = threads;
    }

    /// Sets what every pass does from here on, whether training or evaluation is called, until `pin(None)`: so a layer
    /// that is frozen stays so when the network around it goes into training again. Evaluation never updates the
    /// running statistics, whatever is pinned; but it normalises by the batch where that is pinned, so unpin what was
    /// pinned for a training (`pin(None)`) before the layer is used.
    pub fn pin(&mut self, switches: Option<Switches>) {
        self.config.pinned = switches;
    }

    /// The switches of a pass: those that are pinned, else those that the call asks for.
    fn switches(&self, requested: Switches) -> Switches {
        self.config.pinned.unwrap_or(requested)
    }

    /// A forward pass by these switches, whatever is pinned; with `update_running`, the batch's moments are taken into
    /// the running statistics.
    ///
    /// # Errors
    /// As [`train`](Self::train) and [`eval`](Self::eval); the layer is unchanged then.
    pub fn forward<'i, 'v: 'i, T: Element>(
        &mut self,
        input: impl Into<Input<'i, 'v, T>>,
        switches: Switches,
    ) -> Result<Trained<T>, CallError> {
        let _call = Call::begin();
        let trained = self.pass_into_new(input.into(), switches)?;
        self.commit(&trained.batch)?;
        Ok(trained)
    }

    /// [`pass_into`](Self::pass_into) a new array.
    fn pass_into_new<T: Element>(&self, input: Input<T>, switches: Switches) -> Result<Trained<T>, CallError> {
        let (y, (saved, batch)) = Tensor::filled(input.x().layout(), |y| self.pass_into(input, switches, y))?;
        Ok(Trained { y, saved, batch })
    }

    /// The forward pass by these switches, into `y`; the layer is not changed.
    fn pass_into<T: Element>(
        &self,
        input: Input<T>,
        switches: Switches,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        self.check_channels(input.x())?;
        let running = self.running_for(input.x(), switches);
        self.normalizer.forward(input, self.parameters(), switches, running.as_deref(), y)
    }

    /// The running statistics that a pass over x goes by: where the number of channels is not known yet and a batch is to be
    /// renormalised, those that it will start from.
    pub(crate) fn running_for<T: Element>(
        &self,
        x: &View<T>,
        switches: Switches,
    ) -> Option<Cow<'_, RunningStatistics>> {
        let by_batch = switches.normalize_by.simplified() == NormalizeBy::Batch;
        let renormalized = by_batch && self.config.renormalization.is_some();
        let start = || RunningStatistics::start(x.channels()).ok().filter(|_| renormalized);
        self.running.as_ref().map(Cow::Borrowed).or_else(|| start().map(Cow::Owned))
    }

    /// One training step's forward pass: normalises by the batch and takes its moments into the running statistics.
    /// [`forward_train`](Self::forward_train) and [`commit`](Self::commit) in one.
    ///
    /// # Errors
    /// Shapes that do not fit and what the [policies](crate::Policies) refuse; the layer is unchanged then.
    pub fn train<'i, 'v: 'i, T: Element>(
        &mut self,
        input: impl Into<Input<'i, 'v, T>>,
    ) -> Result<Trained<T>, CallError> {
        let _call = Call::begin();
        let trained = self.forward_train(input)?;
        self.commit(&trained.batch)?;
        Ok(trained)
    }

    /// [`train`](Self::train) into the caller's buffer.
    ///
    /// # Errors
    /// As `train`; `y` is untouched then.
    pub fn train_into<'i, 'v: 'i, T: Element>(
        &mut self,
        input: impl Into<Input<'i, 'v, T>>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        let _call = Call::begin();
        let (saved, batch) = self.forward_train_into(input, y)?;
        self.commit(&batch)?;
        Ok((saved, batch))
    }

    /// The training forward pass alone; drop the returned moments to discard them, or [`commit`](Self::commit) them.
    ///
    /// # Errors
    /// Shapes that do not fit and what the [policies](crate::Policies) refuse.
    pub fn forward_train<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
    ) -> Result<Trained<T>, CallError> {
        self.pass_into_new(input.into(), self.switches(Switches::train()))
    }

    /// [`forward_train`](Self::forward_train) into the caller's buffer.
    ///
    /// # Errors
    /// As `forward_train`; `y` is untouched then.
    pub fn forward_train_into<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        self.pass_into(input.into(), self.switches(Switches::train()), y)
    }

    /// Takes the moments of a batch into the running statistics, as the configuration and the policies say
    /// ([`RunningStatistics::update`]). Gives the channels that were skipped because they are not finite. A layer
    /// that did not know its number of channels knows it then.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn commit(&mut self, batch: &BatchMoments) -> Result<Vec<usize>, CallError> {
        let got = batch.channels().len();
        self.config.channels.map_or(Ok(()), |expected| same_length("batch", expected, got))?;
        // A batch that updates nothing does not fix the number of channels either.
        if !updates_any_channel(batch, &self.config.policies) {
            return Ok(Vec::new());
        }
        let too_many = |_| CallError::Length { argument: "batch", expected: MAX_CHANNELS, got };
        self.set_channels(got).map_err(too_many)?;
        self.running.as_mut().map_or(Ok(Vec::new()), |running| running.update(batch, &self.config))
    }

    /// The evaluation forward pass: normalises by the running statistics.
    ///
    /// # Errors
    /// Shapes that do not fit; no running statistics, unless the policy says otherwise.
    pub fn eval<'i, 'v: 'i, T: Element>(&self, input: impl Into<Input<'i, 'v, T>>) -> Result<Evaluated<T>, CallError> {
        let input = input.into();
        let (y, saved) = Tensor::filled(input.x().layout(), |y| self.eval_into(input, y))?;
        Ok(Evaluated { y, saved })
    }

    /// [`eval`](Self::eval) into the caller's buffer.
    ///
    /// # Errors
    /// As `eval`; `y` is untouched then.
    pub fn eval_into<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        y: &mut ViewMut<T>,
    ) -> Result<Saved, CallError> {
        let input = input.into();
        self.check_channels(input.x())?;
        let switches = Switches { update_running: false, ..self.switches(Switches::evaluate()) };
        let running = self.running_for(input.x(), switches);
        self.normalizer
            .forward_by_switches(input, self.parameters(), switches, running.as_deref(), y)
            .map(|(saved, _)| saved)
    }

    /// [`eval`](Self::eval), y over `x`: the same bits, and no second array. A residual of the same shape is added
    /// before the activation. For evaluation without a backward pass, which would need the input again.
    ///
    /// # Errors
    /// As `eval`; a layer pinned to normalise by anything but the running statistics. `x` is untouched then.
    pub fn eval_in_place<T: Element>(&self, x: &mut ViewMut<T>, residual: Option<&View<T>>) -> Result<(), CallError> {
        self.check_channels(&x.as_view())?;
        self.check_pinned("eval_in_place", |switches| switches.normalize_by == NormalizeBy::Running)?;
        self.normalizer.eval_in_place(x, residual, self.parameters(), self.running.as_ref())
    }

    /// One training step's invertible forward pass, y over `x`: as [`train`](Self::train), but the backward pass
    /// ([`backward_invertible`](Self::backward_invertible)) takes y, so that nobody needs to keep the input. When it
    /// pays and what it costs in accuracy is at [`Invertible`].
    ///
    /// # Errors
    /// An activation without an inverse; a layer pinned to anything but training; and as `train`. The layer and `x` are
    /// unchanged then.
    pub fn train_invertible<T: Element + Parameter>(
        &mut self,
        x: &mut ViewMut<T>,
    ) -> Result<(Invertible<T>, BatchMoments), CallError> {
        let _call = Call::begin();
        self.check_channels(&x.as_view())?;
        self.check_pinned("train_invertible", |switches| switches == Switches::train())?;
        let running = self.running_for(&x.as_view(), Switches::train());
        let (saved, batch) = self.normalizer.train_invertible(x, self.parameters(), running.as_deref())?;
        drop(running);
        self.commit(&batch)?;
        Ok((saved, batch))
    }

    /// The backward pass of the forward pass that left `saved`; the input is that pass's again, with its output in the
    /// place of a residual ([`Input::with_output`]). The formulas are at [`Saved::backward`].
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; another kind of input than the forward pass's.
    pub fn backward<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        saved: &Saved,
    ) -> Result<Gradients<T>, CallError> {
        let input = input.into();
        let backward = |buffers: GradientBuffers<T>| self.backward_into(input, dy, saved, buffers);
        self.backward_into_new(input, saved.kind, saved.trains_parameters(), backward)
    }

    /// A backward pass of this kind into new arrays; the gradients of the parameters rounded, where the layer has them and the pass
    /// `trains` them.
    pub(crate) fn backward_into_new<T: Element>(
        &self,
        input: Input<T>,
        kind: InputKind,
        trains: bool,
        backward: impl FnOnce(GradientBuffers<T>) -> Result<ParameterGradients, CallError>,
    ) -> Result<Gradients<T>, CallError> {
        let (layout, affine) = (input.x().layout(), if trains { self.parameters.affine } else { Affine::Neither });
        if kind != InputKind::WithResidual {
            let (dx, parameters) = Tensor::filled(layout, |dx| backward(dx.into()))?;
            return Ok(Gradients::rounded(affine, dx, None, parameters));
        }
        let (dresidual, (dx, parameters)) = Tensor::filled(layout, |dresidual| {
            Tensor::filled(layout, |dx| backward(GradientBuffers::with_residual(dx, dresidual)))
        })?;
        Ok(Gradients::rounded(affine, dx, Some(dresidual), parameters))
    }

    /// [`backward`](Self::backward) into the caller's buffers; the gradients of gamma and beta in `f64`, whether the
    /// layer has these parameters or not.
    ///
    /// # Errors
    /// As `backward`, and other buffers than the forward pass asks for; they are untouched then.
    pub fn backward_into<'i, 'v: 'i, 'o, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        saved: &Saved,
        buffers: impl Into<GradientBuffers<'o, T>>,
    ) -> Result<ParameterGradients, CallError> {
        let input = input.into();
        self.check_channels(input.x())?;
        saved.backward(input, dy, buffers)
    }

    /// [`backward_into`](Self::backward_into), dx over `dy`: the same bits, and no third array.
    ///
    /// # Errors
    /// As `backward`; `dy` is untouched then.
    pub fn backward_in_place<T: Element>(
        &self,
        x: &View<T>,
        dy: &mut ViewMut<T>,
        saved: &Saved,
    ) -> Result<ParameterGradients, CallError> {
        self.check_channels(x)?;
        saved.backward_in_place(x, dy)
    }

    /// The backward pass of [`train_invertible`](Self::train_invertible), dx over `dy`; `y` is that pass's output, as
    /// it left it. The formulas and the accuracy are at [`Invertible`].
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; `dy` is untouched then.
    pub fn backward_invertible<T: Element + Parameter>(
        &self,
        y: &View<T>,
        dy: &mut ViewMut<T>,
        saved: &Invertible<T>,
    ) -> Result<ParameterGradients, CallError> {
        self.check_channels(y)?;
        saved.backward(y, dy)
    }

    /// gamma and beta borrowed, as the passes take them.
    pub(crate) fn parameters(&self) -> Parameters<'_, f64> {
        self.parameters.as_parameters()
    }

    /// Errors if the layer is pinned to switches that `call`, which can do one thing only, does not fit.
    pub(crate) fn check_pinned(&self, call: &'static str, fits: impl Fn(Switches) -> bool) -> Result<(), CallError> {
        match self.config.pinned {
            Some(pinned) if !fits(pinned) => Err(CallError::Pinned { call, pinned }),
            _ => Ok(()),
        }
    }

    /// Errors if an array has another number of channels than the layer, where that is known.
    pub(crate) fn check_channels<T: Element>(&self, x: &View<T>) -> Result<(), CallError> {
        self.config.channels.map_or(Ok(()), |expected| same_channels("x", expected, x))
    }
}

/// The values of a parameter in `f64`, if there is one for each channel; where the number of channels is not known yet,
/// if there are as many as a layer may have.
fn checked_values<P: Parameter>(
    argument: &'static str,
    values: &[P],
    channels: Option<usize>,
) -> Result<Vec<f64>, ConfigError> {
    if channels.is_none() {
        check_channels(values.len())?;
    }
    finite_values(argument, values, channels.unwrap_or(values.len()))
}

impl Config {
    /// Checks the options and builds the layer: gamma 1, beta 0, running mean 0, running variance 1.
    ///
    /// # Errors
    /// eps or an activation's slope not finite or negative, zero channels, a tier this machine lacks; batch renormalisation of a
    /// layer without running statistics.
    pub fn build(self) -> Result<BatchNorm, ConfigError> {
        if self.renormalization.is_some() && !self.track_running_statistics {
            return Err(ConfigError::RenormalizationUntracked);
        }
        let (normalizer, parameters) = (self.normalizer()?, AffineParameters::new(self.affine));
        let mut layer = BatchNorm { config: self, normalizer, parameters, running: None };
        if let Some(channels) = layer.config.channels {
            layer.set_channels(channels)?;
        }
        Ok(layer)
    }
}
