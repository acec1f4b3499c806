//! How a picture becomes the input of a network, as data: what a training did to its pictures, and whoever uses the network has to do too.
//!
//! A [`Recipe`] is read from our own TOML, timm's `config.json` or Hugging Face's `preprocessor_config.json` ([`Recipe::read`]), or put
//! together field by field. What a file says that a recipe cannot, and that would change pixels, is an error that names the field.

#[cfg(feature = "read")]
mod check;
mod description;
#[cfg(feature = "read")]
mod error;
#[cfg(feature = "read")]
mod hugging_face;
#[cfg(feature = "read")]
mod json;
#[cfg(feature = "read")]
mod outcome;
#[cfg(feature = "read")]
mod read;
#[cfg(feature = "read")]
mod timm;
mod words;

#[cfg(feature = "read")]
pub use check::MOST_SIDE;
pub use description::{BORDER, Colours, Filter, Layout, METADATA, Recipe, Resize};
#[cfg(feature = "read")]
pub use error::{Format, RecipeError};
