//! What the targets share: a limit of memory for each input, a folder for files, and changes of inputs that keep them readable.

pub mod files;
pub mod memory;
pub mod mutate;
