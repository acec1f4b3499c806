//! Labels from a file: a whole number for each sample, in their order.

use std::path::Path;

use batchnorm_io::npy::Rows;
use batchnorm_io::whole;

use super::error::SamplesError;
use crate::excerpt::excerpt;

/// The largest label: there is no model of so many classes, and single precision has all whole numbers up to it.
pub const MOST_LABEL: usize = (1 << 24) - 1;
/// Bytes of the largest text of labels.
const MOST_BYTES: u64 = 1 << 28;

/// Reads as many labels as there are samples.
pub fn read(path: &Path, samples: usize, notes: &mut Vec<String>) -> Result<Vec<usize>, SamplesError> {
    let is =
        |ends: &[&str]| path.extension().is_some_and(|end| ends.iter().any(|known| end.eq_ignore_ascii_case(known)));
    if is(&["npy"]) {
        of_npy(path, samples)
    } else if is(&["csv", "tsv", "txt"]) {
        of_text(path, samples, notes)
    } else {
        let got = if path.is_dir() { "a folder" } else { "a file of another name" };
        Err(SamplesError::LabelKind { path: path.to_owned(), got })
    }
}

fn count(path: &Path, samples: usize, labels: String) -> SamplesError {
    SamplesError::LabelCount { path: path.to_owned(), samples, labels }
}

fn wrong(path: &Path, place: String, got: String, hint: &'static str) -> SamplesError {
    SamplesError::Label { path: path.to_owned(), place, most: MOST_LABEL, got: excerpt(&got), hint }
}

/// The label that a number is.
fn label(number: f64) -> Option<usize> {
    (number.fract() == 0.0 && (0.0..=MOST_LABEL as f64).contains(&number)).then_some(number as usize)
}

fn of_npy(path: &Path, samples: usize) -> Result<Vec<usize>, SamplesError> {
    let rows = Rows::open(path)?;
    match *rows.shape() {
        [labels] | [labels, 1] if labels == samples => {}
        ref shape => return Err(count(path, samples, format!("an array of shape {shape:?}"))),
    }
    let values = rows.read(0..samples)?;
    let numbers = values.iter().enumerate();
    numbers
        .map(|(sample, &value)| {
            let hint = "save the numbers of classes, x.astype(np.int64)";
            label(value.into()).ok_or_else(|| wrong(path, format!("sample {sample}"), value.to_string(), hint))
        })
        .collect()
}

/// A label a line; the first line may be a name.
fn of_text(path: &Path, samples: usize, notes: &mut Vec<String>) -> Result<Vec<usize>, SamplesError> {
    let at = |error| SamplesError::Read { path: path.to_owned(), error };
    let bytes = whole::read(path, MOST_BYTES).map_err(at)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(count(path, samples, format!("a file of more than {MOST_BYTES} bytes")));
    }
    let Ok(text) = str::from_utf8(&bytes) else {
        return Err(at(std::io::Error::other("expected text in UTF-8; save the labels as UTF-8, or as .npy")));
    };
    // (No more room than the samples' labels take: the rest is counted.)
    let (mut labels, mut found, mut begun) = (Vec::new(), 0, false);
    for (line, content) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let cell = content.trim().trim_matches('"').trim();
        if cell.is_empty() || cell.starts_with('#') {
            continue;
        }
        let first = !std::mem::replace(&mut begun, true);
        let number = cell.parse::<f64>().ok();
        match number.and_then(label) {
            Some(label) if found < samples => labels.push(label),
            Some(_) => {}
            None if first && number.is_none() && !cell.contains([',', ';', '\t']) => {
                notes.push(format!(
                    "{}: its first line `{}` was taken for the name of the labels",
                    path.display(),
                    excerpt(cell)
                ));
                continue;
            }
            None => {
                let hint =
                    "keep the labels alone, one a line, in the order of the samples, and number the classes from 0 on";
                return Err(wrong(path, format!("line {}", line + 1), format!("`{cell}`"), hint));
            }
        }
        found += 1;
    }
    if found != samples {
        return Err(count(path, samples, found.to_string()));
    }
    Ok(labels)
}
