//! The conventions themselves: default options, names in checkpoints, the meaning of `momentum`.

use crate::options::averaging::{Estimator, UpdateWeight};
use crate::options::config::Config;
use crate::options::error::ConfigError;
use std::fmt;

/// A framework's convention for batch norm: its default options, its names for the numbers of a layer, the variance
/// that its running variance estimates, and the value whose weight its `momentum` is.
///
/// | | eps | momentum | is the weight of | running variance | names |
/// |---|---|---|---|---|---|
/// | PyTorch | 1e-5 | 0.1 | the new value | sample | weight, bias, running_mean, running_var, num_batches_tracked |
/// | Keras 3 | 1e-3 | 0.99 | the old value | population | gamma, beta, moving_mean, moving_variance; in .weights.h5 vars/0 to vars/3, in this order |
/// | Flax | 1e-5 | 0.99 | the old value | population | scale, bias (in `params`), mean, var (in `batch_stats`) |
/// | ONNX | 1e-5 | 0.9 | the old value | population | scale, B, input_mean, input_var (before opset 14: mean, var) |
/// | Burn | 1e-5 | 0.1 | the new value | population | gamma, beta, running_mean, running_var |
/// | PaddlePaddle | 1e-5 | 0.9 | the old value | population | weight, bias, _mean, _variance (static graphs: w_0, b_0, w_1, w_2) |
/// | MindSpore | 1e-5 | 0.9 | the old value | sample | gamma, beta, moving_mean, moving_variance |
/// | Gluon | 1e-5 | 0.9 | the old value | population | gamma, beta, running_mean, running_var (symbols: moving_mean, moving_var) |
/// | Haiku | 1e-5 | 0.9 | the old value | population | scale, offset, mean_ema/average, var_ema/average (beside them hidden and counter) |
/// | Darknet | 1e-6, outside the root | 0.99 | the old value | sample | scales, biases, rolling_mean, rolling_variance |
///
/// All but the last two start the running mean at 0 and the running variance at 1, and all but Darknet normalise by the
/// population variance while they train. (ONNX is a format and starts nothing: what it holds started where it was trained.)
/// Haiku takes the start's share out of its averages; Darknet starts at 0 and normalises by the sample variance.
///
/// These are the frameworks' own definitions. Some of their kernels differ: the fused ones of the older tf.keras, and
/// cuDNN under PaddlePaddle and MXNet, store the sample variance (convert such files from PyTorch's estimator); Darknet's
/// CUDA code adds 1e-5 inside the root.
///
/// ```
/// use batchnorm::Convention;
/// let keys = ["encoder.norm.weight", "encoder.norm.bias", "encoder.norm.running_mean", "encoder.norm.running_var"];
/// let convention = Convention::guess(keys)?.one()?;
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
    /// `paddle.nn.BatchNorm1D` to `3D`.
    Paddle,
    /// `mindspore.nn.BatchNorm1d` to `3d`.
    MindSpore,
    /// `mxnet.gluon.nn.BatchNorm`, and MXNet's operator.
    Gluon,
    /// `haiku.BatchNorm`.
    Haiku,
    /// `batch_normalize=1` of Darknet's layers. It divides by sqrt(variance) + 1e-6: the same as the root of
    /// variance + 2e-6 sqrt(variance) + 1e-12, which is what [`Conversion`](crate::Conversion) makes of it. Its .weights
    /// files have no names: a layer's biases (the shifts), scales, rolling means and rolling variances follow each other, as f32.
    Darknet,
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
#[non_exhaustive]
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
    /// A running average with the start's share still in it, beside the one without (Haiku's `hidden`).
    Biased,
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Convention::PyTorch => "PyTorch",
            Convention::Keras => "Keras",
            Convention::Flax => "Flax",
            Convention::Onnx => "ONNX",
            Convention::Burn => "Burn",
            Convention::Paddle => "PaddlePaddle",
            Convention::MindSpore => "MindSpore",
            Convention::Gluon => "Gluon",
            Convention::Haiku => "Haiku",
            Convention::Darknet => "Darknet",
        })
    }
}

/// What Darknet adds to the deviation, outside the root.
pub(super) const DARKNET_EPSILON: f64 = 1e-6;

impl Convention {
    /// All of them.
    pub const ALL: [Convention; 10] = [
        Convention::PyTorch,
        Convention::Keras,
        Convention::Flax,
        Convention::Onnx,
        Convention::Burn,
        Convention::Paddle,
        Convention::MindSpore,
        Convention::Gluon,
        Convention::Haiku,
        Convention::Darknet,
    ];

