//! The archives that `torch.save` writes, looked at before `pytorch-reader` opens them.
//!
//! That reader takes an archive's members from the crate `zip`, so they are taken from the same version of it here: what is weighed is what
//! is read. But `zip` makes its list before anybody can ask how long it is, and goes on to an earlier directory where the last one does not
//! read. So the last record is read here first: the directory that it names must be the only one, of as many members as memory has room for.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

use crate::excerpt::{beginning, excerpt};

/// The bytes that records begin with, and how many bytes they have (a directory's record without its names).
const ENTRY: (&[u8], usize) = (b"PK\x01\x02", 46);
const END: (&[u8], usize) = (b"PK\x05\x06", 22);
const END_64: (&[u8], usize) = (b"PK\x06\x06", 56);
const LOCATOR: (&[u8], usize) = (b"PK\x06\x07", 20);
/// How far from the end `zip` looks for a last record, and somewhat more: a comment of 64 kB may be behind it.
const SEARCHED: u64 = (1 << 16) + 256;

/// Bytes that a member takes in memory besides its name: in the list, and in what that is made of.
const OF_A_MEMBER: u64 = 896;
/// Bytes for each byte of a name or a comment, which are there a few times, and as text of up to three bytes a letter.
const OF_A_LETTER: u64 = 4;
/// Bytes for each byte of extra fields: one of four bytes is a value of its own.
const OF_AN_EXTRA_BYTE: u64 = 32;

/// Why an archive is not read.
pub(super) enum Refused {
    /// What the system says.
    Io(io::Error),
    /// Its list takes more memory than there is.
    TooLarge {
        /// Bytes that there are.
        limit: u64,
    },
    /// What it has in it, or has not.
    Because(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Io(error)
    }
}

/// An archive as `zip` lists it, all of whose members are stored, and none lies over another.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    /// Members that are pickles by their names: those names, for messages, and their places in the list.
    pub pickles: Vec<(String, usize)>,
    /// Bytes that its list takes in memory.
    pub weight: u64,
}

impl Archive {
    /// The archive in a file, whose list takes at most `room` bytes.
    pub fn open(mut file: File, room: u64) -> Result<Archive, Refused> {
        let directory = Directory::of(&mut file, room)?;
        // (As the reader does.)
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
        if zip.offset() != 0 || zip.central_directory_start() != directory.start {
            return Err(refused("it has two directories"));
        }
        if zip.len() as u64 != directory.members {
            return Err(refused("two members have one name"));
        }
        let mut pickles = Vec::new();
        let mut taken = vec![(directory.start, directory.start)];
        for at in 0..zip.len() {
            let member = zip.by_index_raw(at).map_err(broken)?;
            let name = member.name().map_err(broken)?;
            // torch.save stores. A member that is packed may be of any size.
            if member.compression() != CompressionMethod::Stored || member.compressed_size() != member.size() {
                return Err(refused(format!("{} is compressed, which torch.save never does", excerpt(&name))));
            }
            let start = member.data_start().ok_or_else(|| refused(format!("{} has no bytes", excerpt(&name))))?;
            taken.push((member.header_start(), start.saturating_add(member.size())));
            if name.ends_with("data.pkl") {
                pickles.push((excerpt(&name), at));
            }
        }
        // (A few bytes could be looked at as a million members.)
        taken.sort_unstable();
        if taken.windows(2).any(|pair| pair[0].1 > pair[1].0)
            || taken.last().is_some_and(|last| last.0 != directory.start)
        {
            return Err(refused("its members lie over each other, or over its directory"));
        }
        Ok(Archive { zip, pickles, weight: directory.weight })
    }

    /// The bytes of a member of the list.
    pub fn member(&mut self, at: usize) -> Result<impl BufRead, Refused> {
        Ok(BufReader::new(self.zip.by_index_raw(at).map_err(broken)?))
    }
}

/// Where the list of an archive's members stands, and what `zip` will take in memory to read it.
struct Directory {
    start: u64,
    members: u64,
    weight: u64,
}

