//! All batch norms of a model, by one call, each with its path.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use burn::module::Module;

use crate::error::ForwardError;
use crate::module::BatchNorm;
use crate::walk::Walk;

/// Tells every layer of this crate in a model its path (`layer4.blocks.0.bn1`), which errors and displays go by from then
/// on; see [`LayerName`](crate::LayerName). Gives the paths, in the order of the fields. Fields of whatever visibility, vectors, tuples,
/// options and enums are gone through; a variant's name is left out, as PyTorch knows none.
///
/// ```
/// use batchnorm_burn::{BatchNorm, BatchNormConfig, name_layers};
/// use burn::module::Module;
/// use burn::tensor::{Device, Tensor};
///
/// #[derive(Module, Debug)]
/// struct Model {
///     blocks: Vec<BatchNorm>,
/// }
/// let device = Device::default();
/// let model = Model { blocks: (0..2).map(|_| BatchNormConfig::new(3).init(&device)).collect() };
/// assert_eq!(name_layers(&model), ["blocks.0", "blocks.1"]);
/// let error = model.blocks[1].try_forward_eval(Tensor::<2>::zeros([8, 4], &device)).unwrap_err();
/// assert!(error.to_string().starts_with("blocks.1: input: expected 3 channels"));
/// ```
pub fn name_layers<M: Module>(model: &M) -> Vec<String> {
    Walk::naming(model).named
}

/// All batch norms of a model, in the order of its fields, each with its path. They are told their paths, as by
/// [`name_layers`].
///
/// What is reached is the layers themselves, not copies: what is held, committed or installed through them is in the
/// model. Their fields are changed by [`map_norms`].
///
/// ```
/// use batchnorm_burn::{BatchNorm, BatchNormConfig, norms};
/// use burn::module::Module;
/// use burn::tensor::{Device, Distribution, Tensor};
///
/// #[derive(Module, Debug)]
/// struct Model {
///     body: Vec<BatchNorm>,
///     head: BatchNorm,
/// }
/// let device = Device::default();
/// let norm = || BatchNormConfig::new(3).init(&device);
/// let model = Model { body: vec![norm(), norm()], head: norm() };
///
/// norms(&model).hold(); // this step may not count
/// model.head.forward_train(Tensor::<2>::random([8, 3], Distribution::Default, &device));
/// norms(&model).commit_held()?; // it does
///
/// for norm in norms(&model).filter(|path| path.starts_with("body.")) {
///     println!("{}: {:?}", norm.path(), norm.running_statistics()?.mean());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn norms<M: Module>(model: &M) -> Norms {
    let found = Walk::visit(model).found.into_iter();
    let norm = |(path, layer): (String, Box<dyn Any>)| Some(Norm { path: path.into(), layer: *layer.downcast().ok()? });
    Norms(found.filter_map(norm).collect())
}

/// The model with each of its batch norms replaced by what `change` makes of it and its path: so every option of all
/// layers, or of some, is set by one call. Parameters and statistics stay what they are unless `change` changes them.
///
/// ```
/// use batchnorm_burn::{BatchNorm, BatchNormConfig, Switches, map_norms};
/// use burn::module::Module;
/// use burn::tensor::Device;
///
/// #[derive(Module, Debug)]
/// struct Model {
///     body: Vec<BatchNorm>,
///     head: BatchNorm,
/// }
/// let device = Device::default();
/// let norm = || BatchNormConfig::new(3).init(&device);
/// let model = Model { body: vec![norm(), norm()], head: norm() };
///
/// let model = map_norms(model, |path, norm| match path {
///     "head" => BatchNorm { ghost: Some(16), ..norm },
///     _ => norm.pin(Some(Switches::frozen())),
/// });
/// assert_eq!((model.body[1].pinned, model.head.ghost), (Some(Switches::frozen()), Some(16)));
/// ```
pub fn map_norms<M: Module>(model: M, mut change: impl FnMut(&str, BatchNorm) -> BatchNorm) -> M {
    let changed = |Norm { path, layer }| {
        let layer = change(&path, layer);
        (path.to_string(), Box::new(layer) as Box<dyn Any>)
    };
    let replacements = norms(&model).into_iter().map(changed).collect();
    Walk::map(model, replacements)
}

/// A batch norm of a model, with its path; it is used as the [`BatchNorm`] that it is.
#[derive(Debug)]
pub struct Norm {
    path: Arc<str>,
    layer: BatchNorm,
}

impl Norm {
    /// Path of the layer in the model, such as `layer4.blocks.0.bn1`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Deref for Norm {
    type Target = BatchNorm;

    fn deref(&self) -> &BatchNorm {
        &self.layer
    }
}

/// Batch norms of a model; made by [`norms`].
#[derive(Debug)]
pub struct Norms(Vec<Norm>);

impl Norms {
    /// Those whose path is such as `which` says.
    #[must_use]
    pub fn filter(self, mut which: impl FnMut(&str) -> bool) -> Norms {
        Norms(self.0.into_iter().filter(|norm| which(norm.path())).collect())
    }

    /// The layers.
    pub fn iter(&self) -> std::slice::Iter<'_, Norm> {
        self.0.iter()
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// [`BatchNorm::hold`] of all.
    pub fn hold(&self) {
        self.iter().for_each(|norm| norm.hold());
    }

    /// [`BatchNorm::commit_held`] of all, or of none: where one of them would refuse, nothing is committed. Gives the
    /// layers and channels that were not updated by one of the batches.
    ///
    /// # Errors
    /// As [`BatchNorm::commit_held`], of the first layer that refuses.
    pub fn commit_held(&self) -> Result<Vec<(String, Vec<usize>)>, ForwardError> {
        self.iter().try_for_each(|norm| norm.may_commit_held())?;
        let mut not_updated = Vec::new();
        for norm in self {
            let channels = norm.commit_held()?;
            if !channels.is_empty() {
                not_updated.push((norm.path().to_string(), channels));
            }
        }
        Ok(not_updated)
    }

    /// [`BatchNorm::discard_held`] of all; gives the largest number of batches that one of them dropped.
    pub fn discard_held(&self) -> usize {
        self.iter().map(|norm| norm.discard_held()).max().unwrap_or(0)
    }

    /// [`BatchNorm::release`] of all; gives the largest number of batches that one of them dropped.
    pub fn release(&self) -> usize {
        self.iter().map(|norm| norm.release()).max().unwrap_or(0)
    }
}

impl IntoIterator for Norms {
    type Item = Norm;
    type IntoIter = std::vec::IntoIter<Norm>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'n> IntoIterator for &'n Norms {
    type Item = &'n Norm;
    type IntoIter = std::slice::Iter<'n, Norm>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Norms {
    /// The paths, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|norm| writeln!(f, "{}", norm.path()))
    }
}
