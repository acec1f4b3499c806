//! Slices taken as vectors: whole ones, pairs, and what is left at the end.

#![allow(clippy::needless_range_loop)]

use crate::machine::prefetch::prefetch;
use crate::machine::vector::{PAIR, Vector, WIDTH};
use crate::number::Stored;

/// The first eight values from a place on in each of some arrays.
#[inline(always)]
pub fn load_all<V: Vector, T: Stored, const N: usize>(arrays: [&[T]; N], at: usize) -> [V; N] {
    let mut all = [V::splat(0.0); N];
    for n in 0..N {
        all[n] = T::load(eight(&arrays[n][at..]));
    }
    all
}

/// The two vectors of a pair in each of some arrays; what lies `distances` elements ahead is prefetched.
#[inline(always)]
pub fn load_pair<V: Vector, T: Stored, const N: usize>(
    arrays: [&[[T; PAIR]]; N],
    pair: usize,
    distances: [isize; N],
) -> [[V; N]; 2] {
    let mut both = [[V::splat(0.0); N]; 2];
    for n in 0..N {
        let values = &arrays[n][pair];
        prefetch(values.as_ptr().wrapping_offset(distances[n]), PAIR);
        both[0][n] = T::load(eight(values));
        both[1][n] = T::load(eight(&values[WIDTH..]));
    }
    both
}

/// `count` groups of `W` values from a place on in each of some arrays.
#[inline(always)]
pub fn in_groups<T, const N: usize, const W: usize>(arrays: [&[T]; N], at: usize, count: usize) -> [&[[T; W]]; N] {
    let mut all: [&[[T; W]]; N] = [&[]; N];
    for n in 0..N {
        all[n] = &arrays[n][at..].as_chunks().0[..count];
    }
    all
}

/// The values from a place on where fewer than eight are left, at least one: the other lanes hold anything.
#[inline(always)]
pub fn load_last<V: Vector, T: Stored, const N: usize>(arrays: [&[T]; N], at: usize) -> [V; N] {
    let mut all = [V::splat(0.0); N];
    for n in 0..N {
        let left = &arrays[n][at..];
        let mut padded = [left[0]; WIDTH];
        padded[..left.len()].copy_from_slice(left);
        all[n] = T::load(&padded);
    }
    all
}

#[inline(always)]
pub fn eight<T>(values: &[T]) -> &[T; WIDTH] {
    values.first_chunk::<WIDTH>().expect("there are eight values")
}
