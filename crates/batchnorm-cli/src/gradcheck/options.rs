//! The flags of `gradcheck`.

use super::layer::Layer;
use crate::arrays::{Files, HeaderName};
use crate::failure::Failure;
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Check gradients: this layer's and its variants', or those that another program wrote.
///
/// Without --against: the gradients of the kernels, of the closed form and of the computation graph, against complex steps,
/// central differences and directional derivatives, the second derivatives too, on random arrays or on --input. With
/// --against DIR: dx.npy, dgamma.npy and dbeta.npy there (those that there are) are judged by --input and --gradient: which are
/// wrong, where, and which term is missing. Rounding is taken into account: a right gradient is never called wrong, and
/// where explanations differ by less than rounding it says that they cannot be told apart on this input, and where rounding
/// may be as large as the gradient, that it cannot be judged.
#[derive(Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// Folder with dx.npy, dgamma.npy, dbeta.npy of another program, of any float type; at least one of them.
    #[arg(long, value_name = "DIR", requires = "input", requires = "gradient")]
    pub against: Option<PathBuf>,
    /// The layer's input, of at least two axes: .npy, an array of a .npz (`file.npz:name`), or a table (.csv, .tsv, .txt); absent:
    /// random, of --shape.
    #[arg(long, value_name = "X")]
    pub input: Option<PathBuf>,
    /// Whether the first line of tables names their columns; absent: they tell it, or are refused.
    #[arg(long, value_enum, requires = "input")]
    pub header: Option<HeaderName>,
    /// The upstream gradient, of the input's shape; absent: random.
    #[arg(long, value_name = "DY", requires = "input")]
    pub gradient: Option<PathBuf>,
    /// Which axis holds the channels; negative counts from the end.
    #[arg(long, value_name = "K", default_value_t = 1, allow_negative_numbers = true)]
    pub channel_axis: isize,
    /// Which layer; absent: all that the shape allows, or with --against batch norm.
    #[arg(long, value_enum)]
    pub layer: Option<Layer>,
    /// Groups of group norm; a divisor of the channels.
    #[arg(long, value_name = "G", default_value = "1")]
    pub groups: NonZeroUsize,
    /// Normalise by the batch, or by the running statistics.
    #[arg(long, value_enum, default_value_t = Mode::Train)]
    pub mode: Mode,
    /// Scale of each channel (of layer and RMS norm: of each element), any float type; absent: 1, or random beside a random
    /// input.
    #[arg(long, value_name = "G", requires = "input")]
    pub gamma: Option<PathBuf>,
    /// Shift, as gamma; absent: 0, or random. (No gradient but behind an activation depends on it.)
    #[arg(long, value_name = "B", requires = "input")]
    pub beta: Option<PathBuf>,
    /// Running mean of each channel, for --mode eval.
    #[arg(long, value_name = "M", requires = "input")]
    pub running_mean: Option<PathBuf>,
    /// Running variance of each channel, for --mode eval.
    #[arg(long, value_name = "V", requires = "input")]
    pub running_var: Option<PathBuf>,
    /// How often each value counts, as `apply` takes it; 0 masks.
    #[arg(long, value_name = "W", requires = "input")]
    pub weights: Option<PathBuf>,
    /// Added to the variance inside the square root.
    #[arg(long, value_name = "E", allow_hyphen_values = true, default_value_t = 1e-5)]
    pub epsilon: f64,
    /// Shape of the random input, in the order of its axes.
    #[arg(long, value_name = "N,C,...", default_value = "4,6,5", conflicts_with = "input")]
    pub shape: String,
    /// Seed of all that is random.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Print all figures as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// The statistics that are normalised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Train,
    Eval,
}

impl Arguments {
    /// The files of this run.
    pub fn files(&self) -> Files {
        let Arguments { input, gradient, gamma, beta, running_mean, running_var, weights, .. } = self;
        let paths = [input, gradient, gamma, beta, running_mean, running_var, weights];
        Files::new(self.header, paths.into_iter().flatten())
    }

    /// Errs unless the flags go together and each has an effect.
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |message: &str| Err(Failure::usage(message));
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return refuse(&format!("--epsilon: expected a finite number >= 0, got {}; 1e-5 is usual", self.epsilon));
        }
        let evaluates = self.mode == Mode::Eval || self.layer == Some(Layer::Evaluation);
        let all_layers = self.against.is_none() && self.layer.is_none();
        if self.groups.get() > 1 && !(all_layers || self.layer == Some(Layer::Group)) {
            return refuse("--groups: expected with --layer group; leave it out");
        }
        let takes_weights = match self.layer {
            None => true,
            Some(layer) => layer == if self.against.is_some() { Layer::Batch } else { Layer::Weighted },
        };
        if self.weights.is_some() && (evaluates || !takes_weights) {
            return refuse(
                "--weights: expected with batch norm in training (--layer weighted, or with --against --layer batch, or none); \
                 other layers take no weights",
            );
        }
        let by_running = evaluates || all_layers || (self.against.is_none() && self.layer == Some(Layer::Mixed));
        if (self.running_mean.is_some() || self.running_var.is_some()) && !by_running {
            return refuse(
                "--running-mean, --running-var: expected with --mode eval (or --layer mixed), for training normalises by the \
                 batch; give --mode eval or leave them out",
            );
        }
        if self.mode == Mode::Eval && !matches!(self.layer, None | Some(Layer::Batch | Layer::Evaluation)) {
            return refuse("--mode eval: expected --layer batch, for the others have no mode; leave it out");
        }
        Ok(())
    }

    /// The layers to check, in the order of `--help`; and those that are left out, with the reason.
    pub fn layers(&self) -> (Vec<Layer>, Vec<(Layer, String)>) {
        let only = match (self.layer, self.mode, &self.weights) {
            (Some(Layer::Batch) | None, Mode::Eval, _) => Some(Layer::Evaluation),
            (Some(layer), _, _) => Some(layer),
            (None, _, Some(_)) => Some(Layer::Weighted),
            (None, _, None) => None,
        };
        if let Some(layer) = only {
            return (vec![layer], Vec::new());
        }
        let has_channel_parameters = self.gamma.is_some() || self.beta.is_some();
        let (left_out, checked): (Vec<Layer>, Vec<Layer>) = Layer::value_variants()
            .iter()
            .copied()
            .partition(|layer| has_channel_parameters && layer.has_element_parameters());
        let why = |layer: &Layer| format!("it has a gamma and beta for each element: give --layer {}", layer.name());
        (checked, left_out.into_iter().map(|layer| (layer, why(&layer))).collect())
    }
}
