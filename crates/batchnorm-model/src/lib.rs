//! Trained model files: which batch norms are in them, whether they are healthy, and changes that leave every other byte as it was.
//!
//! In the order in which data flow: the [`kind`] of a file; its bytes as fields of protobuf ([`wire`]) and as a model of ONNX ([`onnx`]), or
//! its named tensors ([`weights`]); the batch norms in it, each a [`layer`]; whether each is [`foldable`], and what is wrong with it
//! ([`health`]). [`file`](mod@file) does all that for a path. Changes go the other way: [`edit`] writes a file of ONNX with some fields
//! changed, [`repair`](mod@repair) mends what has one right answer, [`convert`] tensors by another framework's convention. [`samples`] are a user's data as inputs of a model. Files of one's own are written by [`onnx::NewModel`] and
//! [`weights::NewWeights`], with the [`recipe`] of what the network's pictures went through.
//!
//! Whoever writes files and reads none leaves the feature `read` out, and with it all but `numbers`, `onnx`'s and `weights`' new ones,
//! `recipe` and `wire`. Models are run (feature `engine`) by `rten`, which is built in, or by `onnxruntime` (feature `ort`), a library
//! that the user names.
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

#[cfg(feature = "read")]
mod budget;
#[cfg(feature = "engine")]
pub mod compare;
#[cfg(feature = "read")]
pub mod convert;
#[cfg(feature = "engine")]
pub mod cut;
#[cfg(feature = "read")]
pub mod edit;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "read")]
mod excerpt;
#[cfg(feature = "read")]
pub mod file;
#[cfg(feature = "engine")]
pub mod fingerprint;
#[cfg(feature = "read")]
pub mod fold;
#[cfg(feature = "read")]
pub mod foldable;
#[cfg(feature = "engine")]
pub mod gap;
#[cfg(feature = "read")]
pub mod health;
#[cfg(feature = "engine")]
pub mod job;
#[cfg(feature = "read")]
pub mod kind;
#[cfg(feature = "read")]
pub mod layer;
#[cfg(feature = "read")]
mod layers;
pub mod numbers;
pub mod onnx;
#[cfg(feature = "read")]
mod os_path;
#[cfg(feature = "read")]
pub mod parameters;
#[cfg(feature = "engine")]
pub mod recalibrate;
pub mod recipe;
#[cfg(feature = "read")]
pub mod repair;
#[cfg(feature = "read")]
pub mod samples;
#[cfg(feature = "read")]
pub mod statistics;
pub mod weights;
pub mod wire;
#[cfg(feature = "read")]
mod wiring;

#[cfg(feature = "read")]
pub use budget::TooMuch;
#[cfg(feature = "read")]
pub use layers::Norm;