    /// The options that the framework's layer has by default.
    pub fn config(self) -> Config {
        match self {
            Convention::PyTorch => Config::pytorch(),
            Convention::Keras => Config::keras(),
            Convention::Flax => Config::flax(),
            Convention::Onnx => Config::onnx(),
            Convention::Burn => Config::burn(),
            Convention::Paddle => Config::paddle(),
            Convention::MindSpore => Config::mindspore(),
            Convention::Gluon => Config::gluon(),
            Convention::Haiku => Config::haiku(),
            Convention::Darknet => Config::darknet(),
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
            Convention::Keras | Convention::MindSpore => ["gamma", "beta", "moving_mean", "moving_variance"],
            Convention::Flax => ["scale", "bias", "mean", "var"],
            Convention::Onnx => ["scale", "B", "input_mean", "input_var"],
            Convention::Burn | Convention::Gluon => ["gamma", "beta", "running_mean", "running_var"],
            Convention::Paddle => ["weight", "bias", "_mean", "_variance"],
            Convention::Haiku => ["scale", "offset", "mean_ema/average", "var_ema/average"],
            Convention::Darknet => ["scales", "biases", "rolling_mean", "rolling_variance"],
        };
        let batches = match self {
            Convention::PyTorch => Some("num_batches_tracked"),
            Convention::Haiku => Some("mean_ema/counter"),
            _ => None,
        };
        Keys { gamma, beta, running_mean, running_variance, batches }
    }

    /// The names that other versions and forms of its files have.
    fn other_keys(self) -> &'static [(&'static str, Entry)] {
        use Entry::{Batches, Beta, Biased, Gamma, RunningMean, RunningVariance};
        match self {
            // The order in which the layer makes its variables.
            Convention::Keras => {
                &[("vars/0", Gamma), ("vars/1", Beta), ("vars/2", RunningMean), ("vars/3", RunningVariance)]
            }
            Convention::Onnx => &[("mean", RunningMean), ("var", RunningVariance)],
            Convention::Paddle => &[("w_0", Gamma), ("b_0", Beta), ("w_1", RunningMean), ("w_2", RunningVariance)],
            Convention::Gluon => &[("moving_mean", RunningMean), ("moving_var", RunningVariance)],
            Convention::Haiku => {
                &[("var_ema/counter", Batches), ("mean_ema/hidden", Biased), ("var_ema/hidden", Biased)]
            }
            _ => &[],
        }
    }

    /// The number that a key stands for by this convention. What counts is the end of its path (`.` or `/` between the
    /// parts), without the `:0` that Keras writes behind it; of Gluon also behind the layer's name and `_`.
    ///
    /// (Of `vars/0` to `vars/3` in a file of Keras 3 it says what they are in a layer with gamma and beta. A layer
    /// without them counts from 0 all the same: [`Guess::order`](crate::Guess::order).)
    ///
    /// ```
    /// use batchnorm::{Convention, Entry};
    /// assert_eq!(Convention::Keras.entry("bn/moving_variance:0"), Some(Entry::RunningVariance));
    /// assert_eq!(Convention::Onnx.entry("var"), Some(Entry::RunningVariance)); // before opset 14
    /// assert_eq!(Convention::Haiku.entry("net/~/batch_norm/~/var_ema/average"), Some(Entry::RunningVariance));
    /// assert_eq!(Convention::Burn.entry("norm.weight"), None);
    /// ```
    pub fn entry(self, key: &str) -> Option<Entry> {
        let keys = self.keys();
        let current = [
            (keys.gamma, Entry::Gamma),
            (keys.beta, Entry::Beta),
            (keys.running_mean, Entry::RunningMean),
            (keys.running_variance, Entry::RunningVariance),
        ];
        let count = keys.batches.map(|name| (name, Entry::Batches));
        let mut known = current.into_iter().chain(count).chain(self.other_keys().iter().copied());
        known.find(|(name, _)| self.ends_in(key, name)).map(|(_, entry)| entry)
    }

    /// True if the last parts of a path are this name.
    fn ends_in(self, key: &str, name: &str) -> bool {
        let mut written = parts(key).rev();
        let of_name = name.rsplit('/').all(|part| written.next() == Some(part));
        // `batchnorm0_gamma`: MXNet joins the layer's name by an underscore; so do PaddlePaddle's static graphs by a point.
        let joined = || {
            let last = parts(key).next_back().unwrap_or(key);
            last.strip_suffix(name).is_some_and(|before| before.len() > 1 && before.ends_with('_'))
        };
        of_name || (self == Convention::Gluon && joined())
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

    /// True if its `momentum` is the weight of the new value, false if that of the old one.
    pub fn weighs_the_new(self) -> bool {
        matches!(self, Convention::PyTorch | Convention::Burn)
    }

    /// The update weights that it has by default.
    pub(super) fn default_weight(self) -> UpdateWeight {
        self.config().averaging.update_weight().expect("every preset has a weight")
    }

    /// What it adds by default: to the variance, or (Darknet) to its root.
    pub(super) fn default_epsilon(self) -> f64 {
        if self == Convention::Darknet { DARKNET_EPSILON } else { self.config().epsilon }
    }

    /// What its running variance starts at, as far as it is left in it: Haiku takes it out.
    pub(super) fn start_variance(self) -> f64 {
        if matches!(self, Convention::Darknet | Convention::Haiku) { 0.0 } else { 1.0 }
    }
}

/// The parts of a path, the last one without Keras' number of an output.
pub(super) fn parts(key: &str) -> impl DoubleEndedIterator<Item = &str> {
    let path = match key.rsplit_once(':') {
        Some((path, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => path,
        _ => key,
    };
    path.split(['.', '/'])
}
