//! Forward passes on views, by the core: what a pass needs beside tensors, what it saves for the backward pass, and
//! what it reports of its batch.

use std::num::NonZeroUsize;
use std::sync::Arc;

use batchnorm::{
    BatchComoments, BatchMoments, CallError, Decorrelated, Element, Ghost, Input, NormalizeBy, Normalizer, Parameter,
    ParameterGradients, Parameters, RunningStatistics, SampleNormalizer, SampleSaved, Saved, SavedWhitening, Switches,
    View, ViewMut, Weights, WeightsError,
};

use crate::error::Reason;
use crate::name::LayerName;
use crate::participant::Participant;
use crate::prepared::LastPrepared;
use crate::running::{Cell, statistics_in};

/// A forward pass of one of the layers.
#[derive(Debug, Clone)]
pub enum Pass {
    BatchNorm(Box<BatchNormPass>),
    /// A norm that does not look at the batch, with the layer's name.
    Sample {
        normalizer: SampleNormalizer,
        weights: Option<Arc<WeightValues>>,
        name: LayerName,
    },
    /// Decorrelated batch norm; gamma and beta are in `layer`.
    Whitening {
        layer: Box<Decorrelated>,
        /// Whitens by the batch; else by the running statistics.
        training: bool,
        name: LayerName,
    },
}

/// A forward pass of batch norm.
#[derive(Debug, Clone)]
pub struct BatchNormPass {
    pub normalizer: Normalizer,
    pub switches: Switches,
    /// Where the running statistics stand, if the pass may go by them.
    pub running: Option<Vec<Cell>>,
    /// What the layer's last evaluation prepared, and epsilon, which that depends on too.
    pub prepared: (LastPrepared, f64),
    pub scope: Scope,
    /// Name of the layer in errors.
    pub layer: LayerName,
}

/// The statistics of a pass's batch that running statistics are to take in.
#[derive(Debug, Clone)]
pub enum BatchReport {
    Nothing,
    Moments {
        /// `None` where there is nothing to take in.
        batch: Option<BatchMoments>,
        /// Of a batch over several participants, this one's part.
        part: Option<BatchMoments>,
    },
    Comoments(BatchComoments),
}

impl BatchReport {
    /// The moments that running statistics are to take in; of a batch over several participants, this one's part too.
    pub fn moments(self) -> (Option<BatchMoments>, Option<BatchMoments>) {
        match self {
            BatchReport::Moments { batch, part } => (batch, part),
            _ => unreachable!("a pass of batch norm reports moments"),
        }
    }
}

/// The values that one mean and variance are taken over.
#[derive(Debug, Clone)]
pub enum Scope {
    /// All of the input.
    Batch,
    /// The input, each value by its weight.
    Weights(Arc<WeightValues>),
    /// Each group of so many samples by itself, values maybe by their weights.
    Ghost(NonZeroUsize, Option<Arc<WeightValues>>),
    /// The inputs of all participants together.
    Participants(Participant),
}

/// Weights out of a tensor, or the ones and zeros of a mask.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightValues {
    pub values: Vec<f64>,
    pub shape: Vec<usize>,
}

impl WeightValues {
    /// Calls the core with the weights in `T`, which holds them unrounded: it is the type that they came from, or a
    /// wider one.
    fn call_with<T: Element, R>(&self, call: impl FnOnce(&Weights<T>) -> Result<R, CallError>) -> Result<R, Reason> {
        let values: Vec<T> = self.values.iter().map(|&value| T::from_f64(value)).collect();
        Ok(call(&Weights::new(&values, &self.shape)?)?)
    }

    pub fn check(&self) -> Result<(), WeightsError> {
        Weights::new(&self.values, &self.shape).map(drop)
    }
}

/// A forward pass as it is saved for its backward pass.
#[derive(Debug, Clone)]
pub enum SavedPass {
    Whole(Saved),
    Weighted(Saved, Arc<WeightValues>),
    Ghost(Ghost, Option<Arc<WeightValues>>),
    /// A participant's part of a batch, with the layer's name.
    Part(Saved, Participant, LayerName),
    Sample(SampleSaved, Option<Arc<WeightValues>>),
    Whitening(SavedWhitening),
}

