//! `batchnorm fold`: a model of ONNX with its batch norms in the layers beside them, and a proof that this changes nothing.

mod report;

use std::path::PathBuf;

use batchnorm_io::atomic;
use batchnorm_model::compare::Comparison;
use batchnorm_model::file::{FileError, ModelFile};
use batchnorm_model::job::{Answer, Job, Task};

use crate::engine::Engine;
use crate::failure::{Failure, tell};
use crate::model_data::ModelData;
use crate::model_process::{bytes, in_child, other_answer, processors};
use crate::terminal::{Stop, put};

/// Fold the batch norms of a model of ONNX into the layers beside them, with a proof that nothing else changes.
///
/// A batch norm in use multiplies each channel and adds to it, which the convolution or matrix product beside it can do as well: the model is
/// smaller and faster, and gives the same but for rounding. Folded are norms behind and before Conv, ConvTranspose, Gemm, MatMul and other
/// norms, also as a Mul and an Add (frozen norms), through nodes that leave channels to themselves. For each layer the largest
/// error that rounding can make is predicted, and 64 positions of its output are computed both ways in f64. Every norm that stays comes
/// with the reason. Every byte of the file that is not about what was folded stays as it was.
///
/// With --data or --tolerance the folded model is also run beside the original, on the data or on random numbers, and compared with what
/// rounding alone does to the original: the engine's optimiser on against off, and weights and input moved by one unit in the last place.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0, also where nothing could be folded; 3, no model; 4, a file without a graph, or outputs too far apart; 2, 5 as for other commands."
)]
pub struct Arguments {
    /// The model (.onnx).
    pub input: PathBuf,
    /// Where the folded model goes; it may be the same file.
    #[arg(required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// Fold and prove, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Make a multiplication and an addition of norms that no layer takes, where it is known how many axes there are (opset 7 and later).
    #[arg(long)]
    pub mul_add: bool,
    #[command(flatten)]
    pub data: ModelData,
    /// Write nothing where an output differs by more than this part of the largest one. [default with --data: 1e-5, or four times what
    /// rounding does, if that is more]
    #[arg(long, value_name = "T")]
    pub tolerance: Option<f64>,
    /// Memory of the process that runs the models for that, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 8.0)]
    pub max_memory: f64,
    #[command(flatten)]
    pub engine: Engine,
    /// Print one object of JSON (docs/json.md).
    #[arg(long)]
    pub json: bool,
}

/// Reads, folds, proves, writes, and says what was done.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.input;
    let failed = |error: FileError| {
        let message = format!("{}: {error}", path.display());
        if matches!(error, FileError::NoGraph(_)) { Failure::Refused(message) } else { Failure::Input(message) }
    };
    let output = arguments.output.as_deref().filter(|_| !arguments.dry_run);
    if let Some(output) = output {
        atomic::expect_writable(output).map_err(Failure::output)?;
    }
    let file = ModelFile::open(path).map_err(failed)?;
    let folding = file.fold(arguments.mul_add).map_err(failed)?;
    let folded = file.folded_bytes(&folding).map_err(failed)?;
    let compared = compared(arguments, &file)?;
    if let Some(output) = output {
        file.expect_data_beside(output).map_err(failed)?;
        atomic::write_file(output, |out| out.write_all(&folded)).map_err(Failure::output)?;
    }
    put(&if arguments.json {
        report::json(&folding, path, output, compared)
    } else {
        report::text(&folding, path, compared)
    })?;
    if let Some(output) = output {
        tell(format_args!("wrote {}", output.display()));
    }
    Ok(())
}

/// How far the folded model is from the original, where that is asked for; refuses where it is too far.
fn compared(arguments: &Arguments, file: &ModelFile) -> Result<Option<Comparison>, Failure> {
    let path = &arguments.input;
    let data = arguments.data.open(file, path, None)?;
    if data.is_none() && arguments.tolerance.is_none() {
        return Ok(None);
    }
    if let Some(tolerance) = arguments.tolerance.filter(|tolerance| tolerance.is_nan() || *tolerance < 0.0) {
        return Err(Failure::usage(format!("--tolerance: expected a number of 0 or more, got {tolerance}")));
    }
    let job = Job {
        model: path.clone(),
        data: data.map(|opened| opened.data),
        engine: arguments.engine.choice(),
        threads: processors(),
        memory: bytes("--max-memory", arguments.max_memory)?,
        task: Task::Fold { to_mul_and_add: arguments.mul_add },
        resumed: None,
    };
    let stop = Stop::on_ctrl_c()?;
    let Answer::Compared(compared) = in_child(&job, &stop, None, &mut |_| {})? else {
        return Err(other_answer());
    };
    let limit = arguments.tolerance.unwrap_or_else(|| compared.limit());
    if compared.difference > limit {
        return Err(Failure::refused(format!(
            "{}: the folded model's outputs differ by {:.1e} of the largest, more than {limit:.1e} (rounding alone does {:.1e}); nothing is written",
            path.display(),
            compared.difference,
            compared.floor
        )));
    }
    Ok(Some(compared))
}
