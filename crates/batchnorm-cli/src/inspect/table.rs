//! What was found, for people: three lines of head, a row for each layer, and the findings, each kind once.

use std::fmt::Write;
use std::path::Path;

use batchnorm_model::file::Inspection;
use batchnorm_model::foldable::{Side, Verdict};
use batchnorm_model::health::{Finding, Severity};
use batchnorm_model::layer::Layer;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::shown;
use crate::text::{self, of_layers};

/// Layers that are named for one kind of finding.
const NAMED: usize = 4;
/// Different reasons after which no more are looked for.
const REASONS: usize = 32;

pub fn text(inspection: &Inspection, path: &Path) -> String {
    let mut text = format!("{}\n{}\n", shown::head(&inspection.head, path), shown::counts(inspection));
    if !inspection.layers.is_empty() {
        let _ = writeln!(text, "{}", table(inspection));
    }
    kept(&inspection.layers, &mut text);
    findings(&inspection.findings, path, &mut text);
    text
}

fn table(inspection: &Inspection) -> Table {
    let layers = &inspection.layers;
    let has_graph = layers.iter().any(|layer| layer.neighbours.is_some());
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let header: &[&str] = match has_graph {
        true => &[
            "batch norm",
            "channels",
            "behind",
            "goes to",
            "eps",
            "momentum",
            "mean",
            "variance",
            "folds into",
            "verdict",
        ],
        false => &["batch norm", "channels", "type", "batches", "mean", "variance", "verdict"],
    };
    table.set_header(header);
    for layer in layers {
        let verdict = verdict(layer, &inspection.findings);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let summary = layer.summary.as_ref().ok();
        let channels = right(summary.map_or_else(|| String::from("?"), |summary| summary.channels.to_string()));
        let mean = Cell::new(shown::range(summary.and_then(|summary| summary.mean)));
        let variance = Cell::new(shown::range(summary.and_then(|summary| summary.variance)));
        let name = Cell::new(of_layers::short_name(&layer.name));
        let option = |number: Option<f64>| right(number.map_or_else(String::new, shown::option));
        table.add_row(match &layer.neighbours {
            Some(beside) => vec![
                name,
                channels,
                Cell::new(of_layers::cut(&beside.after)),
                Cell::new(of_layers::cut(&beside.before)),
                option(layer.epsilon),
                option(layer.momentum),
                mean,
                variance,
                Cell::new(folds(layer)),
                Cell::new(verdict),
            ],
            None => vec![
                name,
                channels,
                Cell::new(summary.map_or_else(|| String::from("?"), |summary| summary.precision.to_string())),
                right(layer.batches.map_or_else(String::new, |batches| batches.to_string())),
                mean,
                variance,
                Cell::new(verdict),
            ],
        });
    }
    table
}

/// Where it can go, in a word or two.
fn folds(layer: &Layer) -> String {
    match &layer.verdict {
        Some(Verdict::Foldable(fold)) if fold.side == Side::Behind => fold.target.to_string(),
        Some(Verdict::Foldable(fold)) => format!("next {}", fold.target),
        Some(Verdict::Kept(_)) => String::from("-"),
        None => String::from("?"),
    }
}

/// The codes of the layer's findings, the worst first; else that it is healthy.
fn verdict(layer: &Layer, findings: &[Finding]) -> String {
    let own: Vec<&Finding> = findings.iter().filter(|finding| finding.layer.as_ref() == Some(&layer.name)).collect();
    let codes: Vec<String> = own.iter().map(|finding| finding.code.to_string()).collect();
    match own.iter().map(|finding| finding.severity).max() {
        None => String::from("healthy"),
        Some(Severity::Note) => format!("healthy, {}", codes.join(" ")),
        Some(severity) => format!("{severity}, {}", codes.join(" ")),
    }
}

/// Why layers cannot be folded, each reason once.
fn kept(layers: &[Layer], text: &mut String) {
    let kept = layers.iter().filter_map(|layer| match &layer.verdict {
        Some(Verdict::Kept(reason)) => Some((&*layer.name, reason.to_string())),
        _ => None,
    });
    let reasons = of_layers::grouped(kept, REASONS);
    if reasons.is_empty() {
        return;
    }
    text.push_str("\nNot foldable:\n");
    for (reason, names) in reasons {
        let _ = writeln!(text, "  {}: {reason}", named(&names));
    }
}

/// Some names, and how many there are besides.
fn named(names: &[&str]) -> String {
    let first: Vec<String> = names.iter().take(NAMED).map(|name| of_layers::short_name(name)).collect();
    let more = names.len() - first.len();
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

/// The findings, those of one code, severity and mend together.
fn findings(findings: &[Finding], path: &Path, text: &mut String) {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let alike = |group: &&mut Vec<&Finding>| {
            let first = group[0];
            (first.code, first.severity, &first.mend.words) == (finding.code, finding.severity, &finding.mend.words)
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    for group in groups {
        let first = group[0];
        let _ = write!(text, "\n{} {}: {}", first.code, first.severity, first.code.words());
        if group.len() > 1 {
            let _ = write!(text, " ({} layers)", group.len());
        }
        text.push('\n');
        for finding in group.iter().take(NAMED) {
            let layer = finding
                .layer
                .as_deref()
                .map_or_else(String::new, |layer| format!("{}: ", of_layers::short_name(layer)));
            let _ = writeln!(text, "  {layer}{}", text::one_line(&finding.text));
        }
        if group.len() > NAMED {
            let _ = writeln!(text, "  and {} more (--json has all of them)", group.len() - NAMED);
        }
        let _ = writeln!(text, "  What to do: {}.", shown::mend(first, path));
    }
}
