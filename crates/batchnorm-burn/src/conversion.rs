//! From and to Burn's own layer.
//!
//! Values go over as they are. Burn's running variance estimates the population variance, so a layer that comes from
//! Burn goes on that way, by name; [`BatchNorm::convert_running_variance`] makes it the other.

use burn::module::Module;

use crate::config::{DEFAULT_NAME, RunningVariance};
use crate::module::BatchNorm;
use crate::running::RunningTensor;

impl From<burn::nn::BatchNorm> for BatchNorm {
    /// With the statistics of its last update, which its own record would lack, and
    /// [`RunningVariance::Population`], which is what they are.
    fn from(theirs: burn::nn::BatchNorm) -> Self {
        // Taking it to evaluation and back is Burn's one public way to have the updates of all threads taken in.
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
            epsilon: theirs.epsilon,
            running_variance: RunningVariance::Population,
            name: String::from(DEFAULT_NAME),
            pinned: None,
            policies: batchnorm::Policies::default(),
            ghost: None,
            participant: None,
            held: crate::held::Held::default(),
        }
    }
}

impl From<BatchNorm> for burn::nn::BatchNorm {
    /// The running variance goes over as it is: evaluation is the same, and training goes on towards the population
    /// variance. [`BatchNorm::convert_running_variance`] before makes it one.
    fn from(ours: BatchNorm) -> Self {
        use burn::module::RunningState;
        burn::nn::BatchNorm {
            gamma: ours.gamma,
            beta: ours.beta,
            training: ours.training,
            running_mean: RunningState::with_id(ours.running_mean.id(), ours.running_mean.value()),
            running_var: RunningState::with_id(ours.running_var.id(), ours.running_var.value()),
            momentum: ours.momentum,
            epsilon: ours.epsilon,
        }
    }
}

impl BatchNorm {
    /// The layer with a running variance by the other estimator: times `n / (n - 1)` to the sample variance, times
    /// `(n - 1) / n` to the population variance, for n values a channel in every batch so far. Nothing if it is `to`
    /// already.
    ///
    /// What is left of the start value 1 is scaled too.
    ///
    /// # Panics
    /// Fewer than 2 values, which have no sample variance, where the estimators differ.
    #[must_use]
    pub fn convert_running_variance(mut self, to: RunningVariance, values: usize) -> Self {
        let factor = self.running_variance.estimator().factor_to(to.estimator(), values as u64);
        let factor = factor.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.running_var.update(self.running_var.value() * factor);
        self.running_variance = to;
        self
    }
}

/// Identities of running mean and variance, which Burn's state keeps to itself but shows to visitors.
fn ids(theirs: &burn::nn::BatchNorm) -> [burn::module::ParamId; 2] {
    use burn::module::{ModuleVisitor, Param, ParamId};
    struct Seen(Option<ParamId>);
    impl ModuleVisitor for Seen {
        fn visit_float<const D: usize>(&mut self, param: &Param<burn::tensor::Tensor<D>>) {
            self.0 = Some(param.id);
        }
    }
    [&theirs.running_mean, &theirs.running_var].map(|state| {
        let mut seen = Seen(None);
        state.visit(&mut seen);
        seen.0.expect("a state is one tensor")
    })
}
