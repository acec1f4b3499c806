//! A data set in its parts, and what is known of it.

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::examples::{Examples, Shape};
use super::found::Found;
use super::scale::{Scale, Scaling};
use super::set::Set;
use super::split::{split_off, subset};
use crate::hash::Fnv;
use crate::setting::Difference;

/// The seed of the parts: they belong to the data set, and are the same whatever the seed of a training.
const PARTS_SEED: u64 = 0;

/// The parts of a data set that are drawn from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// Share to test with, of a set that comes without a part for it.
    pub test: f64,
    /// Share of what is to be trained on that is kept out of training, to watch it by.
    pub validation: f64,
    /// Examples of the whole training set that are used; all of them where none is said.
    pub examples: Option<usize>,
    /// Classes whose examples are used, by name; all of them where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
}

impl Default for Parts {
    /// A fifth to test with where there is no such part, none to watch by, all examples.
    fn default() -> Self {
        Parts { test: 0.2, validation: 0.0, examples: None, classes: None }
    }
}

/// What is known of a data set, in the file of a network that was trained on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSummary {
    /// Its name, or where it stood.
    pub name: String,
    /// What it is, in words.
    pub kind: String,
    /// The shape of an example.
    pub input: Shape,
    /// The name of each class.
    pub classes: Vec<String>,
    /// Examples to train on.
    pub train: usize,
    /// Examples to watch the training by.
    pub validation: usize,
    /// Examples to test with.
    pub test: usize,
    /// A hash of the labels, and of the values of all examples but those to test with, by which another set, or another part of it, is told
    /// from this one.
    pub fingerprint: String,
    /// How the parts were drawn.
    pub parts: Parts,
    /// By what values are standardised, if they are.
    pub scale: Option<Scale>,
}

/// A data set in its parts.
#[derive(Debug)]
pub struct Data {
    /// What is known of it.
    pub summary: DataSummary,
    /// The examples to train on.
    pub train: Set,
    /// Those to watch the training by.
    pub validation: Option<Set>,
    /// Those to test with.
    pub test: Set,
}

impl Data {
    /// A set in its parts, whose values are standardised by the means and deviations of the part to train on, or left as they are.
    ///
    /// # Errors
    /// A set that cannot be read; a class that it has not.
    pub fn new(name: &str, found: Found, parts: Parts, standardized: bool) -> Result<Data, DataError> {
        let Found { kind, classes, train, test } = match &parts.classes {
            Some(names) => found.of_classes(names)?,
            None => found,
        };
        let (train, test) = match test {
            Some(test) => (train, test),
            None => split_off(&train, parts.test, PARTS_SEED),
        };
        let (train, validation) = match parts.validation > 0.0 {
            true => split_off(&train, parts.validation, PARTS_SEED),
            false => (train, test.part(&[])),
        };
        let train = match parts.examples {
            Some(examples) => subset(&train, examples, PARTS_SEED),
            None => train,
        };
        let (fingerprint, scale) = looked_at(&train, &validation, &test)?;
        let summary = DataSummary {
            name: name.to_owned(),
            kind: kind.to_owned(),
            input: train.shape(),
            classes,
            train: train.len(),
            validation: validation.len(),
            test: test.len(),
            fingerprint,
            parts,
            scale: standardized.then_some(scale),
        };
        Ok(Data { summary, train, validation: Some(validation).filter(|set| !set.is_empty()), test })
    }
}

impl Data {
    /// A part to choose settings by: a share of what is trained on stands for the test set, which is not looked at, and the rest is trained on.
    #[must_use]
    pub fn held_out(&self, share: f64) -> Data {
        let (train, test) = split_off(&self.train, share, PARTS_SEED);
        let parts = Parts { validation: share, ..self.summary.parts.clone() };
        let summary =
            DataSummary { train: train.len(), test: test.len(), validation: 0, parts, ..self.summary.clone() };
        Data { summary, train, validation: None, test }
    }

    /// A hash of the values that are tested with, which [`DataSummary::fingerprint`] does not have: a training does not depend on them, its scores do.
    ///
    /// # Errors
    /// A set that cannot be read.
    pub fn test_fingerprint(&self) -> Result<u64, DataError> {
        let mut hash = Fnv::default();
        for portion in self.test.portions(PORTION) {
            portion?.values.iter().for_each(|value| hash.take(&value.to_bits().to_le_bytes()));
        }
        Ok(hash.hash())
    }
}

impl DataSummary {
    /// What differs in another data set, or in other parts of the same. Its name may: files move.
    pub fn differences(&self, now: &DataSummary) -> Vec<Difference> {
        let of_set =
            |data: &DataSummary| (data.kind.clone(), data.input, data.classes.clone(), data.fingerprint.clone());
        let words = |data: &DataSummary| {
            let DataSummary { name, kind, input, train, validation, test, .. } = data;
            format!("{name} ({kind}), {input}, {train} to train, {validation} to watch by, {test} to test")
        };
        let scale =
            |data: &DataSummary| data.scale.as_ref().map_or(String::from("no"), |scale| format!("{:?}", scale.mean));
        let mut differences = Vec::new();
        if of_set(self) != of_set(now) {
            differences.push(("data", words(self), words(now)));
        } else if self.scale != now.scale {
            differences.push(("means by which values are standardised", scale(self), scale(now)));
        }
        differences
    }

    /// Makes examples of the set the input of a network.
    pub fn prepare(&self, examples: &mut Examples) {
        if let Some(scale) = &self.scale {
            scale.apply(examples, self.input);
        }
    }
}

/// Examples that are looked at together.
const PORTION: usize = 256;

/// A hash of all labels, and of the values of what is trained on and watched; and the scale of what is trained on. One pass reads the values.
fn looked_at(train: &Set, validation: &Set, test: &Set) -> Result<(String, Scale), DataError> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |number: u64| hash = (hash ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    let mut scaling = Scaling::new(train.shape());
    for portion in train.portions(PORTION) {
        let portion = portion?;
        portion.values.iter().for_each(|value| take(u64::from(value.to_bits())));
        scaling.observe(&portion);
    }
    for portion in validation.portions(PORTION) {
        portion?.values.iter().for_each(|value| take(u64::from(value.to_bits())));
    }
    for set in [train, validation, test] {
        set.classes().iter().for_each(|&class| take(u64::from(class)));
        take(set.len() as u64);
    }
    Ok((format!("{hash:016x}"), scaling.scale()))
}
