//! What was folded, what stayed and why, and how far the proof goes: as tables, and as JSON.

use std::fmt::Write;
use std::path::Path;

use batchnorm_model::compare::Comparison;
use batchnorm_model::fold::{Folded, Folding, POSITIONS};
use batchnorm_model::foldable::Side;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

use crate::text::{self, of_layers};

pub fn text(folding: &Folding, path: &Path, compared: Option<Comparison>) -> String {
    let file = text::one_line(&path.display().to_string());
    let Folding { norms, folded, kept, unfolded, .. } = folding;
    let mut text = match norms {
        0 => format!("{file}: no batch norm: they are folded already, or it never had one.\n"),
        _ => format!("{file}: {} of {norms} folded.\n", folded.len()),
    };
    if !folded.is_empty() {
        let _ = writeln!(text, "{}", table(folded));
    }
    if !unfolded.is_empty() {
        let _ = writeln!(text, "\nMade a multiplication and an addition:\n{}", table(unfolded));
    }
    if folding.bound().is_some() {
        let _ = writeln!(
            text,
            "The bound is what rounding the layer's new numbers can change of its output, where values before the norm lie within four \
             deviations of its mean; seen is the largest difference at {POSITIONS} positions, computed both ways in f64."
        );
    }
    if let Some(Comparison { difference, floor, samples, engine }) = compared {
        let _ = writeln!(
            text,
            "Beside the original on {samples} samples, by {engine}: the outputs differ by {difference:.1e} of the largest; rounding alone does {floor:.1e}."
        );
    }
    text.push_str(&of_layers::reasons("Stays", kept.iter().map(|(name, reason)| (&**name, reason.to_string()))));
    text
}

fn table(folded: &[Folded]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["batch norm", "stood", "now in", "largest output", "bound", "seen"]);
    for norm in folded {
        let right = |number: f64| Cell::new(format!("{number:.1e}")).set_alignment(CellAlignment::Right);
        let stood = if norm.side == Side::Behind { "behind" } else { "before" };
        let name = if norm.was_frozen {
            format!("{} (Mul, Add)", of_layers::short_name(&norm.name))
        } else {
            of_layers::short_name(&norm.name)
        };
        table.add_row(vec![
            Cell::new(name),
            Cell::new(stood),
            Cell::new(of_layers::cut(&norm.into)),
            right(norm.proof.largest_output),
            right(norm.proof.bound),
            right(norm.proof.largest_error),
        ]);
    }
    table
}

pub fn json(folding: &Folding, path: &Path, output: Option<&Path>, compared: Option<Comparison>) -> String {
    let of = |norm: &Folded| {
        json!({
            "name": norm.name,
            "into": norm.into,
            "layer": norm.target.to_string(),
            "the_norm_stood": if norm.side == Side::Behind { "behind" } else { "before" },
            "was_mul_and_add": norm.was_frozen,
            "bound": norm.proof.bound,
            "largest_error": norm.proof.largest_error,
            "largest_output": norm.proof.largest_output,
        })
    };
    let kept = folding
        .kept
        .iter()
        .map(|(name, reason)| json!({"name": name, "reason": reason.to_string(), "why": reason.word()}));
    let object = json!({
        "command": "fold",
        "version": env!("CARGO_PKG_VERSION"),
        "format": "batchnorm-fold 1",
        "file": text::path(path),
        "output": output.map(text::path),
        "batch_norms": folding.norms,
        "folded": folding.folded.len(),
        "folds": folding.folded.iter().map(of).collect::<Vec<Value>>(),
        "mul_add": folding.unfolded.iter().map(of).collect::<Vec<Value>>(),
        "kept": kept.collect::<Vec<Value>>(),
        "bound": folding.bound(),
        "positions": POSITIONS,
        "compared": compared.map(|compared| json!({
            "engine": compared.engine,
            "samples": compared.samples,
            "difference": compared.difference,
            "floor": compared.floor,
        })),
    });
    text::json(&object)
}
