//! What is wrong with batch norms and has one right answer, mended in the file; what has not stays, with the reason.
//!
//! A mend changes the fields that are about it and no other byte. Nothing is measured on data here, and nothing is guessed: where the file
//! does not say what is right, it stays as it is.

mod account;
mod constant_input;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use thiserror::Error;

use crate::budget::{Budget, TooMuch};
use crate::edit::Edits;
use crate::excerpt::excerpt;
use crate::health::{self, Code, Finding, Mend, Remedy};
use crate::layer::{ByPosition, Layer, Mode};
use crate::layers::{self, Found};
use crate::numbers::{Numbers, Precision};
use crate::onnx::{Constants, Elsewhere, Model, NewTensor, NewValues, Node, Shapes, Uses};
use crate::parameters::{LONGEST_VECTOR, Parameters};
use crate::statistics;
use crate::wire::WireError;
use crate::wiring::Wiring;
use account::why_left;
pub use account::{Change, Left};
use constant_input::{Around, kept_as, normalised};

/// From this version on a norm's statistics may be of another type than its input.
const STATISTICS_OF_THEIR_OWN_TYPE: i64 = 14;
/// Before this version Gemm must have a bias.
const GEMM_WITHOUT_BIAS: i64 = 11;
/// Numbers of constants that are computed, besides half as many as the file has bytes.
const FREE: usize = 1 << 20;

/// A model that is mended, ready to be written.
#[derive(Debug)]
pub struct Repair {
    /// What was done, in the order of the file.
    pub changes: Vec<Change>,
    /// What was left, the worst first.
    pub left: Vec<Left>,
    edits: Edits,
}

impl Repair {
    /// Writes the mended model.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, file: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.edits.write(file, out)
    }
}

/// Mends the batch norms of a model, of which these were found:
///
/// - left in training mode with sound statistics (BN009): out of it, as its version has that, where nothing takes the training's outputs;
/// - in training mode on constants (BN011): computed in f64 and rounded once, and a constant in the norm's place;
/// - `spatial` 0 with a number for each channel (BN015): without it;
/// - statistics in f16 or bf16, finite and with no variance of 0: in f32, where the version allows it;
/// - a bias in front of it (BN017): out of the layer, and out of the mean;
/// - attributes that its version has not, and outputs of a training that it is not in and that nothing takes: gone.
///
/// # Errors
/// Layers that share larger vectors than a model of its size has; otherwise none for a model that was read from this file, and its own
/// layers.
pub fn repair<'f>(
    model: &Model<'f>,
    file: &'f [u8],
    elsewhere: &Elsewhere,
    layers: &[Layer],
) -> Result<Repair, RepairError> {
    let graph = &model.graph;
    let (constants, uses) = (Constants::of(graph, file), Uses::of(graph));
    let shapes = Shapes::of(graph, &uses, &constants, model.opset());
    let mut found = Vec::new();
    layers::each(model, file, elsewhere, &mut Budget::of(file.len()), &mut |norm| found.push(norm))?;
    let mut mender = Mender {
        model,
        around: Around { graph, constants: &constants, uses: &uses, shapes: &shapes, elsewhere },
        wiring: Wiring::new(model, &uses, file),
        singles: HashMap::new(),
        room: FREE + file.len() / 2,
        changes: Vec::new(),
        refused: Vec::new(),
    };
    for (layer, norm) in layers.iter().zip(found) {
        mender.mend(layer, norm)?;
    }
    let Mender { wiring, changes, refused, .. } = mender;
    let left = left(health::findings(layers), &changes, refused);
    Ok(Repair { changes, left, edits: wiring.finish() })
}

/// A model that cannot be mended.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum RepairError {
    /// Bytes that are not what they were when the model was read.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Norms that share larger vectors than a model of its size has.
    #[error(transparent)]
    Parts(#[from] TooMuch),
}

