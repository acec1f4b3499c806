//! `batchnorm export`: a network that `batchnorm train` wrote, as a file that other programs run.

#[cfg(feature = "model")]
mod folded;
mod format;
mod report;

use std::path::{Path, PathBuf};

use batchnorm_io::atomic;
use batchnorm_lab::export;
use batchnorm_lab::model::Model;

use crate::failure::{Failure, tell};
use crate::model_file::{self, Unreadable};
use crate::terminal::put;
use format::Format;
use report::{Folded, Report};

/// Write a trained network as a file for other programs: ONNX with norms and all, or weights under PyTorch's names.
///
/// MODEL.onnx is the network in use, by running statistics and without dropout, at opset 17. It takes `input` ([N, channels, rows, columns] of pictures,
/// [N, features] of tables) and gives `scores` ([N, classes], before any softmax). Batch norms are BatchNormalization nodes, and every
/// other norm of this program is what ONNX has for it. Pictures go in standardised: the metadata's entry batchnorm.recipe says how
/// bytes become that. Rows of tables go in as they are.
///
/// MODEL.safetensors is the state_dict of a torch.nn.Module of the same structure, with counts of batches and without what a training needs.
///
/// The same network gives the same bytes. The metadata also has batchnorm.network (TOML), batchnorm.classes (JSON) and batchnorm.note.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 3, no file of `batchnorm train`; 4, a layer that the format cannot say, with the reason; 2, 5 as for other commands."
)]
pub struct Arguments {
    /// The file of `batchnorm train`.
    pub model: PathBuf,
    /// Where the export goes: *.onnx or *.safetensors.
    pub output: PathBuf,
    /// Fold the batch norms into the layers beside them where that is right; others stay (ONNX alone).
    #[arg(long)]
    pub fold: bool,
    /// Description of a network whose file was written by another program that dropped it: JSON, or a file that has it.
    #[arg(long, value_name = "FILE")]
    pub description: Option<PathBuf>,
    /// Print what was written as one object of JSON (docs/json.md).
    #[arg(long)]
    pub json: bool,
}

/// Reads, writes, and says what was written.
///
/// # Errors
/// Another extension; `--fold` of weights, or in a program that cannot; a model that is missing or broken; a layer that the format cannot say; a file
/// that cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { model: path, output, fold, description, json } = arguments;
    let format = Format::of(output)?;
    expect_foldable(*fold, format)?;
    if is_same(path, output) {
        return Err(Failure::usage("OUTPUT: expected another file than MODEL, which would be lost, got the same"));
    }
    let description = model_file::description(description.as_deref())?;
    let model = model_file::read(path, description).map_err(|Unreadable { reason, mend }| {
        let mend = mend.unwrap_or("name a file of `batchnorm train`, or train one");
        Failure::input(format!("{}: {reason}; {mend}", path.display()))
    })?;
    let (bytes, folded) = written(&model, format, *fold).map_err(|failure| failure.of(path))?;
    atomic::expect_writable(output).map_err(Failure::output)?;
    atomic::write_file(output, |out| out.write_all(&bytes)).map_err(Failure::output)?;
    let report = Report { model: &model, path, output, format, folded: &folded, bytes: bytes.len() };
    match json {
        true => put(&report.json())?,
        false => report.text().lines().for_each(tell),
    }
    tell(format_args!("wrote {}", output.display()));
    Ok(())
}

fn expect_foldable(fold: bool, format: Format) -> Result<(), Failure> {
    if fold && format == Format::Safetensors {
        return Err(Failure::usage(
            "--fold: expected an OUTPUT that ends in .onnx, got .safetensors, which has no graph to fold in",
        ));
    }
    if fold && !cfg!(feature = "model") {
        return Err(Failure::usage(
            "--fold: this program was built without the feature `model`, which folds; build it with that, or leave --fold out",
        ));
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// A failure that does not name the file yet.
struct Unsaid(fn(String) -> Failure, String);

impl Unsaid {
    fn of(self, path: &Path) -> Failure {
        self.0(format!("{}: {}", path.display(), self.1))
    }
}

/// The bytes of the file, with what was folded if that was asked for.
fn written(model: &Model, format: Format, fold: bool) -> Result<(Vec<u8>, Option<Folded>), Unsaid> {
    let refused = |error: export::ExportError| Unsaid(Failure::Refused, error.to_string());
    let bytes = match format {
        Format::Safetensors => export::to_safetensors(model).map_err(refused)?.to_bytes(),
        Format::Onnx => export::to_onnx(model).map_err(refused)?.to_bytes(),
    };
    #[cfg(feature = "model")]
    if fold {
        let (bytes, folded) = folded::fold(&bytes).map_err(|why| Unsaid(Failure::Refused, why))?;
        return Ok((bytes, Some(folded)));
    }
    // (It was refused where it cannot be.)
    let _ = fold;
    Ok((bytes, None))
}
