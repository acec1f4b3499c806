//! From the words behind a flag to numbers, with errors that name the flag.

use std::fmt::Display;
use std::str::FromStr;

use batchnorm_lab::setting::{Difference, SettingError};

use crate::failure::Failure;

/// What most flags take.
pub const WHOLE: &str = "a whole number";

pub fn number<T: FromStr>(flag: &str, text: &str, what: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // A whole number that is none for the type, which is as wide as usize, or u64: it is too large.
        true => expected(flag, format!("{what} up to {}", usize::MAX), text),
        false => expected(flag, what, format!("`{text}`")),
    })
}

/// Numbers with commas between them.
pub fn list<T: FromStr>(flag: &str, text: &str, what: &str) -> Result<Vec<T>, Failure> {
    text.split(',').map(|word| number(flag, word.trim(), what)).collect()
}

pub fn expected(flag: &str, what: impl Display, got: impl Display) -> Failure {
    Failure::usage(format!("{flag}: expected {what}, got {got}"))
}

/// A setting out of range, by the name of its flag.
pub fn failure(error: SettingError) -> Failure {
    let SettingError { setting, expected: what, got } = &error;
    let flag = match *setting {
        "seeds" => "--seeds",
        "steps" => "--steps",
        "target_accuracy" => "--target",
        "learning_rate" => "--learning-rate",
        "batch_size" => "--batch-size",
        "evaluate_every" => "--evaluate-every",
        "threads" => "--threads",
        "hidden" => "--hidden",
        _ => return Failure::usage(error),
    };
    expected(flag, what, got)
}

/// In what a file's experiment differs from the one asked for.
pub fn differences(all: &[Difference]) -> String {
    let words: Vec<String> = all.iter().map(|(what, there, now)| format!("{what}: {there} there, {now} now")).collect();
    words.join("; ")
}