/// Something that was tried: the layer, the finding, and why it cannot be mended.
struct Refused {
    layer: String,
    code: Option<Code>,
    reason: String,
    /// What to do, where no finding says it.
    words: &'static str,
}

/// The findings that no change has mended, each with the reason.
fn left(findings: Vec<Finding>, changes: &[Change], refused: Vec<Refused>) -> Vec<Left> {
    // (Each change mends one finding, and each reason is one's: layers inside other graphs may have the names of others.)
    let mut mended: HashMap<(String, Code), usize> = HashMap::new();
    for change in changes {
        if let Some(code) = change.code {
            *mended.entry((change.layer.clone(), code)).or_default() += 1;
        }
    }
    let mut reasons: HashMap<(String, Code), VecDeque<String>> = HashMap::new();
    let mut others = Vec::new();
    for Refused { layer, code, reason, words } in refused {
        match code {
            Some(code) => reasons.entry((layer, code)).or_default().push_back(reason),
            None => others.push(Left {
                layer: Some(layer),
                code,
                reason,
                mend: Mend { words: words.to_owned(), remedy: None },
            }),
        }
    }
    let mut left = Vec::new();
    for Finding { code, layer, mut mend, .. } in findings {
        let of_layer = (layer.clone().unwrap_or_default(), code);
        match mended.get_mut(&of_layer) {
            Some(count) if *count > 0 => *count -= 1,
            _ if code == Code::NoBatchNorm => {}
            _ => {
                let own = reasons.get_mut(&of_layer).and_then(VecDeque::pop_front);
                mend.remedy = mend.remedy.filter(|remedy| *remedy != Remedy::Fix);
                if code == Code::TrainingOfConstants {
                    mend.words = String::from("nothing; it is meant");
                }
                let reason = own.unwrap_or_else(|| why_left(code).to_owned());
                left.push(Left { layer, code: Some(code), reason, mend });
            }
        }
    }
    left.extend(others);
    left
}

struct Mender<'m, 'f> {
    model: &'m Model<'f>,
    around: Around<'m, 'f>,
    wiring: Wiring<'m, 'f>,
    /// Vectors that are f32 now, by the names of those that were not.
    singles: HashMap<&'f str, String>,
    /// Numbers of constants that may still be computed.
    room: usize,
    changes: Vec<Change>,
    refused: Vec<Refused>,
}

