//! The flags of `compare`.

use std::path::PathBuf;

use batchnorm_lab::comparison::Settings;

/// Train the same network with and without batch norm on real digits, and compare.
///
/// A sigmoid network of 64-100-100-100-10 learns 1,437 images of handwritten digits by plain gradient descent, once
/// for each arm and seed; the arms of one seed start from the same weights and see the same batches. Accuracy is that
/// on 360 other images, always by running statistics. Finished runs are kept in compare.json: the same command goes
/// on where it was stopped. Beside it is report.html: what was found, curves, gradients and digits, in one page that
/// needs no network.
#[derive(clap::Args)]
pub struct Arguments {
    /// Train a grid instead: each value of a setting of `train` with each of the others, such as norm=none,batch,group. May be repeated; lr is
    /// learning-rate. The flags that all cells have follow after --, as in: compare --vary norm=none,batch -- --data mnist --epochs 3
    #[arg(long, value_name = "SETTING=VALUE,...", conflicts_with_all = ["steps", "learning_rate", "batch_size", "evaluate_every"])]
    pub vary: Vec<String>,

    /// Flags of `train` that all cells of a grid have.
    #[arg(last = true, value_name = "FLAGS OF TRAIN", requires = "vary", allow_hyphen_values = true)]
    pub base: Vec<String>,

    /// How many seeds, 1 to N; or a list, such as 3,17,42.
    #[arg(long, value_name = "N", default_value_t = seeds_by_default(), allow_negative_numbers = true)]
    pub seeds: String,

    /// Steps of each run.
    #[arg(long, value_name = "N", default_value_t = Settings::default().steps.to_string(), allow_negative_numbers = true)]
    pub steps: String,

    /// Accuracy to reach, a share of the test images. [default: 0.95; none of a grid]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub target: Option<String>,

    /// One learning rate for both arms. Without it: the rate tuned for the network without batch norm, in both arms,
    /// and the one tuned for batch norm.
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub learning_rate: Option<String>,

    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = Settings::default().batch_size.to_string(), allow_negative_numbers = true)]
    pub batch_size: String,

    /// Steps between two evaluations: how finely "steps to the target" are known.
    #[arg(long, value_name = "N", default_value_t = Settings::default().evaluate_every.to_string(), allow_negative_numbers = true)]
    pub evaluate_every: String,

    /// Threads. (The kernels of a network this small use one; no result depends on it.) Of a grid: cells at a time, each on one thread.
    /// [default: 1; all cores of a grid]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<String>,

    /// Folder for compare.json and report.html, or a grid's cells, grid.json and grid.csv; created.
    #[arg(long, value_name = "DIR", default_value = "batchnorm-compare")]
    pub output_dir: PathBuf,

    /// Drop the runs that compare.json holds and start anew.
    #[arg(long)]
    pub restart: bool,

    /// Print the summary as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// The default of `--seeds`, as a number of seeds.
fn seeds_by_default() -> String {
    Settings::default().seeds.len().to_string()
}
