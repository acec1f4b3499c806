//! Items of one length, one after the other: in a file from some byte on, or in memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// The items, and how many there are.
#[derive(Debug)]
pub(crate) struct Items {
    pub count: usize,
    /// Bytes of each.
    pub bytes: usize,
    pub place: Place,
}

/// The place of the first item.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the file, at this byte.
    OnDisk(File, u64),
    InMemory(Vec<u8>),
}

/// The reason why items were not read.
pub(crate) enum Unread {
    /// So many whole ones were asked for, which are not all there; or no whole number of them.
    Absent(usize),
    /// The file cannot be read any more.
    System(io::Error),
}

impl Items {
    /// Reads as many items as `into` has room for, from item `first` on.
    pub fn read(&mut self, first: usize, into: &mut [u8]) -> Result<(), Unread> {
        let count = into.len().checked_div(self.bytes).unwrap_or(0);
        if count * self.bytes != into.len() || first.checked_add(count).is_none_or(|end| end > self.count) {
            return Err(Unread::Absent(count));
        }
        let start = first * self.bytes;
        match &mut self.place {
            Place::InMemory(all) => into.copy_from_slice(&all[start..start + into.len()]),
            Place::OnDisk(file, offset) => {
                let place = SeekFrom::Start(*offset + start as u64);
                file.seek(place).and_then(|_| file.read_exact(into)).map_err(Unread::System)?;
            }
        }
        Ok(())
    }
}
