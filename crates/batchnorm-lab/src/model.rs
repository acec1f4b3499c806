//! A trained network as the bytes of one safetensors file, and back.
//!
//! The tensors have the names and orientation of PyTorch (`hidden.0.linear.weight`, `hidden.0.norm.running_mean`); under the key
//! `batchnorm` of the file's metadata there is a [`Description`] as JSON. What a training needs besides, to go on to the same bits, is in
//! the same file under names that begin with `training.`: there is nothing else that could get lost, or be of another step. The same
//! network gives the same bytes. What is read is checked before anything is built: a file costs no more memory than a few times its size.

mod description;
mod error;
mod first_format;
mod tensors;
mod written;

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

pub use description::{BesideAverage, Description, Tested, Watch};
pub use error::{FIRST_FORMAT, FORMAT, ModelError};
pub use written::KEY;

use crate::network::Network;
use crate::optimizer::Kept;
use crate::training::Training;
use error::one_line;
use written::described;

/// Bytes of the largest file that is read: the largest network with all that Adam keeps takes less than half of it.
pub const MOST_BYTES: u64 = 1 << 29;

/// A network with its description, and what its training needs to go on.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its description.
    pub description: Description,
    /// The network: that of the last step, or the best one where a training watches for it.
    pub network: Network,
    /// The network of the last step, where it is another one.
    pub last: Option<Network>,
    /// What the optimiser keeps.
    pub kept: BTreeMap<String, Kept>,
}

impl Model {
    /// A network of which the last step's is the best, with what its optimiser keeps.
    pub fn new(description: Description, training: &Training) -> Model {
        Model { description, network: training.network().clone(), last: None, kept: training.optimizer().kept() }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] if a value is not finite: a network that diverged is not worth a file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let text = self.description.to_text();
        let mut bytes = tensors::of_network(&self.network, Some((KEY, &text)))?;
        if !self.kept.is_empty() || self.last.is_some() {
            bytes = tensors::with_training(&bytes, &self.kept, self.last.as_ref(), (KEY, &text))?;
        }
        tensors::check(&whole(&bytes)?, &self.description)?;
        Ok(bytes)
    }

    /// The model in a file's bytes, ready to classify and to be trained further.
    ///
    /// # Errors
    /// Anything but a whole file of a known format, whose tensors are those that its description promises, all finite,
    /// running variances not negative.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Model, ModelError> {
        let description = described(&bytes)?.ok_or(ModelError::Foreign)?;
        Model::loaded(bytes, description)
    }

    /// The model in a file whose description another program dropped. Batch counts that PyTorch added are left out.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), and a file that has its own description.
    pub fn with_description(bytes: Vec<u8>, description: Description) -> Result<Model, ModelError> {
        whole(&bytes)?;
        if described(&bytes)?.is_some() {
            return Err(ModelError::TwoDescriptions);
        }
        Model::loaded(bytes, description)
    }

    fn loaded(bytes: Vec<u8>, description: Description) -> Result<Model, ModelError> {
        let file = whole(&bytes)?;
        tensors::check(&file, &description)?;
        let (kept, of_last) = (tensors::kept(&file), tensors::last(&file)?);
        let blank = || description.plan.blank(&description.data);
        let last = of_last.map(|bytes| {
            let mut network = blank();
            tensors::into_network(&mut network, bytes).map(|()| network)
        });
        let last = last.transpose()?;
        let mut network = blank();
        tensors::into_network(&mut network, bytes)?;
        Ok(Model { description, network, last, kept })
    }

    /// The training that goes on from here, and the description of where it stands.
    ///
    /// # Errors
    /// [`ModelError::Optimizer`]: what the optimiser keeps is not there, or not all of it.
    pub fn resumed(self) -> Result<(Training, Description), ModelError> {
        let Model { description, network, last, kept } = self;
        let mut training = description.plan.training(last.unwrap_or(network), description.steps_done);
        let network = training.network().clone();
        if description.steps_done > 0 && !training.optimizer_mut().take_up(&network, description.steps_done, kept) {
            return Err(ModelError::Optimizer);
        }
        Ok((training, description))
    }

    /// Scores of examples that are inputs of the network, by running statistics: example after example, one a class.
    ///
    /// # Panics
    /// If `values` are no whole examples.
    pub fn scores(&self, values: &[f32]) -> Vec<f32> {
        let width = self.description.data.input.values();
        assert_eq!(values.len() % width, 0, "{} values are no whole examples", values.len());
        let (network, device) = (self.network.valid(), Device::default());
        let scores = values.chunks(width * network.portion()).flat_map(|values| {
            let values = TensorData::new(values.to_vec(), [values.len() / width, width]);
            network
                .forward_eval(Tensor::from_data(values, &device))
                .scores
                .into_data()
                .iter::<f32>()
                .collect::<Vec<_>>()
        });
        scores.collect()
    }
}

/// A whole safetensors file.
fn whole(bytes: &[u8]) -> Result<SafeTensors<'_>, ModelError> {
    SafeTensors::deserialize(bytes).map_err(|error| ModelError::Safetensors(one_line(&error.to_string())))
}
