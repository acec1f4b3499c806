//! What was written, as a table and as JSON.

use std::fmt::Write;
use std::path::Path;

use batchnorm_lab::export;
use batchnorm_lab::model::Model;
use batchnorm_lab::network::Layer;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

use super::format::Format;
use crate::text;

/// What was folded, and into which layer; what stayed, and why.
#[derive(Default)]
pub struct Folded {
    pub into: Vec<(String, String)>,
    pub kept: Vec<(String, String)>,
}

pub struct Report<'r> {
    pub model: &'r Model,
    pub path: &'r Path,
    pub output: &'r Path,
    pub format: Format,
    pub folded: &'r Option<Folded>,
    pub bytes: usize,
}

impl Report<'_> {
    fn layers(&self) -> Vec<Layer> {
        let description = &self.model.description;
        description.plan.network.outline(description.data.input, description.data.classes.len())
    }

    pub fn text(&self) -> String {
        let data = &self.model.description.data;
        let layers = self.layers();
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(["layer", "", "output", "parameters"]);
        for layer in &layers {
            let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
            let parameters = if layer.parameters > 0 { layer.parameters.to_string() } else { String::new() };
            let path = if layer.path.is_empty() { "-" } else { &layer.path };
            table.add_row([
                Cell::new(path),
                Cell::new(&layer.what),
                right(layer.output.to_string()),
                right(parameters),
            ]);
        }
        let parameters: usize = layers.iter().map(|layer| layer.parameters).sum();
        let mut said = format!("{table}\n{parameters} parameters, {} bytes", self.bytes);
        match self.format {
            Format::Onnx => {
                let _ = writeln!(
                    said,
                    "; ONNX, opset {}: `input` of N x {}, `scores` of {} classes.",
                    export::OPSET,
                    data.input,
                    data.classes.len()
                );
            }
            Format::Safetensors => said.push_str("; safetensors, for `load_state_dict`.\n"),
        }
        if let Some(Folded { into, kept }) = self.folded {
            let _ = writeln!(said, "{} of {} batch norms folded.", into.len(), into.len() + kept.len());
            kept.iter().for_each(|(name, reason)| said.push_str(&format!("  {name} stays: {reason}\n")));
        }
        match export::recipe(data) {
            Some(recipe) => {
                let _ = write!(
                    said,
                    "Pictures go in by this recipe (batchnorm.recipe in the metadata):\n{}",
                    indented(&recipe.to_toml())
                );
            }
            None => said.push_str("Rows go in as they stand in the table.\n"),
        }
        if let Some(note) = export::note(data) {
            said.push_str(&note);
        }
        said
    }

    pub fn json(&self) -> String {
        let data = &self.model.description.data;
        let layers = self.layers();
        let pair = |(name, words): &(String, String), key: &str| json!({"name": name, key: words});
        let folded = self.folded.as_ref().map(|Folded { into, kept }| {
            json!({
                "folds": into.iter().map(|one| pair(one, "into")).collect::<Vec<Value>>(),
                "kept": kept.iter().map(|one| pair(one, "reason")).collect::<Vec<Value>>(),
            })
        });
        let object = json!({
            "command": "export",
            "version": env!("CARGO_PKG_VERSION"),
            "format": "batchnorm-export 1",
            "file": text::path(self.path),
            "output": text::path(self.output),
            "kind": match self.format {
                Format::Onnx => "ONNX",
                Format::Safetensors => "safetensors",
            },
            "opset": (self.format == Format::Onnx).then_some(export::OPSET),
            "bytes": self.bytes,
            "layers": layers.iter().filter(|layer| !layer.path.is_empty()).map(|layer| layer.path.as_str()).collect::<Vec<_>>(),
            "parameters": layers.iter().map(|layer| layer.parameters).sum::<usize>(),
            "classes": data.classes,
            "recipe": export::recipe(data).map(|recipe| recipe.to_toml()),
            "note": export::note(data),
            "folding": folded,
        });
        format!("{object:#}\n")
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { String::from("\n") } else { format!("  {line}\n") }).collect()
}
