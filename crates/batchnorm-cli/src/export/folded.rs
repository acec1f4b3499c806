//! The export with its batch norms in the layers beside them, as `batchnorm fold` would make it.

use batchnorm_model::fold;
use batchnorm_model::onnx::Model;

use super::report::Folded;

/// Folds a model, and reads it again.
pub fn fold(bytes: &[u8]) -> Result<(Vec<u8>, Folded), String> {
    let read = |bytes| Model::read(bytes).map_err(|error| error.to_string());
    let elsewhere = |name: &str, _, _| Err(format!("{name}: no values are in another file"));
    let folding = fold::fold(&read(bytes)?, bytes, &elsewhere, false).map_err(|error| error.to_string())?;
    let mut out = Vec::with_capacity(bytes.len());
    folding.write(bytes, &mut out).map_err(|error| error.to_string())?;
    read(&out)?.check().map_err(|error| error.to_string())?;
    let into = folding.folded.into_iter().map(|norm| (norm.name, norm.into)).collect();
    let kept = folding.kept.into_iter().map(|(name, reason)| (name, reason.to_string())).collect();
    Ok((out, Folded { into, kept }))
}
