//! The first format: sigmoid networks on the embedded digits by plain gradient descent, which is what `train` does unless it is told
//! otherwise. Such networks are still written in it, so that the programs that read it read them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::description::{Description, Tested, no_description};
use super::error::{FIRST_FORMAT, ModelError};
use crate::digits;
use crate::network::Architecture;
use crate::plan::Plan as General;

/// A description of the network's input, for readers of the file in other programs.
const INPUT: &str =
    "8x8 pixels row by row, each the share of ink in 0..1 (counts of 4x4 dark points divided by 16), 1 is full ink";

/// A description in the first format.
#[derive(Serialize, Deserialize)]
// Serde promises this for no struct with a flattened field; a test holds it to it.
#[serde(deny_unknown_fields)]
pub(super) struct First {
    format: String,
    input: String,
    classes: Vec<String>,
    #[serde(flatten)]
    plan: Plan,
    steps_done: usize,
    test_accuracy: f64,
    test_loss: Option<f64>,
}

/// A plan that it can describe.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    batch_norm: bool,
    architecture: Architecture,
    seed: u64,
    steps: usize,
    batch_size: usize,
    learning_rate: f64,
}

/// Of what `batchnorm train --json` prints, that which a description has.
#[derive(Deserialize)]
struct Summary {
    plan: Plan,
    steps_done: usize,
    test_accuracy: f64,
    test_loss: Option<f64>,
}

impl Plan {
    fn general(self) -> General {
        let Plan { batch_norm, architecture, seed, steps, batch_size, learning_rate } = self;
        General::plain(architecture.recipe(batch_norm), seed, steps, batch_size, learning_rate)
    }
}

impl Plan {
    /// The description of a network that has taken so many of its steps, and has this score.
    fn described(self, steps_done: usize, accuracy: f64, loss: Option<f64>) -> Description {
        let test = Some(Tested { step: steps_done, accuracy, loss });
        let (data, plan) = (digits::summary().clone(), self.general());
        Description { data, plan, steps_done, test, watch: None, beside: None }
    }
}

impl First {
    /// The description in this format; none if it says more.
    pub fn of(description: &Description) -> Option<First> {
        let Description { data, plan, steps_done, test, watch, beside } = description;
        let (architecture, batch_norm) = Architecture::of(&plan.network)?;
        let General { seed, steps, batch_size, learning_rate, .. } = *plan;
        let first = || Plan { batch_norm, architecture: architecture.clone(), seed, steps, batch_size, learning_rate };
        let test = test.filter(|test| test.step == *steps_done)?;
        let says_it_all =
            watch.is_none() && beside.is_none() && first().general() == *plan && data == digits::summary();
        says_it_all.then(|| First {
            format: FIRST_FORMAT.to_owned(),
            input: INPUT.to_owned(),
            classes: data.classes.clone(),
            plan: first(),
            steps_done: *steps_done,
            test_accuracy: test.accuracy,
            test_loss: test.loss,
        })
    }

    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a description is numbers and names")
    }

    /// The text of a file's metadata, its fields in their order.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a description is numbers and names")
    }

    pub fn summary(&self) -> Value {
        let First { plan, steps_done, test_accuracy, test_loss, .. } = self;
        json!({ "plan": plan, "steps_done": steps_done, "test_accuracy": test_accuracy, "test_loss": test_loss })
    }

    fn general(self) -> Description {
        let First { plan, steps_done, test_accuracy: accuracy, test_loss: loss, .. } = self;
        plan.described(steps_done, accuracy, loss)
    }
}

pub(super) fn from_value(value: Value) -> Result<Description, ModelError> {
    let first: First = serde_json::from_value(value).map_err(no_description)?;
    let expect = |what: &str, fits: bool| {
        if fits { Ok(()) } else { Err(ModelError::Description(what.to_owned())) }
    };
    expect("its input is another than this program's 8x8 pixels", first.input == INPUT)?;
    expect("its classes are not the digits 0 to 9", first.classes == digits::summary().classes)?;
    Ok(first.general())
}

pub(super) fn from_summary(value: Value) -> Result<Description, ModelError> {
    let Summary { plan, steps_done, test_accuracy: accuracy, test_loss: loss } =
        serde_json::from_value(value).map_err(no_description)?;
    Ok(plan.described(steps_done, accuracy, loss))
}
