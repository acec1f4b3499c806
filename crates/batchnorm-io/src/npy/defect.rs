//! What can be wrong with a `.npy` file.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why an array was not read or written. The message is complete in itself: which file, what was
/// expected, what came, how to mend it.
#[derive(Debug, Error)]
#[error("{}{defect}", place(.path))]
pub struct NpyError {
    /// The file, where there is one ([`parse`](super::parse) and [`encode`](super::encode) have none).
    pub path: Option<PathBuf>,
    /// What is wrong with it.
    pub defect: Defect,
}

fn place(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default()
}

impl NpyError {
    pub(super) fn at(path: &Path, defect: Defect) -> Self {
        let path = Some(path.to_path_buf());
        Self { path, defect }
    }
}

impl From<Defect> for NpyError {
    fn from(defect: Defect) -> Self {
        Self { path: None, defect }
    }
}

/// One variant per kind of defect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Defect {
    /// The file does not exist or may not be read.
    #[error("cannot be opened: {reason}")]
    Open {
        /// What the system said.
        reason: io::Error,
    },
    /// A folder, a pipe or a device, whose length is not known beforehand.
    #[error("expected a regular file, found {found}; save the array into a file first")]
    NotAFile {
        /// What it is.
        found: &'static str,
    },
    /// The system failed while the bytes were read, or the file shrank meanwhile.
    #[error("reading failed: {reason}")]
    Read {
        /// What the system said.
        reason: io::Error,
    },
    /// The array is honest about its size but there is no memory for it.
    #[error("no memory for the {bytes} bytes of the array; split it or use a larger machine")]
    Memory {
        /// The bytes asked for.
        bytes: u64,
    },
    /// The file ends before everything it announces.
    #[error(
        "the file ends within its {part}: expected {expected} bytes, found {found}; \
         it was not wholly written or copied, save it again"
    )]
    Truncated {
        /// The part that is not whole: `magic number`, `version`, `header length`, `header`, `data`.
        part: &'static str,
        /// The bytes the file must have to hold this part.
        expected: u64,
        /// The bytes it has.
        found: u64,
    },
    /// A whole number that no signed number of 64 bits holds.
    #[error(
        "value {at}: expected whole numbers up to 9223372036854775807, found a larger one; save x.astype(np.float64)"
    )]
    HugeWhole {
        /// Which value, in the order of the file.
        at: usize,
    },
    /// Something follows the numbers.
    #[error(
        "expected {expected} bytes (the header and the array of shape {shape}), found {found}; \
         one file holds one array, save each with np.save into its own"
    )]
    Trailing {
        /// The shape, as Python writes it.
        shape: String,
        /// The bytes of header and array.
        expected: u64,
        /// The bytes of the file.
        found: u64,
    },
    /// The file does not begin like a `.npy` file.
    #[error(
        "not a .npy file: expected the first bytes b\"\\x93NUMPY\", found b\"{}\"; \
         save one array with np.save (several in one .npz file are read by name)", .found.escape_ascii()
    )]
    Magic {
        /// The first bytes, at most six.
        found: Vec<u8>,
    },
    /// A version of the format from the future.
    #[error(
        "expected version 1.0, 2.0 or 3.0 of the .npy format, found {major}.{minor}; \
         save the array with np.save"
    )]
    Version {
        /// The major number.
        major: u8,
        /// The minor number.
        minor: u8,
    },
    /// A header that no array needs.
    #[error("expected a header of at most 1048576 bytes, found one of {length}; save the array again with np.save")]
    LongHeader {
        /// The bytes it says it has.
        length: u64,
    },
    /// The header is not in the character set of its version.
    #[error(
        "the header must be {expected} in this version of the format, byte {at} of it is not; \
         save the array again with np.save"
    )]
    Encoding {
        /// `ASCII` (1.0 and 2.0) or `UTF-8` (3.0).
        expected: &'static str,
        /// The first offending byte, counted from the start of the header.
        at: usize,
    },
    /// The header is not a Python dictionary.
    #[error(
        "the header is not a Python dictionary: at byte {at} expected {expected}, found {found}; \
         save the array again with np.save"
    )]
    Syntax {
        /// Counted from the start of the header.
        at: usize,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// The dictionary has a key that the format does not know.
    #[error(
        "the header has the key '{key}', expected only 'descr', 'fortran_order' and 'shape'; \
         save the array again with np.save"
    )]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// The dictionary has a key twice.
    #[error("the header has the key '{key}' twice, expected once; save the array again with np.save")]
    DuplicateKey {
        /// The key.
        key: &'static str,
    },
    /// The dictionary lacks a key.
    #[error(
        "the header has no key '{key}', expected 'descr', 'fortran_order' and 'shape'; \
         save the array again with np.save"
    )]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A key's value is not of its kind.
    #[error("the header's '{key}' must be {expected}, found {found}; save the array again with np.save")]
    Value {
        /// The key.
        key: &'static str,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// The array holds something else than floats and whole numbers.
    #[error(
        "dtype {found}{}; accepted are float16, float32, float64, bool and whole numbers of up to 64 bits: in NumPy save \
         `x.astype(np.float32)` instead", if .meaning.is_empty() { String::new() } else { format!(" ({})", .meaning) }
    )]
    NumberType {
        /// The `descr` of the header.
        found: String,
        /// What it stands for, as far as we know it.
        meaning: &'static str,
    },
    /// No computer holds an array of this shape.
    #[error(
        "shape {shape} of {bytes_each} bytes each is larger than any memory; \
         the header is damaged, save the array again"
    )]
    TooLarge {
        /// The shape, as Python writes it.
        shape: String,
        /// The bytes of one number.
        bytes_each: usize,
    },
    /// A single number, where rows are asked for.
    #[error("expected an array whose first axis counts its rows, found a single number; save x[np.newaxis]")]
    NoRows,
    /// Rows that do not lie one behind another.
    #[error(
        "expected rows that lie one behind another (C order), found an array of shape {shape} in Fortran order; save \
         np.ascontiguousarray(x)"
    )]
    FortranOrder {
        /// The shape, as Python writes it.
        shape: String,
    },
    /// Rows that the array does not have.
    #[error("expected rows before {rows}, found a request for rows from {first} up to {end}")]
    Rows {
        /// Rows of the array.
        rows: usize,
        /// The first one asked for.
        first: usize,
        /// The one behind the last.
        end: usize,
    },
    /// The writer was given a shape that does not fit its values.
    #[error(
        "argument `values` has {found} numbers, but `shape` {shape} wants {}; pass the shape of the values",
        .expected.map_or("more than fit any memory".to_string(), |n| n.to_string())
    )]
    Count {
        /// The shape, as Python writes it.
        shape: String,
        /// The product of the shape, if it can be held.
        expected: Option<usize>,
        /// The number of values.
        found: usize,
    },
    /// The writer was given a shape of so many axes that no version can hold it.
    #[error("argument `shape` has {axes} axes, more than a .npy header can hold")]
    Axes {
        /// The number of axes.
        axes: usize,
    },
}

/// The beginning of `text`, short enough for a message, with nothing in it that a terminal would obey.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 60;
    let mut shown = String::new();
    for c in text.chars().take(LIMIT) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(LIMIT).is_some() {
        shown.push_str("...");
    }
    shown
}
