//! Batch norm without state: the forward passes and their backward pass, from arrays and parameters to arrays.
//!
//! [`BatchNorm`](crate::BatchNorm) keeps parameters and running statistics around this; frameworks that keep them in
//! tensors of their own call it directly. Here shapes and policies are decided; the loops are in `kernel`.

use crate::affine::inverse_deviation;
use crate::config::{
    Activation, Config, ConstantChannel, EmptyBatch, MissingRunning, NonFinite, Policies, SingleValue,
};
use crate::element::{Element, Parameter};
use crate::error::{CallError, ConfigError};
use crate::input::Input;
use crate::kernel::pointwise::Coefficients;
use crate::kernel::raw::Isa;
use crate::layout::Layout;
use crate::moments::Moments;
use crate::running::RunningStatistics;
use crate::saved::{Kind, Saved};
use crate::view::{View, ViewMut};

/// gamma and beta as somebody else keeps them; absent ones count as 1 and 0. Values are taken as they are: NaN in
/// gives NaN out.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'p, P> {
    /// Scale of each channel.
    pub gamma: Option<&'p [P]>,
    /// Shift of each channel.
    pub beta: Option<&'p [P]>,
}

/// The moments of one training batch, one for each channel: what a commit takes into the running statistics.
/// Those of micro-batches or of other machines are merged channel by channel first ([`Moments::merge`]).
#[derive(Debug, Clone, PartialEq)]
pub struct BatchMoments(Vec<Moments>);

impl From<Vec<Moments>> for BatchMoments {
    /// Moments that were computed or merged elsewhere, one for each channel.
    fn from(channels: Vec<Moments>) -> Self {
        BatchMoments(channels)
    }
}

impl BatchMoments {
    /// One for each channel.
    pub fn channels(&self) -> &[Moments] {
        &self.0
    }

    /// Channels that held NaN or infinity, or whose `f64` variance overflowed; ascending.
    pub fn non_finite(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|&channel| !self.0[channel].is_finite()).collect()
    }
}

impl<P> Default for Parameters<'_, P> {
    /// Neither gamma nor beta.
    fn default() -> Self {
        Parameters { gamma: None, beta: None }
    }
}

/// eps, policies and instruction set, checked: the formula without state.
///
/// ```
/// use batchnorm::{Axes, Config, Parameters, View, ViewMut};
/// let rule = Config::pytorch().rule()?;
/// let (x, dy) = ([1.0f32, 10.0, 3.0, 30.0], [1.0f32, 0.0, 0.0, 0.0]); // 2 samples of 2 features
/// let x = View::new(&x, &[2, 2], Axes::NCHW)?;
/// let (mut y, mut dx) = ([0.0f32; 4], [0.0f32; 4]);
///
/// let parameters = Parameters { gamma: Some(&[2.0f32, 1.0]), beta: None };
/// let (saved, batch) = rule.train(&x, parameters, None, &mut ViewMut::new(&mut y, &[2, 2], Axes::NCHW)?)?;
/// assert_eq!(batch.channels()[1].mean(), 20.0);
/// assert!((y[0] + 2.0).abs() < 1e-4);
///
/// let dy = View::new(&dy, &[2, 2], Axes::NCHW)?;
/// let gradients = saved.backward(&x, &dy, &mut ViewMut::new(&mut dx, &[2, 2], Axes::NCHW)?)?;
/// assert_eq!(gradients.dbeta, [1.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    epsilon: f64,
    pub(crate) activation: Activation,
    pub(crate) policies: Policies,
    pub(crate) isa: Isa,
}

impl Config {
    /// Checks the options and gives the formula without state. `channels`, `affine` and what concerns running
    /// statistics do not matter to it.
    ///
    /// # Errors
    /// As [`Config::build`].
    pub fn rule(&self) -> Result<Rule, ConfigError> {
        let isa = self.check()?;
        Ok(Rule { isa, epsilon: self.epsilon, activation: self.activation, policies: self.policies })
    }
}

impl Rule {
    /// Moments of each channel: one sweep over the input.
    pub fn moments<T: Element>(&self, x: &View<T>) -> BatchMoments {
        let mut all = T::moments(self.isa, &x.memory);
        all.resize(x.channels(), Moments::EMPTY);
        BatchMoments(all)
    }

