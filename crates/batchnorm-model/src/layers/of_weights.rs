//! Batch norms among named tensors, by what their names end in.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::budget::{Budget, TooMuch};
use crate::excerpt::excerpt;
use crate::layer::{Layer, OF_A_LAYER};
use crate::parameters::{LONGEST_VECTOR, Parameters};
use crate::weights::Weights;

/// Seconds that reading all vectors may take, and bytes of the file that give another one: vectors of files are small, but PyTorch's may be
/// made of numbers that lie as far from each other as the file allows.
const SECONDS: u64 = 8;
const BYTES_A_SECOND: u64 = 50_000_000;

/// What the tensors of a batch norm are called behind the layer's own name, by one framework or several.
struct Names {
    mean: &'static str,
    variance: &'static str,
    gamma: &'static [&'static str],
    beta: &'static [&'static str],
}

/// The names of PyTorch, Burn, MLX and Gluon; of Keras and MindSpore; of MXNet; of PaddlePaddle; of Darknet.
const NAMES: &[Names] = &[
    Names { mean: "running_mean", variance: "running_var", gamma: &["weight", "gamma"], beta: &["bias", "beta"] },
    Names { mean: "moving_mean", variance: "moving_variance", gamma: &["gamma"], beta: &["beta"] },
    Names { mean: "moving_mean", variance: "moving_var", gamma: &["gamma"], beta: &["beta"] },
    Names { mean: "_mean", variance: "_variance", gamma: &["weight"], beta: &["bias"] },
    Names { mean: "rolling_mean", variance: "rolling_variance", gamma: &["scales"], beta: &["biases"] },
];
/// Flax keeps statistics and parameters in trees of their own.
const FLAX: Names = Names { mean: "mean", variance: "var", gamma: &["scale"], beta: &["bias"] };
const FLAX_TREES: [&str; 2] = ["batch_stats", "params"];
/// PyTorch's count of batches.
const COUNT: &str = "num_batches_tracked";

/// A batch norm among named tensors: the places of its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Norm {
    /// What its tensors' names begin with, without a separator at its end; of a long one the ends.
    pub name: String,
    /// Scale.
    pub gamma: Option<usize>,
    /// Shift.
    pub beta: Option<usize>,
    /// Running mean.
    pub mean: usize,
    /// Running variance.
    pub variance: usize,
    /// Number of batches.
    pub count: Option<usize>,
}

impl Weights {
    /// The batch norms among the tensors: wherever there is a running variance with a running mean beside it, in the order of their names.
    pub fn norms(&self) -> Vec<Norm> {
        let by_name: BTreeMap<&str, usize> =
            self.tensors.iter().enumerate().map(|(at, tensor)| (&*tensor.name, at)).collect();
        let norms = by_name.iter().filter_map(|(name, &variance)| norm(&by_name, name, variance));
        norms.collect()
    }
}

fn norm(by_name: &BTreeMap<&str, usize>, name: &str, variance: usize) -> Option<Norm> {
    // (Keras writes `:0` behind its names.)
    let (bare, end) = name.strip_suffix(":0").map_or((name, ""), |bare| (bare, ":0"));
    let separators = ['.', '/', '_'];
    let in_flax = bare.split(['.', '/']).any(|part| part == FLAX_TREES[0]);
    let all = NAMES.iter().chain(in_flax.then_some(&FLAX));
    all.into_iter().find_map(|names| {
        let before = bare.strip_suffix(names.variance)?;
        if !(before.is_empty() || before.ends_with(separators)) {
            return None;
        }
        let find = |before: &str, last: &str| by_name.get(&*format!("{before}{last}{end}")).copied();
        let mean = find(before, names.mean)?;
        let beside = |last: &str| {
            let in_other_tree = || find(&before.replacen(FLAX_TREES[0], FLAX_TREES[1], 1), last);
            find(before, last).or_else(|| in_flax.then(in_other_tree).flatten())
        };
        Some(Norm {
            name: excerpt(before.strip_suffix(separators).unwrap_or(before)),
            gamma: names.gamma.iter().find_map(|last| beside(last)),
            beta: names.beta.iter().find_map(|last| beside(last)),
            mean,
            variance,
            count: find(before, COUNT),
        })
    })
}

