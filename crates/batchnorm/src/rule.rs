//! Batch norm without state: the forward passes and their backward pass, from arrays and parameters to arrays.
//!
//! [`BatchNorm`](crate::BatchNorm) keeps parameters and running statistics around this; frameworks that keep them in
//! tensors of their own call it directly. Here shapes and policies are decided; the loops are in `kernel`.

use crate::affine::inverse_deviation;
use crate::config::{Config, ConstantChannel, EmptyBatch, MissingRunning, NonFinite, Policies, SingleValue};
use crate::element::{Element, Parameter};
use crate::error::{CallError, ConfigError};
use crate::kernel::leaves::{GradientLeaf, GradientSums, MomentsLeaf};
use crate::kernel::map::{map, reduce_and_map};
use crate::kernel::pointwise::{Coefficients, InputGradient, Normalize, NormalizeByConstants, Scale};
use crate::kernel::raw::Isa;
use crate::kernel::reduce::reduce;
use crate::kernel::tier::Tier;
use crate::layout::Layout;
use crate::moments::Moments;
use crate::running::RunningStatistics;
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

/// What a forward pass leaves for its backward pass: of each channel the mean, the inverse standard deviation and
/// gamma, and whether the statistics depend on the input. The input itself is not kept; backward takes it again.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    isa: Tier,
    /// Whether mean and variance are functions of the input (training) or constants (evaluation).
    batch_statistics: bool,
    count: u64,
    mean: Vec<f64>,
    rest: Vec<f64>,
    /// 0 where the gradient is declared to be 0.
    inverse_deviation: Vec<f64>,
    gamma: Option<Vec<f64>>,
}

/// The gradients of gamma and beta in `f64`, before rounding to a parameter type.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGradients {
    /// Sum of dy * xhat, of each channel.
    pub dgamma: Vec<f64>,
    /// Sum of dy, of each channel.
    pub dbeta: Vec<f64>,
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
    policies: Policies,
    isa: Isa,
}

impl Config {
    /// Checks the options and gives the formula without state. `channels`, `affine` and what concerns running
    /// statistics do not matter to it.
    ///
    /// # Errors
    /// As [`Config::build`].
    pub fn rule(&self) -> Result<Rule, ConfigError> {
        Ok(Rule { isa: self.check()?, epsilon: self.epsilon, policies: self.policies })
    }
}

impl Rule {
    /// Moments of each channel: one sweep over the input.
    pub fn moments<T: Element>(&self, x: &View<T>) -> BatchMoments {
        let mut all = reduce([&x.memory], &MomentsLeaf(self.isa));
        all.resize(x.channels(), Moments::EMPTY);
        BatchMoments(all)
    }

    /// The moments, unless the policy refuses what they tell.
    fn acceptable(&self, batch: BatchMoments) -> Result<BatchMoments, CallError> {
        let channels = batch.non_finite();
        if self.policies.non_finite == NonFinite::Error && !channels.is_empty() {
            return Err(CallError::NonFinite { channels });
        }
        Ok(batch)
    }

