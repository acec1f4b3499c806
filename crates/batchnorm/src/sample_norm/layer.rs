//! The layer of a norm that does not look at the batch: parameters around a [`SampleNormalizer`].

use crate::batch_norm::input::Input;
use crate::call_error::CallError;
use crate::check::same_channels;
use crate::gradients::{Gradients, ParameterGradients};
use crate::options::error::ConfigError;
use crate::options::limits::finite_values;
use crate::parameters::AffineParameters;
use crate::sample_norm::config::SampleConfig;
use crate::sample_norm::grouping::Grouping;
use crate::sample_norm::normalizer::SampleNormalizer;
use crate::sample_norm::saved::SampleSaved;
use crate::tensor::Tensor;
use batchnorm_kernel::{Element, MAX_CHANNELS, Parameter, View, ViewMut};

/// A norm that does not look at the batch: layer, group, instance, RMS or grouped RMS norm. Of all values that are normalised
/// together,
///
/// ```text
/// y = gamma * (x - mean) / sqrt(variance + eps) + beta       mean = 1/n sum x, variance = 1/n sum (x - mean)^2
/// y = gamma * x / sqrt(1/n sum x^2 + eps) + beta              (RMS and grouped RMS norm)
/// ```
///
/// with the population variance, and behind it an [activation](SampleConfig::activation), if one is asked for. What is normalised together is a [`Grouping`]; a sample's output never depends on
/// another sample, so training and evaluation are the same call, and nothing is kept between calls.
///
/// Values may have [`Weights`](crate::Weights), or be masked ([`Input::weighted`]): with W = sum w over all that is normalised
/// together,
///
/// ```text
/// mean = 1/W sum w x, variance = 1/W sum w (x - mean)^2                  (RMS norms: 1/W sum w x^2)
/// ```
///
/// so that a token's masked features, or a sequence's padding, play no part: they are not looked at and may be NaN, and their y
/// and dx are 0. Where all is masked [`EmptyBatch`](crate::EmptyBatch) decides, where values count once together or less,
/// [`SingleValue`](crate::SingleValue). Such a pass takes plain loops, about ten times as long as one without
/// weights (`docs/situations/padding.md` has figures).
///
/// Everything else is as with [`BatchNorm`](crate::BatchNorm): arrays of any [`Element`] type, rank and layout; `f64`
/// inside, rounded once; the same bits over threads, instruction sets and layouts. Where all values that are normalised
/// together are alike, y = beta and, [by declaration](crate::ConstantChannel), dx = 0. One value alone always is; instance norm
/// refuses it by default ([`SingleValue`](crate::SingleValue)), as batch norm does, the others take it. NaN
/// stays among what is normalised together; of `f64` values, so does what their squares make of deviations beyond 1e154
/// (NaN) and below 1e-158 (fewer digits).
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
    normalizer: SampleNormalizer,
    shape: Vec<usize>,
    parameters: AffineParameters,
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

    /// Grouped RMS norm: so many groups of so many channels in all.
    ///
    /// ```
    /// use batchnorm::{Axes, SampleNorm, View};
    /// let norm = SampleNorm::group_rms(2, 4)?; // two groups of two channels
    /// let x = View::new(&[3.0f64, 4.0, 0.5, -0.5], &[1, 4], Axes::NCHW)?;
    /// let y = norm.forward(&x)?.0;
    /// assert!((y.data()[0] - 3.0 / (12.5f64 + 1e-5).sqrt()).abs() < 1e-15);
    /// assert!((y.data()[3] + 0.5 / (0.25f64 + 1e-5).sqrt()).abs() < 1e-15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`group`](Self::group).
    pub fn group_rms(groups: usize, channels: usize) -> Result<SampleNorm, ConfigError> {
        SampleConfig::group_rms(groups).build(&[channels])
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

    /// The shape of gamma and beta: the lengths of the last axes, or the number of channels.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Scale, in the order of [`shape`](Self::shape), last axis fastest; `None` if the layer has none.
    pub fn gamma(&self) -> Option<Vec<f64>> {
        self.parameters.gamma(self.elements())
    }

    /// Shift, in the same order; `None` if the layer has none.
    pub fn beta(&self) -> Option<Vec<f64>> {
        self.parameters.beta(self.elements())
    }

    /// Number of values that gamma and beta have each.
    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Sets gamma.
    ///
    /// # Errors
    /// A layer without gamma, another length, NaN or infinity; gamma is unchanged then.
    pub fn set_gamma<P: Parameter>(&mut self, gamma: &[P]) -> Result<(), ConfigError> {
        let shape = &self.shape;
        self.parameters.set_gamma(|argument| checked_elements(argument, gamma, shape))
    }

    /// Sets beta.
    ///
    /// # Errors
    /// A layer without beta, another length, NaN or infinity; beta is unchanged then.
    pub fn set_beta<P: Parameter>(&mut self, beta: &[P]) -> Result<(), ConfigError> {
        let shape = &self.shape;
        self.parameters.set_beta(|argument| checked_elements(argument, beta, shape))
    }

    /// The forward pass: y, and what the backward pass needs. The input is a `&View`, or with [`Weights`](crate::Weights) or a
    /// mask an [`Input::weighted`].
    ///
    /// # Errors
    /// Other last axes, or another number of channels, than the layer's; weights that do not fit; a residual; what the policies
    /// refuse, by default instance norm of one position.
    pub fn forward<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
    ) -> Result<(Tensor<T>, SampleSaved), CallError> {
        let input = input.into();
        Tensor::filled(input.x().layout(), |y| self.forward_into(input, y))
    }

    /// [`forward`](Self::forward) into the caller's buffer.
    ///
    /// # Errors
    /// As `forward`, and a buffer of another shape; `y` is untouched then.
    pub fn forward_into<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        y: &mut ViewMut<T>,
    ) -> Result<SampleSaved, CallError> {
        let input = input.into();
        self.check(input.x())?;
        self.normalizer.forward(input, self.parameters.as_parameters(), y)
    }

    /// Errors unless the array's last axes, or its channels, are the layer's.
    fn check<T: Element>(&self, x: &View<T>) -> Result<(), CallError> {
        match self.config.grouping {
            Grouping::Layer { .. } | Grouping::Rms { .. } if !x.shape().ends_with(&self.shape) => {
                Err(CallError::LastShape { expected: self.shape.clone(), shape: x.shape().to_vec() })
            }
            Grouping::Layer { .. } | Grouping::Rms { .. } => Ok(()),
            Grouping::Group { .. } | Grouping::GroupRms { .. } | Grouping::Instance => {
                same_channels("x", self.shape[0], x)
            }
        }
    }

    /// The backward pass of the forward pass that left `saved`; the input is that pass's again, with its weights if it had
    /// some. The formulas are at [`SampleSaved::backward`].
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; another kind of input than that pass's.
    pub fn backward<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        saved: &SampleSaved,
    ) -> Result<Gradients<T>, CallError> {
        let input = input.into();
        let fill = |dx: &mut ViewMut<T>| self.backward_into(input, dy, saved, dx);
        let (dx, parameters) = Tensor::filled(input.x().layout(), fill)?;
        Ok(Gradients::rounded(self.config.affine, dx, None, parameters))
    }

    /// [`backward`](Self::backward) into the caller's buffer; the gradients of gamma and beta in `f64`, whether the
    /// layer has these parameters or not.
    ///
    /// # Errors
    /// As `backward`; `dx` is untouched then.
    pub fn backward_into<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        saved: &SampleSaved,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        let input = input.into();
        self.check(input.x())?;
        saved.backward(input, dy, dx)
    }
}

