//! What a forward pass does, with all it needs beside tensors, and what it leaves for the backward pass: on views, by the core.

use std::num::NonZeroUsize;
use std::sync::Arc;

use batchnorm::{
    BatchComoments, BatchMoments, CallError, Decorrelated, Element, Ghost, Input, NormalizeBy, Parameter,
    ParameterGradients, Parameters, Rule, RunningStatistics, SampleRule, SampleSaved, Saved, SavedWhitening, Switches,
    View, ViewMut, Weights, WeightsError,
};

use crate::error::Reason;
use crate::participant::Participant;

/// A forward pass.
#[derive(Debug, Clone)]
pub enum Pass {
    BatchNorm(BatchNormPass),
    /// Of a norm that does not look at the batch, of the name.
    Sample(SampleRule, String),
    /// By the batch, or by running statistics, of the name. gamma and beta are in the layer.
    Whitening {
        layer: Box<Decorrelated>,
        training: bool,
        name: String,
    },
}

/// A forward pass of batch norm.
#[derive(Debug, Clone)]
pub struct BatchNormPass {
    pub rule: Rule,
    pub switches: Switches,
    pub running: RunningStatistics,
    pub over: Over,
    /// What errors call the layer.
    pub layer: String,
}

/// What a forward pass tells beside its output: what there is to take into running statistics.
#[derive(Debug, Clone)]
pub enum Told {
    Nothing,
    Moments(BatchMoments),
    Comoments(BatchComoments),
}

impl Told {
    pub fn moments(self) -> BatchMoments {
        match self {
            Told::Moments(batch) => batch,
            _ => unreachable!("a pass of batch norm tells moments"),
        }
    }
}

/// What the statistics of a batch are taken over.
#[derive(Debug, Clone)]
pub enum Over {
    /// All of the input.
    Batch,
    /// As much of it as counts.
    Weights(Arc<Weighing>),
    /// Groups of so many samples.
    Ghost(NonZeroUsize),
    /// The inputs of all participants.
    Participants(Participant),
}

/// Weights, or a mask, out of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighing {
    pub values: Vec<f64>,
    pub shape: Vec<usize>,
}

impl Weighing {
    /// What a call makes of the weights, in a number type that has held them before, or ones and zeros.
    fn give<T: Element, R>(&self, call: impl FnOnce(&Weights<T>) -> Result<R, CallError>) -> Result<R, Reason> {
        let values: Vec<T> = self.values.iter().map(|&value| T::from_f64(value)).collect();
        Ok(call(&Weights::new(&values, &self.shape)?)?)
    }

    pub fn check(&self) -> Result<(), WeightsError> {
        Weights::new(&self.values, &self.shape).map(drop)
    }
}

/// What a forward pass leaves.
#[derive(Debug, Clone)]
pub enum Left {
    Whole(Saved),
    Weighted(Saved, Arc<Weighing>),
    Groups(Ghost),
    Part(Saved, Participant, String),
    Sample(SampleSaved),
    Whitening(SavedWhitening),
}

impl Pass {
    /// The forward pass, into `y`. Gives what is left, and what there is to take into running statistics.
    pub fn run<T: Element, P: Parameter>(
        &self,
        x: &View<T>,
        residual: Option<&View<T>>,
        parameters: Parameters<P>,
        y: &mut ViewMut<T>,
    ) -> Result<(Left, Told), Reason> {
        match self {
            Pass::BatchNorm(pass) => {
                let (left, batch) = pass.run(x, residual, parameters, y)?;
                Ok((left, Told::Moments(batch)))
            }
            Pass::Sample(rule, _) => Ok((Left::Sample(rule.forward(x, parameters, y)?), Told::Nothing)),
            Pass::Whitening { layer, training: true, .. } => {
                let (saved, batch) = layer.forward_train_into(x, y)?;
                Ok((Left::Whitening(saved), Told::Comoments(batch)))
            }
            Pass::Whitening { layer, .. } => Ok((Left::Whitening(layer.eval_into(x, y)?), Told::Nothing)),
        }
    }

    /// What errors call the layer.
    pub fn layer(&self) -> &str {
        match self {
            Pass::BatchNorm(BatchNormPass { layer: name, .. })
            | Pass::Sample(_, name)
            | Pass::Whitening { name, .. } => name,
        }
    }

    /// Whether gamma and beta are trained.
    pub fn trains(&self) -> bool {
        match self {
            Pass::BatchNorm(pass) => pass.switches.train_parameters,
            _ => true,
        }
    }
}

