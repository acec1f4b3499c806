//! Cases: the problem that an implementation gets, and the values and bounds that its answer is measured by.

use std::collections::BTreeMap;

use batchnorm_reference::whole::{self, Rows, Together};
use serde::{Deserialize, Serialize};

use crate::array::Input;
use crate::kinds::{Element, Role};

/// Difficulty of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every implementation meets it in its first hour.
    Easy,
    /// It happens in real networks sooner or later.
    Hard,
    /// It breaks most implementations.
    Cruel,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; 3] = [Level::Easy, Level::Hard, Level::Cruel];
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.pad(match self {
            Level::Easy => "easy",
            Level::Hard => "hard",
            Level::Cruel => "cruel",
        })
    }
}

/// The kind of norm: which values are normalised together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Norm {
    /// Each channel over samples and space.
    Batch,
    /// Each index of the other axes over so many of the last axes; parameters for each element of these.
    Layer {
        /// Number of axes, counted from the last.
        axes: usize,
    },
    /// The rows of `Layer`, divided by their root mean square; no mean is taken off.
    Rms {
        /// Number of axes, counted from the last.
        axes: usize,
    },
    /// Each sample's channels of a group, over space; parameters for each channel.
    Group {
        /// Number of groups.
        groups: usize,
    },
    /// The rows of `Group`, divided by their root mean square; no mean is taken off.
    #[serde(rename = "group-rms")]
    GroupRms {
        /// Number of groups.
        groups: usize,
    },
    /// Each channel of each sample, over space; parameters for each channel.
    Instance,
}

/// The computation that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// One training step: forward by the batch, the update of the running statistics, backward.
    Train,
    /// Forward and backward by the running statistics.
    Eval,
    /// Forward and backward of a norm that does not look at the batch.
    Forward,
    /// Training steps on `x0`, `x1` .. in turn: the running statistics behind them.
    Updates,
    /// Mean and variance of all values of `x0`, `x1` .. together.
    Population,
    /// Layers in a chain, each trained on what the one before gave, its statistics replaced by the batch's; then the
    /// same input through all of them in evaluation.
    Chain,
}

/// What follows the normalisation: y = f(z), z what it is without. The gradients are those of y.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The rectifier, max(z, 0). Its derivative at 0 is 0.
    Relu,
}

/// Batch renormalisation (Ioffe 2017), in training: with the batch's mean m and s = sqrt(variance + epsilon), and M and
/// S = sqrt(V + epsilon) of the running statistics before this batch, y = gamma (r (x - m) / s + d) + beta with r = s / S kept in
/// 1 / r_max ..= r_max and d = (m - M) / S in -d_max ..= d_max, both constants to the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renormalization {
    /// The limit of r.
    pub r_max: f64,
    /// The limit of d.
    pub d_max: f64,
}

/// A running average other than the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Average {
    /// What is left of the start is taken out: behind k updates sum w (1 - w)^(k - i) batch_i / (1 - (1 - w)^k).
    Debiased,
}

/// The variance that running statistics hold, by its divisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Estimator {
    /// Divided by n - 1.
    Sample,
    /// Divided by n.
    Population,
}

/// The update of running statistics by a batch: `running = (1 - weight_of_new) * running + weight_of_new * batch`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// PyTorch's "momentum"; 1 less Keras', Flax' and ONNX'.
    pub weight_of_new: f64,
    /// The variance of the batch that is taken in.
    pub variance: Estimator,
}

/// Permission to refuse a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// It has an answer.
    #[default]
    No,
    /// It may be answered or refused.
    Allowed,
    /// It makes no sense: an answer is a failure.
    Required,
}

/// The part of a case that an implementation gets to see.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The kind of norm.
    pub norm: Norm,
    /// The computation that is asked for.
    pub operation: Operation,
    /// The number type of x, dy and weights.
    pub element: Element,
    /// The role of each axis of x.
    pub roles: Vec<Role>,
    /// Added to the variance inside the root.
    pub epsilon: f64,
    /// The update of the running statistics, where the operation has one.
    pub update: Option<Update>,
    /// The average that the update is of, if not the exponential one.
    pub average: Option<Average>,
    /// The correction of training towards the running statistics, if there is one (batch norm of one batch alone).
    pub renormalization: Option<Renormalization>,
    /// What follows the normalisation, if anything does (batch norm of one batch, and the norms that do not look at it).
    pub activation: Option<Activation>,
    /// Number of layers in a chain.
    pub layers: usize,
    /// `x`, or `x0`, `x1` ..; and those that the problem has of `dy`, `gamma`, `beta`, `weights`, `direction`, `running_mean` and
    /// `running_variance`.
    pub inputs: BTreeMap<String, Input>,
}

impl Problem {
    /// The axis that holds the channels.
    pub fn channel_axis(&self) -> usize {
        self.roles.iter().position(|&role| role == Role::Channel).expect("a channel axis")
    }

