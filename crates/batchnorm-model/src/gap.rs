//! Which batch norm makes a model good in training and bad in use.
//!
//! In training each norm has the statistics of its batch; in use those of the file. So the statistics that each norm *should* have, for data
//! like the training's, are measured: layer by layer, each with those before it already right ([`recalibrate`]). Then each layer is looked
//! at by itself, in two directions:
//!
//! - *only this*: the file's statistics, and this layer's measured ones. What mending it alone does to the model as it is.
//! - *all but this*: the measured statistics, and this layer's of the file. What it alone does to a model that is otherwise right.
//!
//! Both changes are of the outputs ([`Answers::change`]), and of the right answers where labels are. Beside them stands what
//! the measured statistics' own standard errors do: this layer's moved by one of them, up or down at random.
//!
//! Layers are sorted by *drift* first, which costs nothing more: the root mean square, over channels, of how far the norm's normalised output
//! is off, `sqrt(mean(((m - n) / s)^2 + (t / s - 1)^2))` with m, t the measured mean and deviation and n, s those of the file (each
//! variance with epsilon). The two directions are for those that drifted most.
//!
//! A training that cuts pictures at random leaves their borders in the statistics, which is no fault. Where the first norms remember such a
//! [`Cut`](crate::cut::Cut) ([`remembers`]), statistics are measured on samples that are cut likewise; the changes are of samples as they are.

mod layer;
mod progress;
mod quantiles;
mod rank;
mod tally;

use serde::{Deserialize, Serialize};

pub use layer::{Effects, LayerGap};
pub use progress::Progress;
pub use quantiles::{QUANTILES, Quantiles};
pub use tally::Tally;

use crate::cut::CutSamples;
use crate::engine::{Engine, Given, Passes, Source, Stages, Written, WrittenNorm};
use crate::fingerprint::remembers;
use crate::recalibrate::{self, Answers, Event, Outcome, RecalibrateError, Request, Tell};

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What is measured: of which norms, and how; always layer by layer, and nothing is mixed. How a training may have cut the samples, if
    /// it may: it is done where the model remembers it.
    pub request: Request,
    /// How many of the norms, those that drifted most, are looked at in both directions; all, if none is said.
    pub top: Option<usize>,
    /// Quantiles of what each norm sees are taken.
    pub quantiles: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// The measured statistics, and how long they took.
    pub measured: Outcome,
    /// They were measured on samples cut at random, for the first norms remember that.
    pub cut: bool,
    /// The model's answers with the file's statistics, and with the measured ones.
    pub answers: Answers,
    /// The layers: first those that were looked at in both directions, by what they do to a model that is otherwise right, then the others by
    /// their drift.
    pub layers: Vec<LayerGap>,
}

impl Gap {
    /// The layers that make the difference: beyond what the standard errors of the statistics do, more than a little, and no less than a
    /// fifth of what the first one does.
    pub fn culprits(&self) -> Vec<&LayerGap> {
        let changes = self.layers.iter().filter_map(LayerGap::change);
        let largest = changes.filter(|change| change.is_finite()).fold(0.0, f64::max);
        let makes_it = |layer: &&LayerGap| {
            layer.is_beyond_errors() == Some(true)
                && layer.change().is_some_and(|change| change >= LITTLE && change >= SHARE * largest)
        };
        self.layers.iter().filter(makes_it).collect()
    }
}

/// A change of the outputs below which a layer does not break a model.
pub const LITTLE: f64 = 0.03;
/// The part of the first layer's change below which another one is not named beside it.
const SHARE: f64 = 0.2;

/// Measures, and looks at the layers. `labels` are the right classes of the samples, where they are known. `tell` is told what happens, and may
/// stop it. Norms that were left in training mode are looked at as if they were not.
///
/// # Errors
/// What [`recalibrate`](recalibrate::recalibrate) says.
pub fn gap(
    engine: &dyn Engine,
    written: &Written,
    source: &dyn Source,
    labels: Option<&[usize]>,
    asked: &Asked,
    resumed: Option<Progress>,
    tell: &mut Tell<Progress>,
) -> Result<Gap, RecalibrateError> {
    let meant = |(place, norm): &(usize, &WrittenNorm)| norm.training && !asked.request.layers.contains(place);
    if let Some((_, norm)) = written.norms.iter().enumerate().find(meant) {
        return Err(RecalibrateError::ByBatch(norm.name.clone()));
    }
    if source.is_empty() {
        return Err(RecalibrateError::Empty);
    }
    let cut = match &asked.request.cut {
        Some(cut) if remembers(engine, written, source, cut)? => Some(CutSamples { source, cut }),
        _ => None,
    };
    let training = cut.as_ref().map_or(source, |cut| cut);
    let remembered = cut.as_ref().map(|samples| samples.cut.clone());
    let request = Request { one_pass: false, mix: None, cut: remembered, ..asked.request.clone() };
    let (measured, begun) = match resumed {
        Some(Progress::Ranking { measured, done, tally }) => (*measured, (done, *tally)),
        resumed => {
            let progress = match resumed {
                Some(Progress::Measuring(progress)) => Some(progress),
                _ => None,
            };
            let mut tell = |event: Event| tell(event.part_of(Progress::Measuring));
            let measured = recalibrate::recalibrate(engine, written, source, labels, &request, progress, &mut tell)?;
            (measured, Default::default())
        }
    };
    let place = |node: usize| written.norms.iter().position(|norm| norm.node == node);
    let old: Vec<Given> = written.norms.iter().map(|norm| Given::of(&norm.statistics)).collect();
    let mut new = old.clone();
    let mut layers = Vec::new();
    for layer in &measured.layers {
        let Some(place) = place(layer.node) else { continue };
        new[place] = Given::of(&layer.new);
        // (Of one that is used several times, its first use stands for all.)
        if written.norms[place].layer == place {
            layers.push((place, LayerGap::of(layer, written.norms[place].epsilon)));
        }
    }
    layers.sort_by(|(_, one), (_, other)| other.drift.total_cmp(&one.drift));
    let top = asked.top.unwrap_or(layers.len()).min(layers.len());
    let passes = |source| Passes {
        engine,
        written,
        stages: Stages::of(written, &asked.request.layers),
        source,
        by_batch: Vec::new(),
    };
    let (in_use, measuring) = (passes(source), passes(training));
    let rank = rank::Rank::new([&in_use, &measuring], [&old, &new], &layers[..top], asked.quantiles);
    let tally = rank.run(&measured, begun, labels, tell)?;
    let answers = rank.into_layers(tally, &mut layers);
    if !answers.compared {
        return Err(RecalibrateError::Whole);
    }
    let mut layers: Vec<LayerGap> = layers.into_iter().map(|(_, layer)| layer).collect();
    // (Stable: those that were not looked at stay behind, by their drift.)
    let size = |layer: &LayerGap| layer.change().unwrap_or(-1.0);
    layers.sort_by(|one, other| size(other).total_cmp(&size(one)));
    Ok(Gap { measured, cut: cut.is_some(), answers, layers })
}
