//! Paths of a network's parameters: the names of their tensors in files.

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

/// Tells whether a parameter is a gamma or beta.
pub(crate) fn is_of_norm(path: &str) -> bool {
    path.ends_with(".gamma") || path.ends_with(".beta")
}
