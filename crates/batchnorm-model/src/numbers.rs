//! Numbers as they stand in files: their types, and vectors of them.

mod precision;
#[cfg(feature = "read")]
mod vector;

pub use precision::Precision;
#[cfg(feature = "read")]
pub use vector::Numbers;
