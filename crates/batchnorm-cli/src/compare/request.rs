//! Parsing of the command line of `compare` to settings.

use std::path::Path;

use batchnorm_lab::comparison::Settings;

use super::options::Arguments;
use crate::failure::Failure;
use crate::flags::{WHOLE, are_distinct, expected, list, number};

/// The most seeds that are taken: a run of more would not end in useful time.
const MOST_SEEDS: usize = 10_000;

/// What `--target` takes.
pub const SHARE: &str = "a share, such as 0.95";

/// The settings asked for, each number read; their ranges are checked with the comparison.
pub fn settings(arguments: &Arguments) -> Result<Settings, Failure> {
    let usual = Settings::default();
    let mut settings = Settings {
        seeds: seeds(arguments.seeds.as_deref())?,
        steps: number("--steps", &arguments.steps, WHOLE)?,
        target_accuracy: match &arguments.target {
            Some(target) => number("--target", target, SHARE)?,
            None => usual.target_accuracy,
        },
        batch_size: number("--batch-size", &arguments.batch_size, WHOLE)?,
        evaluate_every: number("--evaluate-every", &arguments.evaluate_every, WHOLE)?,
        threads: match &arguments.threads {
            Some(threads) => number("--threads", threads, WHOLE)?,
            None => usual.threads,
        },
        ..usual
    };
    if let Some(rate) = &arguments.learning_rate {
        settings.arms = Settings::arms_at(number("--learning-rate", rate, "a number above 0")?);
    }
    Ok(settings)
}

/// Refuses what is said of grids where none is asked for.
pub fn refuse_flags_of_grids(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { quick, beside, over, tune, read, base, .. } = arguments;
    let said = [
        ("--quick", *quick),
        ("--beside", !beside.is_empty()),
        ("--over", over.is_some()),
        ("--tune", tune.is_some()),
        ("--read", !read.is_empty()),
        ("flags of `train` behind --", !base.is_empty()),
    ];
    match said.iter().find(|(_, said)| *said) {
        Some((flag, _)) => Err(expected(flag, "a grid with it (--vary or --preset)", "none")),
        None => Ok(()),
    }
}

/// The seeds of `--seeds`; five unless it is said.
pub fn seeds(text: Option<&str>) -> Result<Vec<u64>, Failure> {
    let Some(text) = text else { return Ok(Settings::default().seeds) };
    if text.contains(',') {
        let seeds = list("--seeds", text, "whole numbers")?;
        if !are_distinct(&seeds) {
            return Err(expected("--seeds", "seeds, each different", format!("`{text}`")));
        }
        if seeds.len() > MOST_SEEDS {
            return Err(expected("--seeds", format!("at most {MOST_SEEDS} seeds"), seeds.len()));
        }
        return Ok(seeds);
    }
    let count: usize = number("--seeds", text, "a number of seeds or a list, such as 3,17,42")?;
    if !(1..=MOST_SEEDS).contains(&count) {
        return Err(expected("--seeds", format!("1 to {MOST_SEEDS} seeds"), count));
    }
    Ok((1..=count as u64).collect())
}

/// The command line, for the record; of the program its name.
pub fn command() -> String {
    let mut words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(program) = words.first_mut() {
        *program = Path::new(program).file_name().map_or(program.clone(), |name| name.to_string_lossy().into_owned());
    }
    words.join(" ")
}
