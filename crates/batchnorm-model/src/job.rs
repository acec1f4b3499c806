//! Work that runs a model, in a process of its own.
//!
//! A stranger's graph can ask for any amount of memory, and an engine may abort. So the work is done by a child, whose memory is limited,
//! and whose end is an error message here. The child is whatever command the caller gives; it has to call [`serve`].

mod child;
mod inputs;
mod parent;
mod work;

pub use child::serve;
pub use inputs::{Inputs, RandomInputs};
pub use parent::{ChildError, run};
pub use work::{Answer, Blend, Job, Message, Refusal, RefusalKind, Resume, Task};