    /// The training forward pass, into `y`: of each channel
    /// `y = gamma * (x - mean) / sqrt(variance + eps) + beta` with the batch's mean and population variance.
    ///
    /// `running` is needed for [`SingleValue::UseRunning`] alone, and never changed.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit, and what the policies refuse. `y` is untouched then.
    pub fn train<T: Element, P: Parameter>(
        &self,
        x: &View<T>,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Saved, BatchMoments), CallError> {
        same_shape("y", &x.layout, &y.layout)?;
        let Widened { gamma, beta } = parameters.widened(x.channels())?;
        match x.count() {
            0 if self.policies.empty_batch == EmptyBatch::Error => {
                return Err(CallError::EmptyBatch { shape: x.shape().to_vec() });
            }
            1 => match self.policies.single_value {
                SingleValue::Error => {
                    let (shape, axis) = (x.shape().to_vec(), x.channel_axis());
                    return Err(CallError::SingleValue { shape, axis });
                }
                SingleValue::UseRunning => {
                    let reason = "one value a channel under SingleValue::UseRunning; train on a larger batch first, \
                                  install them, or choose another `SingleValue` policy";
                    let running = running.ok_or(CallError::NoRunningStatistics { reason })?;
                    let batch = self.acceptable(self.moments(x))?;
                    return Ok((self.eval(x, parameters, Some(running), y)?, batch));
                }
                SingleValue::Population | SingleValue::SkipUpdate => {}
            },
            _ => {}
        }
        let epsilon = self.epsilon;
        let coefficients = |channel: usize, moments: Moments| {
            let (mean, rest) = mean_or_nan(&moments);
            let scale = of(&gamma, channel, 1.0) * inverse_deviation(moments.population_variance(), epsilon);
            [mean, rest, scale, of(&beta, channel, 0.0)]
        };
        let batch = if self.policies.non_finite == NonFinite::Error {
            // Decided before anything is written.
            let batch = self.acceptable(self.moments(x))?;
            let all = Coefficients::new(x.channels(), |channel| coefficients(channel, batch.0[channel]));
            map(self.isa, Normalize, [&x.memory], &mut y.memory, all);
            batch
        } else {
            let leaf = MomentsLeaf(self.isa);
            let mut all = reduce_and_map(self.isa, &leaf, Normalize, [&x.memory], &mut y.memory, coefficients);
            all.resize(x.channels(), Moments::EMPTY);
            BatchMoments(all)
        };
        let (mean, rest) = batch.0.iter().map(mean_or_nan).unzip();
        let declared_zero = self.policies.constant_channel == ConstantChannel::ZeroGradient;
        let inverse_deviation = batch.0.iter().map(|moments| match moments.is_constant() {
            true if declared_zero => 0.0,
            _ => inverse_deviation(moments.population_variance(), epsilon),
        });
        let saved = Saved {
            isa: self.isa.tier(),
            batch_statistics: true,
            count: x.count() as u64,
            mean,
            rest,
            inverse_deviation: inverse_deviation.collect(),
            gamma,
        };
        Ok((saved, batch))
    }

    /// The evaluation forward pass, into `y`: the same formula with the running mean and variance, which are
    /// constants to the backward pass.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit; no running statistics under [`MissingRunning::Error`]. `y` is untouched
    /// then.
    pub fn eval<T: Element, P: Parameter>(
        &self,
        x: &View<T>,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<Saved, CallError> {
        let Some(running) = running else {
            if self.policies.missing_running == MissingRunning::BatchStatistics {
                return self.train(x, parameters, None, y).map(|(saved, _)| saved);
            }
            let reason = "evaluation normalises by them; train first, install them, \
                          or choose `MissingRunning::BatchStatistics`";
            return Err(CallError::NoRunningStatistics { reason });
        };
        same_shape("y", &x.layout, &y.layout)?;
        let Widened { gamma, beta } = parameters.widened(x.channels())?;
        if running.channels() != x.channels() {
            let (expected, got) = (x.channels(), running.channels());
            return Err(CallError::Length { argument: "running_mean", expected, got });
        }
        let inverse: Vec<f64> =
            running.variance().iter().map(|&variance| inverse_deviation(variance, self.epsilon)).collect();
        let all = Coefficients::new(x.channels(), |channel| {
            let scale = of(&gamma, channel, 1.0) * inverse[channel];
            [running.mean()[channel], scale, of(&beta, channel, 0.0)]
        });
        map(self.isa, NormalizeByConstants, [&x.memory], &mut y.memory, all);
        Ok(Saved {
            isa: self.isa.tier(),
            batch_statistics: false,
            count: x.count() as u64,
            mean: running.mean().to_vec(),
            rest: vec![0.0; x.channels()],
            inverse_deviation: inverse,
            gamma,
        })
    }
}

impl Saved {
    /// Whether the forward pass normalised by the batch (then the gradient flows through mean and variance) or by
    /// constants.
    pub fn used_batch_statistics(&self) -> bool {
        self.batch_statistics
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// The backward pass, dx into a buffer. With s = gamma / sqrt(variance + eps) and xhat the normalised input,
    /// each channel has
    ///
    /// - after training: `dx = s * (dy - mean(dy) - xhat * mean(dy * xhat))`,
    /// - after evaluation: `dx = s * dy`,
    /// - both: `dgamma = sum(dy * xhat)`, `dbeta = sum(dy)`.
    ///
    /// `x` must be the forward pass's input. gamma is that of the forward pass, even if it was changed since.
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass. `dx` is untouched then.
    pub fn backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        same_shape("dx", &x.layout, &dx.layout)?;
        let leaf = self.gradient_leaf(x, dy)?;
        let (isa, inverse) = (leaf.isa, &self.inverse_deviation);
        let arrays = [&x.memory, &dy.memory];
        let scale = |channel: usize| of(&self.gamma, channel, 1.0) * inverse[channel];
        let sums = if self.batch_statistics {
            let n = self.count as f64;
            reduce_and_map(isa, &leaf, InputGradient, arrays, &mut dx.memory, |channel, sums: GradientSums| {
                let slope = sums.dy_xhat / n * inverse[channel];
                [self.mean[channel], self.rest[channel], scale(channel), sums.dy / n, slope]
            })
        } else {
            reduce_and_map(isa, &leaf, Scale, arrays, &mut dx.memory, |channel, _| [scale(channel)])
        };
        Ok(self.parameters(sums))
    }

