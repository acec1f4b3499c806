//! The arguments of `recalibrate`.

use std::path::PathBuf;
use std::str::FromStr;

use batchnorm_model::job::Blend;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::pictures::Pictures;

/// Measure the running statistics of a trained model's batch norms anew, on your data.
///
/// For a model that goes to data that look different, or whose weights were averaged, pruned or changed since its statistics were taken.
/// By default layer by layer: each batch norm gets the exact mean and variance of what it will see in use, whatever the batches. What
/// the model answers is compared before and after. Data unlike those of its later use can ruin a model: labels tell (--unless-worse),
/// without them there are only signs. Before, pictures are compared with what the model's first norms remember of its training's.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0; 3, no model, or data that do not fit it; 4, weights without a graph, data that look otherwise prepared than the model's were, or a worse model under --unless-worse; 130, interrupted: the same command goes on; 2, 5 as for other commands."
)]
pub struct Arguments {
    /// The model (.onnx).
    pub input: PathBuf,
    /// Where the model with the new statistics goes; it may be the same file.
    #[arg(required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// Your data: .npy, .npz (arrays by the names of the model's inputs), a table (.csv, .tsv), or a folder of PNG and JPEG pictures,
    /// whose sub-folders are classes.
    #[arg(long, value_name = "PATH", required_unless_present = "rollback")]
    pub data: Option<PathBuf>,
    /// The right classes, whole numbers from 0: .npy, or .csv with one a line.
    #[arg(long, value_name = "PATH")]
    pub labels: Option<PathBuf>,
    #[command(flatten)]
    pub pictures: Pictures,
    /// The batch norms that are measured, by name; * is anything, and commas are between several. [default: all]
    #[arg(long, value_name = "PATTERN")]
    pub layers: Option<String>,
    /// Measure all in one pass, each batch normalised by itself as in training: faster for deep models, and it depends on --batch.
    #[arg(long)]
    pub one_pass: bool,
    /// Samples that run together. Layer by layer it changes no bit of the result.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch: usize,
    /// Mix with the old statistics: new:W gives the new ones the weight W (0 to 1), old:W the old ones.
    #[arg(long, value_name = "new:W|old:W")]
    pub blend: Option<Mix>,
    /// Write nothing if fewer answers are right than before; needs labels.
    #[arg(long)]
    pub unless_worse: bool,
    /// Go on where another preparation of the pictures fits the model far better.
    #[arg(long)]
    pub trust_data: bool,
    /// Put the statistics back that the model had before, which it has kept.
    #[arg(long, conflicts_with_all = ["data", "labels", "layers", "one_pass", "blend", "unless_worse"])]
    pub rollback: bool,
    /// Measure, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub engine: Engine,
    /// Threads. [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory of the process that runs the model, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 4.0)]
    pub max_memory: f64,
    /// Room for values between two layers in temporary files, in GiB; what finds none is computed again.
    #[arg(long, value_name = "GIB", default_value_t = 8.0)]
    pub cache: f64,
    /// Print one object of JSON (docs/json.md).
    #[arg(long)]
    pub json: bool,
}

/// The weights of a mix.
#[derive(Debug, Clone, Copy)]
pub struct Mix(pub Blend);

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let expected = || format!("expected new:W or old:W with a weight of 0 to 1, such as new:0.1, got {text:?}");
        let (which, weight) = text.split_once(':').ok_or_else(expected)?;
        let weight: f64 = weight.parse().map_err(|_| expected())?;
        let blend = match which {
            "new" => Blend::New(weight),
            "old" => Blend::Old(weight),
            _ => return Err(expected()),
        };
        blend.weight().map_err(|_| expected())?;
        Ok(Mix(blend))
    }
}

impl Arguments {
    pub fn check(&self) -> Result<(), Failure> {
        let positive = |name: &str, number: f64| match number > 0.0 && number < 1e6 {
            true => Ok(()),
            false => Err(Failure::usage(format!("{name}: expected a number of GiB above 0, got {number}"))),
        };
        positive("--max-memory", self.max_memory)?;
        if self.cache != 0.0 {
            positive("--cache", self.cache)?;
        }
        if self.batch == 0 || self.threads == Some(0) {
            return Err(Failure::usage("--batch, --threads: expected 1 or more, got 0"));
        }
        Ok(())
    }
}
