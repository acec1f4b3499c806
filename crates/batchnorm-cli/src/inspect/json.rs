//! What was found, for programs (docs/json.md).

use std::path::Path;

use batchnorm_model::file::Inspection;
use batchnorm_model::foldable::{Side, Verdict};
use batchnorm_model::health::Finding;
use batchnorm_model::layer::{Layer, Mode};
use batchnorm_model::parameters::Parameters;
use serde_json::{Value, json};

use super::gap::Found;
use super::{channels, shown};
use crate::text::{self, number};

/// The version of the object's form.
const FORMAT: &str = "batchnorm-inspect 1";

pub fn text(inspection: &Inspection, path: &Path, found: Option<&Found>) -> String {
    text::json(&object(inspection, path, found))
}

/// The whole file.
pub fn object(inspection: &Inspection, path: &Path, found: Option<&Found>) -> Value {
    let mut object = head(inspection, path);
    object["batch_norms"] = inspection.layers.iter().map(|layer| of(layer, &inspection.findings)).collect();
    object["findings"] = inspection.findings.iter().map(|found| finding(found, path)).collect();
    object["gap"] = found.map_or(Value::Null, Found::json);
    object
}

/// One layer with its channels.
pub fn of_layer(
    inspection: &Inspection,
    path: &Path,
    layer: &Layer,
    parameters: Option<Result<Parameters, String>>,
) -> String {
    let mut object = head(inspection, path);
    let mut shown = of(layer, &inspection.findings);
    shown["channels"] = match parameters {
        Some(Ok(parameters)) => channels::of(layer, &parameters)
            .map(|channel| {
                let (scale, shift) = channel.scale_and_shift.unzip();
                json!({
                    "gamma": channel.gamma.map(number),
                    "beta": channel.beta.map(number),
                    "mean": number(channel.mean),
                    "variance": number(channel.variance),
                    "scale": scale.map(number),
                    "shift": shift.map(number),
                    "remark": channels::remark(&channel, layer.epsilon),
                })
            })
            .collect(),
        _ => Value::Null,
    };
    object["batch_norm"] = shown;
    let own = inspection.findings.iter().filter(|finding| finding.layer.as_ref() == Some(&layer.name));
    object["findings"] = own.map(|found| finding(found, path)).collect();
    text::json(&object)
}

fn head(inspection: &Inspection, path: &Path) -> Value {
    let head = &inspection.head;
    let has_graph = inspection.layers.iter().any(|layer| layer.verdict.is_some());
    json!({
        "command": "inspect",
        "version": env!("CARGO_PKG_VERSION"),
        "format": FORMAT,
        "file": text::path(path),
        "kind": head.kind.name(),
        "bytes": head.size,
        "maker": head.maker,
        "opset": head.opset,
        "foldable": has_graph.then(|| shown::foldable(&inspection.layers)),
    })
}

fn of(layer: &Layer, findings: &[Finding]) -> Value {
    let summary = layer.summary.as_ref();
    let range = |range: Option<[f64; 2]>| range.map(|range| range.map(number));
    let (foldable, reason, fold) = match &layer.verdict {
        Some(Verdict::Foldable(fold)) => {
            let side = if fold.side == Side::Behind { "behind" } else { "before" };
            (Some(true), None, Some(json!({"into": fold.target.to_string(), "the_norm_stands": side})))
        }
        Some(Verdict::Kept(reason)) => {
            (Some(false), Some(json!(reason.to_string())), Some(json!({"why": reason.word()})))
        }
        None => (None, Some(json!("the file has no graph")), None),
    };
    let codes = findings.iter().filter(|finding| finding.layer.as_ref() == Some(&layer.name));
    json!({
        "name": layer.name,
        "inside": layer.inside,
        "channels": summary.ok().map(|summary| summary.channels),
        "precision": summary.ok().map(|summary| summary.precision.to_string()),
        "epsilon": layer.epsilon.map(number),
        "momentum": layer.momentum.map(number),
        "after": layer.neighbours.as_ref().map(|beside| &beside.after),
        "before": layer.neighbours.as_ref().map(|beside| &beside.before),
        "mode": layer.mode.map(|mode| match mode {
            Mode::Inference => "inference",
            Mode::Training => "training",
            Mode::TrainingOfConstants => "training, of constants",
            Mode::TrainingOfInstances => "training, of instances",
        }),
        "batches": layer.batches,
        "mean": range(summary.ok().and_then(|summary| summary.mean)),
        "variance": range(summary.ok().and_then(|summary| summary.variance)),
        "not_readable": summary.err(),
        "foldable": foldable,
        "reason": reason,
        "fold": fold,
        "findings": codes.map(|finding| finding.code.to_string()).collect::<Vec<String>>(),
    })
}

pub fn finding(finding: &Finding, path: &Path) -> Value {
    json!({
        "code": finding.code.to_string(),
        "severity": finding.severity.to_string(),
        "layer": finding.layer,
        "what": finding.code.words(),
        "text": finding.text,
        "mend": finding.mend.words,
        "command": shown::command(finding, path),
    })
}
