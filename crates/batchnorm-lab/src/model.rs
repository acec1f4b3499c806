//! A trained network as the bytes of one safetensors file, and back.
//!
//! The tensors have the names and orientation of PyTorch (`hidden.0.linear.weight`, `hidden.0.norm.running_mean`);
//! under the key `batchnorm` of the file's metadata there is a [`Description`] as JSON. The same network gives the same
//! bytes. What is read is checked before anything is built: a file costs no more memory than a few times its size.

use burn::module::Module;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digits::{CLASSES, PIXELS};
use crate::network::Network;
use crate::plan::Plan;
use crate::training::Score;

/// Marks the files of this version of the crate.
pub const FORMAT: &str = "batchnorm-model 1";
/// Key of the description in the file's metadata.
pub const KEY: &str = "batchnorm";
/// The end of the name of what PyTorch counts, and adds to a file that goes through it. Nothing here depends on it.
const COUNT: &str = ".norm.num_batches_tracked";
/// Bytes of the largest file that is read: the largest network takes less than a third of it.
pub const MOST_BYTES: u64 = 1 << 27;
/// A description of the network's input, for readers of the file in other programs.
const INPUT: &str =
    "8x8 pixels row by row, each the share of ink in 0..1 (counts of 4x4 dark points divided by 16), 1 is full ink";

/// The description of a network and of its training so far, in the network's file. It has no times: the same training
/// gives the same file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
// Serde promises this for no struct with a flattened field; a test holds it to it.
#[serde(deny_unknown_fields)]
pub struct Description {
    /// [`FORMAT`].
    pub format: String,
    /// The network's input, in words.
    pub input: String,
    /// The class of each score.
    pub classes: Vec<String>,
    /// The network and what it is trained by.
    #[serde(flatten)]
    pub plan: Plan,
    /// Steps taken so far.
    pub steps_done: usize,
    /// Share of the embedded test images it classifies rightly.
    pub test_accuracy: f64,
    /// Mean cross-entropy on them, in nats; none where it is not finite.
    pub test_loss: Option<f64>,
}

/// Of what `batchnorm train --json` prints, that which a description has.
#[derive(Deserialize)]
struct Summary {
    plan: Plan,
    steps_done: usize,
    test_accuracy: f64,
    test_loss: Option<f64>,
}

impl Description {
    /// The description of a network that has taken `steps_done` steps of the plan and has this score on the test
    /// images.
    pub fn new(plan: Plan, steps_done: usize, score: Score) -> Description {
        Description {
            format: FORMAT.to_owned(),
            input: INPUT.to_owned(),
            classes: classes(),
            plan,
            steps_done,
            test_accuracy: score.accuracy,
            test_loss: Some(score.loss).filter(|loss| loss.is_finite()),
        }
    }

    /// The description in a file of its own: another model's file that has it, or JSON. JSON is the description itself, the
    /// metadata of a file (`{"batchnorm": "..."}`), or what `batchnorm train --json` printed.
    ///
    /// # Errors
    /// Neither, or a description that is broken or describes no network of this program.
    pub fn from_bytes(bytes: &[u8]) -> Result<Description, ModelError> {
        if let Ok(file) = SafeTensors::deserialize(bytes) {
            let description = described(bytes)?.ok_or(ModelError::Foreign)?;
            check_tensors(&file, &description.plan)?;
            return Ok(description);
        }
        let mut value: serde_json::Value = serde_json::from_slice(bytes).map_err(no_description)?;
        if let Some(text) = value.get(KEY).and_then(serde_json::Value::as_str) {
            value = serde_json::from_str(text).map_err(no_description)?;
        }
        if value.get("plan").is_none() {
            return Description::from_value(value);
        }
        let Summary { plan, steps_done, test_accuracy, test_loss } =
            serde_json::from_value(value).map_err(no_description)?;
        let score = Score { accuracy: test_accuracy, loss: test_loss.unwrap_or(f64::NAN) };
        let description = Description::new(plan, steps_done, score);
        description.check()?;
        Ok(description)
    }

