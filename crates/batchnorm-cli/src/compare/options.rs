//! The flags of `compare`.

use std::path::PathBuf;

use batchnorm_lab::comparison::Settings;
use clap::builder::{PossibleValue, PossibleValuesParser};

use super::preset::{self, PRESETS};

/// Flags that no grid has.
const OF_THE_PLAIN_COMPARISON: [&str; 4] = ["steps", "learning_rate", "batch_size", "evaluate_every"];

/// Train the same network with and without batch norm on real digits, and compare.
///
/// A sigmoid network of 64-100-100-100-10 learns 1,437 images of handwritten digits by plain gradient descent, once
/// for each arm and seed; the arms of one seed start from the same weights and see the same batches. Accuracy is that
/// on 360 other images, always by running statistics. Finished runs are kept in compare.json: the same command goes
/// on where it was stopped. Beside it is report.html: what was found, curves, gradients and digits, in one page that
/// needs no network.
///
/// With --preset it runs a claim about batch norm again and puts the published figures beside those it finds; with --vary it compares any settings
/// of `train`. Both train what is missing (a training that was finished is never done again), compare pair by pair over seeds, and leave grid.html.
#[derive(Clone, clap::Args)]
pub struct Arguments {
    /// Re-run a claim about batch norm instead: a grid that is made already, its figures beside the published ones. Other flags change it, and those
    /// behind -- too, as in: compare --preset learning-rate --seeds 5 -- --data fashion-mnist
    #[arg(long, help_heading = "Presets and grids", value_name = "NAME", value_parser = preset_names(), conflicts_with_all = OF_THE_PLAIN_COMPARISON)]
    pub preset: Option<String>,

    /// The preset in two minutes at most: fewer arms and steps, and the embedded digits for data (but for cifar).
    #[arg(long, help_heading = "Presets and grids")]
    pub quick: bool,

    /// All presets that are not yet run, one after another, each in its folder.
    #[arg(long, help_heading = "Presets and grids", conflicts_with_all = OF_THE_PLAIN_COMPARISON, conflicts_with_all = ["preset", "vary", "base", "seeds", "target", "json"])]
    pub all: bool,

    /// Train a grid instead: each value of a setting of `train` with each of the others, such as norm=none,batch,group. May be repeated; lr is
    /// learning-rate. The flags that all cells have follow after --, as in: compare --vary norm=none,batch -- --data mnist --epochs 3
    #[arg(long, help_heading = "Presets and grids", value_name = "SETTING=VALUE,...", conflicts_with_all = OF_THE_PLAIN_COMPARISON)]
    pub vary: Vec<String>,

    /// The settings along which a grid's arms are compared, where the others are the same; without it each arm is compared with the first.
    #[arg(
        long,
        help_heading = "Presets and grids",
        value_name = "SETTING,...",
        value_delimiter = ',',
        conflicts_with = "all"
    )]
    pub beside: Vec<String>,

    /// The setting that charts have across, such as learning-rate.
    #[arg(long, help_heading = "Presets and grids", value_name = "SETTING", conflicts_with = "all")]
    pub over: Option<String>,

    /// Choose this setting for each arm first, by trainings on a part of the data and tests on the rest of what is to be trained on, such as
    /// lr=0.01,0.03,0.1.
    #[arg(long, help_heading = "Presets and grids", value_name = "SETTING=VALUE,...", conflicts_with = "all")]
    pub tune: Option<String>,

    /// What is read off the networks besides their accuracy: training, recalibrated[:EXAMPLES], batch[:EXAMPLES[:sorted]], shift:SHIFT[:EXAMPLES]
    /// (contrast=0.3, brightness=0.5, noise=0.3, inversion, none), percentiles, gradients, weights, variances.
    #[arg(
        long,
        help_heading = "Presets and grids",
        value_name = "LOOK,...",
        value_delimiter = ',',
        conflicts_with = "all"
    )]
    pub read: Vec<String>,

    /// Flags of `train` that all cells of a grid have.
    #[arg(last = true, value_name = "FLAGS OF TRAIN", allow_hyphen_values = true)]
    pub base: Vec<String>,

    /// How many seeds, 1 to N; or a list, such as 3,17,42. [default: 5; a preset's own]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seeds: Option<String>,

    /// Steps of each run.
    #[arg(long, help_heading = "The plain comparison", value_name = "N", default_value_t = Settings::default().steps.to_string(), allow_negative_numbers = true)]
    pub steps: String,

    /// Accuracy to reach, a share of the test images. [default: 0.95; none of a grid]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub target: Option<String>,

    /// One learning rate for both arms. Without it: the rate tuned for the network without batch norm, in both arms,
    /// and the one tuned for batch norm.
    #[arg(long, help_heading = "The plain comparison", value_name = "RATE", allow_negative_numbers = true)]
    pub learning_rate: Option<String>,

    /// Images a step.
    #[arg(long, help_heading = "The plain comparison", value_name = "N", default_value_t = Settings::default().batch_size.to_string(), allow_negative_numbers = true)]
    pub batch_size: String,

    /// Steps between two evaluations: how finely "steps to the target" are known.
    #[arg(long, help_heading = "The plain comparison", value_name = "N", default_value_t = Settings::default().evaluate_every.to_string(), allow_negative_numbers = true)]
    pub evaluate_every: String,

    /// Threads. (The kernels of a network this small use one; no result depends on it.) Of a grid: cells at a time, each on one thread.
    /// [default: 1; all cores of a grid]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,

    /// Folder for compare.json and report.html, or a grid's cells, grid.html, grid.md, grid.svg, grid.json and grid.csv; created. Presets have
    /// a folder each in it.
    #[arg(long, value_name = "DIR", default_value = "batchnorm-compare")]
    pub output_dir: PathBuf,

    /// Run anew what is there already: the runs that compare.json holds, or the cells of a grid.
    #[arg(long)]
    pub restart: bool,

    /// Print the summary as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// The names of the presets, with their questions for the help text.
fn preset_names() -> PossibleValuesParser {
    let names = PRESETS.iter().map(|(name, _)| PossibleValue::new(*name).help(preset::question(name)));
    PossibleValuesParser::new(names)
}
