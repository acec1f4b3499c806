//! What makes a finding of what is known of a layer.

use super::code::{Code, Finding, Mend, Remedy, Severity};
use crate::foldable::{Reason, Verdict};
use crate::layer::{ByPosition, Layer, Mode};
use crate::numbers::Precision;
use crate::parameters::Summary;

/// Weight of the old value below which a momentum looks like that of the new one.
const INVERTED: f64 = 0.5;

/// The findings of the batch norms of a file, the worst first, otherwise in the order of the layers.
pub fn findings(layers: &[Layer]) -> Vec<Finding> {
    let mut found = Vec::new();
    if layers.is_empty() {
        found.push(Finding {
            code: Code::NoBatchNorm,
            severity: Code::NoBatchNorm.severity(),
            layer: None,
            text: String::from("there is no batch norm in it: they are folded into the layers beside them already, or it never had one"),
            mend: Mend { words: String::from("nothing to do"), remedy: None },
        });
    }
    let usual = usual_epsilon(layers);
    layers.iter().for_each(|layer| Rules { layer, found: &mut found }.apply(usual));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

/// The epsilon that most layers have, if there is one that more than half of them have.
fn usual_epsilon(layers: &[Layer]) -> Option<f64> {
    let mut all: Vec<f64> = layers.iter().filter_map(|layer| layer.epsilon).collect();
    all.sort_by(f64::total_cmp);
    let middle = *all.get(all.len() / 2)?;
    let alike = all.iter().filter(|epsilon| **epsilon == middle).count();
    (2 * alike > all.len()).then_some(middle)
}

struct Rules<'r> {
    layer: &'r Layer,
    found: &'r mut Vec<Finding>,
}