impl Pass {
    /// The forward pass, into `y`.
    pub fn run<T: Element, P: Parameter>(
        &self,
        x: &View<T>,
        residual: Option<&View<T>>,
        parameters: Parameters<P>,
        y: &mut ViewMut<T>,
    ) -> Result<(SavedPass, BatchReport), Reason> {
        match self {
            Pass::BatchNorm(pass) => {
                let (saved, batch, part) = pass.run(x, residual, parameters, y)?;
                Ok((saved, BatchReport::Moments { batch, part }))
            }
            Pass::Sample { normalizer, weights, .. } => {
                let saved = match weights {
                    None => normalizer.forward(x, parameters, y)?,
                    Some(weights) => {
                        weights.call_with(|weights| normalizer.forward(Input::weighted(x, weights), parameters, y))?
                    }
                };
                Ok((SavedPass::Sample(saved, weights.clone()), BatchReport::Nothing))
            }
            Pass::Whitening { layer, training: true, .. } => {
                let (saved, batch) = layer.forward_train_into(x, y)?;
                Ok((SavedPass::Whitening(saved), BatchReport::Comoments(batch)))
            }
            Pass::Whitening { layer, .. } => Ok((SavedPass::Whitening(layer.eval_into(x, y)?), BatchReport::Nothing)),
        }
    }

    /// Name of the layer in errors.
    pub fn layer(&self) -> &LayerName {
        match self {
            Pass::BatchNorm(pass) => &pass.layer,
            Pass::Sample { name, .. } | Pass::Whitening { name, .. } => name,
        }
    }

    /// Tells whether gamma and beta are trained.
    pub fn trains_parameters(&self) -> bool {
        match self {
            Pass::BatchNorm(pass) => pass.switches.train_parameters,
            _ => true,
        }
    }
}

impl BatchNormPass {
    /// The forward pass, into `y`; with the moments that the running statistics are to take in, and this participant's part
    /// of them.
    pub fn run<T: Element, P: Parameter>(
        &self,
        x: &View<T>,
        residual: Option<&View<T>>,
        parameters: Parameters<P>,
        y: &mut ViewMut<T>,
    ) -> Result<(SavedPass, Option<BatchMoments>, Option<BatchMoments>), Reason> {
        let BatchNormPass { normalizer, switches, scope, layer, .. } = self;
        let running = self.running()?;
        let input = residual.map_or(Input::from(x), |residual| Input::adding(x, residual));
        match scope {
            Scope::Batch => {
                let (saved, batch) =
                    normalizer.forward_by_switches(input, parameters, *switches, running.as_ref(), y)?;
                Ok((SavedPass::Whole(saved), batch, None))
            }
            Scope::Weights(weights) => {
                let (saved, batch) = weights.call_with(|weights| {
                    normalizer.forward_by_switches(
                        Input::weighted(x, weights),
                        parameters,
                        *switches,
                        running.as_ref(),
                        y,
                    )
                })?;
                Ok((SavedPass::Weighted(saved, weights.clone()), batch, None))
            }
            Scope::Ghost(size, weights) => {
                let trained = match weights {
                    None => normalizer.train_ghost(input, *size, parameters, running.as_ref(), y).map_err(Reason::from),
                    Some(weights) => weights.call_with(|weights| {
                        let input = Input::weighted(x, weights);
                        normalizer.train_ghost(input, *size, parameters, running.as_ref(), y)
                    }),
                };
                let (ghost, batch) = trained.map_err(|reason| reason.of_ghost(size.get()))?;
                let flows = switches.gradient_through_statistics;
                let ghost = if flows { ghost } else { ghost.with_constant_statistics() };
                Ok((SavedPass::Ghost(ghost, weights.clone()), self.to_take_in(batch), None))
            }
            Scope::Participants(participant) => {
                let of_all = |part: &BatchMoments| part.across(participant.collective(), layer.tag());
                if switches.normalize_by == NormalizeBy::Running {
                    let part = switches.update_running.then(|| normalizer.moments(x));
                    let whole = part.as_ref().map(of_all).transpose()?;
                    let without_update = Switches { update_running: false, ..*switches };
                    let (saved, _) =
                        normalizer.forward_by_switches(input, parameters, without_update, running.as_ref(), y)?;
                    return Ok((SavedPass::Whole(saved), whole, part));
                }
                let part = normalizer.moments(x);
                let whole = of_all(&part)?;
                let (saved, _) = normalizer.forward_part(input, parameters, *switches, &whole, running.as_ref(), y)?;
                let saved = SavedPass::Part(saved, participant.clone(), layer.handle());
                Ok((saved, self.to_take_in(whole), self.to_take_in(part)))
            }
        }
    }

