//! Norms that do not look at the batch: what is normalised together, the options, and the layer with its parameters.

use crate::config::{Affine, ConstantChannel};
use crate::element::{Element, Number, Parameter};
use crate::error::{CallError, ConfigError};
use crate::kernel::raw::Isa;
use crate::kernel::tier::Tier;
use crate::layer::Gradients;
use crate::layout::MAX_CHANNELS;
use crate::rule::Parameters;
use crate::running::finite;
use crate::sample_rule::SampleRule;
use crate::sample_saved::SampleSaved;
use crate::saved::ParameterGradients;
use crate::view::{Tensor, View, ViewMut};

/// Which values of a sample are normalised together, and which have a gamma and a beta of their own.
///
/// | | together | gamma and beta |
/// |---|---|---|
/// | [`Layer`](Self::Layer) | the last axes, for each index of the others | of each element of the last axes |
/// | [`Rms`](Self::Rms) | the same; the mean counts as 0 | the same |
/// | [`Group`](Self::Group) | a sample's channels of a group, at all positions | of each channel |
/// | [`Instance`](Self::Instance) | one channel of a sample, at all positions | of each channel |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Grouping {
    /// Layer norm (Ba, Kiros and Hinton 2016), over so many of the last axes: those of the array's shape, whatever its
    /// [`Axes`](crate::Axes) call them.
    Layer {
        /// How many axes, 1 or more.
        axes: usize,
    },
    /// Root mean square norm (Zhang and Sennrich 2019): layer norm without the mean. (Of `f64` whose squares are too small
    /// for an `f64`, below 1e-162, and with eps 0, the mean square counts as 0.)
    Rms {
        /// How many axes, 1 or more.
        axes: usize,
    },
    /// Group norm (Wu and He 2018): neighbouring channels in groups of one size. The [`Axes`](crate::Axes) say which
    /// axes are samples, channels and positions.
    Group {
        /// How many groups; a divisor of the channels.
        groups: usize,
    },
    /// Instance norm (Ulyanov, Vedaldi and Lempitsky 2016): each channel of each sample by itself.
    Instance,
}

/// The options of a norm that does not look at the batch.
///
/// ```
/// use batchnorm::{Affine, SampleConfig};
/// let layer = SampleConfig::layer(1).epsilon(1e-6).affine(Affine::ScaleOnly).build(&[768])?;
/// assert_eq!(layer.gamma().map(|gamma| gamma.len()), Some(768));
/// # Ok::<(), batchnorm::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleConfig {
    /// What is normalised together.
    pub grouping: Grouping,
    /// Added to the variance (of [`Grouping::Rms`]: to the mean square) inside the square root; finite and >= 0.
    pub epsilon: f64,
    /// Which parameters there are.
    pub affine: Affine,
    /// The gradient where all values that are normalised together are alike (of [`Grouping::Rms`]: are 0).
    pub constant_group: ConstantChannel,
    /// Instruction set; `None` for the fastest one here. All give the same bits.
    pub tier: Option<Tier>,
}

impl SampleConfig {
    fn preset(grouping: Grouping, affine: Affine) -> SampleConfig {
        SampleConfig { grouping, epsilon: 1e-5, affine, constant_group: ConstantChannel::default(), tier: None }
    }

    /// Layer norm over the last axes: eps 1e-5, gamma and beta.
    pub fn layer(axes: usize) -> SampleConfig {
        SampleConfig::preset(Grouping::Layer { axes }, Affine::ScaleAndShift)
    }

    /// RMS norm over the last axes: eps 1e-5, gamma alone, as in the paper. (PyTorch takes the machine epsilon of the
    /// array's type for eps where none is given: 1.2e-7 for f32.)
    pub fn rms(axes: usize) -> SampleConfig {
        SampleConfig::preset(Grouping::Rms { axes }, Affine::ScaleOnly)
    }

    /// Group norm: eps 1e-5, gamma and beta.
    pub fn group(groups: usize) -> SampleConfig {
        SampleConfig::preset(Grouping::Group { groups }, Affine::ScaleAndShift)
    }

    /// Instance norm: eps 1e-5, neither gamma nor beta, as in PyTorch.
    pub fn instance() -> SampleConfig {
        SampleConfig::preset(Grouping::Instance, Affine::Neither)
    }

    /// Sets what is added to the variance inside the square root.
    pub fn epsilon(self, epsilon: f64) -> SampleConfig {
        SampleConfig { epsilon, ..self }
    }

    /// Sets which parameters there are.
    pub fn affine(self, affine: Affine) -> SampleConfig {
        SampleConfig { affine, ..self }
    }

    /// Sets the gradient where all values that are normalised together are alike.
    pub fn constant_group(self, constant_group: ConstantChannel) -> SampleConfig {
        SampleConfig { constant_group, ..self }
    }

    /// Forces an instruction set.
    pub fn tier(self, tier: Tier) -> SampleConfig {
        SampleConfig { tier: Some(tier), ..self }
    }

