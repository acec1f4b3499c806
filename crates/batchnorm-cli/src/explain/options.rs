//! The flags of `explain`.

use crate::arrays::{HeaderName, header_without_tables, one_axis};
use crate::failure::Failure;
use crate::layer_name::LayerName;
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Show every step of a norm on your own numbers: values, local derivatives, gradients.
///
/// Takes one feature of an array (of the siblings --layer names, one row), computes it node by node, forward and backward,
/// and checks the outcome against the layer. Without --input on a small example. A table by default; --json, --dot or --html
/// instead of it.
#[derive(Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// The array, of at least two axes: .npy, an array of a .npz (`file.npz:name`), or a table (.csv, .tsv, .txt: rows are
    /// samples, columns are features, a first line may name them). Absent: eight values with mean 5 and deviation 2.
    #[arg(long, value_name = "X")]
    pub input: Option<PathBuf>,
    /// Whether the first line of tables names their columns; absent: they tell it, or are refused.
    #[arg(long, value_enum)]
    pub header: Option<HeaderName>,
    /// Which norm.
    #[arg(long, value_enum, default_value_t = LayerName::Batch)]
    pub layer: LayerName,
    /// Which axis holds the channels; negative counts from the end; absent: 1.
    #[arg(long, value_name = "K", allow_hyphen_values = true, value_parser = one_axis)]
    pub channel_axis: Option<isize>,
    /// Of batch norm: which channel, counted from 0. Absent: 0.
    #[arg(long, value_name = "C")]
    pub channel: Option<usize>,
    /// Of the other norms: which row, counted from 0 (in group and instance norm through the groups of the first sample,
    /// then the next one's). Absent: 0.
    #[arg(long, value_name = "R")]
    pub row: Option<usize>,
    /// Of group norm: how many groups of channels.
    #[arg(long, value_name = "G")]
    pub groups: Option<NonZeroUsize>,
    /// Upstream gradient: the loss's by each y, of the input's shape. Absent: 1, -0.5, 0.25, 0.5, over and over.
    #[arg(long, value_name = "DY")]
    pub gradient: Option<PathBuf>,
    /// Of batch norm: a mask of the input's shape (axes of length 1 are repeated, the channel axis may be missing), false or 0
    /// for values that do not count. They may be NaN, and are not shown.
    #[arg(long, value_name = "W")]
    pub weights: Option<PathBuf>,
    /// Scale: a file, numbers such as 1.5,2, or one number for all. Absent: 1 (of the example: 1.5).
    #[arg(long, value_name = "G", allow_negative_numbers = true, allow_hyphen_values = true)]
    pub gamma: Option<PathBuf>,
    /// Shift: likewise. Absent: 0 (of the example: 0.5).
    #[arg(long, value_name = "B", allow_negative_numbers = true, allow_hyphen_values = true)]
    pub beta: Option<PathBuf>,
    /// Added to the variance inside the square root.
    #[arg(long, value_name = "E", default_value_t = 1e-5, allow_hyphen_values = true)]
    pub epsilon: f64,
    /// Of batch norm: normalise by the batch, or by --running-mean and --running-var.
    #[arg(long, value_enum, default_value_t = Mode::Train)]
    pub mode: Mode,
    /// Running mean of each channel, for --mode eval: a file or numbers.
    #[arg(long, value_name = "M", allow_negative_numbers = true, allow_hyphen_values = true)]
    pub running_mean: Option<PathBuf>,
    /// Running variance of each channel, for --mode eval: a file or numbers.
    #[arg(long, value_name = "V", allow_negative_numbers = true, allow_hyphen_values = true)]
    pub running_var: Option<PathBuf>,
    /// Print JSON instead of the table: all values, the Jacobian, the checks.
    #[arg(long)]
    pub json: bool,
    /// Write the graph for Graphviz, to a file or with `-` to stdout: `... --dot - | dot -Tsvg > graph.svg`.
    #[arg(long, value_name = "FILE")]
    pub dot: Option<PathBuf>,
    /// Write a page to a file or with `-` to stdout: the graph drawn, with settings to move. It needs no network.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// The two forward passes of batch norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Train,
    Eval,
}

impl Arguments {
    /// Every file that is read, if what is given for it names one.
    pub fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        let Arguments { input, gradient, weights, gamma, beta, running_mean, running_var, .. } = self;
        [input, gradient, weights, gamma, beta, running_mean, running_var].into_iter().flatten()
    }

    /// That the flags go together.
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |message: &str| Err(Failure::usage(message));
        let batch = self.layer == LayerName::Batch;
        let eval = self.mode == Mode::Eval;
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return refuse(&format!("--epsilon: expected a finite number >= 0, got {}", self.epsilon));
        }
        if batch && self.row.is_some() {
            return refuse("--row: expected with norms that take rows; batch norm takes features: give --channel");
        }
        if !batch && self.channel.is_some() {
            return refuse("--channel: expected with --layer batch; this norm takes rows: give --row");
        }
        if !batch && self.weights.is_some() {
            return refuse("--weights: expected with --layer batch, for the other norms have no masks; leave it out");
        }
        for (flag, given) in [("--header", self.header.is_some()), ("--weights", self.weights.is_some())] {
            if given && self.input.is_none() {
                return refuse(&format!(
                    "{flag}: expected --input, the array that it belongs to; give both or leave it out"
                ));
            }
        }
        if let Some(void) = header_without_tables(self.header, self.inputs()) {
            return refuse(void);
        }
        if self.channel_axis.is_some()
            && (self.input.is_none() || matches!(self.layer, LayerName::Norm | LayerName::Rms))
        {
            return refuse(
                "--channel-axis: expected with --input and a norm of channels, for layer and RMS norm take all axes but the first, \
                 and the example has its axes; leave it out",
            );
        }
        let statistics = [
            ("--mode eval", eval),
            ("--running-mean", self.running_mean.is_some()),
            ("--running-var", self.running_var.is_some()),
        ];
        let flags =
            |given: bool| statistics.iter().filter(|flag| flag.1 == given).map(|flag| flag.0).collect::<Vec<&str>>();
        let (given, missing) = (flags(true).join(", "), flags(false).join(" and "));
        if !batch && !given.is_empty() {
            return refuse(&format!(
                "{given}: expected with --layer batch, for the other norms have no running statistics; leave that out"
            ));
        }
        if !given.is_empty() && !missing.is_empty() {
            return refuse(&format!(
                "{given}: expected {missing} too, for evaluation normalises by a mean and a variance that were kept; give all \
                 three or none"
            ));
        }
        match (self.layer == LayerName::Group, self.groups.is_some()) {
            (true, false) => return refuse("--layer group: expected --groups G, a divisor of the channels; give it"),
            (false, true) => return refuse("--groups: expected with --layer group; leave it out"),
            _ => {}
        }
        let to_stdout = [&self.dot, &self.html].into_iter().flatten().filter(|path| is_stdout(path)).count();
        if to_stdout + usize::from(self.json) > 1 {
            return refuse(
                "--json, --dot -, --html -: expected one of them, for there is one stdout; name files for the others",
            );
        }
        Ok(())
    }
}

/// Whether an output is to go to stdout, for which `-` stands.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}
