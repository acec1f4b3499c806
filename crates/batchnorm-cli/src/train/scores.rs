//! Scores of a training.

use std::fmt;

use batchnorm_lab::training::Score;
use batchnorm_lab::words::percent;

/// Scores on the way.
pub struct Evaluated {
    pub step: usize,
    pub test: Score,
    pub validation: Option<Score>,
    pub averaged: Option<Averaged>,
}

/// The test scores of averaged weights.
#[derive(Clone, Copy)]
pub struct Averaged {
    /// With statistics of their own.
    pub score: Score,
    /// With those of the training; none where those are their own.
    pub by_training: Option<Score>,
}

/// `averaged 91.3 % (90.1 % by the training's statistics)`.
impl fmt::Display for Averaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "averaged {}", percent(self.score.accuracy))?;
        match self.by_training {
            Some(by_training) => write!(f, " ({} by the training's statistics)", percent(by_training.accuracy)),
            None => Ok(()),
        }
    }
}
