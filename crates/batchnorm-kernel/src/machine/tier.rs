//! The instruction sets that the loops are compiled for.

/// An instruction set the kernels are compiled for. All give the same bits.
///
/// ```
/// use batchnorm_kernel::Tier;
/// assert!(Tier::available().contains(&Tier::best()));
/// assert_eq!(Tier::available()[0], Tier::Baseline);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// What every processor of the target has (x86-64: SSE2).
    Baseline,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, VL, DQ and BW.
    Avx512,
}

impl Tier {
    /// All tiers this machine can run, slowest first.
    pub fn available() -> Vec<Tier> {
        [Tier::Baseline, Tier::Avx2, Tier::Avx512].into_iter().filter(|tier| tier.is_supported()).collect()
    }

    /// The fastest tier this machine can run.
    pub fn best() -> Tier {
        *Tier::available().last().expect("the baseline always runs")
    }

    /// Whether this machine can run the tier.
    pub fn is_supported(self) -> bool {
        match self {
            Tier::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => {
                Tier::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}
