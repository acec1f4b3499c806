//! Checks of settings that a comparison and a single training share, and differences between settings.

use thiserror::Error;

/// The most steps a run may have.
pub const MOST_STEPS: usize = 10_000_000;

/// A setting out of range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{setting}: expected {expected}, got {got}")]
pub struct SettingError {
    /// The setting's name, as the field's.
    pub setting: &'static str,
    /// The values that it may have.
    pub expected: String,
    /// The value that it has.
    pub got: String,
}

impl SettingError {
    pub(crate) fn new(setting: &'static str, expected: &str, got: impl ToString) -> SettingError {
        SettingError { setting, expected: expected.to_owned(), got: got.to_string() }
    }
}

/// A setting in which two experiments differ: its name, its value in the earlier one, and its value now.
pub type Difference = (&'static str, String, String);

pub(crate) fn check_whole(setting: &'static str, got: usize, most: usize) -> Result<(), SettingError> {
    match got {
        got if (1..=most).contains(&got) => Ok(()),
        got => Err(SettingError::new(setting, &format!("a number in 1..={most}"), got)),
    }
}

pub(crate) fn check_steps(setting: &'static str, got: usize) -> Result<(), SettingError> {
    check_whole(setting, got, MOST_STEPS)
}

/// Checks a number of threads, 1 to 1024.
///
/// # Errors
/// Any other number.
pub fn check_threads(got: usize) -> Result<(), SettingError> {
    check_whole("threads", got, 1024)
}

/// Checks an accuracy to reach.
///
/// # Errors
/// No share above 0.
pub fn check_target(got: f64) -> Result<(), SettingError> {
    if got > 0.0 && got <= 1.0 {
        return Ok(());
    }
    Err(SettingError::new("target_accuracy", "a share above 0, at most 1", got))
}

pub(crate) fn check_learning_rate(rate: f64) -> Result<(), SettingError> {
    if rate > 0.0 && rate <= 1e6 {
        return Ok(());
    }
    Err(SettingError::new("learning_rate", "a number above 0, at most 1e6", rate))
}

pub(crate) fn check_batch_size(size: usize, examples: usize, batch_norm: bool) -> Result<(), SettingError> {
    check_whole("batch_size", size, examples)?;
    if size == 1 && batch_norm {
        return Err(SettingError::new("batch_size", "2 or more: batch norm needs two values to normalise by", size));
    }
    Ok(())
}
