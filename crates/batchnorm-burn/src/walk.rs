//! Walks through a model that tell each layer its path, and find layers of any type.
//!
//! A visitor of Burn's sees parameters, not the modules that they belong to, and tells no module its path. So the layers speak
//! up by themselves: while a walk is under way on the thread, each layer that is visited or mapped finds it here.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor};

thread_local! {
    static WALK: RefCell<Option<Walk>> = const { RefCell::new(None) };
}

/// A walk through a model.
#[derive(Default)]
pub(crate) struct Walk {
    /// Names of the fields and indices entered; `None` for a variant of an enum, which is no part of a path, as in PyTorch.
    entered: Vec<Option<String>>,
    /// Whether it is the model as a whole, so that layers are to forget other paths.
    names: bool,
    /// The paths of all layers met.
    pub named: Vec<String>,
    /// Layers met that can be found, with their paths.
    pub found: Vec<(String, Box<dyn Any>)>,
    /// Layers that take the place of those at their paths.
    pub replacements: HashMap<String, Box<dyn Any>>,
}

impl Walk {
    /// The path of what is visited or mapped, without the last `inner` names.
    fn path(&self, inner: usize) -> String {
        let outer = &self.entered[..self.entered.len().saturating_sub(inner)];
        outer.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// Visits a model; gives the walk as it is then.
    pub fn visit<M: Module>(model: &M) -> Walk {
        Walk::default().during(|| model.visit(&mut Along)).1
    }

    /// [`visit`](Self::visit) of a model whose paths are the ones to call layers by, whatever they were called before.
    pub fn naming<M: Module>(model: &M) -> Walk {
        Walk { names: true, ..Walk::default() }.during(|| model.visit(&mut Along)).1
    }

    /// Maps a model, with layers that take the place of those at their paths.
    pub fn map<M: Module>(model: M, replacements: HashMap<String, Box<dyn Any>>) -> M {
        Walk { replacements, ..Walk::default() }.during(|| model.map(&mut Along)).0
    }

    fn during<R>(self, work: impl FnOnce() -> R) -> (R, Walk) {
        /// Ends a walk, also where the model panics.
        struct Ended;
        impl Drop for Ended {
            fn drop(&mut self) {
                WALK.take();
            }
        }
        let ended = Ended;
        WALK.set(Some(self));
        let result = work();
        let walk = WALK.take().unwrap_or_default();
        drop(ended);
        (result, walk)
    }
}

/// Does something with the walk that is under way on this thread.
fn with<R>(work: impl FnOnce(&mut Walk) -> R) -> Option<R> {
    WALK.with_borrow_mut(|walk| walk.as_mut().map(work))
}

/// The path of a layer that is visited in a walk, of which the walk takes note. `inner` names are those of its own fields.
/// With it, whether the layer is to forget a longer path, of a larger model.
pub(crate) fn met(inner: usize) -> Option<(String, bool)> {
    with(|walk| {
        let path = walk.path(inner);
        walk.named.push(path.clone());
        (path, walk.names)
    })
}

/// Hands a layer that was [met] at a path to the walk.
pub(crate) fn found(path: String, layer: impl Any) {
    with(|walk| walk.found.push((path, Box::new(layer))));
}

/// What takes the place of a layer that is mapped; `None` where no walk is under way, `Some(None)` where nothing does.
pub(crate) fn replacement<L: Any>() -> Option<Option<L>> {
    with(|walk| walk.replacements.remove(&walk.path(0)).and_then(|other| other.downcast().ok()).map(|other| *other))
}

/// Goes along a model and keeps the path.
struct Along;

impl Along {
    fn enter(&self, name: &str, container_type: &str) {
        let name = (!container_type.starts_with("Enum:")).then(|| name.to_string());
        with(|walk| walk.entered.push(name));
    }

    fn exit(&self) {
        with(|walk| walk.entered.pop());
    }
}

impl ModuleVisitor for Along {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.exit();
    }
}

impl ModuleMapper for Along {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.exit();
    }
}
