//! Other statistics in a model, and the old ones back: they stay in the file's metadata.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::edit::Edits;
use crate::excerpt::excerpt;
use crate::numbers::{Numbers, Precision};
use crate::onnx::{BatchNorm, Constants, Elsewhere, Model, NewAttribute, NewTensor, NewValues, Node, Uses};
use crate::parameters::LONGEST_VECTOR;
use crate::wire::{WireError, fields, put_bytes, put_message};
use crate::wiring::Wiring;

/// The name of the metadata entry that has the statistics of before.
pub const METADATA: &str = "batchnorm.statistics_before";

/// The field of a model that has its metadata, and those of an entry.
const ENTRY: u32 = 14;
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// A mean and a variance for each channel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// The means.
    pub mean: Vec<f64>,
    /// The variances.
    pub variance: Vec<f64>,
}

/// Statistics that cannot be put into a model, or taken out of its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StatisticsError {
    /// No metadata of before.
    #[error(
        "expected a model that `recalibrate` wrote, with its statistics of before in its metadata ({METADATA}), got one without"
    )]
    NoneBefore,
    /// Metadata that are not as they were written.
    #[error("its metadata {METADATA} cannot be read: {0}")]
    Metadata(String),
    /// A norm that is not there any more.
    #[error("{0}: a norm of the metadata that the model does not have any more; it was changed by another program")]
    Gone(String),
    /// A norm whose statistics are no constants.
    #[error("{layer}: {why}")]
    NotConstant {
        /// The norm.
        layer: String,
        /// Why.
        why: String,
    },
    /// Outputs of a training that something uses.
    #[error("{0}: it gives its statistics to others, which take them from a training")]
    Used(String),
    /// Nested messages, which were read before.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Statistics of before, by the norm's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Before {
    /// The type of the numbers.
    element: String,
    /// Their bytes, little-endian, in hexadecimal digits.
    mean: String,
    variance: String,
}

/// Puts statistics into norms, by the places of their nodes. Those that the file has go into its metadata, where none are yet. A norm in
/// training mode leaves it.
///
/// # Errors
/// Norms whose statistics are no constants.
pub fn put(
    model: &Model,
    file: &[u8],
    elsewhere: &Elsewhere,
    changes: &[(usize, Statistics)],
) -> Result<Edits, StatisticsError> {
    let constants = Constants::of(&model.graph, file);
    let uses = Uses::of(&model.graph);
    let mut wiring = Wiring::new(model, &uses, file);
    let (entry, mut before) = before(model, file)?.unwrap_or_default();
    for (place, new) in changes {
        let node = &model.graph.nodes[*place];
        let norm = BatchNorm::of(node, model.opset());
        let norm = norm.ok_or_else(|| StatisticsError::Gone(node.title()))?;
        let old = |at: usize| {
            let not = |why: String| StatisticsError::NotConstant { layer: node.title(), why };
            let name = norm.parameters[at].ok_or_else(|| not(String::from("it has no statistics")))?;
            constants.numbers(name, LONGEST_VECTOR, elsewhere).map_err(|error| not(error.to_string()))
        };
        let (mean, variance) = (old(2)?, old(3)?);
        let precision = variance.precision();
        before.entry(node.output(0).unwrap_or_default().to_owned()).or_insert_with(|| Before {
            element: precision.to_string(),
            mean: digits(&precision.bytes_of(mean.to_vec().into_iter())),
            variance: digits(&precision.bytes_of(variance.to_vec().into_iter())),
        });
        for (input, numbers) in [(3, &new.mean), (4, &new.variance)] {
            put_vector(&mut wiring, node, *place, input, numbers.clone(), precision)?;
        }
        if norm.training {
            let others = node.outputs.iter().skip(1).map(|output| output.text).filter(|name| !name.is_empty());
            if others.into_iter().any(|name| !uses.users(name).is_empty()) {
                return Err(StatisticsError::Used(node.title()));
            }
            leave_training(&mut wiring, model, *place);
        }
    }
    let mut edits = wiring.finish();
    let text = serde_json::to_string(&before).map_err(|error| StatisticsError::Metadata(error.to_string()))?;
    let mut new = Vec::new();
    put_message(&mut new, ENTRY, |out| {
        put_bytes(out, KEY, METADATA.as_bytes());
        put_bytes(out, VALUE, text.as_bytes());
    });
    match entry {
        Some(whole) => edits.replace(whole, new),
        None => edits.append(0..file.len(), &new),
    }
    Ok(edits)
}

