//! Decorrelated batch norm.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use batchnorm::{
    BatchComoments, Comoments, ConfigError, Decorrelated as Core, RunningCovariance, Threads, UpdateWeight,
    WhiteningConfig,
};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Flag, Initializer, ModuleDisplay, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::check::{check_channels, computed_in};
use crate::config::RunningVariance;
use crate::error::{ForwardError, Reason};
use crate::extension;
use crate::ledger::{Fate, Life, Now, Rule};
use crate::name::LayerName;
use crate::pass::{BatchReport, Pass};
use crate::portable::Arithmetic;
use crate::running::{Cell, RunningTensor, dequantized, values, vector};

/// Configuration of a [`Decorrelated`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecorrelatedConfig {
    /// Number of channels; at least 1.
    pub num_features: usize,
    /// Neighbouring channels that are decorrelated from each other; the last group has what is left. 16 is usual.
    pub group: usize,
    /// Added to the eigenvalues of the covariance; finite and >= 0.
    pub epsilon: f64,
    /// Weight of the *new* value in the running statistics; in 0..=1.
    pub momentum: f64,
    /// The covariance that the running covariance estimates.
    pub running_covariance: RunningVariance,
    /// Name of the layer in errors, beside its path ([`LayerName`]).
    pub name: Option<String>,
}

impl Config for DecorrelatedConfig {}

impl DecorrelatedConfig {
    /// So many channels in such groups, with epsilon 1e-5 and momentum 0.1; the running covariance is the sample covariance.
    pub fn new(num_features: usize, group: usize) -> Self {
        let running_covariance = RunningVariance::Sample;
        DecorrelatedConfig { num_features, group, epsilon: 1e-5, momentum: 0.1, running_covariance, name: None }
    }

    /// Sets what is added to the eigenvalues of the covariance.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        DecorrelatedConfig { epsilon, ..self }
    }

    /// Sets the weight of the new value in the running statistics.
    pub fn with_momentum(self, momentum: f64) -> Self {
        DecorrelatedConfig { momentum, ..self }
    }

    /// Sets the covariance that the running covariance estimates.
    pub fn with_running_covariance(self, running_covariance: RunningVariance) -> Self {
        DecorrelatedConfig { running_covariance, ..self }
    }

    /// Sets a name of the layer in errors, which need not be its path.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        DecorrelatedConfig { name: Some(name.into()), ..self }
    }

    /// The layer on a device: gamma 1, beta 0, running mean 0, running covariance the identity.
    ///
    /// # Panics
    /// Where [`try_init`](Self::try_init) errs.
    #[track_caller]
    pub fn init(&self, device: &Device) -> Decorrelated {
        self.try_init(device).unwrap_or_else(|error| panic!("DecorrelatedConfig: {error}"))
    }

    /// [`init`](Self::init), with bad options as an error.
    ///
    /// # Errors
    /// No features, groups of none, an epsilon that is not finite or is negative, a momentum outside 0..=1.
    #[track_caller]
    pub fn try_init(&self, device: &Device) -> Result<Decorrelated, ConfigError> {
        let DecorrelatedConfig { num_features: channels, group, epsilon, momentum, running_covariance, name } =
            self.clone();
        let core = options(channels, group, epsilon, momentum, running_covariance)?.build()?;
        let running = core.running().expect("statistics are tracked");
        let covariances = flat(running.covariances());
        Ok(Decorrelated {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            training: Param::from_bool(true),
            running_mean: RunningTensor::new(Tensor::zeros([channels], device)),
            running_covariance: RunningTensor::new(vector(covariances, device)),
            group,
            momentum,
            epsilon,
            estimator: running_covariance,
            name: LayerName::built_here("Decorrelated", name),
            threads: Threads::default(),
            life: Life::new(Fate::AtOnce),
        })
    }
}

fn options(
    channels: usize,
    group: usize,
    epsilon: f64,
    momentum: f64,
    estimator: RunningVariance,
) -> Result<WhiteningConfig, ConfigError> {
    let weight = UpdateWeight::of_new(momentum)?;
    Ok(WhiteningConfig::new(channels, group).epsilon(epsilon).averaging(weight).estimator(estimator.estimator()))
}

/// The elements of matrices, one matrix after the other, in `f32`.
fn flat(matrices: &[Vec<f64>]) -> Vec<f32> {
    matrices.iter().flatten().map(|&value| value as f32).collect()
}

