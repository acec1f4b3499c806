//! The conventions themselves: default options, names in checkpoints, the meaning of `momentum`.

use crate::options::averaging::{Averaging, Estimator, UpdateWeight};
use crate::options::config::Config;
use crate::options::error::ConfigError;
use std::collections::BTreeSet;
use std::fmt;
use thiserror::Error;

/// A framework's convention for batch norm: its default options, its names for the numbers of a layer, the variance
/// that its running variance estimates, and the value whose weight its `momentum` is.
///
/// | | eps | momentum | is the weight of | running variance | names |
/// |---|---|---|---|---|---|
/// | PyTorch | 1e-5 | 0.1 | the new value | sample | weight, bias, running_mean, running_var, num_batches_tracked |
/// | Keras 3 | 1e-3 | 0.99 | the old value | population | gamma, beta, moving_mean, moving_variance |
/// | Flax | 1e-5 | 0.99 | the old value | population | scale, bias (in `params`), mean, var (in `batch_stats`) |
/// | ONNX | 1e-5 | 0.9 | the old value | population | scale, B, input_mean, input_var (before opset 14: mean, var) |
/// | Burn | 1e-5 | 0.1 | the new value | population | gamma, beta, running_mean, running_var |
///
/// All of them start the running mean at 0 and the running variance at 1, and normalise by the population variance
/// while they train. (ONNX is a format and starts nothing: what it holds started where it was trained. Fused kernels of
/// the older tf.keras stored the sample variance: convert such files from PyTorch's estimator.)
///
/// ```
/// use batchnorm::Convention;
/// let keys = ["encoder.norm.weight", "encoder.norm.bias", "encoder.norm.running_mean", "encoder.norm.running_var"];
/// let convention = Convention::guess(keys)?;
/// assert_eq!(convention, Convention::PyTorch);
/// assert_eq!(convention.update_weight(0.1)?.old_value(), 0.9);
/// assert_eq!(Convention::Keras.keys().running_variance, "moving_variance");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Convention {
    /// `torch.nn.BatchNorm1d` to `3d`; Candle and cuDNN store the same variance.
    PyTorch,
    /// `keras.layers.BatchNormalization` of Keras 3.
    Keras,
    /// `flax.linen.BatchNorm` and `flax.nnx.BatchNorm`.
    Flax,
    /// The operator `BatchNormalization`.
    Onnx,
    /// `burn::nn::BatchNorm`.
    Burn,
}

/// A framework's names for the numbers of a layer, without the path before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The scale.
    pub gamma: &'static str,
    /// The shift.
    pub beta: &'static str,
    /// The running mean.
    pub running_mean: &'static str,
    /// The running variance.
    pub running_variance: &'static str,
    /// The number of batches that went into them, where the framework keeps count. A file may lack it.
    pub batches: Option<&'static str>,
}

/// The number of a layer that a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// The scale.
    Gamma,
    /// The shift.
    Beta,
    /// The running mean.
    RunningMean,
    /// The running variance.
    RunningVariance,
    /// The number of batches.
    Batches,
}

/// Keys that do not tell whose they are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConventionError {
    /// No convention has all these names.
    #[error(
        "keys: expected those of one batch norm layer by one convention, got {seen:?}, of which {unknown:?} belong to none that has the others; pass the keys of that layer alone, or name the `Convention`"
    )]
    Unknown {
        /// The names, without their paths.
        seen: Vec<String>,
        /// The names that the nearest convention does not have.
        unknown: Vec<String>,
    },
    /// Several conventions have all these names.
    #[error("keys: {seen:?} may be {}; name the `Convention`", candidates.iter().map(Convention::to_string).collect::<Vec<_>>().join(" or "))]
    Ambiguous {
        /// The names, without their paths.
        seen: Vec<String>,
        /// The conventions that have them all.
        candidates: Vec<Convention>,
    },
    /// No key.
    #[error("keys: expected those of one batch norm layer, got none")]
    NoKeys,
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Convention::PyTorch => "PyTorch",
            Convention::Keras => "Keras",
            Convention::Flax => "Flax",
            Convention::Onnx => "ONNX",
            Convention::Burn => "Burn",
        })
    }
}

impl Convention {
    /// All of them.
    pub const ALL: [Convention; 5] =
        [Convention::PyTorch, Convention::Keras, Convention::Flax, Convention::Onnx, Convention::Burn];

    /// The options that the framework's layer has by default.
    pub fn config(self) -> Config {
        match self {
            Convention::PyTorch => Config::pytorch(),
            Convention::Keras => Config::keras(),
            Convention::Flax => Config::flax(),
            Convention::Onnx => Config::onnx(),
            Convention::Burn => Config::burn(),
        }
    }

    /// The variance that its running variance estimates.
    pub fn estimator(self) -> Estimator {
        self.config().estimator
    }

