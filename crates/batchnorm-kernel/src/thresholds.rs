//! The sizes at which the kernels change their way, for `tests/edges.rs`, which looks at both sides of each.

use crate::machine::vector;
use crate::map::{self, loops};
use crate::reduce::{self, chunk};
use crate::{rows, threads};

/// Values a vector.
pub const WIDTH: usize = vector::WIDTH;
/// Running sums of a chunk.
pub const LANES: usize = chunk::LANES;
/// Values a leaf.
pub const CHUNK: usize = reduce::CHUNK;
/// Adjacent values that are taken as a run.
pub const RUN: usize = reduce::RUN;
/// Bytes side by side in a run of a block of channels.
pub const NEAR: usize = reduce::NEAR;
/// Channels of a block.
pub const BLOCK: usize = reduce::BLOCK;
/// Channels of rows that are not transposed.
pub const NARROW: usize = reduce::NARROW;
/// Channels of rows that are reduced together.
pub const WIDE: usize = reduce::WIDE;
/// Bytes of arrays whose rows are reduced by few channels.
pub const SMALL: usize = reduce::SMALL;
/// How many these are.
pub const FEW: usize = reduce::FEW;
/// Runs that a chunk may reach over without being copied.
pub const PIECES: usize = reduce::PIECES;
/// Values of a run that is aligned.
pub const ALIGNED: usize = loops::ALIGNED;
/// Elements a task.
pub const TASK: usize = map::TASK;
/// Bytes of an output that is streamed.
pub const STREAM: usize = map::STREAM;
/// Bytes of a run that is streamed.
pub const LONG: usize = map::LONG;
/// Elements that are worth threads.
pub const WORTH_THREADS: usize = threads::WORTH_THREADS;
/// Rows with parameters of each element that are taken together.
pub const SIDE: usize = rows::SIDE;
/// Such rows that are added up before they go to a total.
pub const FLUSH: usize = rows::FLUSH;
/// Such rows that are worth a total of their own.
pub const LEAST: usize = rows::LEAST;
/// How many totals there are at most.
pub const BLOCKS: usize = rows::BLOCKS;