/// Decorrelated batch norm (Huang et al. 2018): in groups of channels whitened by the inverse square root of the
/// covariance, in evaluation by that of a running covariance. Formulas, accuracy and cost are at
/// [`batchnorm::Decorrelated`].
///
/// On Flex, in `f32` and `f64` (`f16` and `bf16` are cast to `f32` and back); other backends have no eigenvalues to
/// offer, and get an error. The running statistics are `f32`; each training pass updates them before it returns. Where
/// the channels of a group are nearly dependent, that rounding is felt in evaluation: with kappa the condition number
/// of the group's correlations, it moves the output by about 6e-8 kappa. A larger epsilon bounds that.
///
/// ```
/// use batchnorm_burn::DecorrelatedConfig;
/// use burn::tensor::{Device, Distribution, Tensor};
/// let device = Device::default().autodiff();
/// let layer = DecorrelatedConfig::new(6, 3).init(&device); // 6 channels in groups of 3
/// let x = Tensor::<4>::random([8, 6, 4, 4], Distribution::Default, &device).require_grad();
/// let gradients = layer.forward(x.clone()).powi_scalar(3).mean().backward(); // by the batch
/// assert!(x.grad(&gradients).is_some() && layer.gamma.grad(&gradients).is_some());
/// assert_eq!(layer.forward_eval(x).dims(), [8, 6, 4, 4]); // by the running covariance
/// ```
#[derive(Debug)]
pub struct Decorrelated {
    /// Scale of each channel.
    pub gamma: Param<Tensor<1>>,
    /// Shift of each channel.
    pub beta: Param<Tensor<1>>,
    /// Lets [`forward`](Self::forward) train: [`freeze`](burn::module::Module::freeze) and [`valid`](burn::module::Module::valid) clear it.
    pub training: Param<Flag>,
    /// Running mean of each channel.
    pub running_mean: RunningTensor,
    /// Running covariance of each group, row after row and group after group.
    pub running_covariance: RunningTensor,
    /// Channels of a group.
    pub group: usize,
    /// Weight of the new value in the running statistics.
    pub momentum: f64,
    /// Added to the eigenvalues.
    pub epsilon: f64,
    /// The covariance that `running_covariance` estimates.
    pub estimator: RunningVariance,
    /// Name of the layer in errors: its path in the model, once that is known.
    pub name: LayerName,
    /// The threads that passes run on; by default rayon's ([`Threads::current_pool`]). Any number of them gives the same bits. A
    /// record does not have it.
    pub threads: Threads,
    /// The batches that were seen, by which clones tell the layer of theirs.
    pub(crate) life: Arc<Life<WhiteningRule>>,
}

impl Decorrelated {
    /// Training or evaluation by Burn's convention: training if the input is on an autodiff device and the layer is not
    /// frozen.
    ///
    /// # Panics
    /// Where [`forward_train`](Self::forward_train) or [`forward_eval`](Self::forward_eval) panics.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        match input.is_autodiff() && self.training.is_enabled() {
            true => self.forward_train(input),
            false => self.forward_eval(input),
        }
    }

    /// Whitens by the batch and updates the running statistics.
    ///
    /// # Panics
    /// Where [`try_forward_train`](Self::try_forward_train) errs, with its message.
    pub fn forward_train<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward_train(input).unwrap_or_else(|error| panic!("{error}")).0
    }

    /// Whitens by the running statistics.
    ///
    /// # Panics
    /// Where [`try_forward_eval`](Self::try_forward_eval) errs, with its message.
    pub fn forward_eval<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward_eval(input).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`forward_train`](Self::forward_train) with errors as values, and with the groups whose running statistics were
    /// left as they were, because the batch's are not finite or the new ones would exceed `f32`.
    ///
    /// # Errors
    /// One value a channel; a rank below 2; another number of channels or number type; with epsilon 0 a covariance
    /// without an inverse; another backend than Flex; invalid options, parameters or statistics. The layer is unchanged
    /// then.
    pub fn try_forward_train<const D: usize>(&self, input: Tensor<D>) -> Result<(Tensor<D>, Vec<usize>), ForwardError> {
        let named = |reason: Reason| self.error(reason);
        let (y, report) = self.pass(input, true).map_err(named)?;
        let skipped = match report {
            BatchReport::Comoments(batch) => {
                let rule =
                    WhiteningRule { options: self.options().map_err(|error| named(error.into()))?, group: self.group };
                self.ledger().train(self.cells(), Now { rule: &rule, batch: &batch, part: None }).map_err(named)?
            }
            _ => Vec::new(),
        };
        Ok((y, skipped))
    }

    /// [`forward_eval`](Self::forward_eval) with errors as values.
    ///
    /// # Errors
    /// As [`try_forward_train`](Self::try_forward_train), but for one value a channel.
    pub fn try_forward_eval<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>, ForwardError> {
        self.pass(input, false).map(|(y, _)| y).map_err(|reason| self.error(reason))
    }

    fn error(&self, reason: Reason) -> ForwardError {
        self.name.error(reason)
    }

    /// The running statistics as the crate `batchnorm` takes them.
    fn running(&self) -> Result<RunningCovariance, ConfigError> {
        // Both locked, so that they are of one step.
        let (mean, covariance) = (self.running_mean.lock(), self.running_covariance.lock());
        RunningCovariance::from_parts(&values(&mean), &values(&covariance), self.group, 0)
    }

    fn options(&self) -> Result<WhiteningConfig, ConfigError> {
        let options = options(self.gamma.dims()[0], self.group, self.epsilon, self.momentum, self.estimator)?;
        Ok(options.threads(self.threads.clone()))
    }

    /// The core's layer, in this layer's present state.
    fn core(&self) -> Result<Core, ConfigError> {
        let mut core = self.options()?.build()?;
        core.set_gamma(&values(&self.gamma.val()))?;
        core.set_beta(&values(&self.beta.val()))?;
        core.set_running(self.running()?)?;
        Ok(core)
    }

    fn pass<const D: usize>(&self, input: Tensor<D>, training: bool) -> Result<(Tensor<D>, BatchReport), Reason> {
        let input = dequantized(input);
        let input_type = input.dtype();
        let computed = computed_in("input", input_type)?;
        check_channels(&input, self.gamma.dims()[0])?;
        if Arithmetic::on(&input.device()) != Arithmetic::Contract {
            return Err(Reason::NeedsContract { what: "eigenvalues" });
        }
        let pass = Pass::Whitening { layer: Box::new(self.core()?), training, name: self.name.handle() };
        let vector = |param: &Param<Tensor<1>>| dequantized(param.val()).cast(computed);
        let (gamma, beta) = (vector(&self.gamma), vector(&self.beta));
        let (y, report) = extension::forward(input.cast(computed), None, gamma, beta, pass)?;
        Ok((y.cast(input_type), report))
    }

    /// Where the running statistics stand.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        vec![self.running_mean.cell(), self.running_covariance.cell()]
    }
}