    /// Checks the options and gives the formula without state. `affine` does not matter to it.
    ///
    /// # Errors
    /// eps not finite or negative, no axes or no groups, a tier this machine lacks.
    pub fn rule(&self) -> Result<SampleRule, ConfigError> {
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(ConfigError::Epsilon { got: self.epsilon });
        }
        match self.grouping {
            Grouping::Layer { axes: 0 } | Grouping::Rms { axes: 0 } => Err(ConfigError::Zero { argument: "axes" }),
            Grouping::Group { groups: 0 } => Err(ConfigError::Zero { argument: "groups" }),
            _ => Ok(()),
        }?;
        let tier = self.tier.unwrap_or_else(Tier::best);
        let isa = Isa::new(tier).ok_or_else(|| ConfigError::Tier { got: tier, available: Tier::available() })?;
        let declared_zero = self.constant_group == ConstantChannel::ZeroGradient;
        Ok(SampleRule { grouping: self.grouping, epsilon: self.epsilon, declared_zero, isa })
    }

    /// Checks the options and builds the layer, gamma 1 and beta 0. `shape` is what they have one value for each element
    /// of: the last axes (layer and RMS norm), or the number of channels alone.
    ///
    /// # Errors
    /// As [`rule`](Self::rule); a shape that is not of this kind, or without elements; groups that do not divide the
    /// channels evenly.
    pub fn build(self, shape: &[usize]) -> Result<SampleNorm, ConfigError> {
        let rule = self.rule()?;
        let wrong = |expected| Err(ConfigError::ParameterShape { expected, got: shape.to_vec() });
        match self.grouping {
            Grouping::Layer { axes } | Grouping::Rms { axes } if axes != shape.len() => {
                return wrong("a length for each axis that is normalised over");
            }
            Grouping::Group { .. } | Grouping::Instance if shape.len() != 1 => {
                return wrong("one length, the number of channels");
            }
            _ => {}
        }
        let elements = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
        if elements.is_none_or(|elements| elements == 0 || elements > MAX_CHANNELS) {
            return wrong("at least one element, and no more than 2^28");
        }
        if let Grouping::Group { groups } = self.grouping
            && !shape[0].is_multiple_of(groups)
        {
            return Err(ConfigError::Groups { groups, channels: shape[0] });
        }
        Ok(SampleNorm { config: self, rule, shape: shape.to_vec(), gamma: None, beta: None })
    }
}

/// A norm that does not look at the batch: layer, group, instance or RMS norm. Of all values that are normalised together,
///
/// ```text
/// y = gamma * (x - mean) / sqrt(variance + eps) + beta       mean = 1/n sum x, variance = 1/n sum (x - mean)^2
/// y = gamma * x / sqrt(1/n sum x^2 + eps) + beta              (RMS norm)
/// ```
///
/// with the population variance. What is normalised together is a [`Grouping`]; a sample's output never depends on
/// another sample, so training and evaluation are the same call, and nothing is kept between calls.
///
/// Everything else is as with [`BatchNorm`](crate::BatchNorm): arrays of any [`Element`] type, rank and layout; `f64`
/// inside, rounded once; the same bits over threads, instruction sets and layouts. Where all values that are normalised
/// together are alike (one value alone always is), y = beta and, [by declaration](ConstantChannel), dx = 0. NaN stays
/// among what is normalised together; of `f64` values, so does what their squares make of deviations beyond 1e154 (NaN) and
/// below 1e-158 (fewer digits).
///
/// ```
/// use batchnorm::{Axes, SampleNorm, View};
/// let norm = SampleNorm::layer(&[3])?;
/// let x = View::new(&[1.0f32, 2.0, 3.0, 10.0, 20.0, 60.0], &[2, 3], Axes::NCHW)?;
/// let (y, saved) = norm.forward(&x)?;
/// assert!((y.data()[0] + 1.2247).abs() < 1e-4); // (1 - 2) / sqrt(2/3), whatever the other row holds
///
/// let dy = View::new(&[1.0f32, 0.0, 0.0, 0.0, 0.0, 0.0], &[2, 3], Axes::NCHW)?;
/// let gradients = norm.backward(&x, &dy, &saved)?;
/// assert_eq!(gradients.dbeta, Some(vec![1.0, 0.0, 0.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SampleNorm {
    config: SampleConfig,
    rule: SampleRule,
    shape: Vec<usize>,
    gamma: Option<Vec<f64>>,
    beta: Option<Vec<f64>>,
}

impl SampleNorm {
    /// Layer norm over last axes of these lengths; [`SampleConfig`] has the options.
    ///
    /// # Errors
    /// No axes, or an axis without elements.
    pub fn layer(shape: &[usize]) -> Result<SampleNorm, ConfigError> {
        SampleConfig::layer(shape.len()).build(shape)
    }

    /// RMS norm over last axes of these lengths.
    ///
    /// # Errors
    /// As [`layer`](Self::layer).
    pub fn rms(shape: &[usize]) -> Result<SampleNorm, ConfigError> {
        SampleConfig::rms(shape.len()).build(shape)
    }

    /// Group norm: so many groups of so many channels in all.
    ///
    /// # Errors
    /// No groups or no channels, groups that do not divide the channels evenly.
    pub fn group(groups: usize, channels: usize) -> Result<SampleNorm, ConfigError> {
        SampleConfig::group(groups).build(&[channels])
    }

