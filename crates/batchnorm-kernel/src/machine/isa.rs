//! Code compiled for an instruction set, and run where the machine was found to have it.
#![allow(unsafe_code)]

use super::tier::Tier;
use super::vector::{Plain, Vector};
#[cfg(target_arch = "x86_64")]
use super::x86;

/// An instruction set that was found to run here.
///
/// Its field is private and [`Isa::new`] the only way to one: fact 3 of `array::memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Tier);

impl Isa {
    /// `None` where this machine does not run it.
    pub fn new(tier: Tier) -> Option<Isa> {
        tier.is_supported().then_some(Isa(tier))
    }

    /// Its name.
    pub fn tier(self) -> Tier {
        self.0
    }

    /// Runs a kernel compiled for this tier.
    #[inline(always)]
    pub fn run<R, K: Kernel<R>>(self, kernel: K) -> R {
        // (Compiled once for all who run it, as those of the other tiers are.)
        #[inline(never)]
        fn baseline<R, K: Kernel<R>>(kernel: K) -> R {
            kernel.run::<Plain>()
        }
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2<R, K: Kernel<R>>(kernel: K) -> R {
                kernel.run::<x86::Avx2>()
            }
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512dq,avx512bw")]
            fn avx512<R, K: Kernel<R>>(kernel: K) -> R {
                kernel.run::<x86::Avx512>()
            }
            match self.0 {
                Tier::Baseline => {}
                // SAFETY: an `Isa` of this tier exists only where the features were detected.
                Tier::Avx2 => return unsafe { avx2(kernel) },
                // SAFETY: as above.
                Tier::Avx512 => return unsafe { avx512(kernel) },
            }
        }
        baseline(kernel)
    }
}

/// One straight-line loop over slices. `run` and all it calls must be `#[inline(always)]`, so that it is compiled
/// with the features of the tier that runs it.
pub trait Kernel<R> {
    fn run<V: Vector>(self) -> R;
}
