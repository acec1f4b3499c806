//! The tensors of a model's file: those of the network, under PyTorch's names, and what a training needs besides.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::description::Description;
use super::error::{ModelError, shortened};
use crate::network::Network;
use crate::optimizer::Kept;

/// Before the names of what a training needs and a network does not.
const TRAINING: &str = "training.";
/// Before the names of what the optimiser keeps.
pub(super) const OPTIMIZER: &str = "training.optimizer.";
/// Before the names of the network of the last step, where the file's network is a better one.
const LAST: &str = "training.last.";
/// The end of the name of what PyTorch counts, and adds to a file that goes through it. Nothing here depends on it.
const COUNT: &str = ".norm.num_batches_tracked";
/// Weights of the largest network that is built before the file has shown that it holds as many numbers: 4 MB.
const MOST_BUILT: usize = 1 << 20;

fn broken(error: impl std::fmt::Display) -> ModelError {
    ModelError::Store(error.to_string())
}

/// The network's tensors as a safetensors file, with one entry of metadata if one is given.
pub(super) fn of_network(network: &Network, metadata: Option<(&str, &str)>) -> Result<Vec<u8>, ModelError> {
    // One key alone: several would come in another order each time.
    let mut store = SafetensorsStore::from_bytes(None)
        .clear_metadata()
        .skip_enum_variants(true)
        .with_to_adapter(BurnToPyTorchAdapter);
    if let Some((key, text)) = metadata {
        store = store.metadata(key, text);
    }
    network.valid().save_into(&mut store).map_err(broken)?;
    store.get_bytes().map_err(broken)
}

/// Takes a network's tensors out of a file.
pub(super) fn into_network(network: &mut Network, bytes: Vec<u8>) -> Result<(), ModelError> {
    let mut store =
        SafetensorsStore::from_bytes(Some(bytes)).skip_enum_variants(true).with_from_adapter(PyTorchToBurnAdapter);
    let loaded = network.load_from(&mut store).map_err(broken)?;
    let unused = loaded.unused.iter().any(|name| !name.ends_with(COUNT) && !name.starts_with(TRAINING));
    if !loaded.errors.is_empty() || !loaded.missing.is_empty() || unused {
        return Err(ModelError::Store(format!("{loaded:?}")));
    }
    Ok(())
}

/// The file with what a training needs besides.
pub(super) fn with_training(
    bytes: &[u8],
    kept: &BTreeMap<String, Kept>,
    last: Option<&Network>,
    metadata: (&str, &str),
) -> Result<Vec<u8>, ModelError> {
    let mut owned: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, kept) in kept {
        let name = format!("{OPTIMIZER}{name}");
        owned.push(match kept {
            Kept::Count(count) => (name, Dtype::U64, vec![], count.to_le_bytes().to_vec()),
            Kept::Tensor(shape, values) => {
                (name, Dtype::F32, shape.clone(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
        });
    }
    let of_last = last.map(|network| of_network(network, None)).transpose()?;
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut views: Vec<(String, TensorView)> = file.tensors();
    for (name, dtype, shape, bytes) in &owned {
        views.push((name.clone(), TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?));
    }
    let last = of_last.as_ref().map(|bytes| SafeTensors::deserialize(bytes)).transpose().map_err(broken)?;
    if let Some(last) = &last {
        views.extend(last.tensors().into_iter().map(|(name, view)| (format!("{LAST}{name}"), view)));
    }
    let metadata = [(metadata.0.to_owned(), metadata.1.to_owned())].into();
    safetensors::serialize(views, Some(metadata)).map_err(broken)
}

/// What the optimiser kept, in a file that was checked.
pub(super) fn kept(file: &SafeTensors) -> BTreeMap<String, Kept> {
    let of_optimizer = file.tensors().into_iter().filter_map(|(name, view)| {
        let name = name.strip_prefix(OPTIMIZER)?.to_owned();
        let kept = match view.dtype() {
            Dtype::U64 => Kept::Count(u64::from_le_bytes(view.data().try_into().ok()?)),
            _ => Kept::Tensor(view.shape().to_vec(), floats(view.data()).collect()),
        };
        Some((name, kept))
    });
    of_optimizer.collect()
}

/// The network of the last step as a file of its own; none where the file's network is that.
pub(super) fn last(file: &SafeTensors) -> Result<Option<Vec<u8>>, ModelError> {
    let views: Vec<(String, TensorView)> = file
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| Some((name.strip_prefix(LAST)?.to_owned(), view)))
        .collect();
    if views.is_empty() { Ok(None) } else { safetensors::serialize(views, None).map(Some).map_err(broken) }
}

fn floats(data: &[u8]) -> impl Iterator<Item = f32> {
    data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))
}