    /// Instance norm of so many channels.
    ///
    /// # Errors
    /// No channels.
    pub fn instance(channels: usize) -> Result<SampleNorm, ConfigError> {
        SampleConfig::instance().build(&[channels])
    }

    /// The options the layer was built with.
    pub fn config(&self) -> &SampleConfig {
        &self.config
    }

    /// What gamma and beta have one value for each element of: the last axes, or the channels.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Scale, in the order of [`shape`](Self::shape), last axis fastest; `None` if the layer has none.
    pub fn gamma(&self) -> Option<Vec<f64>> {
        self.parameter(self.config.affine.scales(), &self.gamma, 1.0)
    }

    /// Shift, in the same order; `None` if the layer has none.
    pub fn beta(&self) -> Option<Vec<f64>> {
        self.parameter(self.config.affine.shifts(), &self.beta, 0.0)
    }

    fn parameter(&self, present: bool, set: &Option<Vec<f64>>, start: f64) -> Option<Vec<f64>> {
        present.then(|| set.clone().unwrap_or_else(|| vec![start; self.elements()]))
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Sets gamma.
    ///
    /// # Errors
    /// A layer without gamma, another length, NaN or infinity; gamma is unchanged then.
    pub fn set_gamma<P: Parameter>(&mut self, gamma: &[P]) -> Result<(), ConfigError> {
        self.gamma = Some(self.checked("gamma", self.config.affine.scales(), gamma)?);
        Ok(())
    }

    /// Sets beta.
    ///
    /// # Errors
    /// A layer without beta, another length, NaN or infinity; beta is unchanged then.
    pub fn set_beta<P: Parameter>(&mut self, beta: &[P]) -> Result<(), ConfigError> {
        self.beta = Some(self.checked("beta", self.config.affine.shifts(), beta)?);
        Ok(())
    }

    fn checked<P: Parameter>(
        &self,
        argument: &'static str,
        present: bool,
        values: &[P],
    ) -> Result<Vec<f64>, ConfigError> {
        if !present {
            return Err(ConfigError::Absent { argument, affine: self.config.affine });
        }
        let (expected, got) = (self.elements(), values.len());
        if expected != got {
            return Err(ConfigError::ElementLength { argument, expected, got, shape: self.shape.clone() });
        }
        finite(argument, values, expected)
    }

    fn parameters(&self) -> Parameters<'_, f64> {
        Parameters { gamma: self.gamma.as_deref(), beta: self.beta.as_deref() }
    }

    /// The forward pass: y, and what the backward pass needs.
    ///
    /// # Errors
    /// Other last axes, or another number of channels, than the layer's; instance norm of one position.
    pub fn forward<T: Element>(&self, x: &View<T>) -> Result<(Tensor<T>, SampleSaved), CallError> {
        Tensor::filled(&x.layout, |y| self.forward_into(x, y))
    }

    /// [`forward`](Self::forward) into the caller's buffer.
    ///
    /// # Errors
    /// As `forward`, and a buffer of another shape; `y` is untouched then.
    pub fn forward_into<T: Element>(&self, x: &View<T>, y: &mut ViewMut<T>) -> Result<SampleSaved, CallError> {
        self.check(x)?;
        self.rule.forward(x, self.parameters(), y)
    }

    /// Whether the array's last axes, or its channels, are the layer's.
    fn check<T: Element>(&self, x: &View<T>) -> Result<(), CallError> {
        let shape = x.shape().to_vec();
        match self.config.grouping {
            Grouping::Layer { .. } | Grouping::Rms { .. } if !shape.ends_with(&self.shape) => {
                Err(CallError::LastShape { expected: self.shape.clone(), shape })
            }
            Grouping::Group { .. } | Grouping::Instance if x.channels() != self.shape[0] => {
                let (expected, got, axis) = (self.shape[0], x.channels(), x.channel_axis());
                Err(CallError::Channels { argument: "x", expected, got, shape, axis })
            }
            _ => Ok(()),
        }
    }

    /// The backward pass of the forward pass that left `saved`; `x` is that pass's input again. The formulas are at
    /// [`SampleSaved::backward`].
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass.
    pub fn backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        saved: &SampleSaved,
    ) -> Result<Gradients<T>, CallError> {
        let (dx, parameters) = Tensor::filled(&x.layout, |dx| self.backward_into(x, dy, saved, dx))?;
        let round = |values: Vec<f64>| values.into_iter().map(Number::from_f64).collect();
        let affine = self.config.affine;
        Ok(Gradients {
            dx,
            dgamma: affine.scales().then(|| round(parameters.dgamma)),
            dbeta: affine.shifts().then(|| round(parameters.dbeta)),
        })
    }

    /// [`backward`](Self::backward) into the caller's buffer; the gradients of gamma and beta in `f64`, whether the
    /// layer has these parameters or not.
    ///
    /// # Errors
    /// As `backward`; `dx` is untouched then.
    pub fn backward_into<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        saved: &SampleSaved,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        self.check(x)?;
        saved.backward(x, dy, dx)
    }
}
