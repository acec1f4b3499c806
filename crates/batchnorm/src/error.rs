//! What can go wrong, by the place where it goes wrong.
//!
//! Every message names the argument, says what was expected and what came, and how to mend it.

mod call;
mod config;
mod view;

pub use call::CallError;
pub use config::ConfigError;
pub use view::{ViewError, WeightsError};
