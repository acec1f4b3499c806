//! Optimisers: Burn's rules of one tensor, applied to a network by the paths of its parameters, so that what they keep can be written to a
//! file under these paths and read again. (Burn's own optimiser of a module keeps it by numbers that are drawn anew in each process.)

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, DynOptimizer, DynState, GradientsParams, SgdConfig, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::network::{Network, Path, is_of_norm, walk};
use crate::setting::SettingError;

/// The rule by which weights follow their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Rule {
    /// Gradient descent: v = momentum v + g, w -= rate v; with Nesterov's look ahead w -= rate (g + momentum v). As in PyTorch, without
    /// dampening.
    Sgd {
        /// Share of the last change that is made again; 0 for none.
        momentum: f64,
        /// Look ahead.
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015). L2 is part of the gradient.
    Adam {
        /// Weight of the old value in the mean of gradients, and of their squares.
        betas: [f64; 2],
    },
    /// Adam with decoupled decay (Loshchilov and Hutter 2019): w -= rate * penalty * w.
    AdamW {
        /// As in Adam.
        betas: [f64; 2],
    },
}

/// Added to the root in Adam and AdamW: PyTorch's.
const ADAM_EPSILON: f32 = 1e-8;

impl Rule {
    /// Plain gradient descent.
    pub const PLAIN: Rule = Rule::Sgd { momentum: 0.0, nesterov: false };
    /// Adam's usual weights.
    pub const BETAS: [f64; 2] = [0.9, 0.999];

    /// Checks the numbers.
    ///
    /// # Errors
    /// The first one out of range.
    pub fn check(self) -> Result<(), SettingError> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        match self {
            Rule::Sgd { momentum, .. } if !share(momentum) => {
                Err(SettingError::new("momentum", "a share in 0..1", momentum))
            }
            Rule::Sgd { momentum: 0.0, nesterov: true } => {
                Err(SettingError::new("nesterov", "a momentum above 0 with it", 0))
            }
            Rule::Adam { betas } | Rule::AdamW { betas } if !betas.into_iter().all(share) => {
                Err(SettingError::new("betas", "two shares in 0..1", format!("{}, {}", betas[0], betas[1])))
            }
            _ => Ok(()),
        }
    }

    /// Burn's rule with a penalty on the squares of the weights.
    fn built(self, penalty: f64) -> Arc<dyn DynOptimizer> {
        let decay = (penalty > 0.0).then(|| WeightDecayConfig::new(penalty as f32));
        match self {
            Rule::Sgd { momentum, nesterov } => {
                let momentum = (momentum > 0.0)
                    .then(|| MomentumConfig::new().with_momentum(momentum).with_dampening(0.0).with_nesterov(nesterov));
                Arc::new(SgdConfig::new().with_weight_decay(decay).with_momentum(momentum).build())
            }
            Rule::Adam { betas: [first, second] } => Arc::new(
                AdamConfig::new()
                    .with_beta_1(first as f32)
                    .with_beta_2(second as f32)
                    .with_epsilon(ADAM_EPSILON)
                    .with_weight_decay(decay)
                    .build(),
            ),
            Rule::AdamW { betas: [first, second] } => Arc::new(
                AdamWConfig::new()
                    .with_beta_1(first as f32)
                    .with_beta_2(second as f32)
                    .with_epsilon(ADAM_EPSILON)
                    .with_weight_decay(penalty as f32)
                    .build(),
            ),
        }
    }
}

/// L2: a penalty on the squares of weights.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightDecay {
    /// penalty / 2 * sum of squares is added to the loss, and penalty * w to the gradient.
    pub penalty: f64,
    /// The gammas and betas of norms have it too.
    pub of_norms: bool,
}

/// All that decides how weights follow their gradients, but for the learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The rule.
    pub rule: Rule,
    /// L2.
    pub decay: WeightDecay,
    /// The greatest norm of all gradients together; a greater one is made this.
    pub clip: Option<f64>,
}

/// An optimiser in training.
pub struct Optimizer {
    /// The rule for weights and biases, and that for gammas and betas.
    rules: [Arc<dyn DynOptimizer>; 2],
    clip: Option<f64>,
    /// What the rule keeps of each parameter, by its path.
    states: BTreeMap<String, DynState>,
    /// Tells whether the rule keeps anything.
    keeps: bool,
}

/// A number or tensor that an optimiser keeps, by its name.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// A tensor of `f32`.
    Tensor(Vec<usize>, Vec<f32>),
    /// A count.
    Count(u64),
}

impl Optimizer {
    /// An optimiser at its start.
    pub fn new(settings: Settings) -> Optimizer {
        let Settings { rule, decay, clip } = settings;
        let of_norms = if decay.of_norms { decay.penalty } else { 0.0 };
        let keeps = !matches!(rule, Rule::Sgd { momentum: 0.0, .. });
        Optimizer { rules: [rule.built(decay.penalty), rule.built(of_norms)], clip, states: BTreeMap::new(), keeps }
    }