impl Directory {
    /// The directory that a file ends with. Errors unless it is the only one that `zip` could find, and takes at most `room` bytes.
    fn of(file: &mut File, room: u64) -> Result<Directory, Refused> {
        let size = file.seek(SeekFrom::End(0))?;
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(size.saturating_sub(SEARCHED)))?;
        file.take(SEARCHED).read_to_end(&mut tail)?;
        let Some((before, end)) = tail.split_last_chunk::<{ END.1 }>() else { return Err(not_whole()) };
        // One part, as many members in it as in all, and no comment.
        if !end.starts_with(END.0) || end[4..8] != [0; 4] || end[8..10] != end[10..12] || end[20..] != [0; 2] {
            return Err(not_whole());
        }
        let is_another = |at: usize| is_read(&tail[at..], size - (tail.len() - at) as u64);
        if (0..before.len()).any(is_another) {
            return Err(refused("it has two directories"));
        }
        // torch.save puts the record of archives of more than 4 GB before it at any size, with the same numbers where they fit.
        let mut place = size - END.1 as u64;
        let (mut members, mut length, mut start) = (number(&end[8..10]), number(&end[12..16]), number(&end[16..20]));
        if let Some((before, _)) =
            before.split_last_chunk::<{ LOCATOR.1 }>().filter(|(_, at)| at.starts_with(LOCATOR.0))
        {
            place = place.saturating_sub((LOCATOR.1 + END_64.1) as u64);
            let large = before.last_chunk::<{ END_64.1 }>().filter(|large| large.starts_with(END_64.0));
            // (How many bytes follow, one part, as many members in it as in all; and that the locator names it.)
            let large = large.filter(|large| {
                let locator = &tail[tail.len() - END.1 - LOCATOR.1..];
                number(&large[4..12]) == END_64.1 as u64 - 12
                    && large[16..24] == [0; 8]
                    && large[24..32] == large[32..40]
                    && locator[4..8] == [0; 4]
                    && number(&locator[8..16]) == place
                    && number(&locator[16..20]) == 1
            });
            let large = large.ok_or_else(not_whole)?;
            if may_be_large(end) {
                (members, length, start) = (number(&large[32..40]), number(&large[40..48]), number(&large[48..56]));
            }
        }
        if start.checked_add(length) != Some(place) {
            return Err(not_whole());
        }
        file.seek(SeekFrom::Start(start))?;
        let weight = weigh(&mut BufReader::new(file.take(length)), members, room)?;
        Ok(Directory { start, members, weight })
    }
}

/// What a directory of so many members takes in memory.
fn weigh(directory: &mut impl BufRead, members: u64, room: u64) -> Result<u64, Refused> {
    let mut weight = 0u64;
    for _ in 0..members {
        let mut entry = [0; ENTRY.1];
        directory.read_exact(&mut entry).map_err(or_not_whole)?;
        if !entry.starts_with(ENTRY.0) {
            return Err(not_whole());
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| number(&entry[at..at + 2]));
        weight += OF_A_MEMBER + OF_A_LETTER * (name + comment) + OF_AN_EXTRA_BYTE * extra;
        if weight > room {
            return Err(Refused::TooLarge { limit: room });
        }
        let behind = name + extra + comment;
        if io::copy(&mut directory.by_ref().take(behind), &mut io::sink())? != behind {
            return Err(not_whole());
        }
    }
    if directory.fill_buf()?.is_empty() { Ok(weight) } else { Err(not_whole()) }
}

/// Whether `zip` would look for a directory by the record here, at a place of the file, had it not found one by a later record.
fn is_read(record: &[u8], place: u64) -> bool {
    let Some(end) = record.first_chunk::<{ END.1 }>().filter(|end| end.starts_with(END.0)) else { return false };
    let fits = number(&end[20..22]) <= (record.len() - end.len()) as u64;
    fits && (may_be_large(end) || (end[4..6] == end[6..8] && number(&end[16..20]) <= place))
}

/// Whether a last record leaves its numbers to a record of archives of more than 4 GB before it, should there be one.
fn may_be_large(end: &[u8; END.1]) -> bool {
    end[10..12] == [0xff; 2] || end[12..16] == [0xff; 4] || end[16..20] == [0xff; 4]
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn refused(why: impl Into<String>) -> Refused {
    Refused::Because(why.into())
}

fn not_whole() -> Refused {
    refused("its last record is not that of one whole archive, with its data.pkl")
}

fn or_not_whole(error: io::Error) -> Refused {
    if error.kind() == io::ErrorKind::UnexpectedEof { not_whole() } else { error.into() }
}

fn broken(error: zip::result::ZipError) -> Refused {
    Refused::Because(beginning(error))
}
