//! The processor: vectors, instruction sets, prefetching.

pub mod isa;
pub mod prefetch;
pub mod tier;
pub mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;
