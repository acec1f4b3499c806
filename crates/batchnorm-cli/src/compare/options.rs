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
    /// How many seeds, 1 to N; or a list, such as 3,17,42.
    #[arg(long, value_name = "N", default_value_t = seeds_by_default(), allow_negative_numbers = true)]
    pub seeds: String,

    /// Steps of each run.
    #[arg(long, value_name = "N", default_value_t = Settings::default().steps.to_string(), allow_negative_numbers = true)]
    pub steps: String,

    /// Accuracy to reach, a share of the test images.
    #[arg(long, value_name = "SHARE", default_value_t = Settings::default().target_accuracy.to_string(), allow_negative_numbers = true)]
    pub target: String,

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

    /// Threads. (The kernels of a network this small use one; no result depends on it.)
    #[arg(long, value_name = "N", default_value_t = Settings::default().threads.to_string(), allow_negative_numbers = true)]
    pub threads: String,

    /// Folder for compare.json and report.html; created.
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
