//! Limits and names of an archive.

/// The most bytes that [`Npz::open`](super::Npz::open) and [`Npz::parse`](super::Npz::parse) take for all arrays of an archive together: 1 GiB.
pub const LIMIT: u64 = 1 << 30;

/// What every member's name ends with; the rest is the array's name.
pub(super) const SUFFIX: &str = ".npy";
