//! Evaluation with what it needs of each channel computed once, for many calls.

use crate::batch_norm::input::{Input, InputKind};
use crate::batch_norm::normalizer::Normalizer;
use crate::call_error::CallError;
use crate::check::same_length;
use crate::parameters::Parameters;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::passes::{Call, NormalizeVectors};
use batchnorm_kernel::{Element, Parameter, View, ViewMut};

/// Mean, scale and shift of each channel, as evaluation by running statistics needs them; made by [`Normalizer::prepare`].
///
/// An evaluation computes a root and a quotient a channel before it looks at the input. Of few values a channel that is most
/// of its time, and the same in every call as long as neither parameters nor running statistics change.
///
/// ```
/// use batchnorm::{Axes, Config, Parameters, RunningStatistics, View, ViewMut};
/// let normalizer = Config::pytorch().normalizer()?;
/// let running = RunningStatistics::from_parts(&[1.0, -2.0], &[4.0, 0.25], 0)?;
/// let prepared = normalizer.prepare(Parameters::<f32>::default(), &running)?;
/// let x = View::new(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2], Axes::NCHW)?;
/// let (mut once, mut again) = ([0.0f32; 4], [0.0f32; 4]);
/// normalizer.eval(&x, Parameters::<f32>::default(), Some(&running), &mut ViewMut::new(&mut once, &[2, 2], Axes::NCHW)?)?;
/// normalizer.eval_prepared(&x, &prepared, &mut ViewMut::new(&mut again, &[2, 2], Axes::NCHW)?)?;
/// assert_eq!(once, again); // the same bits
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    mean: Vec<f64>,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Normalizer {
    /// What evaluation with these parameters and running statistics needs of each channel.
    ///
    /// # Errors
    /// Parameters of another length than the statistics.
    pub fn prepare<P: Parameter>(
        &self,
        parameters: Parameters<P>,
        running: &RunningStatistics,
    ) -> Result<Prepared, CallError> {
        let saved = self.saved_of_running(running.channels(), 0, InputKind::Plain, parameters, running)?;
        let NormalizeVectors { mean, scale, shift } = saved.normalize_coefficients();
        Ok(Prepared { mean: mean.to_vec(), scale: scale.to_vec(), shift: shift.to_vec() })
    }

    /// [`eval`](Self::eval) by what was prepared, into `y`: the same bits. It saves nothing for a backward pass.
    ///
    /// # Errors
    /// Shapes that do not fit each other, or what was prepared. `y` is untouched then.
    pub fn eval_prepared<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        prepared: &Prepared,
        y: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        let _call = Call::begin();
        let input = input.into();
        let x: &View<T> = input.x();
        let beside = input.check_forward(y.layout())?;
        same_length("prepared", x.channels(), prepared.mean.len())?;
        let Prepared { mean, scale, shift } = prepared;
        let coefficients = NormalizeVectors { mean, scale, shift };
        T::operations().normalize(self.pass(&beside), x.memory(), y.memory(), coefficients);
        Ok(())
    }
}
