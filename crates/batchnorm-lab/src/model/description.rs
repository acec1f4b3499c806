//! What a network's file says of it, beside its tensors.

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{ModelError, one_line, shortened};
use super::first_format::{self, First};
use super::tensors;
use crate::data::{DataSummary, MOST_CLASSES};
use crate::plan::Plan;
use crate::training::Score;

/// Marks the files of this version of the crate, but for those that [`first_format::FORMAT`] can describe.
pub const FORMAT: &str = "batchnorm-model 2";
/// Key of the description in the file's metadata.
pub const KEY: &str = "batchnorm";
/// What `train --json` prints beside a description of this format.
const BESIDE: [&str; 2] = ["file", "seconds"];

/// The description of a network and of its training so far, in the network's file. It has no times: the same training
/// gives the same file.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The data it is trained on.
    pub data: DataSummary,
    /// The network and what it is trained by.
    pub plan: Plan,
    /// Steps taken so far.
    pub steps_done: usize,
    /// Its score on the test set, and the steps it had taken then.
    pub test: Option<Tested>,
    /// How a training that ends by itself stands.
    pub watch: Option<Watch>,
}

/// The score of a network on its test set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Steps that the network had taken.
    pub step: usize,
    /// Share of the test set it classifies rightly.
    pub accuracy: f64,
    /// Mean cross-entropy on it, in nats; none where it is not finite.
    pub loss: Option<f64>,
}

/// A training that ends when its loss on the validation set does not get better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The step of the best network, which the file has.
    pub best_step: usize,
    /// Its loss on the validation set, in nats.
    pub best_loss: f64,
    /// Evaluations since then.
    pub waited: usize,
}

/// A description as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    /// The input in words, for readers of the file in other programs.
    input: String,
    classes: Vec<String>,
    data: DataSummary,
    plan: Plan,
    steps_done: usize,
    test_step: Option<usize>,
    test_accuracy: Option<f64>,
    test_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    watch: Option<Watch>,
}

impl Description {
    /// The description of a network that has taken `steps_done` steps of the plan and has this score on the test set.
    pub fn new(data: DataSummary, plan: Plan, steps_done: usize, score: Score) -> Description {
        let test = Tested::new(steps_done, score);
        Description { data, plan, steps_done, test: Some(test), watch: None }
    }

    /// The description in a file of its own: another model's file that has it, or JSON. JSON is the description itself, the
    /// metadata of a file (`{"batchnorm": "..."}`), or what `batchnorm train --json` printed.
    ///
    /// # Errors
    /// Neither, or a description that is broken or describes no network of this program.
    pub fn from_bytes(bytes: &[u8]) -> Result<Description, ModelError> {
        if let Ok(file) = SafeTensors::deserialize(bytes) {
            let description = described(bytes)?.ok_or(ModelError::Foreign)?;
            tensors::check(&file, &description)?;
            return Ok(description);
        }
        let mut value: Value = serde_json::from_slice(bytes).map_err(no_description)?;
        if let Some(text) = value.get(KEY).and_then(Value::as_str) {
            value = serde_json::from_str(text).map_err(no_description)?;
        }
        if value.get("plan").is_some() && value.get("format").is_none() {
            return first_format::from_summary(value).and_then(Description::checked);
        }
        if let Some(fields) = value.as_object_mut()
            && fields.get("format").and_then(Value::as_str) == Some(FORMAT)
        {
            BESIDE.iter().for_each(|name| drop(fields.remove(*name)));
        }
        Description::from_value(value)
    }

