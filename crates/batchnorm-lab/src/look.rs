//! Looks at a network of a [trial](crate::trial): what is read off it besides its accuracy by running statistics. None changes the training.

use std::fmt;
use std::str::FromStr;

use batchnorm_burn::norms;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::averaging::{MOST_EXAMPLES, recalibrate_on};
use crate::data::{Data, DataError, Examples, Set};
use crate::diagnosis;
use crate::folding::Folding;
use crate::network::{HEAD, Network, walk};
use crate::plan::Plan;
use crate::probe::unit_percentiles;
use crate::random::{Purpose, generator};
use crate::shift::Shift;
use crate::training::{Training, input, right};

/// Examples of a look that goes by one batch, at most.
const BATCH: usize = 1000;
/// What a series of recalibrations has across.
const RECALIBRATED: &str = "examples recalibrated on";

/// Something to look at. As text (in presets, behind `--read`): `training`, `recalibrated`, `recalibrated:256`, `batch` (of the training's size), `batch:64`, `batch:64:sorted`,
/// `shift:contrast=0.3`, `shift:contrast=0.3:256`, `folded`, `percentiles`, `gradients`, `weights`, `variances`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Look {
    /// Accuracy on the training set by running statistics, and how far it is above that on the test set.
    Training,
    /// Accuracy by statistics computed again, layer by layer, on so many training examples.
    Recalibrated(usize),
    /// Accuracy by the statistics of batches of test examples, mixed or sorted by class.
    Batch {
        /// Examples; as many as in training where it is not said.
        size: Option<usize>,
        /// They are sorted by class.
        sorted: bool,
    },
    /// Accuracy on a shifted test set: by running statistics, or by those computed again on so many examples of that set, without their labels.
    Shifted {
        /// What was done to the pictures.
        shift: Shift,
        /// Examples.
        recalibrated: Option<usize>,
    },
    /// Batch norms folded into the layers in front of them: the largest change of a score, classes that change, accuracy, and time of a pass, on the test set.
    Folded,
    /// 15th, 50th and 85th percentile, over test examples, of the input of the last hidden layer's first unit to its activation.
    Percentiles,
    /// Norm of the loss's gradient in each layer's weights, on the first training examples as a batch.
    Gradients,
    /// Norm of each layer's weights, and in front of a norm the learning rate over its square: the effective rate (van Laarhoven 2017).
    Weights,
    /// In each batch norm, the median over channels of running variance over real variance, on test examples as one batch without dropout.
    Variances,
}

/// A number that a look gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What it is.
    pub what: String,
    /// The layer that it is of, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Steps that the network had taken.
    pub step: usize,
    /// The number; what is not finite is left out of a trial.
    pub value: f64,
    /// How people read it.
    #[serde(default)]
    pub kind: Kind,
    /// Of an accuracy: that which it is a change of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_of: Option<Base>,
    /// Its place among readings that differ in a number of examples alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
}

/// How people read a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// As it is.
    #[default]
    Number,
    /// In per cent.
    Share,
    /// In points, with its sign.
    Points,
    /// As it is, to three digits, of the whole network at the end.
    Size,
}

/// A figure that another one is a change of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its name: [`ACCURACY`], or that of a reading.
    pub figure: String,
    /// What it is beside the changed one, in words.
    pub words: String,
}

impl Base {
    /// What a change of it is beside, as findings say it: the accuracy by its words, a reading by its name.
    pub fn said(&self) -> &str {
        if self.figure == ACCURACY { &self.words } else { &self.figure }
    }
}

/// A place in a series of readings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// What the examples are for.
    pub across: String,
    /// The name of the series.
    pub line: String,
    /// Examples.
    pub at: usize,
}

/// The step whose readings are told of besides those at the start and at the end: the first look from it on.
pub const ON_THE_WAY: usize = 100;

/// The percentiles of a unit's inputs, by name.
pub const PERCENTILES: [&str; 3] = ["15th percentile", "50th percentile", "85th percentile"];