    /// The moments, unless the policy refuses what they tell.
    pub(crate) fn acceptable(&self, batch: BatchMoments) -> Result<BatchMoments, CallError> {
        let channels = batch.non_finite();
        if self.policies.non_finite == NonFinite::Error && !channels.is_empty() {
            return Err(CallError::NonFinite { channels });
        }
        Ok(batch)
    }

    /// The training forward pass, into `y`: of each channel
    /// `y = f(gamma * (x - mean) / sqrt(variance + eps) + beta)` with the batch's mean and population variance, f the
    /// [`Activation`]; the input's residual is added before f.
    ///
    /// `running` is needed for [`SingleValue::UseRunning`] alone, and never changed.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit, and what the policies refuse. `y` is untouched then.
    pub fn train<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        let input = input.into();
        let x = input.x();
        input.check(y)?;
        let widened @ Widened { gamma, beta } = &parameters.widened(x.channels())?;
        if self.policies.non_finite == NonFinite::Error || input.kind() == Kind::Weighted {
            // Decided before anything is written.
            let (batch, instead) = self.judged(input, running)?;
            if let Some(running) = instead {
                return Ok((self.eval(input, parameters, Some(running), y)?, batch));
            }
            let saved = self.by_batch(&batch, x.count(), input.kind(), widened);
            self.normalize(input, y, saved.coefficients());
            return Ok((saved, batch));
        }
        if let Some(running) = self.instead_of_the_batch(x, running)? {
            let batch = self.moments(x);
            return Ok((self.eval(input, parameters, Some(running), y)?, batch));
        }
        let coefficients = |channel: usize, moments: Moments| {
            let (mean, rest) = mean_or_nan(&moments);
            let scale = gamma[channel] * self.inverse_of(&moments);
            [mean, scale, shifted(beta[channel], rest, scale)]
        };
        let mut all = T::train(self.isa, self.activation, &x.memory, input.residual(), &mut y.memory, &coefficients);
        all.resize(x.channels(), Moments::EMPTY);
        let batch = BatchMoments(all);
        Ok((self.by_batch(&batch, x.count(), input.kind(), widened), batch))
    }

    /// The moments of a batch that the policies take; and the running statistics, where they say that it is normalised by
    /// those.
    pub(crate) fn judged<'r, T: Element>(
        &self,
        input: Input<T>,
        running: Option<&'r RunningStatistics>,
    ) -> Result<(BatchMoments, Option<&'r RunningStatistics>), CallError> {
        if input.kind() != Kind::Weighted {
            let instead = self.instead_of_the_batch(input.x(), running)?;
            return Ok((self.acceptable(self.moments(input.x()))?, instead));
        }
        // How much of it counts is known when it has been looked at.
        let batch = self.moments_of(input)?;
        self.acceptable_masks(&batch)?;
        let single = self.policies.single_value == SingleValue::UseRunning;
        let instead = match batch.0.iter().any(Moments::is_single) {
            true if single => Some(running.ok_or(CallError::NoRunningStatistics { reason: ONE_BY_RUNNING })?),
            _ => self.acceptable_weights(&batch).map(|()| None)?,
        };
        Ok((self.acceptable(batch)?, instead))
    }

    /// Moments of each channel of an input, by its weights where it has some: [`moments`](Self::moments) for all kinds.
    ///
    /// # Errors
    /// Weights that do not fit the array.
    pub fn moments_of<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
    ) -> Result<BatchMoments, CallError> {
        let input = input.into();
        input.check_weights()?;
        let Some(weights) = input.weights() else { return Ok(self.moments(input.x())) };
        let mut all = T::moments_weighted(self.isa, &input.x().memory, &weights);
        all.resize(input.x().channels(), Moments::EMPTY);
        Ok(BatchMoments(all))
    }

    /// Whether the policies take a batch of which so much is masked.
    fn acceptable_masks(&self, batch: &BatchMoments) -> Result<(), CallError> {
        match batch.0.iter().position(|moments| moments.count() == 0) {
            Some(channel) if self.policies.empty_batch == EmptyBatch::Error => Err(CallError::AllMasked { channel }),
            _ => Ok(()),
        }
    }

    /// Whether the policies take a batch of which so much counts.
    pub(crate) fn acceptable_weights(&self, batch: &BatchMoments) -> Result<(), CallError> {
        self.acceptable_masks(batch)?;
        let find = |what: fn(&Moments) -> bool| batch.0.iter().position(what);
        let of = |channel: usize| (channel, batch.0[channel].count(), batch.0[channel].weight());
        if matches!(self.policies.single_value, SingleValue::Error | SingleValue::UseRunning)
            && let Some((channel, count, weight)) = find(Moments::is_single).map(of)
        {
            return Err(CallError::SingleWeighted { channel, count, weight });
        }
        Ok(())
    }

    /// Whether the policies take a batch of this size; the running statistics, where they say that it is normalised by
    /// those.
    pub(crate) fn instead_of_the_batch<'r, T: Element>(
        &self,
        x: &View<T>,
        running: Option<&'r RunningStatistics>,
    ) -> Result<Option<&'r RunningStatistics>, CallError> {
        match x.count() {
            1 if self.policies.single_value == SingleValue::UseRunning => {
                running.ok_or(CallError::NoRunningStatistics { reason: ONE_BY_RUNNING }).map(Some)
            }
            count => self.acceptable_count(x, count as u64).map(|()| None),
        }
    }

    /// Whether the policies take a batch of so many values a channel, which `x` belongs to.
    pub(crate) fn acceptable_count<T: Element>(&self, x: &View<T>, count: u64) -> Result<(), CallError> {
        match count {
            0 if self.policies.empty_batch == EmptyBatch::Error => {
                Err(CallError::EmptyBatch { shape: x.shape().to_vec() })
            }
            1 if matches!(self.policies.single_value, SingleValue::Error | SingleValue::UseRunning) => {
                let (shape, axis) = (x.shape().to_vec(), x.channel_axis());
                Err(CallError::SingleValue { shape, axis })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn epsilon(&self) -> f64 {
        self.epsilon
    }

    pub(crate) fn inverse_of(&self, moments: &Moments) -> f64 {
        inverse_deviation(moments.population_variance(), self.epsilon)
    }

    /// What training by the batch leaves.
    pub(crate) fn by_batch(&self, batch: &BatchMoments, count: usize, kind: Kind, parameters: &Widened) -> Saved {
        let Widened { gamma, beta } = parameters;
        let (mean, rest): (_, Vec<f64>) = batch.0.iter().map(mean_or_nan).unzip();
        let declared_zero = self.policies.constant_channel == ConstantChannel::ZeroGradient;
        let mut inverse: Vec<f64> = batch.0.iter().map(|moments| self.inverse_of(moments)).collect();
        let scale = products(gamma, &inverse);
        for (inverse, moments) in inverse.iter_mut().zip(&batch.0) {
            if declared_zero && moments.is_constant() {
                *inverse = 0.0;
            }
        }
        let total = batch.0.iter().map(Moments::weight).collect();
        Saved { total, ..self.by_statistics(count, kind, beta, [mean, rest, inverse, scale]) }
    }

    /// What a pass by these statistics leaves, all of them the batch's: of each channel the mean, its rest, the inverse
    /// standard deviation and the scale.
    pub(crate) fn by_statistics(
        &self,
        count: usize,
        kind: Kind,
        beta: &[f64],
        [mean, rest, inverse_deviation, scale]: [Vec<f64>; 4],
    ) -> Saved {
        let lag = products(&rest, &inverse_deviation);
        Saved {
            isa: self.isa.tier(),
            flow: 1.0,
            trains_parameters: true,
            activation: self.activation,
            kind,
            total: vec![count as f64; beta.len()],
            count: count as u64,
            of_larger: false,
            mean,
            batch_lag: lag.clone(),
            lag,
            inverse_deviation,
            shift: (0..beta.len()).map(|channel| shifted(beta[channel], rest[channel], scale[channel])).collect(),
            scale,
        }
    }

    /// The evaluation forward pass, into `y`: the same formula with the running mean and variance, which are
    /// constants to the backward pass.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit; no running statistics under [`MissingRunning::Error`]. `y` is untouched
    /// then.
    pub fn eval<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<Saved, CallError> {
        let input = input.into();
        let x = input.x();
        let Some(running) = running else {
            if self.policies.missing_running == MissingRunning::BatchStatistics {
                return self.train(input, parameters, None, y).map(|(saved, _)| saved);
            }
            return Err(CallError::NoRunningStatistics { reason: NOTHING_TO_EVALUATE_BY });
        };
        input.check(y)?;
        let saved = self.constants(x.channels(), x.count(), input.kind(), parameters, running)?;
        self.normalize(input, y, saved.coefficients());
        Ok(saved)
    }

    /// y from the input, and coefficients that are known already: mean, scale, shift.
    pub(crate) fn normalize<T: Element>(&self, input: Input<T>, y: &mut ViewMut<T>, all: Coefficients<3>) {
        let (isa, activation, x) = (self.isa, self.activation, &input.x().memory);
        match input.weights() {
            Some(weights) => T::normalize_weighted(isa, activation, x, &weights, &mut y.memory, all),
            None => T::normalize(isa, activation, x, input.residual(), &mut y.memory, all),
        }
    }

    /// What an evaluation leaves, which is also what it computes with.
    pub(crate) fn constants<P: Parameter>(
        &self,
        channels: usize,
        count: usize,
        kind: Kind,
        parameters: Parameters<P>,
        running: &RunningStatistics,
    ) -> Result<Saved, CallError> {
        let Widened { gamma, beta } = parameters.widened(channels)?;
        same_length("running_mean", channels, running.channels())?;
        let inverse: Vec<f64> =
            running.variance().iter().map(|&variance| inverse_deviation(variance, self.epsilon)).collect();
        let scale = products(&gamma, &inverse);
        let statistics = [running.mean().to_vec(), vec![0.0; channels], inverse, scale];
        Ok(self.by_statistics(count, kind, &beta, statistics).with_constant_statistics())
    }
}

const ONE_BY_RUNNING: &str = "one value a channel under SingleValue::UseRunning; train on a larger batch first, \
                              install them, or choose another `SingleValue` policy";

pub(crate) const NOTHING_TO_EVALUATE_BY: &str = "evaluation normalises by them; train first, install them, \
                                      or choose `MissingRunning::BatchStatistics`";

/// Parameters in `f64`, one value for each channel; 1 and 0 where there are none.
pub(crate) struct Widened {
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
}

impl<P: Parameter> Parameters<'_, P> {
    /// gamma and beta in `f64`, if they have one value for each channel.
    pub(crate) fn widened(&self, expected: usize) -> Result<Widened, CallError> {
        let widen = |argument, values: Option<&[P]>, absent: f64| match values {
            Some(values) if values.len() != expected => {
                Err(CallError::Length { argument, expected, got: values.len() })
            }
            Some(values) => Ok(values.iter().map(|value| value.to_f64()).collect()),
            None => Ok(vec![absent; expected]),
        };
        Ok(Widened { gamma: widen("gamma", self.gamma, 1.0)?, beta: widen("beta", self.beta, 0.0)? })
    }
}

/// Two numbers of each channel, multiplied.
pub(crate) fn products(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one * other).collect()
}

/// The mean as a pair; NaN where the channel is not finite, so that all of its output is.
pub(crate) fn mean_or_nan(moments: &Moments) -> (f64, f64) {
    if moments.is_finite() { moments.mean_pair() } else { (f64::NAN, 0.0) }
}

/// The shift by which the mean's rest need not be subtracted from every x: (x - mean - rest) * scale + beta is
/// (x - mean) * scale + (beta - rest * scale), and x - mean is as exact where it matters.
pub(crate) fn shifted(beta: f64, rest: f64, scale: f64) -> f64 {
    if rest == 0.0 { beta } else { beta - rest * scale }
}

pub(crate) fn same_length(argument: &'static str, expected: usize, got: usize) -> Result<(), CallError> {
    if expected == got { Ok(()) } else { Err(CallError::Length { argument, expected, got }) }
}

pub(crate) fn same_shape(argument: &'static str, x: &Layout, other: &Layout) -> Result<(), CallError> {
    let (expected, got) = (x.logical_shape(), other.logical_shape());
    if expected == got { Ok(()) } else { Err(CallError::Shape { argument, expected, got }) }
}
