//! What is wrong with batch norms, or likely to be: findings with stable codes.

mod code;
mod rules;

pub use code::{Code, Finding, Mend, Remedy, Severity};
pub use rules::findings;
