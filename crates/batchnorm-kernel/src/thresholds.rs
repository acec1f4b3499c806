//! The sizes at which the kernels change the way they take through memory, for tests that look at both sides of each.

use crate::machine::vector;
use crate::map::{self, loops};
use crate::reduce::{self, chunk};
use crate::{rows, threads};

/// Values a vector.
pub const WIDTH: usize = vector::WIDTH;
/// Running sums of a chunk.
pub const LANES: usize = chunk::LANES;
/// Values a chunk.
pub const CHUNK_VALUES: usize = reduce::CHUNK_VALUES;
/// Adjacent values that are taken as a run.
pub const MIN_RUN: usize = reduce::MIN_RUN;
/// Bytes side by side in a run of a block of channels.
pub const BLOCK_RUN_BYTES: usize = reduce::BLOCK_RUN_BYTES;
/// Channels of a block at most.
pub const MAX_BLOCK_CHANNELS: usize = reduce::MAX_BLOCK_CHANNELS;
/// Channels of rows that are not transposed.
pub const MIN_ROW_CHANNELS: usize = reduce::MIN_ROW_CHANNELS;
/// Channels of rows that are reduced together at most.
pub const MAX_ROW_CHANNELS: usize = reduce::MAX_ROW_CHANNELS;
/// Bytes of arrays whose rows are reduced by few channels.
pub const CACHED_BYTES: usize = reduce::CACHED_BYTES;
/// Channels of rows of such arrays that are reduced together.
pub const CACHED_CHANNELS: usize = reduce::CACHED_CHANNELS;
/// Runs that a chunk may reach over without being copied.
pub const MAX_PIECES: usize = reduce::MAX_PIECES;
/// Values of a run that is aligned.
pub const MIN_ALIGNED_RUN: usize = loops::MIN_ALIGNED_RUN;
/// Elements a task.
pub const TASK_ELEMENTS: usize = map::TASK_ELEMENTS;
/// Bytes of an output that is streamed.
pub const STREAM_BYTES: usize = map::STREAM_BYTES;
/// Bytes of a run that is streamed.
pub const STREAM_RUN_BYTES: usize = map::STREAM_RUN_BYTES;
/// Elements that are worth threads.
pub const WORTH_THREADS: usize = threads::WORTH_THREADS;
/// Rows with parameters of each element that are taken together.
pub const TILE_ROWS: usize = rows::TILE_ROWS;
/// Such rows that are added up before they go to a total.
pub const ROWS_A_FLUSH: usize = rows::ROWS_A_FLUSH;
/// Such rows that are worth a total of their own.
pub const MIN_BLOCK_ROWS: usize = rows::MIN_BLOCK_ROWS;
/// Totals at most.
pub const MAX_BLOCKS: usize = rows::MAX_BLOCKS;
