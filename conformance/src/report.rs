//! Tables of verdicts, as text.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use crate::case::Level;
use crate::judge::{Outcome, Verdict};

/// The numbers of cases of each level that passed, failed and were skipped.
pub fn summary(verdicts: &[Verdict]) -> String {
    let mut table = table(&["level", "passed", "failed", "skipped"]);
    let count = |level: Option<Level>, counts: fn(&Outcome) -> bool| {
        let chosen = verdicts.iter().filter(|verdict| level.is_none_or(|level| level == verdict.level));
        chosen.filter(|verdict| counts(&verdict.outcome)).count().to_string()
    };
    for level in Level::ALL.map(Some).into_iter().chain([None]) {
        table.add_row([
            level.map_or("all".to_string(), |level| level.to_string()),
            count(level, |outcome| matches!(outcome, Outcome::Passed)),
            count(level, |outcome| matches!(outcome, Outcome::Failed(_))),
            count(level, |outcome| matches!(outcome, Outcome::Skipped(_))),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// A line for each case: its outcome, its largest error as a multiple of the bound, and the output with that error.
pub fn details<'v>(verdicts: impl IntoIterator<Item = &'v Verdict>) -> String {
    let mut table = table(&["case", "level", "", "error / bound", "in", ""]);
    for verdict in verdicts {
        let (state, reason) = match &verdict.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
            Outcome::Skipped(reason) => ("skipped", reason.as_str()),
        };
        let (output, error) = match verdict.worst() {
            Some((output, error)) => (output, short(error)),
            None => ("", String::new()),
        };
        table.add_row([&verdict.name, &verdict.level.to_string(), state, &error, output, reason]);
    }
    table.to_string()
}

/// A multiple of a bound, in three digits.
fn short(error: f64) -> String {
    match error {
        0.0 => "0".to_string(),
        error if (0.001..1000.0).contains(&error) => format!("{error:.3}"),
        error => format!("{error:.1e}"),
    }
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header(heads);
    table
}

/// The verdicts for a machine.
pub fn json(verdicts: &[Verdict]) -> String {
    let one = |verdict: &Verdict| {
        let (outcome, reason) = match &verdict.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Failed(reason) => ("failed", Some(reason)),
            Outcome::Skipped(reason) => ("skipped", Some(reason)),
        };
        // (JSON has no infinity.)
        let errors =
            verdict.errors.iter().map(|(name, &error)| (name.clone(), error.is_finite().then_some(error).into()));
        serde_json::json!({
            "case": verdict.name,
            "level": verdict.level,
            "outcome": outcome,
            "reason": reason,
            "errors": serde_json::Map::from_iter(errors),
            "left_out": verdict.left_out,
        })
    };
    serde_json::Value::Array(verdicts.iter().map(one).collect()).to_string()
}
