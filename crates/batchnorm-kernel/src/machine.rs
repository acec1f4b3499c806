//! The processor: vectors, instruction sets, prefetching; and what a pass runs on.

pub mod isa;
pub mod prefetch;
pub mod tier;
pub mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::threads::{Crew, Threads};
use isa::Isa;
use tier::Tier;

/// What a pass runs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// The instruction set, found to run here.
    pub isa: Isa,
    /// The threads.
    pub threads: Threads,
}

impl Machine {
    /// `None` where this processor has not the instruction set.
    pub fn new(tier: Tier, threads: Threads) -> Option<Machine> {
        Some(Machine { isa: Isa::new(tier)?, threads })
    }

    /// The threads that work over `elements` elements is worth.
    pub(crate) fn crew(&self, elements: usize) -> Crew<'_> {
        self.threads.for_elements(elements)
    }
}