    /// Its names for a layer's numbers, as the current version writes them.
    pub fn keys(self) -> Keys {
        let [gamma, beta, running_mean, running_variance] = match self {
            Convention::PyTorch => ["weight", "bias", "running_mean", "running_var"],
            Convention::Keras => ["gamma", "beta", "moving_mean", "moving_variance"],
            Convention::Flax => ["scale", "bias", "mean", "var"],
            Convention::Onnx => ["scale", "B", "input_mean", "input_var"],
            Convention::Burn => ["gamma", "beta", "running_mean", "running_var"],
        };
        let batches = (self == Convention::PyTorch).then_some("num_batches_tracked");
        Keys { gamma, beta, running_mean, running_variance, batches }
    }

    /// The number that a key stands for by this convention. What counts is the last part of its path (`.` or `/`
    /// between the parts), without the `:0` that Keras writes behind it.
    ///
    /// ```
    /// use batchnorm::{Convention, Entry};
    /// assert_eq!(Convention::Keras.entry("bn/moving_variance:0"), Some(Entry::RunningVariance));
    /// assert_eq!(Convention::Onnx.entry("var"), Some(Entry::RunningVariance)); // before opset 14
    /// assert_eq!(Convention::Burn.entry("norm.weight"), None);
    /// ```
    pub fn entry(self, key: &str) -> Option<Entry> {
        let (name, keys) = (name_of(key), self.keys());
        let older_name = |entry| match (self, entry) {
            (Convention::Onnx, Entry::RunningMean) => Some("mean"),
            (Convention::Onnx, Entry::RunningVariance) => Some("var"),
            _ => None,
        };
        let names = [
            (Entry::Gamma, Some(keys.gamma)),
            (Entry::Beta, Some(keys.beta)),
            (Entry::RunningMean, Some(keys.running_mean)),
            (Entry::RunningVariance, Some(keys.running_variance)),
            (Entry::Batches, keys.batches),
        ];
        names
            .into_iter()
            .find(|&(entry, known)| known == Some(name) || older_name(entry) == Some(name))
            .map(|(entry, _)| entry)
    }

    /// The convention by which one batch norm layer has these keys, with their paths or without; give all that the
    /// layer has. (A part `batch_stats` in a path tells Flax from old ONNX files, which share `scale`, `mean` and
    /// `var`.)
    ///
    /// # Errors
    /// No key; names that no convention has together; names that several have, as `running_mean` and `running_var`
    /// alone, which are PyTorch's and Burn's. The names that were seen are listed.
    pub fn guess<'k>(keys: impl IntoIterator<Item = &'k str>) -> Result<Convention, ConventionError> {
        let keys: Vec<&str> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(ConventionError::NoKeys);
        }
        // Each name once: layers of one kind share their names. Sorted, as the error lists them.
        let names: BTreeSet<&str> = keys.iter().map(|key| name_of(key)).collect();
        let seen = || names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>();
        let unknown_names = |convention: Convention| names.iter().filter(move |name| convention.entry(name).is_none());
        let mut candidates: Vec<Convention> =
            Self::ALL.into_iter().filter(|&convention| unknown_names(convention).next().is_none()).collect();
        if keys.iter().flat_map(|key| parts(key)).any(|part| part == "batch_stats") {
            candidates.retain(|&candidate| candidate == Convention::Flax);
        }
        match candidates[..] {
            [convention] => Ok(convention),
            [] => {
                let nearest = Self::ALL.into_iter().min_by_key(|&convention| unknown_names(convention).count());
                let nearest = nearest.expect("there are conventions");
                let unknown = unknown_names(nearest).map(|name| (*name).to_string()).collect();
                Err(ConventionError::Unknown { seen: seen(), unknown })
            }
            _ => Err(ConventionError::Ambiguous { seen: seen(), candidates }),
        }
    }

    /// The update weights that this value of its `momentum` means.
    ///
    /// # Errors
    /// Outside 0..=1, or NaN.
    pub fn update_weight(self, momentum: f64) -> Result<UpdateWeight, ConfigError> {
        if self.weighs_the_new() { UpdateWeight::of_new(momentum) } else { UpdateWeight::of_old(momentum) }
    }

    /// The value of its `momentum` that means these weights.
    pub fn momentum(self, weight: UpdateWeight) -> f64 {
        if self.weighs_the_new() { weight.new_value() } else { weight.old_value() }
    }

    /// True if its `momentum` is the weight of the new value.
    pub(super) fn weighs_the_new(self) -> bool {
        matches!(self, Convention::PyTorch | Convention::Burn)
    }

    /// The update weights that it has by default.
    pub(super) fn default_weight(self) -> UpdateWeight {
        match self.config().averaging {
            Averaging::Exponential(weight) => weight,
            Averaging::Cumulative => unreachable!("every preset has a weight"),
        }
    }
}

/// The parts of a path.
fn parts(key: &str) -> impl DoubleEndedIterator<Item = &str> {
    key.split(['.', '/'])
}

/// The last part of a path, without Keras' number of an output.
fn name_of(key: &str) -> &str {
    let last = parts(key).next_back().unwrap_or(key);
    match last.rsplit_once(':') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => last,
    }
}
