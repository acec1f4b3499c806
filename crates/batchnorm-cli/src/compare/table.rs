//! What a comparison says, for people and for programs.

use std::io::{self, Write};
use std::path::Path;

use batchnorm_lab::comparison::Comparison;
use batchnorm_lab::summary::{ArmSummary, Factor, Spread};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::json;

use crate::failure::Failure;

/// The table, a sentence for each factor, and where the curves are.
pub fn print(comparison: &Comparison, file: &Path) -> Result<(), Failure> {
    let settings = &comparison.settings;
    let target = percent(settings.target_accuracy);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "arm",
        &format!("steps to {target}"),
        &format!("seconds to {target}"),
        "final accuracy",
        "ms a step",
    ]);
    for arm in &comparison.summary.arms {
        let row = [
            reached(arm, arm.steps_to_target, settings.steps, |steps| format!("{steps:.0}")),
            reached(arm, arm.seconds_to_target, settings.steps, |seconds| format!("{seconds:.2}")),
            final_accuracy(arm),
            arm.milliseconds_a_step.map_or(String::from("-"), |spread| ranged(spread, |ms| format!("{ms:.2}"))),
        ];
        let cells = row.into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(&arm.arm)].into_iter().chain(cells));
    }
    let mut text = format!(
        "{}: mean (least to greatest) over {} seeds; {} steps of {} images.\n{table}\n",
        "Accuracy on 360 digits not trained on",
        settings.seeds.len(),
        settings.steps,
        settings.batch_size
    );
    for factor in &comparison.summary.factors {
        text += &sentence(factor, &target, settings.steps);
    }
    text += &format!("Curves, settings and machine: {}\n", file.display());
    put(&text)
}

/// The same as JSON, without the curves.
pub fn print_json(comparison: &Comparison, file: &Path) -> Result<(), Failure> {
    let summary = json!({
        "file": file,
        "complete": comparison.complete,
        "settings": comparison.settings,
        "machine": comparison.machine,
        "versions": comparison.versions,
        "summary": comparison.summary,
    });
    put(&format!("{summary:#}\n"))
}

/// To stdout; a reader that has seen enough is no error.
fn put(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::output(format!("stdout: {error}"))),
        _ => Ok(()),
    }
}

/// A figure over the runs that reached the target; where not all did, how many.
fn reached(arm: &ArmSummary, spread: Option<Spread>, steps: usize, show: impl Fn(f64) -> String) -> String {
    match spread {
        Some(spread) if arm.reached == arm.runs => ranged(spread, show),
        Some(spread) => format!("{}; {} of {} runs", ranged(spread, show), arm.reached, arm.runs),
        None => format!("not within {steps} steps"),
    }
}

fn final_accuracy(arm: &ArmSummary) -> String {
    let accuracy = arm.final_accuracy.map(|spread| ranged(spread, percent));
    match (accuracy, arm.diverged) {
        (Some(accuracy), 0) => accuracy,
        (Some(accuracy), diverged) => format!("{accuracy}; {diverged} of {} diverged", arm.runs),
        (None, _) => String::from("diverged"),
    }
}

fn sentence(factor: &Factor, target: &str, steps: usize) -> String {
    let Factor { arm, against, pairs, measured, lower_bounds, .. } = factor;
    let (Some(by_steps), Some(by_seconds)) = (factor.steps, factor.seconds) else {
        return format!("\"{arm}\" did not reach {target} within {steps} steps: no factor against \"{against}\".\n");
    };
    let bound = if *lower_bounds > 0 { "at least " } else { "" };
    let mut text = format!(
        "\"{arm}\" reached {target} in {bound}{} than \"{against}\" ({} over {measured} seeds), in {bound}{} ({}).",
        fewer(by_steps.mean, "steps"),
        range(by_steps, short),
        fewer(by_seconds.mean, "seconds"),
        range(by_seconds, short),
    );
    if by_steps.least <= 1.0 && by_steps.greatest >= 1.0 {
        text += " The range of steps includes 1: no difference is shown.";
    }
    if *lower_bounds > 0 {
        text += &format!(
            " Lower bounds: on {lower_bounds} seeds \"{against}\" did not reach it within {steps} steps, which count instead."
        );
    }
    if measured < pairs {
        text += &format!(" On {} seeds \"{arm}\" did not reach it; they are left out.", pairs - measured);
    }
    text + "\n"
}

fn ranged(spread: Spread, show: impl Fn(f64) -> String) -> String {
    format!("{} ({})", show(spread.mean), range(spread, show))
}

fn range(spread: Spread, show: impl Fn(f64) -> String) -> String {
    format!("{} to {}", show(spread.least), show(spread.greatest))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn fewer(factor: f64, what: &str) -> String {
    if factor >= 1.0 {
        format!("{} times fewer {what}", short(factor))
    } else {
        format!("{} times more {what}", short(1.0 / factor))
    }
}

/// Two digits, which is what a factor over a few seeds is worth.
fn short(factor: f64) -> String {
    if factor < 10.0 { format!("{factor:.1}") } else { format!("{factor:.0}") }
}