    /// The running statistics, where the pass may go by them.
    pub fn running(&self) -> Result<Option<RunningStatistics>, Reason> {
        Ok(self.running.as_deref().map(statistics_in).transpose()?)
    }

    /// Where the running statistics stand, if the pass normalises by them and does nothing else.
    pub fn evaluates_by(&self) -> Option<&[Cell]> {
        let alone = matches!(self.scope, Scope::Batch) && !self.switches.update_running;
        self.running.as_deref().filter(|_| alone && self.switches.normalize_by == NormalizeBy::Running)
    }

    /// The batch's moments, or none where the running statistics are not to be updated.
    pub fn to_take_in(&self, batch: BatchMoments) -> Option<BatchMoments> {
        Some(batch).filter(|_| self.switches.update_running)
    }
}

impl SavedPass {
    /// The pass over a whole batch, the only one that can have added a residual.
    pub fn whole_batch(&self) -> Option<&Saved> {
        match self {
            SavedPass::Whole(saved) => Some(saved),
            _ => None,
        }
    }

    /// dx into a buffer, and the gradients of gamma and beta; of participants, this one's share in them.
    pub fn backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, Reason> {
        match self {
            SavedPass::Sample(saved, None) => Ok(saved.backward(x, dy, dx)?),
            SavedPass::Sample(saved, Some(weights)) => {
                weights.call_with(|weights| saved.backward(Input::weighted(x, weights), dy, dx))
            }
            SavedPass::Whitening(saved) => Ok(saved.backward(x, dy, dx)?),
            SavedPass::Whole(saved) => Ok(saved.backward(x, dy, dx)?),
            SavedPass::Ghost(ghost, None) => Ok(ghost.backward(x, dy, dx)?),
            SavedPass::Ghost(ghost, Some(weights)) => {
                weights.call_with(|weights| ghost.backward(Input::weighted(x, weights), dy, dx))
            }
            SavedPass::Weighted(saved, weights) => {
                weights.call_with(|weights| saved.backward(Input::weighted(x, weights), dy, dx))
            }
            SavedPass::Part(saved, participant, layer) => {
                let share = saved.parameter_gradients(x, dy)?;
                let flows = saved.used_batch_statistics();
                let whole = if flows { share.across(participant.collective(), layer.tag())? } else { share.clone() };
                saved.backward_part(x, dy, &whole, dx)?;
                Ok(share)
            }
        }
    }

    /// The gradients of gamma and beta alone; `None` where the core gives them only together with dx.
    pub fn parameter_gradients<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
    ) -> Result<Option<ParameterGradients>, Reason> {
        Ok(Some(match self {
            SavedPass::Sample(..) | SavedPass::Whitening(_) => return Ok(None),
            SavedPass::Whole(saved) | SavedPass::Part(saved, ..) => saved.parameter_gradients(x, dy)?,
            SavedPass::Ghost(ghost, None) => ghost.parameter_gradients(x, dy)?,
            SavedPass::Ghost(ghost, Some(weights)) => {
                weights.call_with(|weights| ghost.parameter_gradients(Input::weighted(x, weights), dy))?
            }
            SavedPass::Weighted(saved, weights) => {
                weights.call_with(|weights| saved.parameter_gradients(Input::weighted(x, weights), dy))?
            }
        }))
    }
}