impl BatchNormPass {
    /// The forward pass, into `y`. Gives what is left, and what there is to take into the running statistics.
    pub fn run<T: Element, P: Parameter>(
        &self,
        x: &View<T>,
        residual: Option<&View<T>>,
        parameters: Parameters<P>,
        y: &mut ViewMut<T>,
    ) -> Result<(Left, BatchMoments), Reason> {
        let BatchNormPass { rule, switches, running, over, layer } = self;
        let input = residual.map_or(Input::from(x), |residual| Input::adding(x, residual));
        match over {
            Over::Batch => {
                let (saved, batch) = rule.forward(input, parameters, *switches, Some(running), y)?;
                Ok((Left::Whole(saved), batch))
            }
            Over::Weights(weighing) => {
                let (saved, batch) = weighing.give(|weights| {
                    rule.forward(Input::weighted(x, weights), parameters, *switches, Some(running), y)
                })?;
                Ok((Left::Weighted(saved, weighing.clone()), batch))
            }
            Over::Ghost(size) => {
                let (ghost, batch) = rule.train_ghost(x, *size, parameters, Some(running), y)?;
                let flows = switches.gradient_through_statistics;
                let ghost = if flows { ghost } else { ghost.with_constant_statistics() };
                Ok((Left::Groups(ghost), self.to_take_in(batch)))
            }
            Over::Participants(participant) => {
                let across = || rule.moments(x).across(participant.collective(), layer);
                match switches.normalize_by {
                    NormalizeBy::Batch => {
                        let whole = across()?;
                        let saved = rule.train_part(input, parameters, &whole, y)?;
                        let flows = switches.gradient_through_statistics;
                        let saved = if flows { saved } else { saved.with_constant_statistics() };
                        Ok((Left::Part(saved, participant.clone(), layer.clone()), self.to_take_in(whole)))
                    }
                    NormalizeBy::Running => {
                        let whole = switches.update_running.then(across).transpose()?;
                        let alone = Switches { update_running: false, ..*switches };
                        let (saved, none) = rule.forward(input, parameters, alone, Some(running), y)?;
                        Ok((Left::Whole(saved), whole.unwrap_or(none)))
                    }
                    NormalizeBy::Mix(_) => Err(Reason::Apart { one: "normalising by a mix", other: "participants" }),
                }
            }
        }
    }

    /// A batch's moments, or none where the running statistics are not to be updated.
    pub fn to_take_in(&self, batch: BatchMoments) -> BatchMoments {
        let nothing = || vec![batchnorm::Moments::EMPTY; batch.channels().len()].into();
        if self.switches.update_running { batch } else { nothing() }
    }
}

impl Left {
    /// The pass with a residual, which there is of a whole batch alone.
    pub fn adding(&self) -> Option<&Saved> {
        match self {
            Left::Whole(saved) => Some(saved),
            _ => None,
        }
    }

    /// dx into a buffer, and the gradients of gamma and beta: of participants each one's own share in them.
    pub fn backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, Reason> {
        match self {
            Left::Sample(saved) => Ok(saved.backward(x, dy, dx)?),
            Left::Whitening(saved) => Ok(saved.backward(x, dy, dx)?),
            Left::Whole(saved) => Ok(saved.backward(x, dy, dx)?),
            Left::Groups(ghost) => Ok(ghost.backward(x, dy, dx)?),
            Left::Weighted(saved, weighing) => weighing.give(|weights| saved.backward_weighted(x, dy, weights, dx)),
            Left::Part(saved, participant, layer) => {
                let own = saved.parameter_gradients(x, dy)?;
                let flows = saved.used_batch_statistics();
                let whole = if flows { own.across(participant.collective(), layer)? } else { own.clone() };
                saved.backward_part(x, dy, &whole, dx)?;
                Ok(own)
            }
        }
    }

    /// The gradients of gamma and beta alone; `None` of a pass that gives them with dx only.
    pub fn parameter_gradients<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
    ) -> Result<Option<ParameterGradients>, Reason> {
        Ok(Some(match self {
            Left::Sample(_) | Left::Whitening(_) => return Ok(None),
            Left::Whole(saved) | Left::Part(saved, ..) => saved.parameter_gradients(x, dy)?,
            Left::Groups(ghost) => ghost.parameter_gradients(x, dy)?,
            Left::Weighted(saved, weighing) => {
                weighing.give(|weights| saved.parameter_gradients_weighted(x, dy, weights))?
            }
        }))
    }
}
