//! The flags of `gradcheck`.

use super::layer::Layer;
use crate::arrays::{Files, HeaderName, header_without_tables, one_axis};
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
    /// Gradients of another program, at least one of dx, dgamma and dbeta: a folder with files of these names (dx.npy, or tables
    /// dx.csv, dx.tsv, dx.txt), or a .npz with arrays of these names.
    #[arg(long, value_name = "DIR|NPZ")]
    pub against: Option<PathBuf>,
    /// The layer's input, of at least two axes: .npy, an array of a .npz (`file.npz:name`), or a table (.csv, .tsv, .txt); absent:
    /// random, of --shape.
    #[arg(long, value_name = "X")]
    pub input: Option<PathBuf>,
    /// Whether the first line of tables names their columns; absent: they tell it, or are refused.
    #[arg(long, value_enum)]
    pub header: Option<HeaderName>,
    /// The upstream gradient, of the input's shape; absent: random.
    #[arg(long, value_name = "DY")]
    pub gradient: Option<PathBuf>,
    /// Which axis holds the channels; negative counts from the end; absent: 1.
    #[arg(long, value_name = "K", allow_hyphen_values = true, value_parser = one_axis)]
    pub channel_axis: Option<isize>,
    /// Which layer; absent: all that the shape allows, or with --against batch norm.
    #[arg(long, value_enum)]
    pub layer: Option<Layer>,
    /// Groups of group norm and of grouped RMS norm; a divisor of the channels. Absent: the largest one below them.
    #[arg(long, value_name = "G")]
    pub groups: Option<NonZeroUsize>,
    /// Normalise by the batch, or by the running statistics.
    #[arg(long, value_enum, default_value_t = Mode::Train)]
    pub mode: Mode,
    /// Scale of each channel (of layer and RMS norm: of each element), any float type; absent: 1, or random beside a random
    /// input.
    #[arg(long, value_name = "G")]
    pub gamma: Option<PathBuf>,
    /// Shift, as gamma; absent: 0, or random. (No gradient but behind an activation depends on it.)
    #[arg(long, value_name = "B")]
    pub beta: Option<PathBuf>,
    /// Running mean of each channel, for --mode eval and --layer renormalized.
    #[arg(long, value_name = "M")]
    pub running_mean: Option<PathBuf>,
    /// Running variance of each channel, likewise.
    #[arg(long, value_name = "V")]
    pub running_var: Option<PathBuf>,
    /// Limits of r and d, for --layer renormalized beside --against, as `apply` takes them: --renorm 3,5. (Our own layer is checked
    /// without limits.)
    #[arg(long, value_name = "R,D")]
    pub renorm: Option<String>,
    /// How often each value counts, as `apply` takes it; 0 masks.
    #[arg(long, value_name = "W")]
    pub weights: Option<PathBuf>,
    /// Added to the variance inside the square root.
    #[arg(long, value_name = "E", allow_hyphen_values = true, default_value_t = 1e-5)]
    pub epsilon: f64,
    /// Shape of the random input, in the order of its axes.
    #[arg(long, value_name = "N,C,...", default_value = "4,6,5", conflicts_with = "input")]
    pub shape: String,
    /// Seed of all that is random; absent: 1.
    #[arg(long, value_name = "S", conflicts_with = "against")]
    pub seed: Option<u64>,
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
    /// The files of this run, and others.
    pub fn files<'p>(&'p self, others: impl IntoIterator<Item = &'p PathBuf>) -> Files {
        Files::new(self.header, self.inputs().chain(others))
    }

    fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        let Arguments { input, gradient, gamma, beta, running_mean, running_var, weights, .. } = self;
        [input, gradient, gamma, beta, running_mean, running_var, weights].into_iter().flatten()
    }

    /// `--channel-axis`.
    pub fn channel_axis(&self) -> isize {
        self.channel_axis.unwrap_or(1)
    }

    /// `--seed`.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }

    /// Errs unless the flags go together and each has an effect.
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |message: &str| Err(Failure::usage(message));
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return refuse(&format!("--epsilon: expected a finite number >= 0, got {}; 1e-5 is usual", self.epsilon));
        }
        let evaluates = self.mode == Mode::Eval || self.layer == Some(Layer::Evaluation);
        let all_layers = self.against.is_none() && self.layer.is_none();
        let beside_input = [
            ("--header", self.header.is_some()),
            ("--gradient", self.gradient.is_some()),
            ("--gamma", self.gamma.is_some()),
            ("--beta", self.beta.is_some()),
            ("--running-mean", self.running_mean.is_some()),
            ("--running-var", self.running_var.is_some()),
            ("--weights", self.weights.is_some()),
        ];
        if let Some((flag, _)) = beside_input.iter().find(|flag| flag.1 && self.input.is_none()) {
            return refuse(&format!(
                "{flag}: expected --input, the array that it belongs to; give both or leave it out"
            ));
        }
        // (A folder of --against may hold tables: that is known when it is read.)
        if self.against.is_none()
            && let Some(void) = header_without_tables(self.header, self.inputs())
        {
            return refuse(void);
        }
        if self.channel_axis.is_some() && self.layer.is_some_and(Layer::has_element_parameters) {
            return refuse(
                "--channel-axis: expected with layers of channels, for layer and RMS norm take all axes but the first; leave it out",
            );
        }
        let has_groups = self.layer.is_some_and(Layer::has_groups);
        if self.against.is_some() && has_groups && self.groups.is_none() {
            return refuse(
                "--layer group, --layer group-rms: expected --groups G beside --against, the groups that the gradients are of; give it",
            );
        }
        if self.groups.is_some() && !(all_layers || has_groups) {
            return refuse("--groups: expected with --layer group or group-rms; leave it out");
        }
        let renormalized = self.layer == Some(Layer::Renormalized);
        if self.renorm.is_some() && !(renormalized && self.against.is_some()) {
            return refuse("--renorm: expected with --layer renormalized beside --against; leave it out");
        }
        if renormalized && self.against.is_some() {
            if self.running_mean.is_none() || self.running_var.is_none() {
                return refuse(
                    "--layer renormalized: expected --running-mean and --running-var beside --against, the statistics before the step, that were \
                     corrected towards; give both",
                );
            }
            if self.renorm.is_none() {
                return refuse(
                    "--layer renormalized: expected --renorm R,D beside --against, the limits of that step; give it",
                );
            }
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
        let by_running =
            evaluates || all_layers || renormalized || (self.against.is_none() && self.layer == Some(Layer::Mixed));
        let statistics = self.running_mean.is_some() || self.running_var.is_some();
        if statistics
            && self.layer.is_some_and(|layer| {
                !matches!(layer, Layer::Batch | Layer::Evaluation | Layer::Mixed | Layer::Renormalized)
            })
        {
            return refuse(
                "--running-mean, --running-var: expected with --mode eval of batch norm (or --layer mixed or renormalized), for no other is normalised by them; \
                 leave them out",
            );
        }
        if statistics && !by_running {
            return refuse(
                "--running-mean, --running-var: expected with --mode eval (or --layer mixed or renormalized), for training normalises by the \
                 batch; give --mode eval or leave them out",
            );
        }
        if statistics && !(self.running_mean.is_some() && self.running_var.is_some()) {
            return refuse(
                "--running-mean, --running-var: expected both, for a mean and a variance belong together; give both or neither",
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
