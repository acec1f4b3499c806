//! Fields of an object of JSON, with the errors that they may cause.

use serde_json::{Map, Value};

use super::error::{Format, RecipeError};
use crate::excerpt::excerpt;

/// An object's fields.
#[derive(Clone, Copy)]
pub struct Fields<'v> {
    pub format: Format,
    pub map: &'v Map<String, Value>,
}

impl<'v> Fields<'v> {
    /// A field that is there and not null.
    pub fn get(&self, field: &str) -> Option<&'v Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// A field that has to be there.
    pub fn expect(&self, field: &str, expected: &str) -> Result<&'v Value, RecipeError> {
        self.get(field).ok_or_else(|| RecipeError::Field {
            format: self.format,
            field: field.to_owned(),
            expected: expected.to_owned(),
            got: String::from("none"),
        })
    }

    /// An error about a field.
    pub fn wrong<T>(&self, field: &str, expected: &str, got: &Value) -> Result<T, RecipeError> {
        let (field, expected) = (excerpt(field), expected.to_owned());
        Err(RecipeError::Field { format: self.format, field, expected, got: excerpt(&got.to_string()) })
    }

    /// An error about a field that a recipe has no place for.
    pub fn unsupported<T>(&self, field: &str, why: &str) -> Result<T, RecipeError> {
        Err(RecipeError::Unsupported { format: self.format, field: excerpt(field), why: why.to_owned() })
    }

    /// Fields that are neither known nor said not to be (null or false).
    pub fn expect_known(&self, known: &[&str]) -> Result<(), RecipeError> {
        let says_nothing = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
        match self.map.iter().find(|(field, value)| !known.contains(&&field[..]) && !says_nothing(value)) {
            Some((field, value)) => {
                self.unsupported(field, &format!("a field that is not known (it is {})", excerpt(&value.to_string())))
            }
            None => Ok(()),
        }
    }

    /// Yes or no, `otherwise` where it says nothing.
    pub fn truth(&self, field: &str, otherwise: bool) -> Result<bool, RecipeError> {
        match self.get(field) {
            None => Ok(otherwise),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(other) => self.wrong(field, "true or false", other),
        }
    }

    /// Numbers: several, or one.
    pub fn numbers(&self, field: &str) -> Result<Vec<f64>, RecipeError> {
        let value = self.expect(field, "numbers")?;
        let numbers = match value {
            Value::Array(values) => values.iter().map(Value::as_f64).collect(),
            one => one.as_f64().map(|one| vec![one]),
        };
        match numbers {
            Some(numbers) if !numbers.is_empty() => Ok(numbers),
            _ => self.wrong(field, "numbers", value),
        }
    }
}

/// A length: a whole number above 0.
pub fn length(value: &Value) -> Option<usize> {
    let whole =
        value.as_u64().or_else(|| value.as_f64().filter(|value| value.fract() == 0.0).map(|value| value as u64));
    whole.and_then(|whole| usize::try_from(whole).ok()).filter(|&length| length > 0)
}
