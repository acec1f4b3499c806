//! Parsing of the words behind a flag, with errors that name the flag.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::str::FromStr;

use batchnorm_lab::setting::{Difference, SettingError};

use crate::failure::Failure;

/// The value that most flags take, for errors.
pub const WHOLE: &str = "a whole number";

pub fn number<T: FromStr>(flag: &str, text: &str, what: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // Digits alone are a whole number; it is too large for the type, which is usize or u64.
        true => expected(flag, format!("{what} up to {}", usize::MAX), text),
        false => expected(flag, what, format!("`{text}`")),
    })
}

/// Parses numbers with commas between them.
pub fn list<T: FromStr>(flag: &str, text: &str, what: &str) -> Result<Vec<T>, Failure> {
    text.split(',').map(|word| number(flag, word.trim(), what)).collect()
}

/// Tells whether each value is there once.
pub fn are_distinct<T: Eq + Hash>(values: &[T]) -> bool {
    values.iter().collect::<HashSet<_>>().len() == values.len()
}

pub fn expected(flag: &str, what: impl Display, got: impl Display) -> Failure {
    Failure::usage(format!("{flag}: expected {what}, got {got}"))
}

/// The failure of a setting out of range, by the name of its flag.
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
        "network" => "--network",
        "norm" => "--norm",
        "dropout" => "--dropout",
        "weight_deviation" => "--start",
        "epsilon" => "--epsilon",
        "weight_of_new" => "--update-weight",
        "groups" => "--groups",
        "renormalization" => "--renorm",
        "momentum" => "--momentum",
        "nesterov" => "--nesterov",
        "schedule" => "--schedule",
        "warm_up" => "--warm-up",
        "weight_decay" => "--weight-decay",
        "clip" => "--clip",
        "augment" => "--augment",
        "patience" => "--patience",
        "data" => "--data",
        "ghost" => "--ghost",
        "freeze" => "--freeze",
        "statistics" => "--statistics",
        "affine" => "--affine",
        "average" => "--average",
        _ => return Failure::usage(error),
    };
    expected(flag, what, got)
}

/// The differences between a file's experiment and the one asked for, in words.
pub fn differences(differences: &[Difference]) -> String {
    let words: Vec<String> =
        differences.iter().map(|(what, there, now)| format!("{what}: {there} there, {now} now")).collect();
    words.join("; ")
}