    /// What is normalised together in an array of this shape, with the axes of x: each row in C order.
    pub(crate) fn rows(&self, shape: &[usize]) -> Rows {
        let together = match self.norm {
            Norm::Batch => Together::Channel,
            Norm::Layer { axes } | Norm::Rms { axes } => Together::LastAxes(axes),
            Norm::Group { groups } | Norm::GroupRms { groups } => Together::Groups(groups),
            // As groups of one channel each: the expected values came of the formula of group norm.
            Norm::Instance => Together::Groups(shape[self.channel_axis()]),
        };
        let role = |role: &Role| match role {
            Role::Sample => whole::Role::Sample,
            Role::Channel => whole::Role::Channel,
            Role::Space => whole::Role::Space,
        };
        let roles: Vec<whole::Role> = self.roles.iter().map(role).collect();
        Rows::new(shape, &roles, together).in_order_of_the_array()
    }

    /// An input's elements, if there is such an input.
    pub(crate) fn given(&self, name: &str) -> Option<Vec<f64>> {
        self.inputs.get(name).map(|input| input.to_f64())
    }
}

/// The unit in which an error is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// |error| / scale.
    Scale,
    /// |error| / max(|expected|, scale).
    Relative,
    /// |error| / the distance between neighbours of the element type at max(|expected|, scale).
    Ulp,
    /// No error: the same number.
    Equal,
}

/// The largest error that an output may have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// The unit of the error.
    pub unit: Unit,
    /// The largest error.
    pub at_most: f64,
}

/// The expected value of an output, and what its error is measured by.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The bound.
    pub bound: Bound,
    /// The shape of `high` and `low`.
    pub shape: Vec<usize>,
    /// The value, rounded to f64. NaN where the output is to be NaN.
    pub high: Vec<f64>,
    /// The low part, where it matters: the value is high + low.
    pub low: Option<Vec<f64>>,
    /// Other values that are just as right.
    pub alternative: Option<Vec<f64>>,
    /// The shape of the scale: the output's, with length 1 on axes along which the scale is the same.
    pub scale_shape: Vec<usize>,
    /// Divisors of the errors. Infinite where the output is not judged.
    pub scale: Vec<f64>,
    /// The elements of the output that are judged, where not all are.
    pub probes: Option<Vec<usize>>,
}

/// A second run of the problem with another x, whose outputs must be the same to the bit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// The input that stands in for `x`.
    pub x: String,
    /// The channels whose outputs are compared.
    pub channels: Vec<usize>,
}

/// A named case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique, and the name of its file.
    pub name: String,
    /// Its difficulty.
    pub level: Level,
    /// A description, in a line.
    pub what: String,
    /// The reason why it is there, in a line.
    pub why: String,
    /// The problem that an implementation gets.
    pub problem: Problem,
    /// Permission to refuse it.
    pub refusal: Refusal,
    /// The expected values, by the output's name.
    pub expected: BTreeMap<String, Expected>,
    /// The second run whose outputs must be the same.
    pub twin: Option<Twin>,
}

impl Case {
    /// The abilities that an implementation needs for this case, for runners that choose by them.
    pub fn needs(&self) -> Vec<&'static str> {
        let problem = &self.problem;
        let mut needs = vec![match problem.norm {
            Norm::Batch => "batch",
            Norm::Layer { .. } => "layer",
            Norm::Rms { .. } => "rms",
            Norm::Group { .. } => "group",
            Norm::GroupRms { .. } => "group-rms",
            Norm::Instance => "instance",
        }];
        needs.push(match problem.operation {
            Operation::Train => "train",
            Operation::Eval => "eval",
            Operation::Forward => "forward",
            Operation::Updates => "updates",
            Operation::Population => "population",
            Operation::Chain => "chain",
        });
        let has = |name: &str| problem.inputs.contains_key(name);
        for (input, need) in [("dy", "backward"), ("direction", "jvp"), ("weights", "weights")] {
            if has(input) {
                needs.push(need);
            }
        }
        if problem.update.is_some() && matches!(problem.operation, Operation::Train | Operation::Updates) {
            needs.push("running");
        }
        if problem.activation == Some(Activation::Relu) {
            needs.push("relu");
        }
        if problem.average == Some(Average::Debiased) {
            needs.push("debiased");
        }
        if problem.renormalization.is_some() {
            needs.push("renormalization");
        }
        if problem.inputs.values().any(|input| input.strides.is_some()) {
            needs.push("strides");
        }
        needs
    }

    /// The problem with the twin of x in its place.
    pub fn twin_problem(&self) -> Option<Problem> {
        let mut problem = self.problem.clone();
        let x = problem.inputs.remove(&self.twin.as_ref()?.x)?;
        problem.inputs.insert("x".to_string(), x);
        Some(problem)
    }
}