/// The values of a parameter in `f64`, if there is one for each element of the shape.
fn checked_elements<P: Parameter>(
    argument: &'static str,
    values: &[P],
    shape: &[usize],
) -> Result<Vec<f64>, ConfigError> {
    let (expected, got) = (shape.iter().product(), values.len());
    if expected != got {
        return Err(ConfigError::ElementLength { argument, expected, got, shape: shape.to_vec() });
    }
    finite_values(argument, values, expected)
}

impl SampleConfig {
    /// Checks the options and builds the layer, gamma 1 and beta 0. `shape` is their shape: the lengths of the last
    /// axes (layer and RMS norm), or the number of channels alone.
    ///
    /// # Errors
    /// As [`normalizer`](Self::normalizer); a shape that is not of this kind, or without elements; groups that do not
    /// divide the channels evenly.
    pub fn build(self, shape: &[usize]) -> Result<SampleNorm, ConfigError> {
        let normalizer = self.normalizer()?;
        let wrong = |expected| Err(ConfigError::ParameterShape { expected, got: shape.to_vec() });
        match self.grouping {
            Grouping::Layer { axes } | Grouping::Rms { axes } if axes != shape.len() => {
                return wrong("a length for each axis that is normalised over");
            }
            Grouping::Group { .. } | Grouping::GroupRms { .. } | Grouping::Instance if shape.len() != 1 => {
                return wrong("one length, the number of channels");
            }
            _ => {}
        }
        let elements = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
        if elements.is_none_or(|elements| elements == 0 || elements > MAX_CHANNELS) {
            return wrong("at least one element, and no more than 2^28");
        }
        if let Grouping::Group { groups } | Grouping::GroupRms { groups } = self.grouping
            && !shape[0].is_multiple_of(groups)
        {
            return Err(ConfigError::Groups { groups, channels: shape[0] });
        }
        let parameters = AffineParameters::new(self.affine);
        Ok(SampleNorm { config: self, normalizer, shape: shape.to_vec(), parameters })
    }
}