/// The training that is looked at.
pub(crate) struct Looking<'l> {
    pub plan: &'l Plan,
    pub data: &'l Data,
    pub training: &'l Training,
    pub step: usize,
    /// Accuracy on the test set, by running statistics.
    pub accuracy: f64,
}

impl Look {
    /// Tells whether it is taken during the training too; others are taken at its end.
    pub fn is_on_the_way(self) -> bool {
        matches!(self, Look::Percentiles | Look::Gradients | Look::Weights | Look::Variances)
    }
}

/// The accuracy on the test set by running statistics, which is no look, by its name.
pub const ACCURACY: &str = "accuracy";

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Look::Training => write!(f, "training"),
            Look::Recalibrated(MOST_EXAMPLES) => write!(f, "recalibrated"),
            Look::Recalibrated(examples) => write!(f, "recalibrated:{examples}"),
            Look::Batch { size: None, .. } => write!(f, "batch"),
            Look::Batch { size: Some(size), sorted } => {
                write!(f, "batch:{size}{}", if *sorted { ":sorted" } else { "" })
            }
            Look::Shifted { shift, recalibrated: None } => write!(f, "shift:{shift}"),
            Look::Shifted { shift, recalibrated: Some(examples) } => write!(f, "shift:{shift}:{examples}"),
            Look::Folded => write!(f, "folded"),
            Look::Percentiles => write!(f, "percentiles"),
            Look::Gradients => write!(f, "gradients"),
            Look::Weights => write!(f, "weights"),
            Look::Variances => write!(f, "variances"),
        }
    }
}

/// The looks as text, for errors.
pub const LOOKS: &str = "training, recalibrated, recalibrated:EXAMPLES, batch, batch:EXAMPLES, batch:EXAMPLES:sorted, shift:SHIFT, shift:SHIFT:EXAMPLES \
                         (contrast=0.3, brightness=0.5, noise=0.3, inversion or none), folded, percentiles, gradients, weights, variances";

impl FromStr for Look {
    type Err = String;

    fn from_str(text: &str) -> Result<Look, String> {
        let wrong = || format!("expected one of {LOOKS}, got `{text}`");
        let whole = |text: &str| text.parse::<usize>().ok().filter(|number| *number >= 2).ok_or_else(wrong);
        let words: Vec<&str> = text.trim().split(':').collect();
        Ok(match words[..] {
            ["training"] => Look::Training,
            ["recalibrated"] => Look::Recalibrated(MOST_EXAMPLES),
            ["recalibrated", examples] => Look::Recalibrated(whole(examples)?),
            ["batch"] => Look::Batch { size: None, sorted: false },
            ["batch", size] => Look::Batch { size: Some(whole(size)?), sorted: false },
            ["batch", size, "sorted"] => Look::Batch { size: Some(whole(size)?), sorted: true },
            ["shift", shift] => Look::Shifted { shift: shift.parse().map_err(|()| wrong())?, recalibrated: None },
            ["shift", shift, examples] => {
                Look::Shifted { shift: shift.parse().map_err(|()| wrong())?, recalibrated: Some(whole(examples)?) }
            }
            ["folded"] => Look::Folded,
            ["percentiles"] => Look::Percentiles,
            ["gradients"] => Look::Gradients,
            ["weights"] => Look::Weights,
            ["variances"] => Look::Variances,
            _ => return Err(wrong()),
        })
    }
}

impl TryFrom<String> for Look {
    type Error = String;

    fn try_from(text: String) -> Result<Look, String> {
        text.parse()
    }
}

impl From<Look> for String {
    fn from(look: Look) -> String {
        look.to_string()
    }
}

