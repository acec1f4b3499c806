//! Room for numbers that a thread keeps from one call to the next.
//!
//! A small call is over in microseconds. What it allocates, a C library may give back to the system in between, and then each of
//! its pages is fetched again: that was half the time of a backward pass over 8 x 1024 values.

use crate::machine::vector::WIDTH;
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Numbers that a thread keeps at most, in all: the tables of a block of channels in rows.
const MAX_KEPT: usize = 1 << 17;
/// Vectors that a thread keeps at most.
const MAX_VECTORS: usize = 64;

thread_local! {
    /// What nobody uses now, short ones first.
    static KEPT: RefCell<Vec<Vec<f64>>> = const { RefCell::new(Vec::new()) };
}

/// Some numbers, of any values at first. It is taken from what the thread keeps, and goes back there.
#[derive(Default)]
pub struct Room {
    /// At least `len`.
    numbers: Vec<f64>,
    len: usize,
}

impl Room {
    /// Of `len` numbers.
    pub fn of(len: usize) -> Room {
        let kept = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let fits = kept.partition_point(|numbers| numbers.len() < len);
            // (Not one that is far too long: some rooms are held for long.)
            (fits < kept.len() && kept[fits].len() / 4 <= len).then(|| kept.remove(fits))
        });
        // (An error: the thread ends.)
        let numbers = kept.ok().flatten().unwrap_or_else(|| vec![0.0; len]);
        Room { numbers, len }
    }

    /// At least `len` numbers: others, if there were fewer.
    pub fn at_least(&mut self, len: usize) -> &mut [f64] {
        if self.len < len {
            *self = Room::of(len);
        }
        self
    }

    /// What an iterator gives.
    pub fn from_values(values: impl ExactSizeIterator<Item = f64>) -> Room {
        let mut room = Room::of(values.len());
        room.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        room
    }
}

impl Deref for Room {
    type Target = [f64];
    fn deref(&self) -> &[f64] {
        &self.numbers[..self.len]
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.numbers[..self.len]
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Clone for Room {
    fn clone(&self) -> Room {
        Room::from_values(self.iter().copied())
    }
}

impl PartialEq for Room {
    fn eq(&self, other: &Room) -> bool {
        **self == **other
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        // (Where the thread ends, it is freed.)
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if numbers.is_empty() || numbers.len() > MAX_KEPT {
                return;
            }
            // The shorter ones make place: a longer one does for them too.
            let mut all = numbers.len() + kept.iter().map(Vec::len).sum::<usize>();
            while all > MAX_KEPT || kept.len() >= MAX_VECTORS {
                all -= kept.remove(0).len();
            }
            let place = kept.partition_point(|other| other.len() < numbers.len());
            kept.insert(place, numbers);
        });
    }
}

/// `K` vectors of the same length in one room.
pub struct Vectors<const K: usize> {
    room: Room,
    len: usize,
}

impl<const K: usize> Vectors<K> {
    /// Each of `len` numbers, of any values at first.
    pub fn of(len: usize) -> Vectors<K> {
        Vectors { room: Room::of(K * Self::pitch(len)), len }
    }

    /// From one vector to the next: a cache line further than a power of two, so that they do not compete for the same cache set.
    fn pitch(len: usize) -> usize {
        len.next_multiple_of(WIDTH) + WIDTH
    }

    /// Numbers a vector.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether they are empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One of them.
    #[inline]
    pub fn vector(&self, number: usize) -> &[f64] {
        &self.room[number * Self::pitch(self.len)..][..self.len]
    }

    /// All of them.
    #[inline]
    pub fn each(&self) -> [&[f64]; K] {
        std::array::from_fn(|number| self.vector(number))
    }

    /// All of them.
    pub fn each_mut(&mut self) -> [&mut [f64]; K] {
        let (len, mut vectors) = (self.len, self.room.chunks_exact_mut(Self::pitch(self.len)));
        std::array::from_fn(|_| &mut vectors.next().expect("so many vectors")[..len])
    }
}

impl<const K: usize> fmt::Debug for Vectors<K> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.each().fmt(f)
    }
}

impl<const K: usize> Clone for Vectors<K> {
    fn clone(&self) -> Vectors<K> {
        let mut copy = Vectors::of(self.len);
        copy.each_mut().into_iter().zip(self.each()).for_each(|(copy, vector)| copy.copy_from_slice(vector));
        copy
    }
}

impl<const K: usize> PartialEq for Vectors<K> {
    fn eq(&self, other: &Vectors<K>) -> bool {
        self.each() == other.each()
    }
}
