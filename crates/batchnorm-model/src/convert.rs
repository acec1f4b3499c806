//! The statistics of batch norms among named tensors, by another framework's convention.

use std::collections::HashSet;
use std::io::{self, Write};

use batchnorm::{ConfigError, Convention, Conversion};
use thiserror::Error;

use crate::layers::{Norm, parameters_of_weights};
use crate::numbers::Numbers;
use crate::weights::{Element, Weights, write_safetensors};

/// A conversion that cannot be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// No batch norm.
    #[error("expected tensors of batch norms, got none: there is nothing to convert")]
    NoBatchNorm,
    /// A layer whose tensors are not named by the convention that they are to be of.
    #[error(
        "{layer}: expected tensors by the names of {from} ({expected}), got {got:?}; name the convention that the file has"
    )]
    Names {
        /// The layer.
        layer: String,
        /// The convention.
        from: Convention,
        /// Its name for the tensor.
        expected: &'static str,
        /// The tensor.
        got: String,
    },
    /// Vectors that cannot be read.
    #[error("{layer}: {why}")]
    Vectors {
        /// The layer.
        layer: String,
        /// Why.
        why: String,
    },
    /// Statistics that cannot be converted.
    #[error("{layer}: {error}")]
    Statistics {
        /// The layer.
        layer: String,
        /// Why.
        error: ConfigError,
    },
    /// A new name that another tensor has.
    #[error("{name:?}: expected a name that no other tensor has, for {layer} by the other convention")]
    Taken {
        /// The layer.
        layer: String,
        /// The name.
        name: String,
    },
}

/// Tensors with their statistics by another convention, ready to be written.
#[derive(Debug)]
pub struct Converted<'w> {
    weights: &'w Weights,
    /// By place: the new name; none of a tensor that is left out.
    names: Vec<Option<String>>,
    /// By place: new values.
    values: Vec<Option<Vec<u8>>>,
    added: Vec<(String, i64)>,
    /// What was done, in sentences, each with the number of layers that it is about.
    pub notes: Vec<(String, usize)>,
    /// Layers that were converted.
    pub layers: usize,
}

/// Converts all batch norms among tensors from one convention to another. What the training was like is said by `training`, which
/// completes a conversion.
///
/// # Errors
/// No batch norm; other names than those of the convention; statistics that the convention cannot have.
pub fn convert<'w>(
    weights: &'w Weights,
    from: Convention,
    to: Convention,
    training: impl Fn(Conversion) -> Conversion,
) -> Result<Converted<'w>, ConvertError> {
    let norms = weights.norms();
    if norms.is_empty() {
        return Err(ConvertError::NoBatchNorm);
    }
    let mut converted = Converted {
        weights,
        names: weights.tensors.iter().map(|tensor| Some(tensor.name.clone())).collect(),
        values: vec![None; weights.tensors.len()],
        added: Vec::new(),
        notes: Vec::new(),
        layers: norms.len(),
    };
    for norm in &norms {
        converted.take(norm, from, to, &training)?;
    }
    let mut there = HashSet::new();
    let names = converted.names.iter().flatten().chain(converted.added.iter().map(|(name, _)| name));
    for name in names {
        if !there.insert(name) {
            let of = |norm: &&Norm| name.starts_with(&norm.name);
            let layer = norms
                .iter()
                .filter(of)
                .max_by_key(|norm| norm.name.len())
                .map_or_else(String::new, |norm| norm.name.clone());
            return Err(ConvertError::Taken { layer, name: name.clone() });
        }
    }
    Ok(converted)
}

impl Converted<'_> {
    fn take(
        &mut self,
        norm: &Norm,
        from: Convention,
        to: Convention,
        training: impl Fn(Conversion) -> Conversion,
    ) -> Result<(), ConvertError> {
        let layer = || norm.name.clone();
        let (old, new) = (from.keys(), to.keys());
        let renamed = [
            (norm.gamma, old.gamma, new.gamma),
            (norm.beta, old.beta, new.beta),
            (Some(norm.mean), old.running_mean, new.running_mean),
            (Some(norm.variance), old.running_variance, new.running_variance),
        ];
        for (at, old, new) in renamed {
            let Some(at) = at else { continue };
            let name = &self.weights.tensors[at].name;
            let Some(before) = name.strip_suffix(old) else {
                return Err(ConvertError::Names { layer: layer(), from, expected: old, got: name.clone() });
            };
            self.names[at] = Some(format!("{before}{new}"));
        }
        let parameters =
            parameters_of_weights(self.weights, norm).map_err(|why| ConvertError::Vectors { layer: layer(), why })?;
        let count = norm.count.and_then(|at| self.weights.count(&self.weights.tensors[at]));
        let batches = count.and_then(|count| u64::try_from(count).ok());
        let result = training(Conversion::new(from, to))
            .statistics(&parameters.mean.to_vec(), &parameters.variance.to_vec(), batches)
            .map_err(|error| ConvertError::Statistics { layer: layer(), error })?;
        self.keep(norm.mean, &result.mean, &parameters.mean);
        self.keep(norm.variance, &result.variance, &parameters.variance);
        match (norm.count, new.batches.zip(result.batches)) {
            (Some(at), None) => self.names[at] = None,
            (Some(at), Some((name, batches))) => {
                let before =
                    self.weights.tensors[at].name.strip_suffix(old.batches.unwrap_or_default()).unwrap_or_default();
                self.names[at] = Some(format!("{before}{name}"));
                if count != i64::try_from(batches).ok() && self.weights.tensors[at].element == Element::I64 {
                    self.values[at] = Some(batches.to_le_bytes().to_vec());
                }
            }
            (None, Some((name, batches))) => {
                let variance = self.names[norm.variance].as_deref().unwrap_or_default();
                let before = variance.strip_suffix(new.running_variance).unwrap_or_default();
                self.added.push((format!("{before}{name}"), i64::try_from(batches).unwrap_or(i64::MAX)));
            }
            (None, None) => {}
        }
        for note in result.notes {
            match self.notes.iter_mut().find(|(sentence, _)| *sentence == note.sentence) {
                Some((_, layers)) => *layers += 1,
                None => self.notes.push((note.sentence, 1)),
            }
        }
        Ok(())
    }

    /// New values in the type that the old ones have; old ones stay as they are, to the bit.
    fn keep(&mut self, at: usize, new: &[f64], old: &Numbers) {
        if new.iter().zip(old.iter()).any(|(new, old)| *new != old) {
            self.values[at] = Some(old.precision().bytes_of(new.iter().copied()));
        }
    }

    /// Writes the tensors as a safetensors file; those of no batch norm are as they were.
    ///
    /// # Errors
    /// What the writer says; tensors that cannot be read any more.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write_safetensors(self.weights, &self.names, &self.values, &self.added, out)
    }
}