impl Looking<'_> {
    /// The readings of a look; none of what the network has not (a layer, a norm), and none that is not finite.
    ///
    /// # Errors
    /// A set that cannot be read.
    pub fn at(&self, look: Look) -> Result<Vec<Reading>, DataError> {
        let of = |what: &str, layer: Option<String>, value: f64| Reading {
            what: what.to_owned(),
            layer,
            step: self.step,
            value,
            kind: Kind::Number,
            change_of: None,
            series: None,
        };
        let share = |what: String, value: Option<f64>, base: (&str, &str), series: Option<(&str, String, usize)>| {
            let change_of = Some(Base { figure: base.0.to_owned(), words: base.1.to_owned() });
            let series = series.map(|(across, line, at)| Series { across: across.to_owned(), line, at });
            value
                .map(|value| Reading { kind: Kind::Share, change_of, series, ..of(&what, None, value) })
                .into_iter()
                .collect()
        };
        let by_running = (ACCURACY, "that by running statistics");
        let readings: Vec<Reading> = match look {
            Look::Training => {
                let on_training = self.accuracy(&self.network(), &self.data.train, Shift::None)?;
                let gap = of("training less test accuracy", None, on_training - self.accuracy);
                vec![
                    Reading { kind: Kind::Share, ..of("accuracy on the training set", None, on_training) },
                    Reading { kind: Kind::Points, ..gap },
                ]
            }
            Look::Recalibrated(examples) => {
                let examples = examples.min(self.data.train.len());
                let value = self.recalibrated(&self.data.train, Shift::None, examples)?;
                let series = Some((RECALIBRATED, String::from("training examples"), examples));
                share(format!("accuracy, recalibrated on {examples}"), value, by_running, series)
            }
            Look::Batch { size: None, .. } => {
                let value = self.by_batches(self.plan.batch_size, false)?;
                share(String::from("accuracy, by batches as in training"), value, by_running, None)
            }
            Look::Batch { size: Some(size), sorted } => {
                let (order, line) = if sorted { (" sorted by class", "sorted by class") } else { ("", "mixed") };
                let value = self.by_batches(size, sorted)?;
                let series = Some(("examples a batch", line.to_owned(), size));
                share(format!("accuracy, by batches of {size}{order}"), value, by_running, series)
            }
            Look::Shifted { shift, recalibrated: None } => {
                let value = Some(self.accuracy(&self.network(), &self.data.test, shift)?);
                share(format!("accuracy, {}", shift.words()), value, (ACCURACY, "that on unshifted data"), None)
            }
            Look::Shifted { shift, recalibrated: Some(examples) } => {
                let examples = examples.min(self.data.test.len());
                let name = format!("accuracy, {}", shift.words());
                let base = if shift == Shift::None { ACCURACY } else { &name };
                let value = self.recalibrated(&self.data.test, shift, examples)?;
                let series = Some((RECALIBRATED, shift.words(), examples));
                let words = (base, "that by the statistics of the training");
                share(format!("{name}, recalibrated on {examples}"), value, words, series)
            }
            Look::Folded => self.folded()?.map_or(Vec::new(), |(folding, accuracy)| {
                let size = |what: &str, value| Reading { kind: Kind::Size, ..of(what, None, value) };
                let accuracy =
                    share(String::from("accuracy, folded"), Some(accuracy), (ACCURACY, "that unfolded"), None);
                let sizes = [
                    size("largest change of a score by folding", folding.change),
                    size("the same over the largest score", folding.change / folding.score),
                    size("test examples put in another class by folding", folding.changed as f64),
                    size("time of a pass folded over unfolded", folding.time),
                ];
                sizes.into_iter().chain(accuracy).collect()
            }),
            Look::Percentiles => {
                let evaluation = self.training.evaluate(&self.first(&self.data.test, BATCH)?);
                let found = unit_percentiles(&evaluation).map(|values| values.map(f64::from));
                found
                    .into_iter()
                    .flat_map(|values| PERCENTILES.into_iter().zip(values))
                    .map(|(name, value)| of(name, None, value))
                    .collect()
            }
            Look::Gradients => {
                let mut layers = Vec::new();
                walk(self.training.network(), |met| {
                    if met.shape.len() > 1 && met.is_trained {
                        layers.push(layer(&met.path));
                    }
                });
                let norms = self.training.gradient_norms(&self.first(&self.data.train, self.plan.batch_size)?);
                layers.into_iter().zip(norms).map(|(layer, norm)| of("gradient norm", Some(layer), norm)).collect()
            }
            Look::Weights => {
                let (mut readings, rate) = (Vec::new(), self.plan.rate(self.step.min(self.plan.steps - 1)));
                walk(self.training.network(), |met| {
                    if met.shape.len() > 1 {
                        let square: f64 = met.values().into_iter().map(|weight| f64::from(weight).powi(2)).sum();
                        readings.push(of("weight norm", Some(layer(&met.path)), square.sqrt()));
                        if self.plan.network.needs_batches() && layer(&met.path) != HEAD {
                            readings.push(of("effective learning rate", Some(layer(&met.path)), rate / square));
                        }
                    }
                });
                readings
            }
            Look::Variances => {
                let batch = self.first(&self.data.test, BATCH)?;
                let of_norm = |(path, state): (String, diagnosis::NormState)| {
                    let running = state.running?;
                    Some([
                        of("running over real variance", Some(layer(&path)), running.variance_ratio?),
                        of("running mean off by deviations", Some(layer(&path)), running.mean_off?),
                    ])
                };
                diagnosis::norms_on(self.training, &batch).into_iter().filter_map(of_norm).flatten().collect()
            }
        };
        Ok(readings.into_iter().filter(|reading| reading.value.is_finite()).collect())
    }

    /// The network in evaluation, whose batches the training never hears of.
    fn network(&self) -> Network {
        self.training.network().apart().valid()
    }

    /// The first examples of a set as the network gets them.
    fn first(&self, set: &Set, most: usize) -> Result<Examples, DataError> {
        let mut examples = set.read(&(0..most.min(set.len())).collect::<Vec<_>>())?;
        self.data.summary.prepare(&mut examples);
        Ok(examples)
    }

    /// Inputs of the network in portions, with their classes: these places of a set, shifted.
    fn portions(
        &self,
        set: &Set,
        places: &[usize],
        shift: Shift,
        size: usize,
    ) -> impl Iterator<Item = Result<Portion, DataError>> {
        let mut noise = generator(self.plan.seed, Purpose::Testing);
        places.chunks(size).map(move |places| {
            let mut examples = set.read(places)?;
            shift.apply(&mut examples, &mut noise);
            self.data.summary.prepare(&mut examples);
            Ok((input(&examples, &Device::default()), examples.classes))
        })
    }

    fn accuracy(&self, network: &Network, set: &Set, shift: Shift) -> Result<f64, DataError> {
        let places: Vec<usize> = (0..set.len()).collect();
        share_right(self.portions(set, &places, shift, network.portion()), |values| network.forward_eval(values).scores)
    }

    /// Accuracy on the test set, shifted, by statistics of so many examples of a set that is shifted alike. None where there is nothing to compute
    /// again, or a layer sees no finite values.
    fn recalibrated(&self, on: &Set, shift: Shift, examples: usize) -> Result<Option<f64>, DataError> {
        let network = self.network();
        let freeze = self.plan.freeze().cloned();
        if norms(&network).is_empty() {
            return Ok(None);
        }
        let places = &self.mixed(on.len())[..examples.min(on.len())];
        let seen = self.portions(on, places, shift, network.portion()).map(|portion| portion.map(|(values, _)| values));
        let seen: Vec<Tensor<2>> = seen.collect::<Result<_, DataError>>()?;
        let adapts = move |path: &str| freeze.as_ref().is_none_or(|freeze| !freeze.keeps_statistics(path));
        if recalibrate_on(&network, &seen, adapts).is_err() {
            return Ok(None);
        }
        self.accuracy(&network, &self.data.test, shift).map(Some)
    }

    /// The network beside itself with its batch norms folded, on the test set, and the folded one's accuracy. None where none can be folded.
    fn folded(&self) -> Result<Option<(Folding, f64)>, DataError> {
        let (network, set) = (self.network(), &self.data.test);
        // (What is not finite cannot be folded, nor does its accuracy say anything.)
        let Ok(Some(folded)) = self.network().folded() else { return Ok(None) };
        let places: Vec<usize> = (0..set.len()).collect();
        let portions = self.portions(set, &places, Shift::None, network.portion());
        let folding = Folding::of(&network, &folded, portions.map(|portion| portion.map(|(values, _)| values)))?;
        Ok(Some((folding, self.accuracy(&folded, set, Shift::None)?)))
    }

    /// Accuracy by the statistics of each batch; the last batch is filled up with the first examples, which count once. None without norms that go
    /// by the batch.
    fn by_batches(&self, size: usize, sorted: bool) -> Result<Option<f64>, DataError> {
        let set = &self.data.test;
        if !self.plan.network.needs_batches() || size > set.len() {
            return Ok(None);
        }
        let network = self.training.network().apart().by_whole_batches().valid();
        let mut places = self.mixed(set.len());
        if sorted {
            places.sort_by_key(|&at| set.classes()[at]);
        }
        let missing = places.len().next_multiple_of(size) - places.len();
        places.extend_from_within(..missing);
        let mut left = set.len();
        let portions = self.portions(set, &places, Shift::None, size).map(|portion| {
            portion.map(|(values, mut classes)| {
                classes.truncate(left);
                left -= classes.len();
                (values, classes)
            })
        });
        share_right(portions, |values| network.forward_by_batch(values)).map(Some)
    }

    /// Places in an order that belongs to the seed.
    fn mixed(&self, count: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..count).collect();
        places.shuffle(&mut generator(self.plan.seed, Purpose::Testing));
        places
    }
}

