//! Trained model files: which batch norms are in them, whether they are healthy, and changes that leave every other byte as it was.
//!
//! In the order in which data flow: the [`kind`] of a file; its bytes as fields of protobuf ([`wire`]) and as a model of ONNX ([`onnx`]), or
//! its named tensors ([`weights`]); the batch norms in it, each a [`layer`]; whether each is [`foldable`], and what is wrong with it
//! ([`health`]). [`file`](mod@file) does all that for a path. Changes go the other way: [`edit`] writes a file of ONNX with some fields
//! changed, [`convert`] tensors by another framework's convention. [`samples`] are a user's data as inputs of a model, pictures by a [`recipe`].
//!
//! ```no_run
//! use batchnorm_model::file::ModelFile;
//! # use std::path::Path;
//! let inspection = ModelFile::open(Path::new("model.onnx"))?.inspect()?;
//! for finding in &inspection.findings {
//!     println!("{} {}: {}", finding.code, finding.severity, finding.text);
//! }
//! # Ok::<(), batchnorm_model::file::FileError>(())
//! ```

mod budget;
#[cfg(feature = "engine")]
pub mod compare;
pub mod convert;
pub mod edit;
#[cfg(feature = "engine")]
pub mod engine;
mod excerpt;
pub mod file;
#[cfg(feature = "engine")]
pub mod fingerprint;
pub mod fold;
pub mod foldable;
pub mod health;
#[cfg(feature = "engine")]
pub mod job;
pub mod kind;
pub mod layer;
mod layers;
pub mod numbers;
pub mod onnx;
pub mod parameters;
#[cfg(feature = "engine")]
pub mod recalibrate;
pub mod recipe;
pub mod samples;
pub mod statistics;
pub mod weights;
pub mod wire;
mod wiring;

pub use budget::TooMuch;
pub use layers::Norm;
