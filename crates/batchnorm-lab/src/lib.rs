//! Experiments with batch normalisation: real digits, a network with and without it, a training loop, and paired
//! comparisons one can check.
//!
//! In the order in which data flows:
//!
//! 1. [`data`]: labelled sets of any kind, read by place, split once and for all; [`digits`]: 1,797 images embedded in the crate;
//! 2. [`random`]: start weights and batch order from named seeds, the same on every run;
//! 3. [`network`]: networks as data: fully connected, convolutional and residual, with any norm;
//! 4. [`optimizer`] and [`schedule`]: how weights follow their gradients; [`training`]: step by step, timed;
//! 5. [`transfer`]: a start from another network's weights, and [`averaging`] of weights; [`plan`]: all settings of a single training, [`model`]: the network and its training as a file's bytes, [`export`]: as files that
//!    other programs run, and [`diagnosis`]: what goes wrong in it;
//! 6. [`picture`]: the input of a network of the digits for any picture of one;
//! 7. [`comparison`]: the settings of a comparison, its runs, and those still missing; [`probe`]: looks inside its networks, which do not
//!    change them; [`run`]: one network trained from one seed, with its curve;
//! 8. [`trial`]: one training of a [`grid`] of them, and [`statistics`]: paired differences and what may be said of them;
//! 9. [`summary`]: means and ranges over seeds, and paired factors; [`report`]: a comparison as one page of HTML.
//!
//! Nothing here prints or writes files; data sets alone are read. Progress goes to a callback, which can also stop the work; results are values
//! that `serde` can write and read.
//!
//! ```
//! use batchnorm_lab::comparison::{Comparison, Settings};
//! use batchnorm_lab::digits::Digits;
//! use std::ops::ControlFlow;
//!
//! let settings = Settings { seeds: vec![1], steps: 40, ..Settings::default() };
//! let mut comparison = Comparison::new(settings, "an example".into())?;
//! let digits = Digits::embedded();
//! for task in comparison.missing() {
//!     let outcome = comparison.perform(&task, &digits, &mut |_progress| ControlFlow::Continue(()));
//!     let ControlFlow::Continue(run) = outcome else { break };
//!     comparison.record(run);
//! }
//! assert!(comparison.complete);
//! # Ok::<(), batchnorm_lab::comparison::SettingError>(())
//! ```

pub mod averaging;
pub mod comparison;
mod convolution;
pub mod data;
pub mod diagnosis;
pub mod digits;
pub mod export;
mod folding;
pub mod grid;
pub mod hash;
pub mod look;
pub mod machine;
pub mod model;
pub mod network;
pub mod optimizer;
pub mod picture;
pub mod plan;
pub mod probe;
pub mod random;
pub mod report;
pub mod run;
pub mod schedule;
pub mod setting;
mod settings;
pub mod shift;
pub mod statistics;
pub mod summary;
pub mod training;
pub mod transfer;
pub mod trial;
pub mod words;
