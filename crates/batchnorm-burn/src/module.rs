//! The module [`BatchNorm`]: its state, how it is built, and how it is shown.

use batchnorm::{Activation, Averaged, ConfigError, Policies, Renormalization, Switches, Threads, UpdateWeight};
use burn::module::{Content, DisplaySettings, Flag, Initializer, ModuleDisplay, Param};
use burn::tensor::{Device, Tensor};

use crate::config::{BatchNormConfig, RunningAverage, RunningVariance, options};
use crate::error::{ForwardError, Reason};
use crate::held::Held;
use crate::name::LayerName;
use crate::participant::Participant;
use crate::portable::Arithmetic;
use crate::running::RunningTensor;

/// Batch normalisation (Ioffe and Szegedy 2015) of tensors `[samples, channels, ...]` of rank 2 and more:
/// of each channel, over all other axes,
///
/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`
///
/// with the batch's mean and population variance in training and the running ones in evaluation. Gradients flow to
/// the input, gamma and beta, to each if it requires one: in training through mean and variance, in evaluation with
/// both constant. The gradient of a channel whose values are all alike is 0.
///
/// Built by [`BatchNormConfig`]. [`then`](Self::then) and [`adding`](Self::adding) give it with
/// an activation and a residual in the same pass.
///
/// # Number types
/// `f32` and `f64` are computed as they are, `f16` and `bf16` in `f32` and cast back (statistics, gamma and beta are
/// not narrowed by that); others are an error. The output has the input's type.
///
/// # Backends
/// This crate's promises of accuracy and bits hold on Flex. On other backends the layer computes by tensor operations;
/// [`arithmetic`](Self::arithmetic) tells which of the two it is.
///
/// # State
/// The running statistics are `f32`. In training each forward pass updates them before it returns, with
/// `running = (1 - momentum) * running + momentum * batch` computed in `f64` and rounded once. They sit behind locks
/// of the module's own, for Burn's forward passes take `&self`; they are what a record saves and what evaluation
/// uses. Two threads that train one module update it one after the other, in no fixed order.
///
/// A channel that held NaN or infinity, or whose new statistics exceed `f32`, is not updated; see
/// [`Trained`](crate::Trained).
///
/// # Clones and replicas
/// A clone has running statistics of its own. What becomes of them depends on how it ends:
///
/// - **It is dropped**, as the replicas are that a training on several devices makes for each step (burn-train's
///   `MultiDevice` strategy: clone, `fork`, forward, backward). Then the batches that it has seen are given to the value
///   that it was cloned from, through any clones between; if that has ended, to the model that an optimizer made of
///   it, or else to the value that it was cloned from in turn. What is given between two training passes or optimizer steps
///   of that value is one batch: the moments of all are pooled, in an order that does not depend on which thread came first,
///   and enter the running statistics once. They are there as soon as the clone is gone.
/// - **It goes on as a model of its own**, once anything maps it (an optimizer's step, a loaded record, `freeze`,
///   `no_grad`, quantising) or it is told to [`train`](burn::module::Module::train). What it has seen and will see is its
///   own. If the value that it was cloned from is dropped behind that, with no training pass since, the clone takes its place,
///   as in `model = optimizer.step(lr, model.clone(), gradients)`.
///
/// So target networks, averages of weights and copies for an experiment that run in training mode are made by
/// `model.clone().train()`: a mere clone gives its batches back, as clones of Burn's layer share their statistics. [`valid`](burn::module::Module::valid) makes a copy for use,
/// which has to do with nobody.
///
/// Clones of a layer that [holds](Self::hold) hold too, and what they give is held as one batch, for the layer to decide on.
/// [Participants](Participant) take in the whole batch each; a clone among them gives its part, so that the parts of all make
/// the batch. A clone whose pass panics gives nothing.
#[derive(Debug)]
pub struct BatchNorm {
    /// Scale of each channel.
    pub gamma: Param<Tensor<1>>,
    /// Shift of each channel.
    pub beta: Param<Tensor<1>>,
    /// Lets [`forward`](Self::forward) train: [`freeze`](burn::module::Module::freeze) and [`valid`](burn::module::Module::valid) clear it.
    pub training: Param<Flag>,
    /// Running mean of each channel.
    pub running_mean: RunningTensor,
    /// Running variance of each channel.
    pub running_var: RunningTensor,
    /// Weight of the new value in the running statistics.
    pub momentum: f64,
    /// The average by which the running statistics follow the batches.
    pub averaging: RunningAverage,
    /// The measure of spread that is averaged.
    pub averaged: Averaged,
    /// Batch renormalisation in training.
    pub renormalization: Option<Renormalization>,
    /// Updates of each channel so far, in a layer whose average or renormalisation depends on them; a part of its record then. (A
    /// `f32` counts them up to 2^24, where nothing of a start is left.)
    pub updates: Option<RunningTensor>,
    /// Added to the variance inside the square root.
    pub epsilon: f64,
    /// The variance that `running_var` estimates.
    pub running_variance: RunningVariance,
    /// Name of the layer in errors and displays: its path in the model, once that is known.
    pub name: LayerName,
    /// Switches that every pass goes by, whatever the device, the flag and the call say; see [`pin`](Self::pin).
    pub pinned: Option<Switches>,
    /// Behaviour in degenerate cases; the defaults are those of the crate `batchnorm`.
    pub policies: Policies,
    /// Samples of a ghost batch: in training each group of so many samples is normalised by its own statistics
    /// ([`Ghost`](batchnorm::Ghost)), while the running ones are those of the whole batch. `None`: no groups.
    pub ghost: Option<usize>,
    /// Connection to other layers that normalise one batch together with this one; see [`Participant`].
    pub participant: Option<Participant>,
    /// The threads that passes run on; by default rayon's ([`Threads::current_pool`]). Any number of them gives the same bits. A
    /// record does not have it.
    pub threads: Threads,
    /// Moments that are not in the running statistics yet; see [`hold`](Self::hold).
    pub held: Held,
}

impl BatchNormConfig {
    /// The layer on a device: gamma 1, beta 0, running mean 0, running variance 1.
    ///
    /// # Panics
    /// Where [`try_init`](Self::try_init) errs.
    #[track_caller]
    pub fn init(&self, device: &Device) -> BatchNorm {
        self.try_init(device).unwrap_or_else(|error| panic!("BatchNormConfig: {error}"))
    }

    /// [`init`](Self::init), with bad options as an error.
    ///
    /// # Errors
    /// No features, an epsilon that is not finite or is negative, a momentum outside 0..=1, ghost batches of 0 samples.
    #[track_caller]
    pub fn try_init(&self, device: &Device) -> Result<BatchNorm, ConfigError> {
        let BatchNormConfig { num_features: channels, epsilon, momentum, running_variance, .. } = *self;
        // Built to be checked: the rules are the core's.
        options(epsilon, momentum, running_variance)?.channels(channels).build()?;
        if self.ghost == Some(0) {
            return Err(ConfigError::Zero { argument: "ghost" });
        }
        Ok(BatchNorm {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            training: Param::from_bool(true),
            running_mean: RunningTensor::new(Tensor::zeros([channels], device)),
            running_var: RunningTensor::new(Tensor::ones([channels], device)),
            momentum,
            averaging: self.averaging,
            averaged: self.averaged,
            renormalization: self.renormalization,
            updates: None,
            epsilon,
            running_variance,
            name: LayerName::built_here("BatchNorm", self.name.clone()),
            pinned: self.pinned,
            policies: self.policies.unwrap_or_default(),
            ghost: self.ghost,
            participant: None,
            threads: Threads::default(),
            held: Held::default(),
        }
        .counting_updates())
    }
}

impl BatchNorm {
    /// Sets switches that every pass goes by from here on, until `pin(None)`: so a frozen layer stays frozen when the
    /// network around it goes into training again, to another device or through an optimizer. Evaluation never updates
    /// the running statistics, whatever is pinned; but it normalises by the batch where that is pinned, so unpin what
    /// was pinned for a training before the model is used. A record does not have it.
    ///
    /// ```
    /// use batchnorm_burn::{BatchNormConfig, Switches};
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// let device = Device::default().autodiff();
    /// let norm = BatchNormConfig::new(3).init(&device).pin(Some(Switches::frozen()));
    /// let x = Tensor::<2>::random([8, 3], Distribution::Default, &device);
    /// let y = norm.forward(x.clone()); // on a device that trains
    /// assert_eq!(y.into_data(), norm.forward_eval(x).into_data());
    /// ```
    #[must_use]
    pub fn pin(self, switches: Option<Switches>) -> Self {
        BatchNorm { pinned: switches, ..self }
    }

    /// Sets the average by which the running statistics follow the batches from here on, behind so many `updates` of theirs: 0 of a
    /// layer that has seen none, and `u64::MAX` where the number is not known. [`RunningAverage::Debiased`] takes the next batch
    /// for the first one behind 0 updates, and the statistics for free of their start behind very many;
    /// [`RunningAverage::Cumulative`] weighs them by that number. What they hold of their start by now stays in them
    /// ([`RunningStatistics::without_start`](batchnorm::RunningStatistics::without_start) takes it out).
    ///
    /// ```
    /// use batchnorm_burn::{BatchNormConfig, RunningAverage};
    /// use burn::tensor::{Device, Tensor};
    /// let trained = BatchNormConfig::new(1).init(&Device::default());
    /// trained.forward_train(Tensor::<2>::from_floats([[4.0], [6.0]], &Device::default()));
    /// let before = trained.running_mean.value().into_scalar::<f32>(); // 0.1 * 5
    /// let norm = trained.averaging_by(RunningAverage::Debiased, u64::MAX);
    /// norm.forward_train(Tensor::<2>::from_floats([[4.0], [6.0]], &Device::default()));
    /// let after = norm.running_mean.value().into_scalar::<f32>();
    /// assert!((after - (0.9 * before + 0.1 * 5.0)).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn averaging_by(mut self, averaging: RunningAverage, updates: u64) -> Self {
        self.averaging = averaging;
        if averaging != RunningAverage::Exponential {
            let ([channels], device) = (self.gamma.dims(), self.running_mean.lock().device());
            self.updates = Some(RunningTensor::new(Tensor::full([channels], updates as f32, &device)));
        }
        self.counting_updates()
    }

    /// Sets batch renormalisation from here on; `None` for batch norm. Its warm-up begins with the next batch.
    ///
    /// ```
    /// use batchnorm_burn::{BatchNormConfig, Renormalization, map_norms};
    /// # #[derive(burn::module::Module, Debug)]
    /// # struct Model {
    /// #     norm: batchnorm_burn::BatchNorm,
    /// # }
    /// # let model = Model { norm: BatchNormConfig::new(3).init(&Default::default()) };
    /// let limits = Renormalization::new(3.0, 5.0)?.warm_up(500, 4000, 2500)?;
    /// let model = map_norms(model, |_, norm| norm.renormalizing(limits)); // all norms of somebody's model
    /// # let _ = model;
    /// # Ok::<(), batchnorm::ConfigError>(())
    /// ```
    #[must_use]
    pub fn renormalizing(self, renormalization: impl Into<Option<Renormalization>>) -> Self {
        BatchNorm { renormalization: renormalization.into(), ..self }.counting_updates()
    }

    /// Whether its average or renormalisation depends on the number of updates.
    fn needs_updates(&self) -> bool {
        self.averaging != RunningAverage::Exponential || self.renormalization.is_some()
    }

    /// The layer with a count of updates, if it needs one.
    fn counting_updates(mut self) -> Self {
        if self.needs_updates() && self.updates.is_none() {
            let ([channels], device) = (self.gamma.dims(), self.running_mean.lock().device());
            self.updates = Some(RunningTensor::new(Tensor::zeros([channels], &device)));
        }
        self
    }

    /// Errors if the layer needs a count of updates and has none.
    pub(crate) fn check_updates(&self) -> Result<(), Reason> {
        if self.needs_updates() && self.updates.is_none() { Err(Reason::NoUpdates) } else { Ok(()) }
    }

    pub(crate) fn error(&self, reason: Reason) -> ForwardError {
        self.name.error(reason)
    }

    /// The arithmetic of this layer on its device: the crate `batchnorm`'s on Flex, else tensor operations, which
    /// promise less and have been tested on Flex alone; see [`Arithmetic`].
    pub fn arithmetic(&self) -> Arithmetic {
        Arithmetic::on(&self.running_mean.lock().device())
    }

    /// The options as the core takes them.
    pub(crate) fn options(&self, activation: Activation) -> Result<batchnorm::Config, ConfigError> {
        let options = options(self.epsilon, self.momentum, self.running_variance)?
            .averaging(self.averaging.averaging(UpdateWeight::of_new(self.momentum)?))
            .averaged(self.averaged)
            .renormalization(self.renormalization);
        Ok(options.policies(self.policies).activation(activation).threads(self.threads.clone()))
    }
}

impl ModuleDisplay for BatchNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [num_features] = self.gamma.shape().dims();
        let content = content
            .add("num_features", &num_features)
            .add("momentum", &self.momentum)
            .add("epsilon", &self.epsilon)
            .add_debug_attribute("running_variance", &self.running_variance);
        let content = match self.averaging {
            RunningAverage::Exponential => content,
            other => content.add_debug_attribute("averaging", &other),
        };
        let content = match &self.renormalization {
            Some(renormalization) => content.add_debug_attribute("renormalization", renormalization),
            None => content,
        };
        let content = match self.name.is_known() {
            true => content.add("name", &self.name.to_string()),
            false => content,
        };
        let content = match &self.pinned {
            Some(pinned) => content.add_debug_attribute("pinned", pinned),
            None => content,
        };
        let content = match &self.ghost {
            Some(samples) => content.add("ghost", samples),
            None => content,
        };
        match self.training.is_enabled() {
            true => content.optional(),
            false => content.add("training", &self.training).optional(),
        }
    }
}
