//! What can be wrong with a recipe.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A format of recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Our own.
    Toml,
    /// timm's `config.json`.
    Timm,
    /// Hugging Face's `preprocessor_config.json`.
    HuggingFace,
}

/// What people call it.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Toml => "a recipe (TOML)",
            Format::Timm => "timm's config.json",
            Format::HuggingFace => "Hugging Face's preprocessor_config.json",
        })
    }
}

/// Why there is no recipe, or none that pictures can be prepared by.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// What the system says.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What is wrong with a file.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<RecipeError>,
    },
    /// No text of any of the formats.
    #[error(
        "expected a recipe (TOML), timm's config.json (with `pretrained_cfg` or `input_size`) or Hugging Face's preprocessor_config.json \
         (with `image_mean`, `do_resize` ..), got {0}"
    )]
    Unknown(String),
    /// Text that breaks the rules of TOML, or of our recipes.
    #[error("expected a recipe (TOML): {place}{message}", place = line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    Toml {
        /// The line, from 1 on.
        line: Option<usize>,
        /// What the parser says.
        message: String,
    },
    /// A value that cannot be.
    #[error("{format}: `{field}`: expected {expected}, got {got}")]
    Field {
        /// The format of the file.
        format: Format,
        /// The field.
        field: String,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Something that a recipe cannot say.
    #[error("{format}: `{field}`: {why}; write what it does to a picture as a recipe (TOML), if it can be")]
    Unsupported {
        /// The format of the file.
        format: Format,
        /// The field.
        field: String,
        /// Why not.
        why: String,
    },
    /// A recipe that no picture can be prepared by.
    #[error("the recipe's `{field}`: expected {expected}, got {got}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A picture of which no such middle can be cut.
    #[error(
        "expected a picture that {crop_height} x {crop_width} (height x width) can be cut out of, got {height} x {width} after its resize; \
         resize to more, or crop less"
    )]
    Crop {
        /// Rows of the middle.
        crop_height: usize,
        /// Its pixels in a row.
        crop_width: usize,
        /// Rows of the picture.
        height: usize,
        /// Its pixels in a row.
        width: usize,
    },
    /// A picture that would become too large.
    #[error(
        "expected a picture of at most {most} pixels after its resize, got {height} x {width} (height x width): it is very long and thin; \
         leave it out, or resize to an exact size"
    )]
    Large {
        /// The largest number of pixels.
        most: u64,
        /// Rows.
        height: u64,
        /// Pixels in a row.
        width: u64,
    },
}
