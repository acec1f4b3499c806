//! What a grid says, as a table with findings, and as JSON.

use batchnorm_lab::grid::{Study, findings};
use batchnorm_lab::report::{Rows, arms_table, readings_table};
use batchnorm_lab::words::count;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::json;

use super::store::Store;
use crate::failure::Failure;
use crate::terminal::put;
use crate::text;

/// Rows of readings that a terminal shows; the reports have them all.
const MOST_ROWS: usize = 40;

pub fn print(study: &Study, store: &Store) -> Result<(), Failure> {
    let mut shown = String::new();
    if let Some(text) = &study.question.text {
        shown += &format!("{text}\n");
    }
    shown += &format!(
        "Mean (least to greatest) over {}, on {:.0} examples not trained on.\n{}\n",
        count(study.question.seeds.len(), "seed"),
        1.0 / study.question.resolution,
        table(arms_table(study))
    );
    let readings = readings_table(study);
    if !readings.1.is_empty() && readings.1.len() <= MOST_ROWS {
        shown += &format!("{}\n", table(readings));
    }
    for finding in findings(study) {
        shown += &format!("{finding}\n");
    }
    let [page, short, _, whole, table] = store.summaries().map(|path| path.display().to_string());
    put(&format!(
        "{shown}Report: {page}; compact: {short}; curves, readings and settings: {whole}; a line for each cell: {table}\n"
    ))
}

fn table((head, rows): Rows) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(head).set_content_arrangement(ContentArrangement::Dynamic);
    for row in rows {
        let mut cells = row.into_iter();
        let name = cells.next().map(Cell::new);
        let figures = cells.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(name.into_iter().chain(figures));
    }
    table
}

/// The findings alone.
pub fn print_short(study: &Study, store: &Store) -> Result<(), Failure> {
    let findings: String = findings(study).iter().map(|finding| format!("  {finding}\n")).collect();
    let [page, ..] = store.summaries();
    put(&format!("{}:\n{findings}  Report: {}\n", study.question.title, page.display()))
}

pub fn print_json(study: &Study, store: &Store) -> Result<(), Failure> {
    let [page, short, picture, whole, table] = store.summaries().map(|path| text::path(&path));
    let shown = json!({
        "file": whole,
        "table": table,
        "report": page,
        "compact": short,
        "picture": picture,
        "flags": study.flags,
        "target": study.question.target,
        "findings": findings(study),
        "figures": study.figures,
        "sweeps": study.sweeps,
    });
    put(&format!("{shown:#}\n"))
}
