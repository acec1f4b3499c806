//! From where a search for the gap goes on.

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::recalibrate::{self, Outcome};

/// From where it goes on when it was interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Progress {
    /// Statistics are being measured.
    Measuring(recalibrate::Progress),
    /// Layers are being looked at.
    Ranking {
        /// What was measured.
        measured: Box<Outcome>,
        /// Batches that are done.
        done: usize,
        /// What was seen of them.
        tally: Box<Tally>,
    },
}
