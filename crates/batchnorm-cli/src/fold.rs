//! `batchnorm fold`: a model of ONNX with its batch norms in the layers beside them, and a proof that this changes nothing.

mod report;

use std::path::PathBuf;

use batchnorm_io::atomic;
use batchnorm_model::file::{FileError, ModelFile};

use crate::failure::{Failure, tell};
use crate::terminal::put;

/// Fold the batch norms of a model of ONNX into the layers beside them, with a proof that nothing else changes.
///
/// A batch norm in use multiplies each channel and adds to it, which the convolution or matrix product beside it can do as well: the model is
/// smaller and faster, and gives the same but for rounding. Folded are norms behind and before Conv, ConvTranspose, Gemm, MatMul and other
/// norms, also as a Mul and an Add (frozen norms), through nodes that leave channels to themselves. For each layer the largest
/// error that rounding can make is predicted, and 64 positions of its output are computed both ways in f64. Every norm that stays comes
/// with the reason. Every byte of the file that is not about what was folded stays as it was.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0, also where nothing could be folded; 3, no model; 4, a file without a graph; 2, 5 as for other commands."
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
    if let Some(output) = output {
        file.expect_data_beside(output).map_err(failed)?;
        atomic::write_file(output, |out| out.write_all(&folded)).map_err(Failure::output)?;
    }
    put(&if arguments.json { report::json(&folding, path, output) } else { report::text(&folding, path) })?;
    if let Some(output) = output {
        tell(format_args!("wrote {}", output.display()));
    }
    Ok(())
}
