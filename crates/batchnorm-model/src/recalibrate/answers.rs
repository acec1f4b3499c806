//! What a model answers before and after: accuracy where labels are known, and signs of harm where they are not.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::spread::Spread;
use crate::engine::{Array, State};

/// A fall of the mean confidence above which it is a sign.
const FALL: f64 = 0.02;
/// A growth of one class's share above which it is a sign.
const GROWTH: f64 = 1.4;
/// The share of all samples above which a difference counts, whatever chance may do.
const MOST_BY_CHANCE: f64 = 0.03;
/// The probability below which chance is no explanation.
const UNLIKELY: f64 = 0.01;
/// How far the sum of probabilities may be from 1.
const SUM: f64 = 1e-3;

/// The answers of a model before and after its statistics were measured anew.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answers {
    /// Samples.
    pub samples: usize,
    /// Change of the outputs, `sqrt(sum (after - before)^2 / sum (before - m)^2)`, of that output that changes most: so a large one hides no
    /// other. m is the mean before over samples and positions of what stands at one place of the second axis (a class, where outputs are
    /// scores; of more than 1,024 all have one), so a large constant hides nothing. Where nothing varies, as in scores of one sample, m is 0.
    pub change: f64,
    /// There were outputs of floating point to compare.
    pub compared: bool,
    /// Of a classifier: samples of which the answer is the same.
    pub same: Option<usize>,
    /// Of a classifier whose labels are known: samples of which the answer was right and is wrong, and was wrong and is right.
    pub changed: Option<[usize; 2]>,
    /// Of a classifier: its answers before.
    pub before: Option<Side>,
    /// Of a classifier: its answers after.
    pub after: Option<Side>,
    /// For each output the squares of its change, and how much it varies before.
    outputs: Vec<(f64, Spread)>,
}

/// How the right answers of a classifier changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// More are right.
    Better,
    /// As many are.
    Same,
    /// More or fewer, but by no more than if each answer that changed had become right or wrong by the toss of a coin (in one of a hundred
    /// such tosses or more), nor by more than three in a hundred of all.
    WithinChance,
    /// Fewer are.
    Worse,
}

/// The answers of a classifier.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Side {
    /// The mean of the largest probability.
    pub confidence: f64,
    /// The share of the samples that are of the class most often answered.
    pub largest_class: f64,
    /// Right answers, where labels are known.
    pub right: Option<usize>,
    counts: Vec<usize>,
    confidences: f64,
}

/// What may mean harm. (Chosen on seven cases; no verdict.)
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// The mean confidence fell.
    Confidence,
    /// One class is answered more often.
    OneClass,
}

impl Answers {
    /// Takes in a batch's outputs before and after.
    pub(crate) fn take(
        &mut self,
        outputs: &[String],
        before: &State,
        after: &State,
        samples: usize,
        labels: Option<&[usize]>,
    ) -> Result<(), String> {
        let both = |name: &String| Some((before.value(name)?, after.value(name)?));
        self.outputs.resize_with(outputs.len(), Default::default);
        for (name, (squares, spread)) in outputs.iter().zip(&mut self.outputs) {
            let Some((array, other)) = both(name) else { continue };
            let (Some(one), Some(other)) = (array.as_floats(), other.as_floats()) else { continue };
            self.compared = true;
            let changes = one.iter().zip(other).map(|(&one, &other)| f64::from(other) - f64::from(one));
            *squares += changes.map(|change| change * change).sum::<f64>();
            spread.merge(&Spread::of(array, one));
        }
        self.samples += samples;
        self.settle();
        let scores = |array: &Array| classes(array, samples);
        let rows = outputs.iter().filter_map(both).find_map(|(one, other)| {
            let classes = scores(one).filter(|classes| scores(other) == Some(*classes))?;
            Some((classes, one.as_floats()?, other.as_floats()?))
        });
        let Some((classes, one, other)) = rows else {
            return match labels {
                Some(_) => Err(String::from(
                    "labels: expected a classifier, whose output is [N, classes], to compare with; leave the labels out",
                )),
                None => Ok(()),
            };
        };
        if let Some(label) = labels.and_then(|labels| labels.iter().find(|&&label| label >= classes)) {
            return Err(format!("labels: expected classes of 0 to {}, as the model has, got {label}", classes - 1));
        }
        let sides = [(&mut self.before, one), (&mut self.after, other)];
        let [first, second] = sides.map(|(side, scores)| {
            let side = side.get_or_insert_default();
            let answers: Vec<usize> = scores.chunks_exact(classes).map(|scores| side.take(scores)).collect();
            if let Some(labels) = labels {
                let right = answers.iter().zip(labels).filter(|(answer, label)| answer == label).count();
                *side.right.get_or_insert(0) += right;
            }
            answers
        });
        let same = first.iter().zip(&second).filter(|(one, other)| one == other).count();
        *self.same.get_or_insert(0) += same;
        if let Some(labels) = labels {
            let [lost, gained] = self.changed.get_or_insert_default();
            for ((before, after), label) in first.iter().zip(&second).zip(labels) {
                *lost += usize::from(before == label && after != label);
                *gained += usize::from(before != label && after == label);
            }
        }
        self.settle();
        Ok(())
    }

