//! Forward passes over their own input: evaluation, and training that keeps its output alone.
//!
//! All that can fail is checked before the first value is written, for then the input is gone.

use crate::batch_norm::input::InputKind;
use crate::batch_norm::invertible::{Invertible, reciprocal};
use crate::batch_norm::normalizer::Normalizer;
use crate::batch_norm::saved::Saved;
use crate::call_error::{CallError, NOTHING_TO_EVALUATE_BY};
use crate::check::same_shape;
use crate::options::policies::MissingRunning;
use crate::parameters::Parameters;
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use batchnorm_kernel::passes::{Beside, Call, Forward};
use batchnorm_kernel::{Element, Parameter, View, ViewMut};

impl Normalizer {
    /// The evaluation forward pass, y over `x`: the same bits as [`eval`](Self::eval)'s, and no second array. A
    /// residual of the same shape is added before the activation.
    ///
    /// For evaluation without a backward pass, which would need the input again.
    ///
    /// # Errors
    /// As `eval`; `x` is untouched then.
    pub fn eval_in_place<T: Element, P: Parameter>(
        &self,
        x: &mut ViewMut<T>,
        residual: Option<&View<T>>,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
    ) -> Result<(), CallError> {
        let _call = Call::begin();
        let view = x.as_view();
        residual.map_or(Ok(()), |residual| same_shape("residual", view.layout(), residual.layout()))?;
        let kind = if residual.is_some() { InputKind::WithResidual } else { InputKind::Plain };
        let saved = match running {
            Some(running) => self.saved_of_running(view.channels(), view.count(), kind, parameters, running)?,
            None if self.policies.missing_running == MissingRunning::BatchStatistics => {
                let parameters = parameters.widened(view.channels())?;
                let (batch, _) = self.admit_measured((&view).into(), None)?;
                self.saved_of_batch(&batch, view.count(), kind, &parameters)
            }
            None => return Err(CallError::NoRunningStatistics { reason: NOTHING_TO_EVALUATE_BY }),
        };
        self.normalize_in_place(x, residual, &saved);
        Ok(())
    }

    /// The invertible training forward pass, y over `x`: the same bits as [`train`](Self::train)'s, of which the
    /// backward pass needs y alone ([`Invertible::backward`]). So a step keeps one array a layer where it else keeps
    /// two, the input for this layer and the output for the next one (InPlace-ABN: Rota Bulo, Porzi and Kontschieder
    /// 2018; there gamma is made positive, here it keeps its sign).
    ///
    /// `f32` and `f64` arrays, the identity and leaky rectifiers. Its price is the accuracy of the backward pass: see
    /// [`Invertible`].
    ///
    /// # Errors
    /// An activation without an inverse; no memory for the channels that must keep their input; and as `train`. `x` is
    /// untouched then.
    pub fn train_invertible<T: Element + Parameter, P: Parameter>(
        &self,
        x: &mut ViewMut<T>,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
    ) -> Result<(Invertible<T>, BatchMoments), CallError> {
        let _call = Call::begin();
        let slope = self.activation.slope();
        if slope == 0.0 {
            return Err(CallError::NotInvertible { activation: self.activation });
        }
        let view = x.as_view();
        let (channels, count) = (view.channels(), view.count());
        let mut widened = parameters.widened(channels)?;
        self.check_renormalization(channels, running)?;
        // A sweep of its own: which channels keep their input must be known, and copied, before anything is written.
        let (batch, by_running) = self.admit_measured((&view).into(), running)?;
        let (reciprocals, saved) = match by_running {
            // One value a channel: keeping the input costs no more than keeping its reciprocal.
            Some(running) => {
                (vec![None; channels], self.saved_of_running(channels, count, InputKind::Plain, parameters, running)?)
            }
            None => {
                let saved = self.saved_in_training(&batch, count, InputKind::Plain, &widened, running)?;
                widened = saved.all_batch_norm_parameters(widened);
                let parameters = widened.gamma.iter().zip(widened.beta.iter());
                let reciprocals = parameters
                    .zip(batch.channels())
                    .map(|((&gamma, &beta), moments)| {
                        reciprocal::<T>([gamma, beta, slope], moments, self.inverse_deviation_of(moments))
                    })
                    .collect();
                (reciprocals, saved)
            }
        };
        let invertible = Invertible::new(saved, widened.beta, &view, reciprocals)?;
        self.normalize_in_place(x, None, invertible.saved());
        Ok((invertible, batch))
    }

    /// Writes y over x by the saved values of the pass. All that could fail was checked before.
    fn normalize_in_place<T: Element>(&self, x: &mut ViewMut<T>, residual: Option<&View<T>>, saved: &Saved) {
        let beside = residual.map_or(Beside::Nothing, |residual| Beside::Residual(residual.memory()));
        let pass = Forward { machine: &self.machine, activation: self.activation, beside };
        T::operations().normalize_in_place(pass, x.memory(), saved.normalize_coefficients());
    }
}
