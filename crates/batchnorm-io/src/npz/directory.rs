//! The members of an archive, all checked that can be without unpacking them.

use std::collections::HashSet;

use rawzip::{CompressionMethod, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder};

use super::defect::{NpzDefect, NpzError};
use super::limits::SUFFIX;

/// Deflate makes no more of a byte.
const MOST_OF_A_BYTE: u64 = 1032;

/// One array of an archive.
#[derive(Debug)]
pub(super) struct Entry {
    /// The array's name, without the suffix.
    pub name: String,
    pub deflated: bool,
    /// The bytes of the `.npy` file.
    pub bytes: u64,
    pub place: ZipArchiveEntryWayfinder,
}

/// The members in the order of the directory.
pub(super) fn read<R: ReaderAt>(archive: &ZipArchive<R>, limit: u64) -> Result<Vec<Entry>, NpzError> {
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let mut header = vec![0; 2 * usize::from(u16::MAX)];
    let mut members = archive.entries(&mut buffer);
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = HashSet::new();
    let mut places = Vec::new();
    let mut total: u64 = 0;
    while let Some(member) = members.next_entry().map_err(damaged)? {
        let raw = String::from_utf8_lossy(member.file_path().as_bytes()).into_owned();
        let name = array_name(member.file_path().as_bytes()).map_err(|defect| defect.of(&raw))?;
        let entry = (|| {
            if member.flags().is_encrypted() {
                return Err(NpzDefect::Encrypted);
            }
            let (packed, bytes) = (member.compressed_size_hint(), member.uncompressed_size_hint());
            let deflated = match member.compression_method() {
                CompressionMethod::STORE => false,
                CompressionMethod::DEFLATE => true,
                other => return Err(NpzDefect::Method { found: other.to_string() }),
            };
            let most = if deflated { packed.saturating_mul(MOST_OF_A_BYTE) } else { packed };
            if bytes > most {
                return Err(NpzDefect::Impossible { claimed: bytes, packed, most });
            }
            let place = member.wayfinder();
            let found = archive.get_entry(place).map_err(reason)?;
            let local = found.local_header(&mut header).map_err(reason)?;
            if local.file_path().as_bytes() != member.file_path().as_bytes() {
                return Err(NpzDefect::Damaged { reason: "the directory has another name for it".to_string() });
            }
            let (_, end) = found.compressed_data_range();
            if end > archive.directory_offset() {
                return Err(NpzDefect::Damaged {
                    reason: "it reaches beyond the members' part of the file".to_string(),
                });
            }
            places.push((member.local_header_offset(), end, raw.clone()));
            Ok(Entry { name: name.clone(), deflated, bytes, place })
        })()
        .map_err(|defect| defect.of(&raw))?;
        if !seen.insert(name) {
            return Err(NpzDefect::Duplicate.of(&raw));
        }
        total = total.saturating_add(entry.bytes);
        entries.push(entry);
    }
    if entries.len() as u64 != archive.entries_hint() {
        let (found, expected) = (entries.len(), archive.entries_hint());
        return Err(damage(format!("expected {expected} members, found {found}")).into());
    }
    places.sort();
    for pair in places.windows(2) {
        if pair[0].1 > pair[1].0 {
            return Err(NpzDefect::Overlap { other: pair[0].2.clone() }.of(&pair[1].2));
        }
    }
    if total > limit {
        return Err(NpzDefect::Limit { claimed: total, limit }.into());
    }
    Ok(entries)
}

/// The name without its suffix, if it is that of an array.
fn array_name(bytes: &[u8]) -> Result<String, NpzDefect> {
    let text = std::str::from_utf8(bytes).map_err(|_| NpzDefect::Name)?;
    if !plain(text) {
        return Err(NpzDefect::Name);
    }
    text.strip_suffix(SUFFIX).filter(|name| !name.is_empty()).map(str::to_string).ok_or(NpzDefect::NotAnArray)
}

/// Whether a name is no path on any system.
pub(super) fn plain(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| matches!(c, '/' | '\\' | ':') || c.is_control())
}

pub(super) fn damage(reason: String) -> NpzDefect {
    NpzDefect::Damaged { reason }
}

fn reason(error: rawzip::Error) -> NpzDefect {
    match error.into_kind() {
        rawzip::ErrorKind::IO(reason) if reason.kind() != std::io::ErrorKind::UnexpectedEof => {
            NpzDefect::Read { reason }
        }
        kind => damage(kind.to_string()),
    }
}

pub(super) fn damaged(error: rawzip::Error) -> NpzError {
    reason(error).into()
}
