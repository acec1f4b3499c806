//! One layer, channel by channel.

use std::fmt::Write;
use std::path::Path;

use batchnorm::scale_and_shift;
use batchnorm_model::file::Inspection;
use batchnorm_model::layer::Layer;
use batchnorm_model::numbers::Numbers;
use batchnorm_model::parameters::Parameters;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::shown;
use crate::failure::Failure;
use crate::text::{self, of_layers};

/// Layers that are named where none has the name.
const NAMED: usize = 8;

/// The layer of a name: its own, or as tables show it.
pub fn named<'i>(inspection: &'i Inspection, path: &Path, name: &str) -> Result<&'i Layer, Failure> {
    let layers = &inspection.layers;
    let own = layers.iter().find(|layer| layer.name == name);
    let mut alike = layers.iter().filter(|layer| of_layers::short_name(&layer.name) == name);
    if let Some(layer) = own.or_else(|| alike.next().filter(|_| alike.next().is_none())) {
        return Ok(layer);
    }
    let mut names: Vec<String> = layers.iter().take(NAMED).map(|layer| text::one_line(&layer.name)).collect();
    if layers.len() > NAMED {
        names.push(String::from("..."));
    }
    let there = if names.is_empty() { String::from("has no batch norm") } else { format!("has {}", names.join(", ")) };
    Err(Failure::usage(format!("--layer: expected the name of a batch norm; {} {there}; got `{name}`", path.display())))
}

/// A channel's numbers, with scale and shift where epsilon is known.
pub struct Channel {
    pub gamma: Option<f64>,
    pub beta: Option<f64>,
    pub mean: f64,
    pub variance: f64,
    pub scale_and_shift: Option<(f64, f64)>,
}

/// All channels of a layer.
pub fn of<'p>(layer: &Layer, parameters: &'p Parameters) -> impl Iterator<Item = Channel> + 'p {
    let epsilon = layer.epsilon;
    let optional = |numbers: &'p Option<Numbers>| -> Box<dyn Iterator<Item = Option<f64>> + 'p> {
        match numbers {
            Some(numbers) => Box::new(numbers.iter().map(Some)),
            None => Box::new(std::iter::repeat(None)),
        }
    };
    let affine = optional(&parameters.gamma).zip(optional(&parameters.beta));
    let statistics = parameters.mean.iter().zip(parameters.variance.iter());
    affine.zip(statistics).map(move |((gamma, beta), (mean, variance))| Channel {
        gamma,
        beta,
        mean,
        variance,
        scale_and_shift: epsilon
            .map(|epsilon| scale_and_shift(gamma.unwrap_or(1.0), beta.unwrap_or(0.0), mean, variance, epsilon)),
    })
}

/// What is to be looked at in a channel, in a word or two.
pub fn remark(channel: &Channel, epsilon: Option<f64>) -> &'static str {
    let all = [channel.gamma.unwrap_or(1.0), channel.beta.unwrap_or(0.0), channel.mean, channel.variance];
    if all.iter().any(|number| !number.is_finite()) {
        "not finite"
    } else if channel.variance < 0.0 {
        "negative variance"
    } else if channel.gamma == Some(0.0) {
        "switched off"
    } else if channel.variance == 0.0 {
        "constant"
    } else if epsilon.is_some_and(|epsilon| channel.variance < epsilon / 100.0) {
        "below epsilon"
    } else {
        ""
    }
}

pub fn text(
    inspection: &Inspection,
    path: &Path,
    layer: &Layer,
    parameters: Option<Result<Parameters, String>>,
) -> String {
    let mut text = format!("{}\n", shown::head(&inspection.head, path));
    let _ = writeln!(text, "{}", about(layer));
    match parameters {
        Some(Ok(parameters)) => {
            let mut table = Table::new();
            table.load_style(UTF8_FULL_CONDENSED);
            table.set_header(["channel", "gamma", "beta", "mean", "variance", "scale", "shift", "remark"]);
            for (number, channel) in of(layer, &parameters).enumerate() {
                let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
                let shown = |number: Option<f64>| right(number.map_or_else(String::new, shown::number));
                let (scale, shift) = channel.scale_and_shift.unzip();
                let mut row = vec![right(number.to_string())];
                row.extend(
                    [channel.gamma, channel.beta, Some(channel.mean), Some(channel.variance), scale, shift].map(shown),
                );
                row.push(Cell::new(remark(&channel, layer.epsilon)));
                table.add_row(row);
            }
            let _ = writeln!(text, "{table}");
        }
        Some(Err(why)) => {
            let _ = writeln!(text, "Its parameters cannot be read: {}.", text::one_line(&why));
        }
        None => {}
    }
    for finding in inspection.findings.iter().filter(|finding| finding.layer.as_ref() == Some(&layer.name)) {
        let words = text::one_line(&finding.mend.words);
        let _ = writeln!(
            text,
            "{} {}: {}. What to do: {words}.",
            finding.code,
            finding.severity,
            text::one_line(&finding.text)
        );
    }
    text
}

/// The layer in a line.
fn about(layer: &Layer) -> String {
    let mut parts = Vec::new();
    if let Some(beside) = &layer.neighbours {
        parts.push(format!("behind {}, goes to {}", text::one_line(&beside.after), text::one_line(&beside.before)));
    }
    parts.extend(layer.inside.as_ref().map(|inside| format!("inside {}", text::one_line(inside))));
    parts.extend(layer.epsilon.map(|epsilon| format!("epsilon {}", shown::option(epsilon))));
    parts.extend(layer.momentum.map(|momentum| format!("momentum {}", shown::option(momentum))));
    parts.extend(layer.batches.map(|batches| format!("{batches} batches")));
    let name = text::one_line(&layer.name);
    if parts.is_empty() {
        format!("{name}: of its options the file says nothing")
    } else {
        format!("{name}: {}", parts.join(", "))
    }
}
