//! Grids of trainings: arms by seeds, what is done of them, what their figures say, and what others have published on the same question.
//!
//! The arms of one seed start from the same weights and see the same batches, so that figures are compared pair by pair ([`statistics`]).
//!
//! [`statistics`]: crate::statistics

mod figures;
mod findings;
mod published;
mod question;
mod study;

pub use figures::{ArmFigures, Beside, BesideReading, Change, Figures, Scale, Taken};
pub use findings::{difference, findings, points, sooner};
pub use published::Near;
pub use question::{Arm, Before, Cell, Made, NAMED, Published, Question, name};
pub use study::{Study, Sweep};