    /// dgamma and dbeta alone, where nobody asks for dx: one sweep over `x` and `dy`, and nothing is written. The
    /// same bits as [`backward`](Self::backward)'s.
    ///
    /// # Errors
    /// As `backward`.
    pub fn parameter_gradients<T: Element>(&self, x: &View<T>, dy: &View<T>) -> Result<ParameterGradients, CallError> {
        let leaf = self.gradient_leaf(x, dy)?;
        Ok(self.parameters(reduce([&x.memory, &dy.memory], &leaf)))
    }

    /// What the sums of a backward pass need, once input and upstream gradient are found to fit the forward pass.
    fn gradient_leaf<T: Element>(&self, x: &View<T>, dy: &View<T>) -> Result<GradientLeaf<'_>, CallError> {
        same_shape("dy", &x.layout, &dy.layout)?;
        if x.channels() != self.channels() {
            let (expected, got) = (self.channels(), x.channels());
            let (shape, axis) = (x.shape().to_vec(), x.channel_axis());
            return Err(CallError::Channels { argument: "x", expected, got, shape, axis });
        }
        if x.count() as u64 != self.count {
            return Err(CallError::OtherBatch { expected: self.count, got: x.count() as u64 });
        }
        let isa = Isa::new(self.isa).expect("the forward pass ran on it");
        Ok(GradientLeaf { isa, mean: &self.mean, rest: &self.rest, inverse: &self.inverse_deviation })
    }

    /// The sums as gradients; zeros for an empty batch, which has none.
    fn parameters(&self, mut sums: Vec<GradientSums>) -> ParameterGradients {
        sums.resize(self.channels(), GradientSums::default());
        ParameterGradients {
            dgamma: sums.iter().map(|sum| sum.dy_xhat).collect(),
            dbeta: sums.iter().map(|sum| sum.dy).collect(),
        }
    }
}

/// Parameters in `f64`, one value for each channel.
struct Widened {
    gamma: Option<Vec<f64>>,
    beta: Option<Vec<f64>>,
}

impl<P: Parameter> Parameters<'_, P> {
    /// gamma and beta in `f64`, if they have one value for each channel.
    fn widened(&self, expected: usize) -> Result<Widened, CallError> {
        let widen = |argument, values: Option<&[P]>| match values {
            Some(values) if values.len() != expected => {
                Err(CallError::Length { argument, expected, got: values.len() })
            }
            values => Ok(values.map(|values| values.iter().map(|value| value.to_f64()).collect())),
        };
        Ok(Widened { gamma: widen("gamma", self.gamma)?, beta: widen("beta", self.beta)? })
    }
}

fn of(vector: &Option<Vec<f64>>, channel: usize, absent: f64) -> f64 {
    vector.as_ref().map_or(absent, |values| values[channel])
}

/// The mean as a pair; NaN where the channel is not finite, so that all of its output is.
fn mean_or_nan(moments: &Moments) -> (f64, f64) {
    if moments.is_finite() { moments.mean_pair() } else { (f64::NAN, 0.0) }
}

fn same_shape(argument: &'static str, x: &Layout, other: &Layout) -> Result<(), CallError> {
    let (expected, got) = (x.logical_shape(), other.logical_shape());
    if expected == got { Ok(()) } else { Err(CallError::Shape { argument, expected, got }) }
}