/// Checks that the tensors are those of the described network, and that their values are finite, variances not negative; of what a training
/// needs besides, that it is finite and of types that are read.
pub(super) fn check(file: &SafeTensors, description: &Description) -> Result<(), ModelError> {
    // Before a network is built that a small file only claims.
    let (plan, data) = (&description.plan, &description.data);
    let numbers: usize =
        plan.network.outline(data.input, data.classes.len()).iter().map(|layer| layer.parameters).sum();
    let there: usize = file.tensors().iter().map(|(_, view)| view.data().len() / 4).sum();
    if numbers > MOST_BUILT && there < numbers {
        let name = String::from("(all together)");
        return Err(ModelError::Tensor { name, expected: format!("{numbers} numbers"), got: there.to_string() });
    }
    let blank = of_network(&plan.blank(data), None)?;
    let expected = SafeTensors::deserialize(&blank).map_err(broken)?;
    let error =
        |name: &str, expected: String, got: String| Err(ModelError::Tensor { name: shortened(name), expected, got });
    let mut names: Vec<&str> = expected.names();
    names.sort_unstable();
    let has_last = file.names().iter().any(|name| name.starts_with(LAST));
    let places: &[&str] = if has_last { &["", LAST] } else { &[""] };
    for prefix in places {
        for name in &names {
            let (shape, full) = (expected.tensor(name).map_err(broken)?.shape().to_vec(), format!("{prefix}{name}"));
            let expected = format!("F32 {shape:?}");
            let Ok(tensor) = file.tensor(&full) else { return error(&full, expected, String::from("none")) };
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                return error(&full, expected, shortened(&format!("{:?} {:?}", tensor.dtype(), tensor.shape())));
            }
            let variances = name.ends_with("running_var");
            let impossible = |value: &f32| !value.is_finite() || (variances && *value < 0.0);
            if let Some(value) = floats(tensor.data()).find(impossible) {
                let expected = if variances { "finite values >= 0" } else { "finite values" };
                return error(&full, expected.to_owned(), value.to_string());
            }
        }
    }
    let counts = |name: &str| {
        let norm = name.strip_suffix(COUNT).map(|path| format!("{path}.norm.running_mean"));
        let is_count = file.tensor(name).is_ok_and(|tensor| tensor.dtype() == Dtype::I64 && tensor.data().len() == 8);
        is_count && norm.is_some_and(|norm| names.contains(&norm.as_str()))
    };
    let of_training = |name: &str| {
        let known = name.strip_prefix(LAST).is_some_and(|name| names.contains(&name));
        let numbers = |view: TensorView| match view.dtype() {
            Dtype::F32 => floats(view.data()).all(f32::is_finite),
            dtype => dtype == Dtype::U64 && view.data().len() == 8,
        };
        known || (name.starts_with(OPTIMIZER) && file.tensor(name).is_ok_and(numbers))
    };
    let known = |name: &str| names.contains(&name) || counts(name) || of_training(name);
    match file.names().into_iter().filter(|name| !known(name)).min() {
        Some(name) => error(name, String::from("none of that name"), String::from("one")),
        None => Ok(()),
    }
}
