//! Checks of the batch size before a training begins.

use crate::options::config::Config;
use crate::options::error::ConfigError;
use crate::options::policies::SingleValue;
use crate::options::switches::NormalizeBy;

/// The last batch of a pass through a data set, which has the samples that are left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastBatch {
    /// Samples of the batch.
    pub samples: usize,
    /// Values a channel of the batch, of which mean and variance are taken.
    pub values: usize,
}

impl Config {
    /// Tells before the training whether the last batch will be too small: a data set of so many samples, in batches of
    /// `batch`, with so many positions in a sample (height times width behind a convolution, 1 for features).
    ///
    /// ```
    /// use batchnorm::Config;
    /// let config = Config::pytorch();
    /// assert_eq!(config.preflight(1000, 64, 1)?.samples, 40);
    /// let error = config.preflight(1025, 64, 1).unwrap_err().to_string();
    /// assert!(error.contains("batches of 64 leave 1"));
    /// # Ok::<(), batchnorm::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// No sample, an empty batch, no position; a last batch of one value a channel, which training refuses under
    /// [`SingleValue::Error`] (a layer that is pinned to its running statistics takes it).
    pub fn preflight(&self, samples: usize, batch: usize, positions: usize) -> Result<LastBatch, ConfigError> {
        for (argument, got) in [("samples", samples), ("batch", batch), ("positions", positions)] {
            if got == 0 {
                return Err(ConfigError::Zero { argument });
            }
        }
        let last_batch = |batch: usize| if samples.is_multiple_of(batch) { batch } else { samples % batch };
        let last = LastBatch { samples: last_batch(batch), values: last_batch(batch).saturating_mul(positions) };
        let by_batch = self.pinned.is_none_or(|pinned| pinned.normalize_by != NormalizeBy::Running);
        if last.values == 1 && by_batch && self.policies.single_value == SingleValue::Error {
            // The next larger size that leaves more than one; a data set of one sample has none.
            let better = (batch.saturating_add(1)..=samples).find(|&batch| last_batch(batch) > 1);
            return Err(ConfigError::LastBatch { samples, batch, better: better.unwrap_or(0) });
        }
        Ok(last)
    }

    /// [`preflight`](Self::preflight) of a training by [ghost batches](crate::Ghost) of `ghost` samples: the last group of a
    /// batch must not be too small either.
    ///
    /// ```
    /// use batchnorm::Config;
    /// let config = Config::pytorch();
    /// assert_eq!(config.preflight_ghost(1000, 64, 16, 1)?.samples, 40); // two groups of 16 and one of 8
    /// let error = config.preflight_ghost(1000, 64, 13, 1).unwrap_err().to_string();
    /// assert!(error.contains("groups of 13 samples leave 1 of a batch of 40"));
    /// # Ok::<(), batchnorm::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As `preflight`; ghost batches of no samples; a last group of one value a channel, in a full batch or in the last one.
    pub fn preflight_ghost(
        &self,
        samples: usize,
        batch: usize,
        ghost: usize,
        positions: usize,
    ) -> Result<LastBatch, ConfigError> {
        let last = self.preflight(samples, batch, positions)?;
        if ghost == 0 {
            return Err(ConfigError::Zero { argument: "ghost" });
        }
        for of in [batch.min(samples), last.samples] {
            self.preflight(of, ghost, positions).map_err(|error| match error {
                ConfigError::LastBatch { samples: batch, batch: ghost, better } => {
                    ConfigError::LastGhost { batch, ghost, better }
                }
                other => other,
            })?;
        }
        Ok(last)
    }
}
