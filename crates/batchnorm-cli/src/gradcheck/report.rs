//! The checks of our own gradients as a table, and as JSON.

use super::setup::{MOST, SAMPLE};
use super::{Arguments, Layer};
use crate::text;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};
use std::fmt::Write;

/// One check.
#[derive(Debug, Clone)]
pub struct Line {
    pub layer: Layer,
    /// dx, dgamma or dbeta; dx' and dgamma' are second derivatives, y' is the directional derivative.
    pub gradient: &'static str,
    /// Whose it is.
    pub what: &'static str,
    /// Against what.
    pub by: &'static str,
    pub error: f64,
    pub limit: f64,
    pub index: Option<Vec<usize>>,
    /// How many values were compared.
    pub checked: usize,
}

impl Line {
    /// (A NaN does not.)
    pub fn holds(&self) -> bool {
        self.error <= self.limit
    }
}

/// A row for each layer and gradient: the worst error against each kind of derivative.
const KINDS: [&str; 4] = ["complex step", "closed form", "differences", "dual numbers"];

pub fn as_table(arguments: &Arguments, lines: &[Line], left_out: &[(Layer, String)]) -> String {
    let mut table = Table::new();
    let header = ["layer", "gradient"].into_iter().chain(KINDS).chain(["worst where", "verdict"]);
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    let mut rows: Vec<(Layer, &str)> = Vec::new();
    for line in lines {
        if !rows.contains(&(line.layer, line.gradient)) {
            rows.push((line.layer, line.gradient));
        }
    }
    for (layer, gradient) in rows {
        let own: Vec<&Line> = lines.iter().filter(|line| (line.layer, line.gradient) == (layer, gradient)).collect();
        let mut cells = vec![Cell::new(layer.name()), Cell::new(gradient)];
        for kind in KINDS {
            // Differences of the gradient are compared with a complex step, and stand with the differences.
            let kind_of = |line: &Line| if line.what.ends_with("differences") { "differences" } else { line.by };
            let errors = own.iter().filter(|line| kind_of(line) == kind).map(|line| line.error);
            let worst = errors.reduce(|one, other| if other.is_nan() || other > one { other } else { one });
            let text = worst.map_or(String::new(), |error| format!("{error:.1e}"));
            cells.push(Cell::new(text).set_alignment(CellAlignment::Right));
        }
        let part = |line: &Line| if line.error.is_nan() { f64::INFINITY } else { line.error / line.limit };
        let worst = own.iter().max_by(|one, other| part(one).total_cmp(&part(other)));
        let place = worst.and_then(|line| line.index.as_ref()).map_or(String::new(), |index| format!("{index:?}"));
        cells.push(Cell::new(place));
        cells.push(Cell::new(if own.iter().all(|line| line.holds()) { "right" } else { "WRONG" }));
        table.add_row(cells);
    }
    let mut text = String::new();
    let _ = writeln!(text, "{}, eps {:e}, seed {}", subject(arguments), arguments.epsilon, arguments.seed);
    let _ = writeln!(text, "{table}");
    for line in lines.iter().filter(|line| !line.holds()) {
        let Line { layer, gradient, what, by, error, limit, .. } = line;
        let (layer, place) =
            (layer.name(), line.index.as_ref().map_or(String::new(), |index| format!(" at {index:?}")));
        let _ = writeln!(
            text,
            "{layer}: {gradient} of the {what} is {error:.1e} from that by {by}{place}, allowed are {limit:.1e}"
        );
    }
    for (layer, why) in left_out {
        let _ = writeln!(text, "{} left out: {}", layer.name(), text::one_line(why));
    }
    let failing = lines.iter().filter(|line| !line.holds()).count();
    let _ = match failing {
        0 => writeln!(text, "All {} checks hold.", lines.len()),
        _ => writeln!(text, "{failing} of {} checks fail.", lines.len()),
    };
    let _ = writeln!(
        text,
        "Errors by max|gamma| max|dy| / sqrt(variance + eps) (dx), sum|dy xhat| (dgamma), sum|dy| (dbeta); dx' and dgamma' are second \
         derivatives along a random direction, y' the first. Values differentiated one by one: {SAMPLE} of each gradient at most."
    );
    text
}

fn subject(arguments: &Arguments) -> String {
    match &arguments.input {
        Some(path) => text::one_line(&path.to_string_lossy()),
        None => format!("random {}", arguments.shape),
    }
}

pub fn as_json(arguments: &Arguments, lines: &[Line], left_out: &[(Layer, String)]) -> String {
    let of = |line: &Line| {
        json!({
            "layer": line.layer.name(),
            "gradient": line.gradient,
            "of": line.what,
            "by": line.by,
            "error": line.error,
            "limit": line.limit,
            "index": line.index,
            "checked": line.checked,
            "holds": line.holds(),
        })
    };
    let summary = json!({
        "command": "gradcheck",
        "version": env!("CARGO_PKG_VERSION"),
        "against": false,
        "input": arguments.input.as_ref().map(|path| text::path(path)),
        "shape": arguments.input.is_none().then(|| arguments.shape.clone()),
        "channel_axis": arguments.channel_axis,
        "epsilon": arguments.epsilon,
        "seed": arguments.seed,
        "most_values": MOST,
        "checks": lines.iter().map(of).collect::<Vec<Value>>(),
        "left_out": left_out.iter().map(|(layer, why)| json!({"layer": layer.name(), "why": why})).collect::<Vec<Value>>(),
        "wrong": lines.iter().any(|line| !line.holds()),
    });
    format!("{summary:#}\n")
}