/// Inputs of a network, with their classes.
type Portion = (Tensor<2>, Vec<u8>);

/// The share of examples that are classified rightly; of a portion those count that have a class.
fn share_right(
    portions: impl Iterator<Item = Result<Portion, DataError>>,
    scores: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Result<f64, DataError> {
    let (mut all, mut rightly) = (0, 0);
    for portion in portions {
        let (values, classes) = portion?;
        let scores = scores(values);
        let of_each = scores.dims()[1];
        rightly += right(&scores.into_data().iter::<f32>().collect::<Vec<_>>(), of_each, &classes);
        all += classes.len();
    }
    Ok(rightly as f64 / all as f64)
}

/// The layer that a tensor is of, by its path: `hidden.0` of `hidden.0.linear.weight`.
fn layer(path: &str) -> String {
    [".weight", ".linear", ".convolution", ".norm"]
        .into_iter()
        .fold(path, |path, end| path.strip_suffix(end).unwrap_or(path))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_written_as_they_are_read() {
        for text in [
            "training",
            "recalibrated",
            "recalibrated:16",
            "batch",
            "batch:64",
            "batch:64:sorted",
            "shift:contrast=0.3",
            "shift:none:16",
            "folded",
        ] {
            assert_eq!(text.parse::<Look>().unwrap().to_string(), text);
        }
        for text in ["percentiles", "gradients", "weights", "variances"] {
            assert!(text.parse::<Look>().unwrap().is_on_the_way());
        }
        for wrong in ["", "batch:1", "batch:64:mixed", "shift:blur", "recalibrated:0", "gradients:3"] {
            assert!(wrong.parse::<Look>().unwrap_err().contains("expected one of"), "{wrong}");
        }
    }

    #[test]
    fn layers_are_named_by_their_paths() {
        let named = ["hidden.0.linear.weight", "output.weight", "blocks.1.first.convolution.weight", "hidden.2.norm"]
            .map(layer);
        assert_eq!(named, ["hidden.0", "output", "blocks.1.first", "hidden.2"]);
    }
}