    /// Takes in the answers of other samples.
    pub(crate) fn merge(&mut self, other: &Answers) {
        self.samples += other.samples;
        self.compared |= other.compared;
        self.outputs.resize_with(self.outputs.len().max(other.outputs.len()), Default::default);
        for ((squares, spread), (more, other)) in self.outputs.iter_mut().zip(&other.outputs) {
            *squares += more;
            spread.merge(other);
        }
        if let Some(same) = other.same {
            *self.same.get_or_insert(0) += same;
        }
        if let Some([lost, gained]) = other.changed {
            let all = self.changed.get_or_insert_default();
            *all = [all[0] + lost, all[1] + gained];
        }
        for (side, other) in [(&mut self.before, &other.before), (&mut self.after, &other.after)] {
            let Some(other) = other else { continue };
            let side = side.get_or_insert_default();
            side.confidences += other.confidences;
            side.counts.resize(other.counts.len(), 0);
            side.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
            if let Some(right) = other.right {
                *side.right.get_or_insert(0) += right;
            }
        }
        self.settle();
    }

    /// What follows from what was counted.
    fn settle(&mut self) {
        let changes = self.outputs.iter().filter(|(squares, _)| *squares != 0.0);
        // (What is no number is as large as can be.)
        let relative = changes.map(|(squares, spread)| (squares / spread.squares()).sqrt().abs());
        self.change = relative.max_by(f64::total_cmp).unwrap_or(0.0);
        for side in [&mut self.before, &mut self.after].into_iter().flatten() {
            side.confidence = side.confidences / self.samples as f64;
            side.largest_class = side.counts.iter().max().copied().unwrap_or(0) as f64 / self.samples as f64;
        }
    }

    /// How the right answers changed, where labels are known.
    pub fn verdict(&self) -> Option<Verdict> {
        let [lost, gained] = self.changed?;
        let share = lost.abs_diff(gained) as f64 / self.samples.max(1) as f64;
        let is_chance = share <= MOST_BY_CHANCE && chance(lost.max(gained), lost.min(gained)) >= UNLIKELY;
        Some(match lost.cmp(&gained) {
            Ordering::Equal => Verdict::Same,
            _ if is_chance => Verdict::WithinChance,
            Ordering::Less => Verdict::Better,
            Ordering::Greater => Verdict::Worse,
        })
    }

    /// What may mean harm.
    pub fn signs(&self) -> Vec<Sign> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return Vec::new() };
        let mut signs = Vec::new();
        if after.confidence < before.confidence - FALL {
            signs.push(Sign::Confidence);
        }
        if after.largest_class > GROWTH * before.largest_class {
            signs.push(Sign::OneClass);
        }
        signs
    }
}

impl Side {
    /// Takes in the scores of a sample; its class.
    fn take(&mut self, scores: &[f32]) -> usize {
        let (mut class, mut largest) = (0, f32::NEG_INFINITY);
        for (at, &score) in scores.iter().enumerate() {
            if score > largest {
                (class, largest) = (at, score);
            }
        }
        let sum: f64 = scores.iter().map(|&score| f64::from(score)).sum();
        let are_probabilities = (sum - 1.0).abs() < SUM && scores.iter().all(|&score| score >= 0.0);
        self.confidences += if are_probabilities {
            f64::from(largest)
        } else {
            1.0 / scores.iter().map(|&score| f64::from(score - largest).exp()).sum::<f64>()
        };
        self.counts.resize(scores.len(), 0);
        self.counts[class] += 1;
        class
    }
}

/// The probability that of so many tosses of a coin, `lost + gained`, at least `lost` fall on one side: the sign test (McNemar's, exact).
fn chance(lost: usize, gained: usize) -> f64 {
    let tosses = (lost + gained) as f64;
    // The logarithm of each probability from that of the one before, for the numbers themselves may be too small.
    let mut log = -tosses * std::f64::consts::LN_2;
    let mut sum = if lost == 0 { log.exp() } else { 0.0 };
    for heads in 1..=lost + gained {
        log += (tosses - heads as f64 + 1.0).ln() - (heads as f64).ln();
        if heads >= lost {
            sum += log.exp();
        }
    }
    sum
}

/// The number of classes, if these are scores of samples.
fn classes(array: &Array, samples: usize) -> Option<usize> {
    array.as_floats()?;
    let (&first, rest) = array.shape.split_first()?;
    let (&classes, rest) = rest.split_first()?;
    (first == samples && classes > 1 && rest.iter().all(|&length| length == 1)).then_some(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_that_of_tosses() {
        for (lost, gained, expected) in
            [(0, 0, 1.0), (1, 0, 0.5), (2, 1, 0.5), (7, 0, 1.0 / 128.0), (3, 1, 5.0 / 16.0), (0, 4, 1.0)]
        {
            assert!((chance(lost, gained) - expected).abs() < 1e-12, "{lost}, {gained}: {}", chance(lost, gained));
        }
        // Of ten thousand tosses 5,117 or more: by the normal distribution, with the correction for whole numbers, 0.00990.
        assert!((chance(5117, 4883) - 0.0099).abs() < 1e-4, "{}", chance(5117, 4883));
    }

    #[test]
    fn fewer_right_answers_are_worse_where_chance_does_not_explain_them() {
        let verdict =
            |samples, changed| Answers { samples, changed: Some(changed), ..Answers::default() }.verdict().unwrap();
        assert_eq!(verdict(200, [3, 12]), Verdict::Better);
        assert_eq!(verdict(200, [3, 6]), Verdict::WithinChance);
        assert_eq!(verdict(200, [4, 4]), Verdict::Same);
        assert_eq!(verdict(200, [5, 0]), Verdict::WithinChance);
        assert_eq!(verdict(1000, [7, 0]), Verdict::Worse);
        assert_eq!(verdict(200, [27, 20]), Verdict::Worse);
        assert_eq!(verdict(20, [1, 0]), Verdict::Worse);
        assert_eq!(verdict(10_000, [117, 80]), Verdict::Worse);
        assert_eq!(verdict(10_000, [100, 80]), Verdict::WithinChance);
        assert_eq!(Answers::default().verdict(), None);
    }
}
