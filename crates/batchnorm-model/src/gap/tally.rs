//! What has been seen of batches, and how it adds up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::recalibrate::Answers;

/// What was seen, of one batch or of many. Layers go by the places of their norms.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// The answers of the whole model, with the file's statistics and with the measured ones.
    pub(super) answers: Answers,
    /// For each layer: only this, all but this, and what its errors do.
    pub(super) effects: BTreeMap<usize, [Answers; 3]>,
    /// For each norm whose quantiles are taken, how many values fell into each bin.
    pub(super) counts: BTreeMap<usize, Vec<u64>>,
}

impl Tally {
    /// Takes in what was seen of other batches.
    pub(super) fn merge(&mut self, other: Tally) {
        self.answers.merge(&other.answers);
        for (place, three) in other.effects {
            let all = self.effects.entry(place).or_default();
            all.iter_mut().zip(&three).for_each(|(all, more)| all.merge(more));
        }
        for (place, counts) in other.counts {
            let all = self.counts.entry(place).or_insert_with(|| vec![0; counts.len()]);
            all.iter_mut().zip(&counts).for_each(|(all, more)| *all += more);
        }
    }
}
