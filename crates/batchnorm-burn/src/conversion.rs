//! Conversions from and to Burn's own layer.
//!
//! Values are taken over as they are. Burn's running variance estimates the population variance, so a layer that comes
//! from Burn says so and goes on that way; [`BatchNorm::convert_running_variance`] makes it the sample variance.

use batchnorm::{Averaged, Threads};
use burn::module::Module;

use crate::config::{RunningAverage, RunningVariance};
use crate::module::BatchNorm;
use crate::name::LayerName;
use crate::running::{RunningTensor, dequantized};

impl From<burn::nn::BatchNorm> for BatchNorm {
    /// The layer with the statistics of its last update, which its own record would lack, and with
    /// [`RunningVariance::Population`], the kind of variance that Burn's is.
    #[track_caller]
    fn from(theirs: burn::nn::BatchNorm) -> Self {
        // `valid` is Burn's one public call that takes in the updates of all threads.
        let state = |state: burn::module::RunningState<burn::tensor::Tensor<1>>| {
            let _ = state.valid();
            state.value()
        };
        let ids = ids(&theirs);
        BatchNorm {
            gamma: theirs.gamma,
            beta: theirs.beta,
            training: theirs.training,
            running_mean: RunningTensor::with_id(ids[0], state(theirs.running_mean)),
            running_var: RunningTensor::with_id(ids[1], state(theirs.running_var)),
            momentum: theirs.momentum,
            averaging: RunningAverage::Exponential,
            averaged: Averaged::Variance,
            renormalization: None,
            updates: None,
            epsilon: theirs.epsilon,
            running_variance: RunningVariance::Population,
            name: LayerName::built_here("BatchNorm", None),
            pinned: None,
            policies: batchnorm::Policies::default(),
            ghost: None,
            participant: None,
            threads: Threads::default(),
            held: crate::held::Held::default(),
        }
    }
}

impl From<BatchNorm> for burn::nn::BatchNorm {
    /// Burn's layer with the running variance as it is: evaluation is the same, and training goes on towards the
    /// population variance. Call [`BatchNorm::convert_running_variance`] before to have it converted.
    fn from(ours: BatchNorm) -> Self {
        use burn::module::RunningState;
        ours.ledger().go_on(ours.cells());
        burn::nn::BatchNorm {
            gamma: ours.gamma,
            beta: ours.beta,
            training: ours.training,
            running_mean: RunningState::with_id(ours.running_mean.id(), dequantized(ours.running_mean.value())),
            running_var: RunningState::with_id(ours.running_var.id(), dequantized(ours.running_var.value())),
            momentum: ours.momentum,
            epsilon: ours.epsilon,
        }
    }
}

impl BatchNorm {
    /// The layer with a running variance by the other estimator: times `n / (n - 1)` to the sample variance, times `(n
    /// - 1) / n` to the population variance, for n values a channel in every batch so far. Nothing happens if it is
    /// `to` already.
    ///
    /// The remaining share of the start value 1 is scaled too.
    ///
    /// # Panics
    /// Fewer than 2 values, which have no sample variance, where the estimators differ.
    #[must_use]
    pub fn convert_running_variance(mut self, to: RunningVariance, values: usize) -> Self {
        let factor = self.running_variance.estimator().factor_to(to.estimator(), values as u64);
        let factor = factor.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.ledger().go_on(self.cells());
        self.running_var.update(dequantized(self.running_var.value()) * factor);
        self.running_variance = to;
        self
    }
}

/// Identities of running mean and variance, which Burn's state shows to visitors only.
fn ids(theirs: &burn::nn::BatchNorm) -> [burn::module::ParamId; 2] {
    use burn::module::{ModuleVisitor, Param, ParamId};
    struct LastId(Option<ParamId>);
    impl ModuleVisitor for LastId {
        fn visit_float<const D: usize>(&mut self, param: &Param<burn::tensor::Tensor<D>>) {
            self.0 = Some(param.id);
        }
    }
    [&theirs.running_mean, &theirs.running_var].map(|state| {
        let mut last = LastId(None);
        state.visit(&mut last);
        last.0.expect("a state is one tensor")
    })
}
