//! The flags of `train`.

use std::path::PathBuf;

use batchnorm_lab::plan::Plan;

/// Train one network on the digits and write it to a file that PyTorch reads too.
///
/// A sigmoid network learns 1,437 embedded images of handwritten digits by plain gradient descent; its accuracy is that
/// on 360 other images, by running statistics. The file is safetensors: weights by PyTorch's names, and under the
/// metadata's key `batchnorm` what they are. It is saved about every second (after each step that takes longer) and on
/// Ctrl-C, and the same command goes on from there: it ends in the same file, to the bit, as if it had never been
/// stopped (on one machine). More --steps train a finished network further.
#[derive(clap::Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// Steps in all. [default: 600; 3000 with --no-batch-norm]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<String>,

    /// Learning rate. [default: 0.5; 3 with --no-batch-norm; what `compare` found best for each]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub learning_rate: Option<String>,

    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = Plan::of(true).batch_size.to_string(), allow_negative_numbers = true)]
    pub batch_size: String,

    /// Seed of the start weights and of the order of the batches.
    #[arg(long, value_name = "N", default_value_t = Plan::of(true).seed.to_string(), allow_negative_numbers = true)]
    pub seed: String,

    /// Units of each hidden layer.
    #[arg(long, value_name = "N,N,...", default_value = "100,100,100", allow_negative_numbers = true)]
    pub hidden: String,

    /// Leave batch norm out: biases in its place.
    #[arg(long)]
    pub no_batch_norm: bool,

    /// Threads. (The kernels of a network this small use one.)
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true)]
    pub threads: String,

    /// The file to write, and to go on from; of a link, the file it leads to.
    #[arg(long, value_name = "FILE", default_value = "batchnorm-model.safetensors")]
    pub output: PathBuf,

    /// The description of the training in --output, where another program saved the file again without it: JSON (what the file
    /// had under `batchnorm` in its metadata, or what `train --json` printed), or a file of `batchnorm train` that has it.
    #[arg(long, value_name = "FILE", conflicts_with = "restart")]
    pub description: Option<PathBuf>,

    /// Start anew and replace what is in the file, whatever it is, at the first save.
    #[arg(long)]
    pub restart: bool,

    /// Print the summary as JSON instead of text.
    #[arg(long)]
    pub json: bool,
}
