//! Paths of a network's parameters: the names of their tensors in files.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// The path of the parameter that a walk over a module is at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// Goes into a module. (The names of variants of an enum are left out, as tensors in files do not have them either.)
    pub fn enter(&mut self, name: &str, container: &str) {
        self.0.push(if container.starts_with("Enum:") { String::new() } else { name.to_owned() });
    }

    pub fn leave(&mut self) {
        self.0.pop();
    }

    pub fn joined(&self) -> String {
        self.0.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

/// A parameter or running statistic that a walk over a module meets.
pub(crate) struct Met<'m> {
    pub path: String,
    pub shape: Vec<usize>,
    pub is_trained: bool,
    read: &'m dyn Fn() -> Vec<f32>,
}

impl Met<'_> {
    pub fn values(&self) -> Vec<f32> {
        (self.read)()
    }
}

/// Calls with each parameter and running statistic of a module, in the module's order.
pub(crate) fn walk<M: Module>(module: &M, with: impl FnMut(Met)) {
    module.visit(&mut Walk { path: Path::default(), with });
}

struct Walk<F> {
    path: Path,
    with: F,
}

impl<F: FnMut(Met)> ModuleVisitor for Walk<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let (path, shape, is_trained) = (self.path.joined(), tensor.dims().to_vec(), tensor.is_require_grad());
        let read = || tensor.clone().into_data().iter::<f32>().collect();
        (self.with)(Met { path, shape, is_trained, read: &read });
    }
}

/// Tells whether a parameter is a gamma or beta.
pub(crate) fn is_of_norm(path: &str) -> bool {
    path.ends_with(".gamma") || path.ends_with(".beta")
}
