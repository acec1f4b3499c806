//! Statistics of batches: of one, of those that went before, of a whole data set.

pub mod batch;
pub mod population;
pub mod running;
pub mod standard_error;
