//! Descriptions as they are written in files, and read from them.

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::description::{BesideAverage, Description, Tested, Watch, no_description};
use super::error::{FIRST_FORMAT, FORMAT, ModelError, one_line, shortened};
use super::first_format::{self, First};
use super::tensors;
use crate::data::DataSummary;
use crate::plan::Plan;

/// Key of the description in the file's metadata.
pub const KEY: &str = "batchnorm";
/// What `train --json` prints beside a description of this format.
const BESIDE: [&str; 2] = ["file", "seconds"];

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
    #[serde(skip_serializing_if = "Option::is_none", default)]
    beside_average: Option<BesideAverage>,
}

impl Description {
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
            Some(FIRST_FORMAT) => first_format::from_value(value).and_then(Description::checked),
            Some(FORMAT) => {
                let written: Written = serde_json::from_value(value).map_err(no_description)?;
                let Written {
                    data,
                    plan,
                    steps_done,
                    test_step,
                    test_accuracy,
                    test_loss,
                    watch,
                    beside_average: beside,
                    ..
                } = written;
                if written.classes != data.classes {
                    return Err(ModelError::Description(String::from("its classes are not those of its data")));
                }
                let tested = test_step.zip(test_accuracy);
                let test = tested.map(|(step, accuracy)| Tested { step, accuracy, loss: test_loss });
                Description { data, plan, steps_done, test, watch, beside }.checked()
            }
            _ => Err(ModelError::Format(shortened(&value["format"].to_string()))),
        }
    }

    /// The description as JSON; in the first format where that can say it.
    pub fn to_value(&self) -> Value {
        if let Some(first) = First::of(self) {
            return first.to_value();
        }
        let Description { data, plan, steps_done, test, watch, beside } = self.clone();
        let scaled = if data.scale.is_some() {
            "standardised: (value - mean) / deviation of its channel"
        } else {
            "as they are"
        };
        let range = if data.input.is_picture() {
            "pixels, each in 0..1, full is 1, channel after channel, row after row"
        } else {
            "numbers"
        };
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
            beside_average: beside,
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
}

/// The description in a whole file's metadata, if there is one.
pub(super) fn described(bytes: &[u8]) -> Result<Option<Description>, ModelError> {
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| ModelError::Safetensors(one_line(&error.to_string())))?;
    let Some(text) = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY)) else { return Ok(None) };
    Description::from_value(serde_json::from_str(text).map_err(no_description)?).map(Some)
}