/// Puts the statistics of before back into the norms, and takes them out of the metadata. How many norms there were.
///
/// # Errors
/// A model without such metadata; norms that it no longer has.
pub fn roll_back(model: &Model, file: &[u8]) -> Result<(Edits, usize), StatisticsError> {
    let (entry, before) = before(model, file)?.ok_or(StatisticsError::NoneBefore)?;
    let uses = Uses::of(&model.graph);
    let mut wiring = Wiring::new(model, &uses, file);
    for (output, old) in &before {
        let gone = || StatisticsError::Gone(excerpt(output));
        let place = uses.maker(output).ok_or_else(gone)?;
        let node = &model.graph.nodes[place];
        BatchNorm::of(node, model.opset()).ok_or_else(gone)?;
        let broken = || StatisticsError::Metadata(format!("{}: no numbers of a type", excerpt(output)));
        let all = [Precision::F32, Precision::F64, Precision::F16, Precision::Bf16];
        let precision = all.into_iter().find(|precision| precision.to_string() == old.element).ok_or_else(broken)?;
        for (input, text) in [(3, &old.mean), (4, &old.variance)] {
            let numbers = of_digits(text).and_then(|bytes| Some(Numbers::of_bytes(bytes, precision)?.to_vec()));
            put_vector(&mut wiring, node, place, input, numbers.ok_or_else(broken)?, precision)?;
        }
    }
    let mut edits = wiring.finish();
    if let Some(whole) = entry {
        edits.remove(whole);
    }
    Ok((edits, before.len()))
}

fn put_vector(
    wiring: &mut Wiring,
    node: &Node,
    place: usize,
    input: usize,
    numbers: Vec<f64>,
    precision: Precision,
) -> Result<(), WireError> {
    let name = node.input(input).unwrap_or_default().to_owned();
    let shape = vec![numbers.len()];
    wiring.put_constant(place, input, NewTensor { name, shape, values: NewValues::Floats(precision, numbers) })
}

/// Takes a norm out of training mode, as its version has that. Nothing may take what it gives besides its first output.
pub(crate) fn leave_training(wiring: &mut Wiring, model: &Model, place: usize) {
    wiring.drop_other_outputs(place);
    match model.opset() {
        ..7 => wiring.put_attribute(place, "is_test", NewAttribute::Int(1)),
        7..14 => {}
        _ => wiring.drop_attribute(place, "training_mode"),
    }
}

/// The statistics of before, with the place of their entry.
type Known = (Option<Range<usize>>, BTreeMap<String, Before>);

fn before(model: &Model, file: &[u8]) -> Result<Option<Known>, StatisticsError> {
    let Some((_, text)) = model.metadata.iter().find(|(key, _)| *key == METADATA) else { return Ok(None) };
    let before = serde_json::from_str(text).map_err(|error| StatisticsError::Metadata(error.to_string()))?;
    for field in fields(file, 0..file.len()) {
        let field = field?;
        if field.number != ENTRY {
            continue;
        }
        for inner in fields(file, field.content.clone()) {
            let inner = inner?;
            if inner.number == KEY && &file[inner.content] == METADATA.as_bytes() {
                return Ok(Some((Some(field.whole), before)));
            }
        }
    }
    Ok(None)
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_digits(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect())?
}