/// How the running statistics take in a batch.
#[derive(Clone)]
pub(crate) struct WhiteningRule {
    options: WhiteningConfig,
    group: usize,
}

impl Rule for WhiteningRule {
    type Batch = BatchComoments;
    /// Nothing observes this layer.
    type Observation = Infallible;

    fn merge(one: &BatchComoments, other: &BatchComoments) -> Option<BatchComoments> {
        one.merge(other).ok()
    }

    fn order(one: &BatchComoments, other: &BatchComoments) -> Ordering {
        let numbers = |batch: &BatchComoments| -> Vec<u64> {
            let of_group = |group: &Comoments| {
                let values = group.mean().iter().chain(group.matrix()).map(|value| value.to_bits());
                std::iter::once(group.count()).chain(values).collect::<Vec<u64>>()
            };
            batch.groups().iter().flat_map(of_group).collect()
        };
        numbers(one).cmp(&numbers(other))
    }

    fn take_in(&self, before: &[Vec<f64>], batch: &BatchComoments) -> Result<(Vec<Vec<f32>>, Vec<usize>), Reason> {
        let mut running = RunningCovariance::from_parts(&before[0], &before[1], self.group, 0)?;
        let mut skipped: BTreeSet<usize> = running.update(batch, &self.options)?.into_iter().collect();
        let mut means: Vec<f32> = running.mean().iter().map(|&value| value as f32).collect();
        let (mut covariances, group) = (flat(running.covariances()), running.group());
        let (mut channel, mut entry) = (0, 0);
        for (number, matrix) in running.covariances().iter().enumerate() {
            let channels = channel..(channel + group).min(means.len());
            let entries = entry..entry + matrix.len();
            (channel, entry) = (channels.end, entries.end);
            let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
            if !finite(&means[channels.clone()]) || !finite(&covariances[entries.clone()]) {
                skipped.insert(number);
                channels.for_each(|at| means[at] = before[0][at] as f32);
                entries.for_each(|at| covariances[at] = before[1][at] as f32);
            }
        }
        Ok((vec![means, covariances], skipped.into_iter().collect()))
    }

    fn observe(observation: &mut Infallible, _batch: &BatchComoments) -> Result<Vec<usize>, Reason> {
        match *observation {}
    }
}

impl ModuleDisplay for Decorrelated {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [num_features] = self.gamma.shape().dims();
        let content = content
            .add("num_features", &num_features)
            .add("group", &self.group)
            .add("momentum", &self.momentum)
            .add("epsilon", &self.epsilon)
            .add_debug_attribute("running_covariance", &self.estimator);
        match self.name.is_known() {
            true => content.add("name", &self.name.to_string()).optional(),
            false => content.optional(),
        }
    }
}
