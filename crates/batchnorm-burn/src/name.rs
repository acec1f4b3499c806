//! Names of layers: their path in the model, the name that somebody gave them, or the place where they were built.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex};

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;

use crate::error::{ForwardError, Reason};
use crate::lineage::locked;
use crate::walk;

/// The name of a layer in errors and displays.
///
/// A layer does not know where in a model it stands until somebody has walked through the model:
/// [`name_layers`](crate::name_layers) does, once and for all, and so does whatever else of this crate goes through a
/// model ([`norms`](crate::norms), [`map_norms`](crate::map_norms), recalibration). From then on the layer is called by its
/// path, such as `layer4.blocks.0.bn1`; clones, forks, `valid`, `train` and loaded records keep it. Before, it is
/// called by its type, and its errors tell the line of code that built it. A name given by hand ([`From`] a string) is shown beside the path.
///
/// (Burn's own visitors and mappers know the path, but do not tell it to the module that they visit.)
pub struct LayerName(Arc<Known>);

struct Known {
    kind: &'static str,
    given: Option<String>,
    built_at: Option<&'static Location<'static>>,
    path: Mutex<Option<Arc<str>>>,
}

impl LayerName {
    /// The name of a layer that is built by the caller of the function that calls this.
    #[track_caller]
    pub(crate) fn built_here(kind: &'static str, given: Option<String>) -> LayerName {
        LayerName::new(kind, given, Some(Location::caller()), None)
    }

    fn new(
        kind: &'static str,
        given: Option<String>,
        built_at: Option<&'static Location<'static>>,
        path: Option<Arc<str>>,
    ) -> LayerName {
        LayerName(Arc::new(Known { kind, given, built_at, path: Mutex::new(path) }))
    }

    /// Path of the layer in its model, in PyTorch's form (`layer4.blocks.0.bn1`), once it is known. Empty for a layer that
    /// is itself the model.
    pub fn path(&self) -> Option<Arc<str>> {
        locked(&self.0.path).clone()
    }

    /// The name that was given by hand.
    pub fn given(&self) -> Option<&str> {
        self.0.given.as_deref()
    }

    /// Whether there is a path or a given name.
    pub(crate) fn is_known(&self) -> bool {
        self.path().is_some_and(|path| !path.is_empty()) || self.0.given.is_some()
    }

    /// Of a layer that has neither a path nor a given name: where it was built, and what would tell its path.
    pub(crate) fn hint(&self) -> Option<String> {
        // A layer that is itself the model is told an empty path.
        let (None, None, Some(built_at)) = (self.path(), self.given(), self.0.built_at) else { return None };
        let kind = self.0.kind;
        let (file, line) = (built_at.file(), built_at.line());
        Some(format!("{kind} built at {file}:{line}; `name_layers(&model)` would give its path"))
    }

    /// The error of this layer for a reason.
    pub(crate) fn error(&self, reason: Reason) -> ForwardError {
        ForwardError { layer: self.to_string(), reason: Box::new(reason), hint: self.hint() }
    }

    /// The same name, which is told its path when this one is.
    pub(crate) fn handle(&self) -> LayerName {
        LayerName(self.0.clone())
    }

    /// The layer was found at a path. A walk through a part of the model does not make it forget its path in the whole,
    /// unless it `forgets` any.
    pub(crate) fn found_at(&self, path: &str, forgets: bool) {
        let mut known = locked(&self.0.path);
        let is_end =
            |longer: &str| longer.ends_with(path) && (path.is_empty() || longer.ends_with(&format!(".{path}")));
        if forgets || !known.as_deref().is_some_and(is_end) {
            *known = Some(path.into());
        }
    }

    /// What participants know the layer by: the same in all replicas, whoever has walked through one of them.
    pub(crate) fn tag(&self) -> &str {
        self.given().unwrap_or(self.0.kind)
    }
}

/// A clone is told its own path: a block is often built once and cloned.
impl Clone for LayerName {
    fn clone(&self) -> Self {
        LayerName::new(self.0.kind, self.0.given.clone(), self.0.built_at, self.path())
    }
}

impl<S: Into<String>> From<S> for LayerName {
    fn from(name: S) -> Self {
        LayerName::new("layer", Some(name.into()), None, None)
    }
}

impl PartialEq for LayerName {
    fn eq(&self, other: &Self) -> bool {
        (self.given(), self.path()) == (other.given(), other.path())
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Known { kind, given, .. } = &*self.0;
        match (self.path().filter(|path| !path.is_empty()), given) {
            (Some(path), Some(given)) if **given != *path => write!(f, "{path} ({given})"),
            (Some(path), _) => f.write_str(&path),
            (None, Some(given)) => f.write_str(given),
            (None, None) => f.write_str(kind),
        }
    }
}

impl fmt::Debug for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// A part of a layer without parameters, which is told the layer's path when the model is walked through.
impl Module for LayerName {
    fn visit<V: ModuleVisitor>(&self, _visitor: &mut V) {
        // The name is a field of its layer.
        if let Some((path, forgets)) = walk::met(1) {
            self.found_at(&path, forgets);
        }
    }

    fn map<M: ModuleMapper>(self, _mapper: &mut M) -> Self {
        self
    }

    fn to_device(self, _: &Device) -> Self {
        self
    }

    fn fork(self, _: &Device) -> Self {
        self
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn train(self) -> Self {
        self
    }
}

impl ModuleDisplayDefault for LayerName {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&self.to_string()).optional()
    }
}

impl ModuleDisplay for LayerName {}