    fn from_value(value: serde_json::Value) -> Result<Description, ModelError> {
        match &value["format"] {
            serde_json::Value::String(format) if format == FORMAT => {}
            other => return Err(ModelError::Format(shortened(&other.to_string()))),
        }
        let description: Description = serde_json::from_value(value).map_err(no_description)?;
        description.check()?;
        Ok(description)
    }

    fn check(&self) -> Result<(), ModelError> {
        let expect = |what: &str, fits: bool| {
            if fits { Ok(()) } else { Err(ModelError::Description(what.to_owned())) }
        };
        expect("its input is another than this program's 8x8 pixels", self.input == INPUT)?;
        expect("its classes are not the digits 0 to 9", self.classes == classes())?;
        self.plan.check().map_err(|error| ModelError::Description(shortened(&error.to_string())))?;
        expect("it has more steps behind it than it has in all", self.steps_done <= self.plan.steps)?;
        expect("its test accuracy is no share", (0.0..=1.0).contains(&self.test_accuracy))
    }
}

/// The names of the classes: the digits.
fn classes() -> Vec<String> {
    (0..CLASSES).map(|class| class.to_string()).collect()
}

/// A network with its description.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its description.
    pub description: Description,
    /// The network.
    pub network: Network,
}

/// Bytes that are no model, or a network that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    /// No safetensors file, or not all of it.
    #[error("cut off, or no safetensors file: {0}")]
    Safetensors(String),
    /// A safetensors file of something else.
    #[error(
        "expected a file of `batchnorm train`, got a safetensors file without its description, which programs drop that keep \
         tensors alone"
    )]
    Foreign,
    /// A description beside a file that has its own.
    #[error("expected a file without a description, for one was given, got one that has its own")]
    TwoDescriptions,
    /// A file of another version.
    #[error("expected format \"{FORMAT}\", got {0}")]
    Format(String),
    /// A description that is broken or describes no network of this program.
    #[error("its description is broken: {0}")]
    Description(String),
    /// Tensors that are not those described.
    #[error("tensor {name}: expected {expected}, got {got}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// The tensor that the description promises.
        expected: String,
        /// The tensor or value that is there.
        got: String,
    },
    /// Burn refused what passed all checks.
    #[error("Burn's store: {0}")]
    Store(String),
}

impl Model {
    /// The file's bytes.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a value is not finite: a network that diverged is not worth a file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let broken = |error: &dyn std::fmt::Display| ModelError::Store(error.to_string());
        let description = serde_json::to_string(&self.description).map_err(|error| broken(&error))?;
        // One key alone: several would come in another order each time.
        let mut store = SafetensorsStore::from_bytes(None)
            .clear_metadata()
            .metadata(KEY, description)
            .with_to_adapter(BurnToPyTorchAdapter);
        self.network.valid().save_into(&mut store).map_err(|error| broken(&error))?;
        let bytes = store.get_bytes().map_err(|error| broken(&error))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(&error))?;
        check_tensors(&file, &self.description.plan)?;
        Ok(bytes)
    }

    /// The model in a file's bytes, ready to classify and to be trained further.
    ///
    /// # Errors
    /// Anything but a whole file of this format, whose tensors are those that its description promises, all finite,
    /// running variances not negative.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Model, ModelError> {
        let file = whole(&bytes)?;
        let description = described(&bytes)?.ok_or(ModelError::Foreign)?;
        check_tensors(&file, &description.plan)?;
        Model::loaded(bytes, description)
    }

    /// The model in a file whose description another program dropped. Batch counts that PyTorch added are left out.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), and a file that has its own description.
    pub fn with_description(bytes: Vec<u8>, description: Description) -> Result<Model, ModelError> {
        let file = whole(&bytes)?;
        if described(&bytes)?.is_some() {
            return Err(ModelError::TwoDescriptions);
        }
        description.check()?;
        check_tensors(&file, &description.plan)?;
        Model::loaded(bytes, description)
    }

    /// The model in bytes whose tensors are those of its description.
    fn loaded(bytes: Vec<u8>, description: Description) -> Result<Model, ModelError> {
        let plan = &description.plan;
        let mut network = plan.start();
        let mut store = SafetensorsStore::from_bytes(Some(bytes)).with_from_adapter(PyTorchToBurnAdapter);
        let loaded = network.load_from(&mut store).map_err(|error| ModelError::Store(error.to_string()))?;
        let unused = loaded.unused.iter().any(|name| !name.ends_with(COUNT));
        if !loaded.errors.is_empty() || !loaded.missing.is_empty() || unused {
            return Err(ModelError::Store(format!("{loaded:?}")));
        }
        Ok(Model { description, network })
    }

    /// Scores of images given by their pixels, by running statistics: image after image, one a class.
    ///
    /// # Panics
    /// If `pixels` are no whole images.
    pub fn scores(&self, pixels: &[f32]) -> Vec<f32> {
        assert_eq!(pixels.len() % PIXELS, 0, "{} pixels are no whole images", pixels.len());
        let network = self.network.valid();
        let device = Device::default();
        let pixels = TensorData::new(pixels.to_vec(), [pixels.len() / PIXELS, PIXELS]);
        network.forward_eval(Tensor::from_data(pixels, &device)).scores.into_data().iter::<f32>().collect()
    }
}