    /// The network after a step along the gradients.
    pub fn step(&mut self, rate: f64, network: Network, gradients: GradientsParams) -> Network {
        let factor = self.clip.and_then(|most| {
            let mut squares = Squares { gradients: &gradients, sum: 0.0 };
            network.visit(&mut squares);
            let norm = squares.sum.sqrt();
            (norm > most).then(|| (most / norm) as f32)
        });
        network.map(&mut Update { optimizer: self, gradients, rate, factor, path: Path::default() })
    }

    /// What is kept, by name: the parameter's path and what it is of.
    pub fn kept(&self) -> BTreeMap<String, Kept> {
        let mut sink = StateSink::default();
        for (path, state) in &self.states {
            self.rules[0].state_flatten(path, state, &mut sink);
        }
        let tensor = |data: TensorData| Kept::Tensor(data.shape().to_vec(), data.iter::<f32>().collect());
        let tensors = sink.tensors.into_iter().map(|(name, data)| (name, tensor(data)));
        let count = |scalar| Kept::Count(u64::try_from(scalar).expect("Burn's rules keep counts and tensors"));
        let counts = sink.scalars.into_iter().map(|(name, scalar)| (name, count(scalar)));
        tensors.chain(counts).collect()
    }

    /// Takes up what an optimiser of the same rule kept for a network that it has made `steps` steps with; false, and nothing changed, if that
    /// is not all of it, or more, or of another shape or count.
    #[must_use]
    pub fn take_up(&mut self, network: &Network, steps: usize, kept: BTreeMap<String, Kept>) -> bool {
        let names: Vec<String> = kept.keys().cloned().collect();
        let mut expected: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        walk(network, |met| drop(expected.insert(met.path, met.shape)));
        let fits = |(name, kept): (&String, &Kept)| match kept {
            Kept::Count(count) => *count == steps as u64,
            // (By its path, of which the rest of the name is what it is of.)
            Kept::Tensor(shape, _) => {
                let mut paths = name.match_indices('.').map(|(at, _)| &name[..at]);
                paths.any(|path| expected.get(path).is_some_and(|of_parameter| of_parameter == shape))
            }
        };
        if !kept.iter().all(fits) {
            return false;
        }
        let (mut tensors, mut counts) = (Vec::new(), BTreeMap::new());
        for (name, kept) in kept {
            match kept {
                Kept::Tensor(shape, values) => tensors.push((name, TensorData::new(values, shape))),
                Kept::Count(count) => drop(counts.insert(name, count.into())),
            }
        }
        let mut source = StateSource::new(counts);
        tensors.into_iter().for_each(|(name, data)| source.insert_tensor(name, data));
        let (path, states) = (Path::default(), BTreeMap::new());
        let mut found = States { rule: &*self.rules[0], source, path, states, trained: 0 };
        network.visit(&mut found);
        let expected = if self.keeps { found.trained } else { 0 };
        let taken = Optimizer { states: found.states, rules: self.rules.clone(), clip: None, keeps: self.keeps };
        // What comes out again is what went in.
        let all = taken.states.len() == expected && taken.kept().keys().eq(&names);
        if all {
            self.states = taken.states;
        }
        all
    }
}

struct Update<'u> {
    optimizer: &'u mut Optimizer,
    gradients: GradientsParams,
    rate: f64,
    /// All gradients are multiplied by it.
    factor: Option<f32>,
    path: Path,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let gradient = match self.factor {
            Some(factor) => gradient.mul_scalar(factor),
            None => gradient,
        };
        let path = self.path.joined();
        let rule = &self.optimizer.rules[usize::from(is_of_norm(&path))];
        let state = self.optimizer.states.remove(&path);
        let (updated, state) = rule.step_dyn(D, self.rate, tensor.inner().into_bridge(), gradient.into_bridge(), state);
        if let Some(state) = state {
            self.optimizer.states.insert(path, state);
        }
        let updated = Tensor::from_inner(Tensor::<D>::from_bridge(updated)).require_grad();
        Param::from_mapped_value(id, updated, mapper)
    }
}

/// The sum of all gradients' squares.
struct Squares<'g> {
    gradients: &'g GradientsParams,
    sum: f64,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum += gradient.into_data().iter::<f64>().map(|value| value * value).sum::<f64>();
        }
    }
}

/// Rebuilds the states of a network's parameters.
struct States<'s> {
    rule: &'s dyn DynOptimizer,
    source: StateSource,
    path: Path,
    states: BTreeMap<String, DynState>,
    /// Parameters that are trained.
    trained: usize,
}

impl ModuleVisitor for States<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.joined();
        self.trained += usize::from(param.val().is_require_grad());
        if self.source.has_under(&path)
            && let Some(state) = self.rule.state_unflatten(D, &path, &mut self.source, &Device::default())
        {
            self.states.insert(path, state);
        }
    }
}