    pub(super) fn from_value(value: Value) -> Result<Description, ModelError> {
        match value["format"].as_str() {
            Some(first_format::FORMAT) => first_format::from_value(value).and_then(Description::checked),
            Some(FORMAT) => {
                let written: Written = serde_json::from_value(value).map_err(no_description)?;
                let Written { data, plan, steps_done, test_step, test_accuracy, test_loss, watch, .. } = written;
                if written.classes != data.classes {
                    return Err(ModelError::Description(String::from("its classes are not those of its data")));
                }
                let tested = test_step.zip(test_accuracy);
                let test = tested.map(|(step, accuracy)| Tested { step, accuracy, loss: test_loss });
                Description { data, plan, steps_done, test, watch }.checked()
            }
            _ => Err(ModelError::Format(shortened(&value["format"].to_string()))),
        }
    }

    /// The description as JSON; in the first format where that can say it.
    pub fn to_value(&self) -> Value {
        if let Some(first) = First::of(self) {
            return first.to_value();
        }
        let Description { data, plan, steps_done, test, watch } = self.clone();
        let scaled = if data.scale.is_some() { "standardised: (value - mean) / deviation of its channel" } else { "as they are" };
        let range = if data.input.is_picture() { "pixels, each in 0..1, full is 1, channel after channel, row after row" } else { "numbers" };
        let written = Written {
            format: FORMAT.to_owned(),
            input: format!("{} {range}; {scaled}", data.input),
            classes: data.classes.clone(),
            data,
            plan,
            steps_done,
            test_step: test.map(|test| test.step),
            test_accuracy: test.map(|test| test.accuracy),
            test_loss: test.and_then(|test| test.loss),
            watch,
        };
        serde_json::to_value(written).expect("a description is numbers and names")
    }

    /// What `train --json` prints of it: in the first format the plan apart from the rest, as it always was.
    pub fn summary(&self) -> Value {
        First::of(self).map_or_else(|| self.to_value(), |first| first.summary())
    }

    /// The description as the text of a file's metadata.
    pub(super) fn to_text(&self) -> String {
        match First::of(self) {
            Some(first) => first.to_text(),
            None => self.to_value().to_string(),
        }
    }

    fn checked(self) -> Result<Description, ModelError> {
        let expect = |what: &str, fits: bool| {
            if fits { Ok(()) } else { Err(ModelError::Description(what.to_owned())) }
        };
        let DataSummary { input, classes, scale, .. } = &self.data;
        let lengths = [input.channels, input.rows, input.columns];
        let values = lengths.iter().try_fold(1usize, |values, &length| values.checked_mul(length));
        expect("its input has no value, or too many", values.is_some_and(|values| (1..=1 << 24).contains(&values)))?;
        expect("it has no class, or too many", (1..=MOST_CLASSES).contains(&classes.len()))?;
        let fits = scale.as_ref().is_none_or(|scale| {
            let fits = |values: &[f64]| values.len() == input.channels && values.iter().all(|value| value.is_finite());
            fits(&scale.mean) && fits(&scale.deviation) && scale.deviation.iter().all(|&deviation| deviation >= 0.0)
        });
        expect("its means and deviations are not those of its channels", fits)?;
        self.plan.check(&self.data).map_err(|error| ModelError::Description(shortened(&error.to_string())))?;
        expect("it has more steps behind it than it has in all", self.steps_done <= self.plan.steps)?;
        let share = self.test.is_none_or(|test| (0.0..=1.0).contains(&test.accuracy));
        expect("its test accuracy is no share", share)?;
        Ok(self)
    }
}

impl Tested {
    /// A score of a network that has taken so many steps.
    pub fn new(step: usize, score: Score) -> Tested {
        Tested { step, accuracy: score.accuracy, loss: Some(score.loss).filter(|loss| loss.is_finite()) }
    }
}

/// The description in a whole file's metadata, if there is one.
pub(super) fn described(bytes: &[u8]) -> Result<Option<Description>, ModelError> {
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| ModelError::Safetensors(one_line(&error.to_string())))?;
    let Some(text) = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY)) else { return Ok(None) };
    Description::from_value(serde_json::from_str(text).map_err(no_description)?).map(Some)
}

pub(super) fn no_description(error: serde_json::Error) -> ModelError {
    ModelError::Description(one_line(&error.to_string()))
}
