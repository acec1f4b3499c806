//! Batch normalisation, exact and reproducible.
#![cfg_attr(not(feature = "ndarray"), allow(rustdoc::broken_intra_doc_links))]

mod affine;
mod config;
mod element;
mod error;
mod kernel;
mod layer;
mod layout;
mod moments;
mod parallel;
pub mod reference;
mod rule;
mod running;
mod view;

pub use affine::{inverse_deviation, scale_and_shift, undoing};
pub use config::{Affine, Config, ConstantChannel, EmptyBatch, MissingRunning, NonFinite, Policies, SingleValue};
pub use element::{Element, Parameter};
pub use error::{CallError, ConfigError, ViewError};
pub use kernel::raw::Tier;
pub use layer::{BatchNorm, Evaluated, Gradients, Trained};
pub use layout::{Axes, AxisRole};
pub use moments::Moments;
pub use rule::{BatchMoments, ParameterGradients, Parameters, Rule, Saved};
pub use running::{Averaging, Estimator, RunningStatistics, UpdateWeight};
pub use view::{Tensor, View, ViewMut};
