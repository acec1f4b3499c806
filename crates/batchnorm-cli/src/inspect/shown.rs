//! How names, numbers and mends are shown, whoever shows them.

use std::path::Path;

use batchnorm_model::file::{Head, Inspection};
use batchnorm_model::foldable::Verdict;
use batchnorm_model::health::{Finding, Mend, Remedy, Severity};
use batchnorm_model::layer::Layer;

use crate::text::{self, of_layers};

/// A number in four digits.
pub fn number(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || !number.is_finite() {
        format!("{number}")
    } else if (1e-3..1e5).contains(&size) {
        let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
        let text = format!("{number:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{number:.2e}")
    }
}

/// A number of an f32, in as few digits as tell it.
pub fn option(number: f64) -> String {
    let short = number as f32;
    if f64::from(short) != number {
        return format!("{number}");
    }
    if number != 0.0 && number.abs() < 1e-3 { format!("{short:e}") } else { format!("{short}") }
}

pub fn range(range: Option<[f64; 2]>) -> String {
    match range {
        Some([least, most]) if least == most => number(least),
        Some([least, most]) => format!("{} to {}", number(least), number(most)),
        None => String::from("-"),
    }
}

/// What the file is, in a line.
pub fn head(head: &Head, path: &Path) -> String {
    let mut parts = vec![head.kind.name().to_owned()];
    parts.extend(head.opset.map(|opset| format!("opset {opset}")));
    parts.extend(head.maker.as_ref().map(|maker| format!("by {}", of_layers::cut(maker))));
    parts.push(size(head.size));
    format!("{}: {}", text::one_line(&path.display().to_string()), parts.join(", "))
}

/// What was found, in a line.
pub fn counts(inspection: &Inspection) -> String {
    let Inspection { layers, findings, .. } = inspection;
    if layers.is_empty() {
        return String::from("No batch norm.");
    }
    let foldable = match layers.iter().all(|layer| layer.verdict.is_none()) {
        true => String::from("whether they can be folded is not known, for the file has no graph"),
        false => format!("{} foldable", foldable(layers)),
    };
    let of = |severity: Severity, word: &str| {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        (count > 0).then(|| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
    };
    let found = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let found: Vec<String> = found.into_iter().filter_map(|(severity, word)| of(severity, word)).collect();
    let found = if found.is_empty() { String::from("nothing found") } else { found.join(", ") };
    let norms = if layers.len() == 1 { "batch norm" } else { "batch norms" };
    format!("{} {norms}, {foldable}; {found}.", layers.len())
}

/// How many of the layers can be folded.
pub fn foldable(layers: &[Layer]) -> usize {
    layers.iter().filter(|layer| matches!(layer.verdict, Some(Verdict::Foldable(_)))).count()
}

fn size(bytes: u64) -> String {
    match bytes {
        ..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// What to do about a finding, with the command that helps, if there is one.
pub fn mend(finding: &Finding, path: &Path) -> String {
    mend_of(finding.layer.as_deref(), &finding.mend, path)
}

/// What to do about something in a layer of a file.
pub fn mend_of(layer: Option<&str>, mend: &Mend, path: &Path) -> String {
    let words = text::one_line(&mend.words);
    match (command_of(layer, mend.remedy, path), mend.remedy) {
        (Some(command), Some(Remedy::LookAtChannels)) => format!("{words}; which channels: {command}"),
        (Some(command), Some(Remedy::Recalibrate)) => format!("{words} (yours in place of {DATA}): {command}"),
        (Some(command), _) => format!("{words}: {command}"),
        (None, _) => words,
    }
}

/// The command that mends a finding, or shows more of it.
pub fn command(finding: &Finding, path: &Path) -> Option<String> {
    command_of(finding.layer.as_deref(), finding.mend.remedy, path)
}

/// The command of a remedy for a layer of a file.
pub fn command_of(layer: Option<&str>, remedy: Option<Remedy>, path: &Path) -> Option<String> {
    let layer = layer?;
    // (A name with control characters cannot be typed.)
    let can_be_typed = |name: &str| !name.chars().any(char::is_control);
    let model = text::word(path);
    match remedy? {
        Remedy::LookAtChannels if can_be_typed(layer) => {
            Some(format!("batchnorm inspect {model} --layer={}", text::word(Path::new(layer))))
        }
        Remedy::Fold if can_be_typed(&path.to_string_lossy()) => {
            let folded = path.with_extension("folded.onnx");
            Some(format!("batchnorm fold {model} {}", text::word(&folded)))
        }
        Remedy::Fix if can_be_typed(&path.to_string_lossy()) => {
            let fixed = path.with_extension("fixed.onnx");
            Some(format!("batchnorm inspect {model} --fix {}", text::word(&fixed)))
        }
        Remedy::Recalibrate if can_be_typed(&path.to_string_lossy()) => {
            let new = path.with_extension("recalibrated.onnx");
            Some(format!("batchnorm recalibrate {model} {} --data {DATA}", text::word(&new)))
        }
        _ => None,
    }
}

/// What stands for the user's data in a command.
const DATA: &str = "data.npy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.012_345_6, "0.01235"),
            (123.456, "123.5"),
            (99_999.4, "99999"),
            (1e-9, "1.00e-9"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            (option(f64::from(1e-5f32)), option(f64::from(0.9f32)), option(0.0)),
            ("1e-5".into(), "0.9".into(), "0".into())
        );
    }
}
