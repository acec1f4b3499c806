//! A limit on what reading a file may hold besides its bytes: small files must not become large in memory.

use std::mem::size_of;

use thiserror::Error;

/// Bytes that any file may take besides its own.
const FREE: usize = 30 << 20;
/// Numbers that any file may have looked at, and how often each of its bytes.
const FREE_LOOKS: usize = 1 << 24;
const LOOKS: usize = 16;

/// A file whose content would take more memory, or time, than one of its size should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TooMuch {
    /// Parts that take more memory than the file and a fixed rest.
    #[error(
        "expected parts that {limit} bytes of memory have room for, which is plenty for a model of this size, got more"
    )]
    Parts {
        /// Bytes of memory that there are for them.
        limit: usize,
    },
    /// Vectors that many layers share, and that are too large for that.
    #[error(
        "expected layers with vectors of their own, got vectors that so many layers share that looking at them would not end"
    )]
    Looks,
}

/// Bytes that may still be taken.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    limit: usize,
    left: usize,
    looks: usize,
}

impl Budget {
    /// As much as the file takes, and a fixed rest.
    pub fn of(file: usize) -> Budget {
        let limit = file.saturating_add(FREE);
        Budget { limit, left: limit, looks: file.saturating_mul(LOOKS).saturating_add(FREE_LOOKS) }
    }

    /// Looks at numbers. Each of a file is looked at a few times, unless many layers say that they have the same large vectors.
    pub fn look_at(&mut self, numbers: usize) -> Result<(), TooMuch> {
        self.looks = self.looks.checked_sub(numbers).ok_or(TooMuch::Looks)?;
        Ok(())
    }

    /// Looks at the vectors of a norm, and takes room for a factor and a summand for each of its channels.
    pub fn take_affine(&mut self, channels: usize) -> Result<(), TooMuch> {
        self.look_at(channels.saturating_mul(4))?;
        self.take::<[f64; 2]>(channels)
    }

    /// Takes room for so many values.
    pub fn take<T>(&mut self, count: usize) -> Result<(), TooMuch> {
        self.take_bytes(count.saturating_mul(size_of::<T>()))
    }

    pub fn take_bytes(&mut self, bytes: usize) -> Result<(), TooMuch> {
        self.left = self.left.checked_sub(bytes).ok_or(TooMuch::Parts { limit: self.limit })?;
        Ok(())
    }

    /// A list with room for exactly so many values, which is taken.
    pub fn list<T>(&mut self, count: usize) -> Result<Vec<T>, TooMuch> {
        self.take::<T>(count)?;
        Ok(Vec::with_capacity(count))
    }

    /// Appends to a list of which it is not known how long it will be: it may have as much room again as it needs, and leave as much
    /// behind where it grew.
    pub fn push<T>(&mut self, list: &mut Vec<T>, value: T) -> Result<(), TooMuch> {
        self.take::<T>(4)?;
        list.push(value);
        Ok(())
    }
}