/// The vectors of a batch norm.
pub(crate) fn parameters(weights: &Weights, norm: &Norm) -> Result<Parameters<'static>, String> {
    let numbers = |at: usize| {
        let tensor = &weights.tensors[at];
        match tensor.shape.iter().try_fold(1usize, |count, &length| count.checked_mul(length)) {
            Some(..=LONGEST_VECTOR) => weights.numbers(tensor),
            _ => Err(format!("{}: expected at most {LONGEST_VECTOR} numbers", excerpt(&tensor.name))),
        }
    };
    let [gamma, beta] = [norm.gamma, norm.beta].map(|at| at.map(numbers).transpose());
    Parameters::of(gamma?, beta?, numbers(norm.mean)?, numbers(norm.variance)?)
}

/// All batch norms of named tensors, which tell nothing of epsilon, momentum and neighbours.
pub(crate) fn layers(weights: &Weights, norms: &[Norm], size: u64, budget: &mut Budget) -> Result<Vec<Layer>, TooMuch> {
    let mut layers = Vec::new();
    let start = Instant::now();
    for norm in norms {
        budget.take_bytes(OF_A_LAYER)?;
        if start.elapsed().as_secs() > SECONDS + size / BYTES_A_SECOND {
            return Err(TooMuch::Looks);
        }
        layers.push(Layer {
            name: norm.name.clone(),
            inside: None,
            epsilon: None,
            momentum: None,
            neighbours: None,
            summary: parameters(weights, norm).map(|parameters| parameters.summary(None)),
            mode: None,
            by_position: None,
            verdict: None,
            useless_bias: None,
            shares_with: (Vec::new(), 0),
            batches: norm.count.and_then(|count| weights.count(&weights.tensors[count])),
        });
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norms(names: &[&str]) -> Vec<(String, bool, bool, bool)> {
        let by_name: BTreeMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let found = by_name.iter().filter_map(|(name, &at)| norm(&by_name, name, at));
        found.map(|norm| (norm.name, norm.gamma.is_some(), norm.beta.is_some(), norm.count.is_some())).collect()
    }

    #[test]
    fn norms_are_found_whatever_stands_before_their_names() {
        let of = |prefix: &str, last: &[&str]| -> Vec<String> {
            last.iter().map(|last| format!("{prefix}{last}")).collect()
        };
        let pytorch = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
        for (prefix, name) in
            [("module.layer1.0.bn1.", "module.layer1.0.bn1"), ("", ""), ("net/norm/", "net/norm"), ("bn_", "bn")]
        {
            let keys = of(prefix, &pytorch);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            assert_eq!(norms(&keys), [(name.to_owned(), true, true, true)]);
            assert_eq!(norms(&keys[2..4]), [(name.to_owned(), false, false, false)]);
            assert_eq!(norms(&keys[3..]), []);
        }
        assert_eq!(
            norms(&["bn/gamma:0", "bn/beta:0", "bn/moving_mean:0", "bn/moving_variance:0"]),
            [("bn".to_owned(), true, true, false)]
        );
        assert_eq!(norms(&["bn._mean", "bn._variance", "bn.weight"]), [("bn".to_owned(), true, false, false)]);
        let flax = ["batch_stats.bn.mean", "batch_stats.bn.var", "params.bn.scale", "params.bn.bias"];
        assert_eq!(norms(&flax), [("batch_stats.bn".to_owned(), true, true, false)]);
        assert_eq!(norms(&["pixel.mean", "pixel.var"]), []);
        assert_eq!(norms(&["xrunning_var", "xrunning_mean"]), []);
    }
}
