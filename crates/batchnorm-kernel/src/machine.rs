//! What the processor does: vectors, instruction sets, and what memory is told.

pub mod isa;
pub mod prefetch;
pub mod tier;
pub mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;
