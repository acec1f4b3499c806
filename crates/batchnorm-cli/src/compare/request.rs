//! From the words of the command line to settings that can be run.

use std::fmt::Display;
use std::str::FromStr;

use batchnorm_lab::comparison::{SettingError, Settings};

use super::Arguments;
use crate::failure::Failure;

/// More would never end.
const MOST_SEEDS: usize = 10_000;

/// The settings asked for, each number read; their ranges are checked with the comparison.
pub fn settings(arguments: &Arguments) -> Result<Settings, Failure> {
    let whole = "a whole number";
    let mut settings = Settings {
        seeds: seeds(&arguments.seeds)?,
        steps: number("--steps", &arguments.steps, whole)?,
        target_accuracy: number("--target", &arguments.target, "a share, such as 0.95")?,
        batch_size: number("--batch-size", &arguments.batch_size, whole)?,
        evaluate_every: number("--evaluate-every", &arguments.evaluate_every, whole)?,
        threads: number("--threads", &arguments.threads, whole)?,
        ..Settings::default()
    };
    if let Some(rate) = &arguments.learning_rate {
        settings.arms = Settings::arms_at(number("--learning-rate", rate, "a number above 0")?);
    }
    Ok(settings)
}

/// A setting out of range, by the name of its flag.
pub fn failure(error: SettingError) -> Failure {
    let SettingError { setting, expected, got } = &error;
    let flag = match *setting {
        "seeds" => "--seeds",
        "steps" => "--steps",
        "target_accuracy" => "--target",
        "learning_rate" => "--learning-rate",
        "batch_size" => "--batch-size",
        "evaluate_every" => "--evaluate-every",
        "threads" => "--threads",
        _ => return Failure::usage(error),
    };
    Failure::usage(format!("{flag}: expected {expected}, got {got}"))
}

/// The default of `--seeds`: how many there are by default.
pub fn seeds_by_default() -> String {
    Settings::default().seeds.len().to_string()
}

fn seeds(text: &str) -> Result<Vec<u64>, Failure> {
    if text.contains(',') {
        let list: Vec<u64> =
            text.split(',').map(|seed| number("--seeds", seed.trim(), "whole numbers")).collect::<Result<_, _>>()?;
        if list.len() > MOST_SEEDS {
            return Err(expected("--seeds", format!("at most {MOST_SEEDS} seeds"), list.len()));
        }
        return Ok(list);
    }
    let count: usize = number("--seeds", text, "a number of seeds or a list, such as 3,17,42")?;
    if !(1..=MOST_SEEDS).contains(&count) {
        return Err(expected("--seeds", format!("1 to {MOST_SEEDS} seeds"), count));
    }
    Ok((1..=count as u64).collect())
}

fn number<T: FromStr>(flag: &str, text: &str, what: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| expected(flag, what, format!("`{text}`")))
}

fn expected(flag: &str, what: impl Display, got: impl Display) -> Failure {
    Failure::usage(format!("{flag}: expected {what}, got {got}"))
}
