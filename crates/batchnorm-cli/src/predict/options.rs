//! The flags of `predict`.

use std::path::PathBuf;

use clap::ValueEnum;

/// Classify pictures, or a labelled set, by a trained network.
///
/// A PATH is a PNG or JPEG picture, or a folder of them. A folder whose subfolders are named as the network's classes (0 to 9 for the digits) is
/// a labelled set: accuracy, confusions and the worst mistakes are shown. Other subfolders, and pictures deeper down, are ignored. Pictures
/// are cut to the network's proportions, made its size and standardised as its training set was.
///
/// A network that was trained on the embedded digits takes pictures of one digit, dark on light or light on dark, of any size up to 4096 x
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

    /// PNG or JPEG pictures, folders of them, or folders with a subfolder for each class.
    #[arg(value_name = "PATH", conflicts_with_all = ["digits", "data"])]
    pub paths: Vec<PathBuf>,

    /// The embedded digits instead of pictures.
    #[arg(long, value_enum, conflicts_with = "data")]
    pub digits: Option<Digits>,

    /// A labelled set, as `train --data` takes it, instead of pictures: of its parts the one to test with.
    #[arg(long, value_name = "NAME|PATH")]
    pub data: Option<PathBuf>,

    /// The part of --data that is asked about. [default: test; all of a set that has no such part and was not trained on]
    #[arg(long, value_enum, requires = "data")]
    pub part: Option<Part>,

    /// Print the answers as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Digits {
    /// the 360 that `train` never trains on
    Test,
    /// the 1,437 it trains on
    Train,
    /// both
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Test,
    Train,
    All,
}
