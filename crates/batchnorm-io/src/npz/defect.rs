//! What can be wrong with a `.npz` file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::npy::Defect;

/// Why an archive was not read or written. The message is complete in itself: which file, which member, what was
/// expected, what came, how to mend it.
#[derive(Debug, Error)]
#[error("{}{}{defect}", of_file(.path), of_member(.member))]
pub struct NpzError {
    /// The file, where there is one.
    pub path: Option<PathBuf>,
    /// The member of the archive, by the name it has there (`x.npy`), where it is about one.
    pub member: Option<String>,
    /// What is wrong with it.
    pub defect: NpzDefect,
}

fn of_file(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default()
}

fn of_member(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!("member '{name}': ")).unwrap_or_default()
}

impl From<NpzDefect> for NpzError {
    fn from(defect: NpzDefect) -> Self {
        Self { path: None, member: None, defect }
    }
}

impl NpzDefect {
    /// Of a member, whose name is made fit for a message.
    pub(super) fn of(self, name: &str) -> NpzError {
        NpzError { path: None, member: Some(crate::npy::defect::excerpt(name)), defect: self }
    }
}

/// One variant per kind of defect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NpzDefect {
    /// The file can not be opened or is no file.
    #[error(transparent)]
    File(Defect),
    /// The system failed while the bytes were read.
    #[error("reading failed: {reason}")]
    Read {
        /// What the system said.
        reason: io::Error,
    },
    /// There is no zip archive in the file.
    #[error("not a .npz file: expected a zip archive, found {found}; save the arrays with np.savez")]
    NotAnArchive {
        /// What the file is instead, as far as we can tell.
        found: &'static str,
    },
    /// The archive's structure does not hold together.
    #[error("the archive is damaged: {reason}; it was not wholly written or copied, save it again")]
    Damaged {
        /// What does not fit.
        reason: String,
    },
    /// A member that is not an array.
    #[error("expected arrays only, each in a member NAME.npy, found another name; save the arrays with np.savez")]
    NotAnArray,
    /// A name that is a path, or not text.
    #[error("a member's name must be text without '/', '\\', ':' and control characters; rename the array")]
    Name,
    /// Two members of one name, of which readers see this one or that.
    #[error("the archive has two members of this name, expected one; save the arrays with np.savez")]
    Duplicate,
    /// Neither stored nor deflated.
    #[error(
        "packed by method {found}, expected stored or deflated; save the arrays with np.savez or np.savez_compressed"
    )]
    Method {
        /// The method's name or number.
        found: String,
    },
    /// With a password.
    #[error("encrypted, expected plain; save the arrays with np.savez")]
    Encrypted,
    /// Two members of the same bytes, as only bombs have.
    #[error("shares bytes with member '{other}', expected bytes of its own; save the arrays with np.savez")]
    Overlap {
        /// The other member.
        other: String,
    },
    /// More than can come out of its bytes.
    #[error(
        "claims {claimed} bytes, but its {packed} bytes in the archive can hold no more than {most}; save the arrays again"
    )]
    Impossible {
        /// The bytes it claims to hold.
        claimed: u64,
        /// The bytes in the archive.
        packed: u64,
        /// What could come out of these.
        most: u64,
    },
    /// More than the caller takes.
    #[error(
        "the arrays hold {claimed} bytes together, more than the limit of {limit}; raise the limit, or save them in several files"
    )]
    Limit {
        /// The bytes that all members claim.
        claimed: u64,
        /// The caller's limit.
        limit: u64,
    },
    /// A deflated array that takes more memory than the caller gives it.
    #[error(
        "holds {bytes} bytes deflated, which are unpacked into memory, more than the {most} there are for it; save the arrays with \
         np.savez, which leaves them in the file"
    )]
    Unpacked {
        /// The bytes of the array.
        bytes: u64,
        /// The caller's limit.
        most: u64,
    },
    /// The bytes are not those that were written.
    #[error("{reason}; the file is damaged, save it again")]
    Checksum {
        /// What differs.
        reason: String,
    },
    /// The deflated bytes make no sense.
    #[error("can not be unpacked: {reason}; the file is damaged, save it again")]
    Unpacking {
        /// What the decoder said.
        reason: io::Error,
    },
    /// The array itself.
    #[error(transparent)]
    Array(Defect),
    /// There is no such array.
    #[error("has no array '{name}', only {}; ask for one of these", list(.present))]
    Missing {
        /// The name asked for.
        name: String,
        /// The names there are.
        present: Vec<String>,
    },
    /// A name that the writer can not take.
    #[error("argument `name` is '{found}', expected {expected}")]
    Argument {
        /// The name given.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "none at all".to_string();
    }
    let mut text: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("'{}'", crate::npy::defect::excerpt(name))).collect();
    if names.len() > SHOWN {
        text.push(format!("and {} more", names.len() - SHOWN));
    }
    text.join(", ")
}