impl<'f> Mender<'_, 'f> {
    fn node(&self, place: usize) -> &Node<'f> {
        &self.model.graph.nodes[place]
    }

    fn changed(&mut self, layer: &Layer, code: Option<Code>, text: impl Into<String>) {
        self.changes.push(Change { layer: layer.name.clone(), code, text: text.into() });
    }

    fn refuse(&mut self, layer: &Layer, code: Code, reason: impl Into<String>) {
        self.refused.push(Refused { layer: layer.name.clone(), code: Some(code), reason: reason.into(), words: "" });
    }

    /// What no finding is about.
    fn remark(&mut self, layer: &Layer, reason: impl Into<String>, words: &'static str) {
        self.refused.push(Refused { layer: layer.name.clone(), code: None, reason: reason.into(), words });
    }

    fn mend(&mut self, layer: &Layer, found: Found<'f>) -> Result<(), WireError> {
        let Some(place) = found.node else {
            let inside = layer.inside.as_deref().unwrap_or_default();
            for code in [Code::LeftInTraining, Code::TrainingOfConstants, Code::SpatialByMistake, Code::UselessBias] {
                self.refuse(layer, code, format!("it is inside {inside}, which is left as it is"));
            }
            return Ok(());
        };
        if found.mode == Mode::TrainingOfConstants {
            match self.evaluate(place, &found) {
                Ok(text) => self.changed(layer, Some(Code::TrainingOfConstants), text),
                Err(why) => self.refuse(layer, Code::TrainingOfConstants, why),
            }
            return Ok(());
        }
        let mut in_use = found.mode == Mode::Inference;
        if !in_use && layer.summary.as_ref().is_ok_and(|summary| !summary.at_start) {
            match self.leave_training(place, layer) {
                Ok(text) => {
                    in_use = true;
                    self.changed(layer, Some(Code::LeftInTraining), text);
                }
                Err(why) => self.refuse(layer, Code::LeftInTraining, why),
            }
        }
        if layer.by_position == Some(ByPosition::Mistaken) {
            self.wiring.drop_attribute(place, "spatial");
            let text = "spatial 0 taken off: without it the version counts by channels, as its vectors do";
            self.changed(layer, Some(Code::SpatialByMistake), text);
        }
        self.take_off_leftovers(place, layer, found.mode == Mode::Inference);
        match found.parameters {
            Ok(parameters) if in_use => self.put_statistics(place, layer, &parameters),
            Ok(_) => {
                self.refuse(layer, Code::UselessBias, "it normalises by the batch: its mean is not in use");
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// Whether something takes what a norm gives besides its first output.
    fn gives_statistics(&self, place: usize) -> bool {
        let others = self.node(place).outputs.iter().skip(1).map(|output| output.text);
        others.filter(|name| !name.is_empty()).any(|name| !self.around.uses.users(name).is_empty())
    }

    fn leave_training(&mut self, place: usize, layer: &Layer) -> Result<String, String> {
        if self.gives_statistics(place) {
            return Err(String::from("it gives the batch's statistics to others, which in use it would not have"));
        }
        match &layer.summary {
            Ok(summary) if summary.not_finite == 0 && summary.negative == 0 => {}
            _ => return Err(String::from("its parameters are not sound: out of training mode it would do worse")),
        }
        let outputs = self.node(place).outputs.iter().skip(1).filter(|output| !output.text.is_empty()).count();
        statistics::leave_training(&mut self.wiring, self.model, place);
        let mut text = String::from("taken out of training mode: it uses its statistics now");
        if outputs > 0 {
            text += &format!("; {outputs} outputs of a training, which nothing took, are gone");
        }
        Ok(text)
    }

    /// Computes a norm of constants, in f64 and rounded once, and puts the constant in its place, with what shapes it before and behind.
    fn evaluate(&mut self, place: usize, found: &Found<'f>) -> Result<String, String> {
        if self.gives_statistics(place) {
            return Err(String::from("it gives the batch's statistics to others"));
        }
        if found.by_position {
            return Err(String::from("its statistics are of each position (spatial 0)"));
        }
        let parameters = found.parameters.as_ref().map_err(Clone::clone)?;
        let node = &self.model.graph.nodes[place];
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
            return Err(String::from("it has no input or no output"));
        };
        let shaped = self.around.shaped(input, self.room)?;
        let (count, precision) = (shaped.numbers.len(), shaped.numbers.precision());
        if shaped.shape.len() < 2 || shaped.shape[1] != parameters.channels() || count == 0 {
            return Err(String::from("its vectors have another length than its input has channels"));
        }
        let of = |vector: &Option<Numbers>, none: f64| {
            vector.as_ref().map_or_else(|| vec![none; parameters.channels()], |numbers| numbers.to_vec())
        };
        let (gamma, beta) = (of(&parameters.gamma, 1.0), of(&parameters.beta, 0.0));
        let values = normalised(&shaped.numbers.to_vec(), &shaped.shape, &gamma, &beta, found.epsilon);
        let bytes = kept_as(precision, values)?;
        self.room -= count;
        // What only this norm took on the way to it is gone with it.
        let (mut user, mut value) = (place, input);
        for &before in &shaped.nodes {
            if !self.around.takes_alone(user, value) {
                break;
            }
            self.wiring.remove(before);
            (user, value) = (before, self.node(before).input(0).unwrap_or_default());
        }
        let (behind, name, shape) = self.around.shaped_onward(output, shaped.shape);
        behind.iter().chain([&place]).for_each(|&node| self.wiring.remove(node));
        let values = NewValues::Bytes(precision, bytes);
        self.wiring.put_value(NewTensor { name: name.to_owned(), shape, values });
        Ok(format!(
            "computed once: its output {} is a constant of {count} numbers now, and the node is gone",
            excerpt(name)
        ))
    }

    /// Takes off what the model's version does not have.
    fn take_off_leftovers(&mut self, place: usize, layer: &Layer, in_use: bool) {
        let opset = self.model.opset();
        let node = &self.model.graph.nodes[place];
        let mut gone = Vec::new();
        for name in ["consumed_inputs", "is_test", "spatial", "training_mode"] {
            let Some(attribute) = node.attribute(name) else { continue };
            let value = node.int(name);
            let is_unknown = match name {
                "consumed_inputs" => opset >= 6,
                "is_test" => opset >= 7,
                "spatial" => opset >= 9,
                _ => opset < 14,
            };
            let harmless = match name {
                "spatial" => value == Some(1),
                "training_mode" => value == Some(0),
                _ => true,
            };
            if is_unknown && harmless {
                self.wiring.drop_attribute(place, attribute.name);
                gone.push(attribute.name);
            } else if is_unknown {
                let shown = value.map_or_else(String::new, |value| format!(" {value}"));
                let reason = format!(
                    "version {opset} of the operators has no {name}{shown}: what it is to mean is not in the file"
                );
                self.remark(layer, reason, "export it again for one version of the operators");
            }
        }
        if !gone.is_empty() {
            self.changed(
                layer,
                None,
                format!("{} taken off, which version {opset} of the operators does not have", gone.join(", ")),
            );
        }
        let others = node.outputs.iter().skip(1).any(|output| !output.text.is_empty());
        if others && in_use && self.gives_statistics(place) {
            let reason = "others take statistics from it, which it gives in training mode alone";
            self.remark(layer, reason, "take its running statistics, which are constants, instead");
        } else if others && in_use {
            self.wiring.drop_other_outputs(place);
            self.changed(layer, None, "outputs of a training, which it is not in and nothing took, are gone");
        }
    }

    /// Statistics in f32 where they are of 16 bits, and without the bias in front.
    fn put_statistics(&mut self, place: usize, layer: &Layer, parameters: &Parameters) -> Result<(), WireError> {
        let Ok(summary) = &layer.summary else { return Ok(()) };
        let is_half = |precision: Precision| matches!(precision, Precision::F16 | Precision::Bf16);
        let (mean, variance) = (parameters.mean.precision(), parameters.variance.precision());
        let half = [mean, variance].into_iter().find(|&precision| is_half(precision));
        let sound = parameters.mean.iter().all(f64::is_finite)
            && parameters.variance.iter().all(|number| number.is_finite() && number > 0.0);
        let to_single = half.filter(|_| sound && summary.at_limits == 0 && !summary.at_start);
        let converts = to_single.is_some() && self.model.opset() >= STATISTICS_OF_THEIR_OWN_TYPE;
        match to_single {
            Some(half) if converts => {
                self.changed(layer, None, format!("statistics stored as f32, which were {half}: the same numbers"));
            }
            Some(half) => {
                let reason = format!(
                    "its statistics are {half}: before version {STATISTICS_OF_THEIR_OWN_TYPE} of the operators they must be of its input's type"
                );
                self.remark(layer, reason, "convert the model to version 15, where that is possible");
            }
            None => {}
        }
        let precision = if converts { Precision::F32 } else { mean };
        // (A mean at its start has no bias in it.)
        let mut has_bias = layer.useless_bias.is_some() && !summary.at_start;
        if has_bias {
            match self.mean_without_bias(place, layer, parameters, precision) {
                Ok((before, numbers)) => {
                    let title = self.node(before).title();
                    self.wiring.drop_input(before, 2);
                    self.put_mean(place, numbers, precision)?;
                    let text = format!("the bias of {title} taken out of its mean, and off that layer");
                    self.changed(layer, Some(Code::UselessBias), text);
                }
                Err(why) => {
                    has_bias = false;
                    self.refuse(layer, Code::UselessBias, why);
                }
            }
        }
        if converts && !has_bias {
            self.put_single(place, 3, &parameters.mean);
        }
        if converts {
            self.put_single(place, 4, &parameters.variance);
        }
        Ok(())
    }

    fn put_mean(&mut self, place: usize, numbers: Vec<f64>, precision: Precision) -> Result<(), WireError> {
        let name = self.node(place).input(3).unwrap_or_default().to_owned();
        let shape = vec![numbers.len()];
        self.wiring.put_constant(place, 3, NewTensor { name, shape, values: NewValues::Floats(precision, numbers) })
    }

    /// A vector in f32: one for all norms that share it.
    fn put_single(&mut self, place: usize, input: usize, numbers: &Numbers) {
        let name = self.model.graph.nodes[place].input(input).unwrap_or_default();
        let single = match self.singles.get(name) {
            Some(single) => single.clone(),
            None => {
                let values = NewValues::Floats(Precision::F32, numbers.to_vec());
                let tensor = NewTensor { name: name.to_owned(), shape: vec![numbers.len()], values };
                let single = self.wiring.add_tensor(tensor);
                self.singles.insert(name, single.clone());
                single
            }
        };
        self.wiring.take_instead(place, input, single);
    }

    /// The layer in front whose bias is useless, and the mean without it; why it is not to be taken out otherwise.
    fn mean_without_bias(
        &self,
        place: usize,
        layer: &Layer,
        parameters: &Parameters,
        precision: Precision,
    ) -> Result<(usize, Vec<f64>), String> {
        let norm = self.node(place);
        let input = norm.input(0).unwrap_or_default();
        let before = self.around.uses.maker(input).ok_or("nothing stands in front of it")?;
        let node = self.node(before);
        if !self.around.takes_alone(place, input) {
            return Err(format!("something else takes the output of {} too", node.title()));
        }
        if let Some(ByPosition::Meant | ByPosition::Unknown) = layer.by_position {
            return Err(String::from("its statistics are of each position (spatial 0)"));
        }
        if node.is("Gemm") && self.model.opset() < GEMM_WITHOUT_BIAS {
            return Err(format!("before version {GEMM_WITHOUT_BIAS} of the operators Gemm must have a bias"));
        }
        let mean = norm.input(3).unwrap_or_default();
        if !self.around.takes_alone(place, mean) {
            return Err(String::from("others have the same mean"));
        }
        if self.model.metadata.iter().any(|(key, _)| *key == statistics::METADATA) {
            return Err(String::from(
                "the file keeps the statistics of before, which have that bias in them (recalibrate --rollback)",
            ));
        }
        let name = node.input(2).ok_or("it has no bias")?;
        let bias = self.around.constants.numbers(name, LONGEST_VECTOR, self.around.elsewhere);
        let bias = bias.map_err(|error| error.to_string())?.to_vec();
        let shape = self.around.constants.shape(name).unwrap_or_default();
        let channels = parameters.channels();
        let of_channels = bias.len() == channels && shape.last() == Some(&(channels as i64));
        if node.inputs.len() != 3 || !(of_channels || bias.len() == 1) {
            return Err(format!("the bias of {} has not one number for each channel", node.title()));
        }
        let factor = node.float("beta").filter(|_| node.is("Gemm")).map_or(1.0, f64::from);
        let of = |(channel, mean): (usize, f64)| mean - factor * bias[if of_channels { channel } else { 0 }];
        let numbers: Vec<f64> = parameters.mean.iter().enumerate().map(of).collect();
        kept_as(precision, numbers.clone())?;
        Ok((before, numbers))
    }
}