impl Rules<'_> {
    fn add(&mut self, code: Code, text: String, mend: &str) -> &mut Finding {
        self.found.push(Finding {
            code,
            severity: code.severity(),
            layer: Some(self.layer.name.clone()),
            text,
            mend: Mend { words: mend.to_owned(), remedy: None },
        });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    fn apply(&mut self, usual_epsilon: Option<f64>) {
        let layer = self.layer;
        match &layer.summary {
            Ok(summary) => {
                // (What it does not use may be anything.)
                if !matches!(layer.mode, Some(Mode::TrainingOfConstants | Mode::TrainingOfInstances)) {
                    self.of_values(summary);
                }
                self.of_mode(summary);
                self.of_counts(summary);
            }
            Err(why) => {
                let finding = self.add(
                    Code::NotReadable,
                    format!("its parameters cannot be read: {why}"),
                    "export it with constants for its parameters",
                );
                // (A function's parameters come from whoever calls it.)
                if layer.inside.is_some() {
                    finding.severity = Severity::Note;
                }
            }
        }
        self.of_options(usual_epsilon);
        let (names, count) = &layer.shares_with;
        if *count > 0 {
            let more = if *count > names.len() { format!(" and {} more", count - names.len()) } else { String::new() };
            self.add(
                Code::SharedVectors,
                format!("a vector of it is also that of {}{more}", names.join(", ")),
                "nothing; what changes one of them changes all, unless the vector is copied first",
            );
        }
        // (A mean at its start has no bias in it.)
        let at_start = layer.summary.as_ref().is_ok_and(|summary| summary.at_start);
        if let Some((of, largest)) = layer.useless_bias.as_ref().filter(|_| !at_start) {
            let finding = self.add(
                Code::UselessBias,
                format!("the bias of {of} (up to {largest:.3e}) is in its mean too, which takes it out again"),
                "train without that bias; folding the norm takes it in",
            );
            finding.mend.remedy = match layer.verdict {
                Some(Verdict::Foldable(_)) => Some(Remedy::Fold),
                // (Behind a layer whose output others take, the bias is theirs too.)
                Some(Verdict::Kept(Reason::Shared(_) | Reason::Inside(_))) | None => None,
                Some(Verdict::Kept(_)) => {
                    finding.mend.words = String::from("train without that bias, or take it out of both");
                    Some(Remedy::Fix)
                }
            };
        }
    }

    fn of_values(&mut self, summary: &Summary) {
        let of = |count: usize| match summary.channels {
            1 => String::from("its one channel"),
            channels => format!("{count} of {channels} channels"),
        };
        if summary.not_finite > 0 {
            let half = match summary.precision {
                Precision::F16 => "; f16 ends at 65,504, so look at what it was converted from",
                _ => "",
            };
            let text = format!("{} of its parameters are NaN or infinite{half}", summary.not_finite);
            self.add(
                Code::NotFinite,
                text,
                "take it from an earlier checkpoint, or compute the statistics again on data",
            )
            .mend
            .remedy = Some(Remedy::LookAtChannels);
        }
        if summary.negative > 0 {
            let text = format!("the variance of {} is below 0, which no data have", of(summary.negative));
            self.add(Code::NegativeVariance, text, "compute the statistics again on data").mend.remedy =
                Some(Remedy::LookAtChannels);
        }
        if summary.zero > 0 {
            let text = format!(
                "the variance of {} is 0: what came in was constant, and is divided by sqrt(epsilon) in use",
                of(summary.zero)
            );
            let mend = "where the layer before it gives nothing, the channel can be removed; else compute the statistics on more data";
            self.add(Code::NoVariance, text, mend).mend.remedy = Some(Remedy::LookAtChannels);
        }
        if summary.below_epsilon > 0 {
            let epsilon = self.layer.epsilon.unwrap_or_default();
            let text = format!(
                "the variance of {} is less than a hundredth of epsilon ({}), which decides there",
                of(summary.below_epsilon),
                shown(epsilon)
            );
            let mend = "nothing, as long as it runs with the same epsilon; these channels come out small";
            self.add(Code::BelowEpsilon, text, mend).mend.remedy = Some(Remedy::LookAtChannels);
        }
        if summary.dead > 0 {
            let text = format!("gamma of {} is 0: beta comes out, whatever goes in", of(summary.dead));
            self.add(Code::DeadChannels, text, "the channels can be removed").mend.remedy =
                Some(Remedy::LookAtChannels);
        } else if let Some(gamma) = summary.gamma_alike.filter(|_| summary.channels > 1) {
            let text = format!("gamma is {} in every channel: it was not trained", shown(gamma));
            self.add(
                Code::GammaAlike,
                text,
                "nothing where that is meant (MXNet's fix_gamma: a gamma that is not used)",
            );
        }
        if summary.at_limits > 0 {
            let text = format!("{} of its statistics are at the limits of f16 (65,504 and 6.1e-5)", summary.at_limits);
            self.add(Code::HalfAtItsLimits, text, "keep the statistics as f32").mend.remedy =
                Some(Remedy::LookAtChannels);
        }
    }

    fn of_mode(&mut self, summary: &Summary) {
        match self.layer.mode {
            // (Statistics that were taken are of a norm that was meant to use them.)
            Some(Mode::TrainingOfInstances) if summary.at_start => {
                let text =
                    "it is in training mode on a batch of one whose channels are those of all examples: instance norm";
                self.add(Code::TrainingOfInstances, text.to_owned(), "nothing; it is meant");
            }
            Some(Mode::Training) if summary.at_start => {
                let text = "it is in training mode, and its statistics are at their start: without that mode it would do nothing";
                let remedy = self.by_data();
                let mend = "compute the statistics on data, with which it leaves training mode";
                self.add(Code::NeverTracked, text.to_owned(), mend).mend.remedy = remedy;
            }
            Some(Mode::Training | Mode::TrainingOfInstances) => {
                let text = "it is in training mode: what comes out depends on the batch; its statistics are there and not used";
                let remedy = self.by_fix();
                let mend = "export it again in evaluation mode (PyTorch: model.eval()), or mend the file";
                self.add(Code::LeftInTraining, text.to_owned(), mend).mend.remedy = remedy;
            }
            Some(Mode::TrainingOfConstants) => {
                let text = "it is in training mode on constants, as standardised weights are exported: what comes out is a constant";
                let remedy = self.by_fix();
                let mend = "nothing; it is meant, and can be computed once";
                self.add(Code::TrainingOfConstants, text.to_owned(), mend).mend.remedy = remedy;
            }
            Some(Mode::Inference) | None if summary.at_start => {
                let text = "its mean is 0 and its variance 1 in every channel: it never saw a batch, or its statistics were lost";
                let remedy = self.by_data();
                let mend = "take the statistics from the training's last checkpoint, or compute them on data";
                self.add(Code::AtTheirStart, text.to_owned(), mend).mend.remedy = remedy;
            }
            Some(Mode::Inference) | None => {}
        }
    }

    /// The remedy of what has one right answer, where the norm is in the model's own graph.
    fn by_fix(&self) -> Option<Remedy> {
        let Layer { neighbours, inside, .. } = self.layer;
        (neighbours.is_some() && inside.is_none()).then_some(Remedy::Fix)
    }

    /// The remedy of statistics that data mend, where the model can be run.
    fn by_data(&self) -> Option<Remedy> {
        let Layer { neighbours, inside, by_position, .. } = self.layer;
        (neighbours.is_some() && inside.is_none() && by_position.is_none()).then_some(Remedy::Recalibrate)
    }

    fn of_options(&mut self, usual_epsilon: Option<f64>) {
        if let Some(momentum) = self.layer.momentum.filter(|momentum| *momentum > 0.0 && *momentum < INVERTED) {
            let text = format!(
                "its momentum, {}, is the weight of the old statistics; by the other reading, that of the new ones, it would be {}",
                shown(momentum),
                shown(1.0 - momentum)
            );
            self.add(Code::MomentumInverted, text, "nothing in use; mend it before it is trained further");
        }
        if let (Some(own), Some(usual)) =
            (self.layer.epsilon, usual_epsilon.filter(|usual| Some(*usual) != self.layer.epsilon))
        {
            let text = format!("its epsilon is {}, that of most layers {}", shown(own), shown(usual));
            self.add(Code::EpsilonDiffers, text, "nothing, where it was trained so");
        }
        match self.layer.by_position {
            Some(ByPosition::Mistaken) => {
                let text = "spatial is 0, which asks for statistics of each position, and its vectors have a number for each channel, as MXNet exported";
                let remedy = self.by_fix();
                self.add(Code::SpatialByMistake, text.to_owned(), "set spatial to 1").mend.remedy = remedy;
            }
            Some(ByPosition::Unknown) => {
                let text = "spatial is 0, which asks for statistics of each position; whether its vectors have a number for each of them is not said in the file";
                let mend = "if its vectors have a number for each channel (MXNet exported so), set spatial to 1";
                self.add(Code::SpatialByMistake, text.to_owned(), mend).severity = Severity::Warning;
            }
            Some(ByPosition::Meant) | None => {}
        }
    }

    fn of_counts(&mut self, summary: &Summary) {
        match self.layer.batches {
            Some(0) if !summary.at_start => {
                let text = "num_batches_tracked is 0, and the statistics have left their start: a mean of all batches (momentum=None) would start anew";
                self.add(Code::BatchesContradict, text.to_owned(), "set the count before it is trained further");
            }
            Some(batches) if batches > 0 && summary.at_start => {
                let text = format!("num_batches_tracked is {batches}, and the statistics are at their start");
                self.add(Code::BatchesContradict, text, "look at how it was saved: the statistics were lost");
            }
            Some(batches) if batches < 0 => {
                let text = format!("num_batches_tracked is {batches}");
                self.add(Code::BatchesContradict, text, "set the count before it is trained further");
            }
            _ => {}
        }
    }
}

/// A number of an f32 in as few digits as tell it.
fn shown(number: f64) -> String {
    let short = number as f32;
    let number = if f64::from(short) == number { format!("{short:?}") } else { format!("{number:?}") };
    number.strip_suffix(".0").map_or(number.clone(), str::to_owned)
}
