//! The flags of `predict`.

use std::path::PathBuf;

use clap::ValueEnum;

/// Recognise digits in pictures by a trained network.
///
/// A PATH is a PNG or JPEG picture of one digit, or a folder of them. A folder whose subfolders are named 0 to 9 is a labelled
/// set: accuracy, confusions and the worst mistakes are shown. Other subfolders, and pictures deeper down, are ignored. Dark on light or light on dark, any size up to 4096 x
/// 4096: the digit is cut out, scaled and counted as those of the data set were; 8 x 8 pixels are taken as they are.
///
/// Every picture is looked at. Those that cannot be read, or are blank, and folders without any are named at the end,
/// and the exit code is 3 then; the others' answers are printed all the same.
#[derive(clap::Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// A file of `batchnorm train`.
    #[arg(long, value_name = "FILE", default_value = "batchnorm-model.safetensors")]
    pub model: PathBuf,

    /// The description of the network, for a model that another program saved again without it: JSON (what the file had under
    /// `batchnorm` in its metadata, or what `train --json` printed), or a file of `batchnorm train` of the same network.
    #[arg(long, value_name = "FILE")]
    pub description: Option<PathBuf>,

    /// PNG or JPEG pictures, folders of them, or folders with subfolders 0 to 9.
    #[arg(value_name = "PATH", conflicts_with = "digits")]
    pub paths: Vec<PathBuf>,

    /// The embedded digits instead of pictures.
    #[arg(long, value_enum)]
    pub digits: Option<Set>,

    /// Print the answers as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Set {
    /// the 360 that `train` never trains on
    Test,
    /// the 1,437 it trains on
    Train,
    /// both
    All,
}
