//! The arguments of `inspect`.

use std::path::PathBuf;
use std::str::FromStr;

use batchnorm::Convention;
use batchnorm_model::health::Severity;

use crate::failure::Failure;
use crate::model_data::ModelData;
use crate::model_process::Resources;

/// Look at the batch norms of a trained model: whether they are healthy, what each finding means and what to do.
///
/// FILE is a model of ONNX, weights as safetensors (one file, or the .index.json of several), or a .pth, .pt or .bin of PyTorch, of which
/// nothing is executed. Each batch norm comes with what stands before and behind it, the ranges of its statistics, and whether it can be
/// folded into a layer beside it; findings have codes that stay (BN001 ...), and what to do about them. The file stays as it is.
///
/// With --fix a model of ONNX is written anew where something has one right answer: training mode that was left on, a norm of constants,
/// a mistaken `spatial`, f16 statistics, useless biases, leftovers of other versions. Each change is listed, and what is left with the reason.
///
/// With --data, data like those of the training, the model is run: which batch norm's statistics make it good in training and bad in use? For each
/// layer the statistics it should have are measured; then what its own do to a model that is otherwise right, and what mending it alone does.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0, findings or none; 1, a finding that --deny names; 4, --fix on a file without a graph, --data with one that cannot be run; 130, interrupted; 2, 3, 5 as for other commands."
)]
pub struct Arguments {
    /// The model: .onnx, .safetensors, .safetensors.index.json, .pth, .pt or .bin.
    pub file: PathBuf,
    /// Show the channels of this layer, one by one.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["github", "convert"])]
    pub layer: Option<String>,
    #[command(flatten)]
    pub data: ModelData,
    /// The right classes, whole numbers from 0: .npy, or .csv with one a line.
    #[arg(long, value_name = "PATH", requires = "data")]
    pub labels: Option<PathBuf>,
    /// Look at every batch norm one by one, not at the eight alone that drifted most.
    #[arg(long, requires = "data")]
    pub all: bool,
    /// Write a page of what was found, with its pictures.
    #[arg(long, value_name = "OUT", requires = "data")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub resources: Resources,
    /// Print one object of JSON (docs/json.md).
    #[arg(long, conflicts_with_all = ["github", "convert"])]
    pub json: bool,
    /// Print annotations that GitHub's Actions show beside a run, and add a summary to the run's page.
    #[arg(long, conflicts_with = "convert")]
    pub github: bool,
    /// Exit with code 1 where there is a finding of this severity or a worse one: note, warning or error.
    #[arg(long, value_name = "LEVEL", conflicts_with = "convert")]
    pub deny: Option<Severity>,
    /// Write the model with what has one right answer mended; it may be the same file. --deny is then about what is left in it.
    #[arg(long, value_name = "OUT", conflicts_with_all = ["layer", "github", "convert"])]
    pub fix: Option<PathBuf>,
    /// Write the weights with each batch norm's statistics by another framework's convention (safetensors): pytorch, keras, flax, onnx,
    /// burn, paddlepaddle, mindspore, gluon, haiku or darknet.
    #[arg(long, value_name = "FROM:TO", requires = "output")]
    pub convert: Option<Conventions>,
    /// Where the converted weights go.
    #[arg(long, value_name = "OUT", requires = "convert")]
    pub output: Option<PathBuf>,
    /// Values a channel in every batch of the training: its size, times height and width. Without it a variance stays as it is.
    #[arg(long, value_name = "N", requires = "convert")]
    pub values: Option<u64>,
    /// Batches that the statistics have seen, where no count in the file tells.
    #[arg(long, value_name = "K", requires = "convert")]
    pub updates: Option<u64>,
    /// The training's epsilon, if it was not FROM's default.
    #[arg(long, value_name = "EPSILON", requires = "convert")]
    pub epsilon: Option<f64>,
    /// The training's momentum as FROM means it, if it was not the default.
    #[arg(long, value_name = "MOMENTUM", requires = "convert")]
    pub momentum: Option<f64>,
}

/// From one convention to another.
#[derive(Debug, Clone, Copy)]
pub struct Conventions {
    pub from: Convention,
    pub to: Convention,
}

impl FromStr for Conventions {
    type Err = String;

    fn from_str(text: &str) -> Result<Conventions, String> {
        let convention = |name: &str| {
            let found =
                Convention::ALL.into_iter().find(|convention| convention.to_string().eq_ignore_ascii_case(name.trim()));
            found.ok_or_else(|| {
                let all: Vec<String> =
                    Convention::ALL.iter().map(|convention| convention.to_string().to_lowercase()).collect();
                format!("expected one of {}, got {name:?}", all.join(", "))
            })
        };
        let (from, to) = text.split_once(':').ok_or("expected FROM:TO, such as pytorch:keras")?;
        let (from, to) = (convention(from)?, convention(to)?);
        if from == to { Err(String::from("expected two different conventions")) } else { Ok(Conventions { from, to }) }
    }
}

impl Arguments {
    /// What clap does not check.
    pub fn check(&self) -> Result<(), Failure> {
        self.resources.check()?;
        for (flag, given) in
            [("--layer", self.layer.is_some()), ("--github", self.github), ("--convert", self.convert.is_some())]
        {
            if given && self.data.data.is_some() {
                return Err(Failure::usage(format!(
                    "{flag}: it does not go together with --data; leave one of them out"
                )));
            }
        }
        match self.epsilon {
            Some(epsilon) if !(epsilon.is_finite() && epsilon >= 0.0) => {
                Err(Failure::usage(format!("--epsilon: expected a number >= 0, got {epsilon}")))
            }
            _ => Ok(()),
        }
    }
}
