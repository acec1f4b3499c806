//! Whose names these are.

use crate::convention::names::{Convention, parts};
use crate::options::averaging::Estimator;
use std::collections::BTreeSet;
use std::fmt;
use thiserror::Error;

/// The conventions that have all the names of a layer, from [`Convention::guess`]. It reads as a sentence, which says of
/// several what would tell them apart.
///
/// ```
/// use batchnorm::Convention;
/// let guess = Convention::guess(["bn1.gamma", "bn1.beta", "bn1.moving_mean", "bn1.moving_variance"])?;
/// assert_eq!(guess.fitting(), [Convention::Keras, Convention::MindSpore]);
/// assert!(guess.to_string().contains(".ckpt files"));
/// assert!(guess.one().is_err());
/// # Ok::<(), batchnorm::ConventionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    fitting: Vec<Convention>,
    seen: Vec<String>,
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
    #[error("keys: {0} Name the `Convention`")]
    Ambiguous(Guess),
    /// No key.
    #[error("keys: expected those of one batch norm layer, got none")]
    NoKeys,
}

impl Convention {
    /// The conventions by which one batch norm layer has these keys, with their paths or without; give all that the
    /// layer has. (A part `batch_stats` in a path tells Flax from old ONNX files, which share `scale`, `mean` and
    /// `var`; a `:0` behind a name is Keras'.)
    ///
    /// # Errors
    /// No key; names that no convention has together. The names that were seen are listed.
    pub fn guess<'k>(keys: impl IntoIterator<Item = &'k str>) -> Result<Guess, ConventionError> {
        let keys: Vec<&str> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(ConventionError::NoKeys);
        }
        // Each name once: layers of one kind share their names. Sorted, as the error lists them.
        let names: BTreeSet<String> = keys.iter().map(|key| name_of(key)).collect();
        let unknown_names = |convention: Convention| names.iter().filter(move |name| convention.entry(name).is_none());
        let mut fitting: Vec<Convention> =
            Self::ALL.into_iter().filter(|&convention| unknown_names(convention).next().is_none()).collect();
        if fitting.is_empty() {
            let nearest = Self::ALL.into_iter().min_by_key(|&convention| unknown_names(convention).count());
            let unknown = nearest.into_iter().flat_map(unknown_names).cloned().collect();
            return Err(ConventionError::Unknown { seen: names.into_iter().collect(), unknown });
        }
        let any_key = |is_sign: fn(&str) -> bool| keys.iter().any(|key| is_sign(key));
        let of_flax = any_key(|key| parts(key).any(|part| part == "batch_stats"));
        for (convention, is_told) in
            [(Convention::Flax, of_flax), (Convention::Keras, any_key(|key| key.ends_with(":0")))]
        {
            if is_told && fitting.contains(&convention) {
                fitting = vec![convention];
            }
        }
        Ok(Guess { fitting, seen: names.into_iter().collect() })
    }

    /// How a file of this framework is known.
    fn sign(self) -> &'static str {
        match self {
            Convention::PyTorch => {
                "writes .pt, .pth and .safetensors files, with num_batches_tracked beside a norm's statistics"
            }
            Convention::Keras => "writes .keras and .h5 files, with / between the parts of a name",
            Convention::Flax => "keeps the statistics apart, in batch_stats",
            Convention::Onnx => "writes .onnx files, where the shift is named B",
            Convention::Burn => "writes .mpk, .bpk and .bin files",
            Convention::Paddle => "writes .pdparams files",
            Convention::MindSpore => "writes .ckpt files, with . between the parts of a name",
            Convention::Gluon => "writes .params files",
            Convention::Haiku => "has ~ in its names, and the statistics in mean_ema and var_ema",
            Convention::Darknet => "writes .weights files, without names",
        }
    }

    /// What its numbers mean, in the points in which conventions differ.
    fn meaning(self) -> String {
        let estimator = if self.estimator() == Estimator::Sample { "sample" } else { "population" };
        let value = if self.weighs_the_new() { "new" } else { "old" };
        let momentum = self.momentum(self.default_weight());
        format!("eps {:e}, {momentum} as the weight of the {value} value, {estimator} variance", self.default_epsilon())
    }
}

impl Guess {
    /// The conventions that have all the names: one at least.
    pub fn fitting(&self) -> &[Convention] {
        &self.fitting
    }

    /// The convention, if one alone fits.
    ///
    /// # Errors
    /// [`ConventionError::Ambiguous`], with what would tell them apart.
    pub fn one(self) -> Result<Convention, ConventionError> {
        match self.fitting[..] {
            [convention] => Ok(convention),
            _ => Err(ConventionError::Ambiguous(self)),
        }
    }

    /// What numbered variables are (`vars/0` and on, in a .weights.h5 file of Keras 3), which hangs on how many the
    /// layer has; `None` for names that say it.
    pub fn order(&self) -> Option<&'static str> {
        let numbered = |name: &String| name.starts_with("vars/");
        match self.seen.iter().filter(|name| numbered(name)).count() {
            0 => None,
            4 => Some("vars/0 is gamma, vars/1 beta, vars/2 moving_mean, vars/3 moving_variance"),
            3 => Some("vars/0 is gamma or beta, whichever the layer has, vars/1 moving_mean, vars/2 moving_variance"),
            2 => Some("in a batch norm without gamma and beta vars/0 is moving_mean, vars/1 moving_variance"),
            _ => Some(
                "a batch norm has two variables at least, moving_mean and moving_variance: this is another layer's",
            ),
        }
    }
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.fitting[..] {
            [convention] => write!(f, "{:?} are names of {convention}.", self.seen)?,
            several => {
                let all: Vec<String> = several.iter().map(Convention::to_string).collect();
                write!(f, "{:?} may be names of {}, which the file tells:", self.seen, all.join(" or "))?;
                for (convention, mark) in several.iter().zip(std::iter::once("").chain(std::iter::repeat(";"))) {
                    write!(f, "{mark} {convention} {} ({})", convention.sign(), convention.meaning())?;
                }
                f.write_str(".")?;
            }
        }
        self.order().map_or(Ok(()), |order| write!(f, " Keras numbers a layer's variables: {order}."))
    }
}

/// The name at the end of a path; with the part before it where that says what it is.
fn name_of(key: &str) -> String {
    let mut from_end = parts(key).rev();
    let last = from_end.next().unwrap_or(key);
    match from_end.next() {
        Some(before @ ("vars" | "mean_ema" | "var_ema")) => format!("{before}/{last}"),
        _ => last.to_string(),
    }
}
