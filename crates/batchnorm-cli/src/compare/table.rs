//! The output of `compare`, as a table and as JSON.

use batchnorm_lab::comparison::Comparison;
use batchnorm_lab::words::{factor, final_accuracy, percent, ranged, reached};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::json;

use super::store::Store;
use crate::failure::Failure;
use crate::terminal::put;
use crate::text;

/// Prints the table, a sentence for each factor, and the paths of the report and the curves.
pub fn print(comparison: &Comparison, store: &Store) -> Result<(), Failure> {
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
    let mut shown = format!(
        "{}: mean (least to greatest) over {} seeds; {} steps of {} images.\n{table}\n",
        "Accuracy on 360 digits not trained on",
        settings.seeds.len(),
        settings.steps,
        settings.batch_size
    );
    for of_arm in &comparison.summary.factors {
        shown += &factor(of_arm, settings.target_accuracy, settings.steps);
        shown.push('\n');
    }
    shown += &format!("All of it to look at: {}\n", store.report().display());
    shown += &format!("Curves, settings and machine: {}\n", store.path().display());
    put(&shown)
}

/// Prints the comparison as JSON, without the curves.
pub fn print_json(comparison: &Comparison, store: &Store) -> Result<(), Failure> {
    let summary = json!({
        "file": text::path(store.path()),
        "report": text::path(store.report()),
        "complete": comparison.complete,
        "settings": comparison.settings,
        "machine": comparison.machine,
        "versions": comparison.versions,
        "summary": comparison.summary,
    });
    put(&format!("{summary:#}\n"))
}