/// A whole safetensors file.
fn whole(bytes: &[u8]) -> Result<SafeTensors<'_>, ModelError> {
    SafeTensors::deserialize(bytes).map_err(|error| ModelError::Safetensors(one_line(&error.to_string())))
}

/// The description in a whole file's metadata, if there is one.
fn described(bytes: &[u8]) -> Result<Option<Description>, ModelError> {
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| ModelError::Safetensors(one_line(&error.to_string())))?;
    let Some(text) = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY)) else { return Ok(None) };
    Description::from_value(serde_json::from_str(text).map_err(no_description)?).map(Some)
}

fn no_description(error: serde_json::Error) -> ModelError {
    ModelError::Description(one_line(&error.to_string()))
}

/// Checks that the tensors are those of the plan's network, and that their values are finite, variances not negative.
fn check_tensors(file: &SafeTensors, plan: &Plan) -> Result<(), ModelError> {
    let expected = plan.architecture.tensors(plan.batch_norm);
    let error =
        |name: &str, expected: String, got: String| Err(ModelError::Tensor { name: shortened(name), expected, got });
    for (name, shape) in &expected {
        let expected = format!("F32 {shape:?}");
        let Ok(tensor) = file.tensor(name) else { return error(name, expected, String::from("none")) };
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            return error(name, expected, shortened(&format!("{:?} {:?}", tensor.dtype(), tensor.shape())));
        }
        let values = tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let variances = name.ends_with("running_var");
        let impossible = |value: &f32| !value.is_finite() || (variances && *value < 0.0);
        if let Some(value) = values.into_iter().find(impossible) {
            let expected = if variances { "finite values >= 0" } else { "finite values" };
            return error(name, expected.to_owned(), value.to_string());
        }
    }
    let counts = |name: &str| {
        let norm = name.strip_suffix(COUNT).map(|path| format!("{path}.norm.running_mean"));
        let is_count = file.tensor(name).is_ok_and(|tensor| tensor.dtype() == Dtype::I64 && tensor.data().len() == 8);
        is_count && norm.is_some_and(|norm| expected.iter().any(|(known, _)| *known == norm))
    };
    let known = |name: &str| expected.iter().any(|(known, _)| known == name) || counts(name);
    match file.names().into_iter().filter(|name| !known(name)).min() {
        Some(name) => error(name, String::from("none of that name"), String::from("one")),
        None => Ok(()),
    }
}

/// Text from a strange file, which may be long and have line breaks, as one short line of a message.
fn one_line(text: &str) -> String {
    shortened(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// At most 120 characters of a text.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(120).collect();
    if short.len() < text.len() {
        short += " ...";
    }
    short
}
