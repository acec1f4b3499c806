//! Recipes from text, of whichever format.

use std::path::Path;

use batchnorm_io::whole;
use serde_json::Value;

use super::description::Recipe;
use super::error::RecipeError;
use super::{hugging_face, timm};
use crate::excerpt::{beginning_of, excerpt};

/// Bytes of the longest file: timm's have a name for each of a model's classes, thousands of them.
const MOST_BYTES: u64 = 4 << 20;

impl Recipe {
    /// Reads a recipe from a file, of any of the formats of [`parse`](Self::parse).
    ///
    /// # Errors
    /// With the path: what the system says; otherwise as there.
    pub fn read(path: &Path) -> Result<Recipe, RecipeError> {
        let bytes =
            whole::read(path, MOST_BYTES).map_err(|error| RecipeError::Read { path: path.to_owned(), error })?;
        let recipe = if bytes.len() as u64 > MOST_BYTES {
            Err(RecipeError::Unknown(format!("a file of more than {MOST_BYTES} bytes")))
        } else {
            match str::from_utf8(&bytes) {
                Ok(text) => Recipe::parse(text),
                Err(_) => Err(RecipeError::Unknown(String::from("bytes that are no text in UTF-8"))),
            }
        };
        recipe.map_err(|error| RecipeError::File { path: path.to_owned(), error: Box::new(error) })
    }

    /// The recipe that a text says: our own TOML, timm's `config.json` or Hugging Face's `preprocessor_config.json`, decided by what is in it. It has been
    /// [checked](Self::check).
    ///
    /// # Errors
    /// Another text; fields that are wrong, or that a recipe cannot say; what `check` says.
    pub fn parse(text: &str) -> Result<Recipe, RecipeError> {
        let text = text.trim_start_matches('\u{feff}');
        let recipe = if text.trim_start().starts_with(['{', '[']) && !is_table(text) {
            let value = serde_json::from_str(text).map_err(|error| {
                RecipeError::Unknown(format!("text that is no JSON: {}", excerpt(&error.to_string())))
            })?;
            match value {
                Value::Object(object) if timm::is_timm(&object) => timm::recipe(&object)?,
                Value::Object(object) if hugging_face::is_hugging_face(&object) => hugging_face::recipe(&object)?,
                Value::Object(object) => {
                    let fields: Vec<String> = object.keys().map(|field| excerpt(field)).collect();
                    return Err(RecipeError::Unknown(format!("JSON with the fields {}", beginning_of(&fields))));
                }
                _ => return Err(RecipeError::Unknown(String::from("JSON that is no object"))),
            }
        } else {
            toml::from_str(text).map_err(|error: toml::de::Error| {
                let line =
                    error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
                RecipeError::Toml { line, message: excerpt(error.message()).replace('\n', " ") }
            })?
        };
        recipe.check()?;
        Ok(recipe)
    }
}

/// Whether a text begins with the head of a table, `[name]`, as TOML may and JSON does not.
fn is_table(text: &str) -> bool {
    let line = text.trim_start().lines().next().unwrap_or_default().trim();
    line.strip_prefix('[').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}
