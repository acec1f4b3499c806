//! The checks of our own gradients as a table, and as JSON.

use super::layer::Layer;
use super::limits::{MAX_CHECKED, MAX_DIFFERENTIATED};
use super::options::Arguments;
use crate::text;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::{Value, json};
use std::fmt::Write;

/// One check: a gradient compared with derivatives.
#[derive(Debug, Clone)]
pub struct Line {
    pub layer: Layer,
    /// dx, dgamma or dbeta; dx' and dgamma' are second derivatives, y' is the directional derivative.
    pub gradient: &'static str,
    /// What computed it.
    pub source: &'static str,
    /// The derivatives that it is compared with.
    pub by: &'static str,
    pub error: f64,
    pub limit: f64,
    pub index: Option<Vec<usize>>,
    /// Number of values compared.
    pub checked: usize,
}

/// The largest limit of a check that tells anything: by a larger one a gradient of 0 might pass.
const MAX_LIMIT: f64 = 0.1;

impl Line {
    /// Whether the check can tell a right gradient from none: its limit is small.
    pub fn tells(&self) -> bool {
        self.limit <= MAX_LIMIT
    }

    /// Whether the gradient is right; one with an error of NaN is not.
    pub fn holds(&self) -> bool {
        self.tells() && self.error <= self.limit
    }

    pub fn fails(&self) -> bool {
        self.tells() && !self.holds()
    }
}

/// A row for each layer and gradient: the worst error against each kind of derivative.
const KINDS: [&str; 4] = ["complex step", "closed form", "differences", "dual numbers"];

pub fn as_table(arguments: &Arguments, lines: &[Line], left_out: &[(Layer, String)]) -> String {
    let mut table = Table::new();
    let header = ["layer", "gradient"].into_iter().chain(KINDS).chain(["worst where", "verdict"]);
    // As wide as the terminal, where there is one.
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    let mut rows: Vec<(Layer, &str)> = Vec::new();
    for line in lines {
        if !rows.contains(&(line.layer, line.gradient)) {
            rows.push((line.layer, line.gradient));
        }
    }
    for (layer, gradient) in rows {
        let of_row = |line: &&Line| (line.layer, line.gradient) == (layer, gradient);
        let told: Vec<&Line> = lines.iter().filter(of_row).filter(|line| line.tells()).collect();
        let mut cells = vec![Cell::new(layer.name()), Cell::new(gradient)];
        for kind in KINDS {
            // Differences of the gradient are compared with a complex step, and stand with the differences.
            let kind_of = |line: &Line| if line.source.ends_with("differences") { "differences" } else { line.by };
            let errors = told.iter().filter(|line| kind_of(line) == kind).map(|line| line.error);
            let worst = errors.reduce(|one, other| if other.is_nan() || other > one { other } else { one });
            let text = worst.map_or(String::new(), |error| format!("{error:.1e}"));
            cells.push(Cell::new(text).set_alignment(CellAlignment::Right));
        }
        let part = |line: &Line| if line.error.is_nan() { f64::INFINITY } else { line.error / line.limit };
        let worst = told.iter().max_by(|one, other| part(one).total_cmp(&part(other)));
        let place = worst.and_then(|line| line.index.as_ref()).map_or(String::new(), |index| format!("{index:?}"));
        cells.push(Cell::new(place));
        cells.push(Cell::new(match (told.is_empty(), told.iter().all(|line| line.holds())) {
            (true, _) => "cannot be told",
            (false, true) => "right",
            (false, false) => "WRONG",
        }));
        table.add_row(cells);
    }
    let mut text = String::new();
    let _ = writeln!(text, "{}, eps {:e}, seed {}", subject(arguments), arguments.epsilon, arguments.seed());
    let _ = writeln!(text, "{table}");
    for line in lines.iter().filter(|line| line.fails()) {
        let Line { layer, gradient, source, by, error, limit, .. } = line;
        let (layer, place) =
            (layer.name(), line.index.as_ref().map_or(String::new(), |index| format!(" at {index:?}")));
        let _ = writeln!(
            text,
            "{layer}: {gradient} of the {source} is {error:.1e} from that by {by}{place}, allowed are {limit:.1e}"
        );
    }
    for (layer, why) in left_out {
        let _ = writeln!(text, "{} left out: {}", layer.name(), text::one_line(why));
    }
    let count = |such: fn(&Line) -> bool| lines.iter().filter(|line| such(line)).count();
    let (told, failing) = (count(Line::tells), count(Line::fails));
    let _ = match failing {
        0 => writeln!(text, "All {told} checks hold."),
        _ => writeln!(text, "{failing} of {told} checks fail."),
    };
    if told < lines.len() {
        let _ = writeln!(
            text,
            "{} more checks say nothing on this input: rounding may be as large as the gradient (values far from 0 beside their \
             deviation, or an eps that is small beside the variance).",
            lines.len() - told
        );
    }
    let _ = writeln!(
        text,
        "Errors by max|gamma| max|dy| / sqrt(variance + eps) (dx), sum|dy| max(|xhat|, 0.01) (dgamma), sum|dy| (dbeta); dx' and dgamma' are second \
         derivatives along a random direction, y' the first. Values differentiated one by one: {MAX_DIFFERENTIATED} of each gradient at most."
    );
    text
}

fn subject(arguments: &Arguments) -> String {
    match &arguments.input {
        Some(path) => text::one_line(&path.to_string_lossy()),
        None => format!("random {}", arguments.shape),
    }
}

pub fn as_json(arguments: &Arguments, shape: &[usize], lines: &[Line], left_out: &[(Layer, String)]) -> String {
    let check = |line: &Line| {
        json!({
            "layer": line.layer.name(),
            "gradient": line.gradient,
            "of": line.source,
            "by": line.by,
            "error": line.error,
            "limit": line.limit,
            "index": line.index,
            "checked": line.checked,
            "tells": line.tells(),
            "holds": line.holds(),
        })
    };
    let summary = json!({
        "command": "gradcheck",
        "version": env!("CARGO_PKG_VERSION"),
        "against": false,
        "input": arguments.input.as_ref().map(|path| text::path(path)),
        "shape": shape,
        "channel_axis": arguments.channel_axis(),
        "epsilon": arguments.epsilon,
        "seed": arguments.seed(),
        "most_values": MAX_CHECKED,
        "checks": lines.iter().map(check).collect::<Vec<Value>>(),
        "left_out": left_out.iter().map(|(layer, why)| json!({"layer": layer.name(), "why": why})).collect::<Vec<Value>>(),
        "wrong": lines.iter().any(Line::fails),
    });
    format!("{summary:#}\n")
}
