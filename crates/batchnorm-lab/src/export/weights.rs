//! A network's tensors under PyTorch's names.

use batchnorm_model::onnx::{NewTensor, NewValues};

use super::error::ExportError;
use super::tensors::Tensors;
use crate::model::Description;
use crate::network::NormKind;

/// The tensors in the order of the network.
pub fn of(description: &Description, tensors: &Tensors) -> Result<Vec<NewTensor>, ExportError> {
    let mut named = Vec::new();
    for path in tensors.paths() {
        let (layer, name) = path.rsplit_once('.').unwrap_or_default();
        if description.plan.network.norm == NormKind::Decorrelated && layer.ends_with(".norm") {
            return Err(ExportError::NotInPyTorch { path: layer.to_owned() });
        }
        match name {
            "weight" if tensors.shape(path).len() == 2 => named.push(tensors.linear(layer)),
            "gamma" => named.push(tensors.named(path, format!("{layer}.weight"))),
            "beta" => named.push(tensors.named(path, format!("{layer}.bias"))),
            "running_mean" => named.push(tensors.named(path, path.to_owned())),
            "running_var" => {
                named.push(tensors.named(path, path.to_owned()));
                let batches = vec![batches(description)];
                let name = format!("{layer}.num_batches_tracked");
                named.push(NewTensor { name, shape: Vec::new(), values: NewValues::Ints(batches) });
            }
            "weight" | "bias" => named.push(tensors.named(path, path.to_owned())),
            // (What a training alone needs: updates of an average that starts anew.)
            _ => {}
        }
    }
    Ok(named)
}

/// Steps that the network has behind it, each of which was a batch.
fn batches(description: &Description) -> i64 {
    let steps = description.watch.map_or(description.steps_done, |watch| watch.best_step);
    i64::try_from(steps).unwrap_or(i64::MAX)
}
