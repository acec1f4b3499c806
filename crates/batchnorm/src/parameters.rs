//! gamma and beta: as the caller keeps them, as a layer keeps them, and the direction in which they move.

use crate::call_error::CallError;
use crate::check::same_length;
use crate::options::error::ConfigError;
use crate::options::policies::Affine;
use batchnorm_kernel::Parameter;
use batchnorm_kernel::passes::Room;

/// gamma and beta as the caller keeps them; absent ones count as 1 and 0. Values are taken as they are: NaN in
/// gives NaN out.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'p, P> {
    /// Scale of each channel.
    pub gamma: Option<&'p [P]>,
    /// Shift of each channel.
    pub beta: Option<&'p [P]>,
}

impl<P> Default for Parameters<'_, P> {
    /// Neither gamma nor beta.
    fn default() -> Self {
        Parameters { gamma: None, beta: None }
    }
}

/// gamma and beta as a layer keeps them: absent where it has none, 1 and 0 until they are set.
#[derive(Debug, Clone)]
pub(crate) struct AffineParameters {
    pub affine: Affine,
    gamma: Option<Vec<f64>>,
    beta: Option<Vec<f64>>,
}

impl AffineParameters {
    /// Parameters that are not set yet.
    pub fn new(affine: Affine) -> Self {
        AffineParameters { affine, gamma: None, beta: None }
    }

    /// Parameters set to 1 and 0, one value for each element.
    pub fn started(affine: Affine, elements: usize) -> Self {
        let unset = AffineParameters::new(affine);
        AffineParameters { gamma: unset.gamma(elements), beta: unset.beta(elements), affine }
    }

    /// gamma and beta, 1 and 0 where the layer has none or they are not set.
    pub fn widened(&self, elements: usize) -> WideParameters {
        let set_or = |values: &Option<Vec<f64>>, start: f64| match values {
            Some(values) => Room::from_values(values.iter().copied()),
            None => Room::from_values((0..elements).map(|_| start)),
        };
        WideParameters { gamma: set_or(&self.gamma, 1.0), beta: set_or(&self.beta, 0.0) }
    }

    /// gamma, if the layer has one, with so many elements.
    pub fn gamma(&self, elements: usize) -> Option<Vec<f64>> {
        self.affine.scales().then(|| self.gamma.clone().unwrap_or_else(|| vec![1.0; elements]))
    }

    /// beta, if the layer has one, with so many elements.
    pub fn beta(&self, elements: usize) -> Option<Vec<f64>> {
        self.affine.shifts().then(|| self.beta.clone().unwrap_or_else(|| vec![0.0; elements]))
    }

    /// Sets gamma to what `checked` makes of it, if the layer has one.
    ///
    /// # Errors
    /// A layer without gamma, and what `checked` refuses; gamma is unchanged then.
    pub fn set_gamma(
        &mut self,
        checked: impl FnOnce(&'static str) -> Result<Vec<f64>, ConfigError>,
    ) -> Result<(), ConfigError> {
        self.gamma = Some(self.checked("gamma", self.affine.scales(), checked)?);
        Ok(())
    }

    /// Sets beta to what `checked` makes of it, if the layer has one.
    ///
    /// # Errors
    /// A layer without beta, and what `checked` refuses; beta is unchanged then.
    pub fn set_beta(
        &mut self,
        checked: impl FnOnce(&'static str) -> Result<Vec<f64>, ConfigError>,
    ) -> Result<(), ConfigError> {
        self.beta = Some(self.checked("beta", self.affine.shifts(), checked)?);
        Ok(())
    }

    /// The values that `checked` gives for a parameter, if the layer has it (`present`).
    fn checked(
        &self,
        argument: &'static str,
        present: bool,
        checked: impl FnOnce(&'static str) -> Result<Vec<f64>, ConfigError>,
    ) -> Result<Vec<f64>, ConfigError> {
        if present { checked(argument) } else { Err(ConfigError::Absent { argument, affine: self.affine }) }
    }

    /// gamma and beta borrowed, as the passes take them.
    pub fn as_parameters(&self) -> Parameters<'_, f64> {
        Parameters { gamma: self.gamma.as_deref(), beta: self.beta.as_deref() }
    }
}

/// Parameters in `f64`, one value for each channel; 1 and 0 where there are none.
pub(crate) struct WideParameters {
    pub gamma: Room,
    pub beta: Room,
}

impl<P: Parameter> Parameters<'_, P> {
    /// gamma and beta in `f64`, if they have one value for each channel.
    pub(crate) fn widened(&self, expected: usize) -> Result<WideParameters, CallError> {
        let widen = |argument, values: Option<&[P]>, absent: f64| match values {
            Some(values) if values.len() != expected => {
                Err(CallError::Length { argument, expected, got: values.len() })
            }
            Some(values) => Ok(Room::from_values(values.iter().map(|value| value.to_f64()))),
            None => Ok(Room::from_values((0..expected).map(|_| absent))),
        };
        Ok(WideParameters { gamma: widen("gamma", self.gamma, 1.0)?, beta: widen("beta", self.beta, 0.0)? })
    }
}

/// The direction in which gamma and beta move: gamma' and beta', one number for each value; what is absent stands
/// still.
///
/// ```
/// use batchnorm::ParameterDirection;
/// let of_beta_alone = ParameterDirection { beta: Some(&[1.0, 0.0]), ..ParameterDirection::default() };
/// assert_eq!(of_beta_alone.gamma, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ParameterDirection<'d> {
    /// gamma'.
    pub gamma: Option<&'d [f64]>,
    /// beta'.
    pub beta: Option<&'d [f64]>,
}

impl ParameterDirection<'_> {
    /// Errors unless each direction has one number for each value of its parameter.
    pub(crate) fn check(&self, expected: usize) -> Result<(), CallError> {
        for (argument, values) in [("direction of gamma", self.gamma), ("direction of beta", self.beta)] {
            values.map_or(Ok(()), |values| same_length(argument, expected, values.len()))?;
        }
        Ok(())
    }

    /// gamma' and beta' of one channel.
    pub(crate) fn at(&self, channel: usize) -> [f64; 2] {
        [self.gamma, self.beta].map(|values| values.map_or(0.0, |values| values[channel]))
    }
}
