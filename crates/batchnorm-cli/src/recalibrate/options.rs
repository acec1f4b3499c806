//! The arguments of `recalibrate`.

use std::path::PathBuf;
use std::str::FromStr;

use batchnorm_model::job::Blend;

use crate::model_data::ModelData;
use crate::model_process::Resources;

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
    #[command(flatten)]
    pub data: ModelData,
    /// The right classes, whole numbers from 0: .npy, or .csv with one a line.
    #[arg(long, value_name = "PATH")]
    pub labels: Option<PathBuf>,
    /// The batch norms that are measured, by name; * is anything, and commas are between several. [default: all]
    #[arg(long, value_name = "PATTERN")]
    pub layers: Option<String>,
    /// Measure all in one pass, each batch normalised by itself as in training: faster for deep models, and it depends on --batch.
    #[arg(long)]
    pub one_pass: bool,
    /// Measure on pictures cut at random out of black borders, by up to an eighth of their sides, as many trainings do: where `inspect --data`
    /// says that the model remembers such. Answers are of the pictures as they are.
    #[arg(long)]
    pub cut: bool,
    /// Mix with the old statistics: new:W gives the new ones the weight W (0 to 1), old:W the old ones.
    #[arg(long, value_name = "new:W|old:W")]
    pub blend: Option<Mix>,
    /// Write nothing if fewer answers are right than before: by more than chance explains, or by 3 in 100. Needs labels.
    #[arg(long)]
    pub unless_worse: bool,
    /// Go on where another preparation of the pictures fits the model far better.
    #[arg(long)]
    pub trust_data: bool,
    /// Put the statistics back that the model had before, which it has kept.
    #[arg(long, conflicts_with_all = ["data", "labels", "layers", "one_pass", "cut", "blend", "unless_worse"])]
    pub rollback: bool,
    /// Measure, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub resources: Resources,
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
