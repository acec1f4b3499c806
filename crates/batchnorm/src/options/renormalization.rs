//! Limits of batch renormalisation, and how they are relaxed in the course of a training.

use crate::options::error::ConfigError;

/// Batch renormalisation (Ioffe 2017): training normalises by the batch, and corrects that towards the running statistics by which
/// evaluation will normalise, as far as limits allow. For small batches, and for those whose samples resemble each other. With
/// the batch's mean m and deviation s = sqrt(variance + eps), and the running ones M and S = sqrt(running variance + eps) before
/// this batch is taken in,
///
/// ```text
/// r = s / S, kept in 1 / r_max ..= r_max        d = (m - M) / S, kept in -d_max ..= d_max
/// y = gamma * ((x - m) / s * r + d) + beta
/// ```
///
/// r and d are constants to the gradient: with s' = gamma r / s and xhat = (x - m) / s,
///
/// ```text
/// dx = s' * (dy - mean(dy) - xhat * mean(dy * xhat))        dgamma = sum(dy * (r * xhat + d))        dbeta = sum(dy)
/// ```
///
/// Where neither is at its limit, y is that of evaluation, to the bit. With r_max = 1 and d_max = 0 it is batch norm, to the bit. The
/// running variance is by the layer's [`Estimator`](crate::Estimator); the paper's is the population variance, and its average is
/// that of the deviations ([`Averaged::Deviation`](crate::Averaged::Deviation)).
///
/// Of a channel whose values are all alike y = gamma * d + beta and dx = 0 ([`ConstantChannel`](crate::ConstantChannel) has the
/// other choice). If S is 0 (with eps 0), r and d are 1 and 0 where s and m - M are 0, else at their limits; where those are
/// infinite, y = beta and the gradients of the channel's x and gamma are 0, as in evaluation.
/// What is not finite makes its channel NaN, as in batch norm.
///
/// ```
/// use batchnorm::{Axes, Config, Renormalization, RunningStatistics, View};
/// let mut layer = Config::pytorch().renormalization(Renormalization::new(3.0, 5.0)?).channels(1).build()?;
/// layer.set_running(RunningStatistics::from_parts(&[1.0], &[4.0], 100)?)?;
/// let x = View::new(&[2.0f64, 4.0], &[2, 1], Axes::NCHW)?; // mean 3, deviation 1
/// let y = layer.forward_train(&x)?.y; // r = 1 / 2, d = 2 / 2
/// assert_eq!(y.data(), layer.eval(&x)?.y.data());
/// assert!((y.data()[0] - 0.5).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Stored", into = "Stored"))]
pub struct Renormalization {
    r: Ramp,
    d: Ramp,
}

/// A limit that rises from the value at which it forbids any correction, in a straight line over batches.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ramp {
    closed: f64,
    open: f64,
    /// Batches after which it begins to rise.
    begin: u64,
    /// Batches after which it has risen.
    end: u64,
}

impl Ramp {
    /// The limit after so many batches.
    fn at(self, batches: u64) -> f64 {
        let Ramp { closed, open, begin, end } = self;
        match batches {
            _ if batches >= end => open,
            _ if batches <= begin => closed,
            _ => closed + (open - closed) * ((batches - begin) as f64 / (end - begin) as f64),
        }
    }
}

/// The limits of r and d at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RenormalizationLimits {
    /// r is kept in `1 / r_max ..= r_max`.
    pub r_max: f64,
    /// d is kept in `-d_max ..= d_max`.
    pub d_max: f64,
}

impl RenormalizationLimits {
    /// True if they forbid any correction, which leaves batch norm.
    pub(crate) fn are_closed(self) -> bool {
        self.r_max == 1.0 && self.d_max == 0.0
    }
}

impl Renormalization {
    /// These limits from the first batch on; infinity is no limit.
    ///
    /// # Errors
    /// r_max below 1, d_max below 0, NaN.
    pub fn new(r_max: f64, d_max: f64) -> Result<Renormalization, ConfigError> {
        for (argument, least, got) in [("r_max", 1.0, r_max), ("d_max", 0.0, d_max)] {
            if got.is_nan() || got < least {
                return Err(ConfigError::RenormalizationLimit { argument, least, got });
            }
        }
        let ramp = |closed, open| Ramp { closed, open, begin: 0, end: 0 };
        Ok(Renormalization { r: ramp(1.0, r_max), d: ramp(0.0, d_max) })
    }

    /// The paper's schedule: batch norm for 5000 batches, then r_max rises to 3 until batch 40 000 and d_max to 5 until batch
    /// 25 000.
    pub fn paper() -> Renormalization {
        let ramp = |closed, open, end| Ramp { closed, open, begin: 5000, end };
        Renormalization { r: ramp(1.0, 3.0, 40_000), d: ramp(0.0, 5.0, 25_000) }
    }

    /// The same limits after a warm-up: batch norm (r_max 1, d_max 0) up to batch `begin`, then r_max rises in a straight line until
    /// batch `r_end`, and d_max until `d_end`. The batches are those that the running statistics have taken in
    /// ([`RunningStatistics::batches`](crate::RunningStatistics::batches)), so a resumed training goes on where it was.
    ///
    /// # Errors
    /// An end before the begin.
    pub fn warm_up(self, begin: u64, r_end: u64, d_end: u64) -> Result<Renormalization, ConfigError> {
        for (argument, got) in [("r_end", r_end), ("d_end", d_end)] {
            if got < begin {
                return Err(ConfigError::WarmUp { argument, begin, got });
            }
        }
        Ok(Renormalization { r: Ramp { begin, end: r_end, ..self.r }, d: Ramp { begin, end: d_end, ..self.d } })
    }

    /// The limits for the batch behind so many others.
    ///
    /// ```
    /// use batchnorm::Renormalization;
    /// let paper = Renormalization::paper();
    /// assert_eq!((paper.limits(5000).r_max, paper.limits(22_500).r_max, paper.limits(40_000).r_max), (1.0, 2.0, 3.0));
    /// assert_eq!((paper.limits(5000).d_max, paper.limits(15_000).d_max, paper.limits(25_000).d_max), (0.0, 2.5, 5.0));
    /// ```
    pub fn limits(self, batches: u64) -> RenormalizationLimits {
        RenormalizationLimits { r_max: self.r.at(batches), d_max: self.d.at(batches) }
    }
}

/// The stored form.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    r_max: f64,
    d_max: f64,
    begin: u64,
    r_end: u64,
    d_end: u64,
}

#[cfg(feature = "serde")]
impl From<Renormalization> for Stored {
    fn from(Renormalization { r, d }: Renormalization) -> Stored {
        Stored { r_max: r.open, d_max: d.open, begin: r.begin, r_end: r.end, d_end: d.end }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for Renormalization {
    type Error = ConfigError;

    fn try_from(Stored { r_max, d_max, begin, r_end, d_end }: Stored) -> Result<Self, ConfigError> {
        Renormalization::new(r_max, d_max)?.warm_up(begin, r_end, d_end)
    }
}
