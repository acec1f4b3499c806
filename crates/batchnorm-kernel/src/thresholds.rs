//! The sizes at which the kernels change the way they take through memory, for tests that look at both sides of each.

use crate::array::geometry;
use crate::machine::vector;
use crate::map::{self, loops};
use crate::reduce::{self, chunk};
use crate::{rows, threads};

/// Values a vector.
pub const WIDTH: usize = vector::WIDTH;
/// Running sums of a chunk.
pub const LANES: usize = chunk::LANES;
/// Rows of one lane that are added together.
pub const ROWS_A_STEP: usize = chunk::ROWS_A_STEP;
/// Columns between two that are reduced again.
pub const NEAR_COLUMNS: usize = reduce::NEAR_COLUMNS;
/// Coefficients beyond which rows share those of a vector.
pub const SHARED_COEFFICIENTS: usize = loops::FIRST_LEVEL_BYTES / size_of::<f64>();
/// Rows that are added up vector by vector.
pub const LOW_ROWS: usize = chunk::LOW_ROWS;
/// Columns and rows of a block of very wide rows.
pub const COLUMNS_A_BLOCK: usize = loops::COLUMNS_A_BLOCK;
/// See [`COLUMNS_A_BLOCK`].
pub const ROWS_A_BLOCK: usize = loops::ROWS_A_BLOCK;
/// Values of a channel up to which its first one is the shift.
pub const FIRST_IS_NEAR: usize = reduce::moments::FIRST_IS_NEAR;
/// Values a channel up to which layers measure a batch and then normalise it, though one pass would do both: what is done for each
/// channel takes longer than the values, and is done once then.
pub const FEW_VALUES: usize = 64;
/// Elements of an array up to which that is so: it is read twice, from a cache.
pub const FEW_ELEMENTS: usize = 1 << 18;
/// Values of a channel in a tile of a map.
pub const TILE_VALUES: usize = map::TILE_VALUES;
/// Bytes that are copied before they are overwritten.
pub const OWN_BYTES: usize = map::OWN_BYTES;
/// Values a chunk.
pub const CHUNK_VALUES: usize = reduce::CHUNK_VALUES;
/// Values of a channel from which on the first ones say whether it is summed about a shift.
pub const MIN_SHIFTED_VALUES: usize = reduce::moments::MIN_SHIFTED_VALUES;
/// Adjacent values that are taken as a run.
pub const MIN_RUN: usize = geometry::MIN_RUN;
/// Bytes side by side in a run of a block of channels.
pub const BLOCK_RUN_BYTES: usize = reduce::BLOCK_RUN_BYTES;
/// Channels of a block at most.
pub const MAX_BLOCK_CHANNELS: usize = reduce::MAX_BLOCK_CHANNELS;
/// Channels of rows that are not transposed.
pub const MIN_ROW_CHANNELS: usize = reduce::MIN_ROW_CHANNELS;
/// Channels of rows that are reduced together at most.
pub const MAX_ROW_CHANNELS: usize = reduce::MAX_ROW_CHANNELS;
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
