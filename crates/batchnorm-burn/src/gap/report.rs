//! What was found of the gap between training and use: the layers, their ranking, and what is said of them.

use std::fmt;

use crate::recalibration::{Measured, RecalibratedLayer};

/// How many times as much as chance a layer's statistics have to change the output to count as a gap.
const BEYOND: f64 = 3.0;

/// What [`Gap`](crate::Gap) found.
#[derive(Debug, Clone, PartialEq)]
pub struct GapReport {
    /// The layers, in the order in which they first saw a batch.
    pub layers: Vec<LayerGap>,
    /// The change of the output between S* and the model as it is: of all layers together.
    pub change: f64,
    /// The score of the model as it is, and with S*, if one was measured.
    pub scores: Option<Measured>,
    /// The seed by which statistics were moved.
    pub seed: u64,
}

/// A layer's part in the gap.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerGap {
    /// Its path in the model.
    pub path: String,
    /// Its statistics and those it should have, with the moments that they are from.
    pub statistics: RecalibratedLayer,
    /// By how much its normalised output is off, in its deviations: see [`Gap`](crate::Gap).
    pub drift: f64,
    /// What exchanging its statistics does; of the layers that drifted most.
    pub exchanged: Option<Exchanged>,
}

/// The model run with a layer's statistics exchanged: relative changes of its output, see [`Gap`](crate::Gap).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchanged {
    /// By this layer's being right, in the model as it is.
    pub only_this: f64,
    /// By this layer's being as it is, in the model with S*.
    pub all_but_this: f64,
    /// By its statistics' being moved at random by their standard errors, in the model with S*. `None` where there are
    /// none: of fewer than two batches.
    pub by_chance: Option<f64>,
    /// The scores of the first two, if one was measured.
    pub scores: Option<ExchangedScores>,
}

/// Scores of the model with a layer's statistics exchanged: the greater the better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExchangedScores {
    /// Of the model as it is, but with this layer right.
    pub only_this: f64,
    /// Of the model with S*, but with this layer as it is.
    pub all_but_this: f64,
}

impl Exchanged {
    /// Tells whether the layer's statistics change the output more than chance explains: more than 3 times as much as
    /// their standard errors, and as what `f32` resolves. Never where there are no standard errors.
    pub fn is_gap(&self) -> bool {
        self.by_chance.is_some_and(|by_chance| self.all_but_this > BEYOND * by_chance.max(f64::from(f32::EPSILON)))
    }
}

impl LayerGap {
    /// [`Exchanged::is_gap`], of a layer that was run.
    pub fn is_gap(&self) -> bool {
        self.exchanged.as_ref().is_some_and(Exchanged::is_gap)
    }
}

impl GapReport {
    /// The layers that are a gap, the widest first: those which, as they are, change the right model's output most.
    pub fn gaps(&self) -> impl Iterator<Item = &LayerGap> {
        self.by_all_but_this().into_iter().filter(|layer| layer.is_gap())
    }

    /// The layers that were run, by how much the output changes when this one alone is right: most first.
    pub fn by_only_this(&self) -> Vec<&LayerGap> {
        self.ranked(|exchanged| exchanged.only_this)
    }

    /// The layers that were run, by how much the output changes when all are right but this one: most first.
    pub fn by_all_but_this(&self) -> Vec<&LayerGap> {
        self.ranked(|exchanged| exchanged.all_but_this)
    }

    fn ranked(&self, by: impl Fn(&Exchanged) -> f64) -> Vec<&LayerGap> {
        let run = self.layers.iter().filter_map(|layer| Some((by(layer.exchanged.as_ref()?), layer)));
        let mut run: Vec<_> = run.collect();
        run.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        run.into_iter().map(|(_, layer)| layer).collect()
    }
}

impl fmt::Display for GapReport {
    /// A line for each layer that was run, the widest gap first, and what it comes to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.by_all_but_this();
        for layer in &run {
            let Some(exchanged) = layer.exchanged else { continue };
            let Exchanged { only_this, all_but_this, by_chance, scores } = exchanged;
            write!(
                f,
                "{}: drift {:.3}; output changes by {only_this:.2e} with only this right, ",
                layer.path, layer.drift
            )?;
            write!(f, "by {all_but_this:.2e} with all right but this")?;
            match by_chance {
                Some(by_chance) => write!(f, ", by {by_chance:.2e} by chance")?,
                None => write!(f, "; no standard errors of a single batch: give two or more")?,
            }
            if let Some(ExchangedScores { only_this, all_but_this }) = scores {
                write!(f, "; score {only_this} and {all_but_this}")?;
            }
            writeln!(f, "{}", if exchanged.is_gap() { ": GAP" } else { "" })?;
        }
        let others = self.layers.iter().filter(|layer| layer.exchanged.is_none());
        let (count, drift) = others.fold((0, 0.0f64), |(count, most), layer| (count + 1, most.max(layer.drift)));
        if count > 0 {
            writeln!(f, "{count} more layers drifted by at most {drift:.3} and were not run")?;
        }
        if let Some(Measured { before, after }) = self.scores {
            writeln!(f, "score {before} as it is, {after} with the statistics measured")?;
        }
        let gaps: Vec<&str> = self.gaps().map(|layer| layer.path.as_str()).collect();
        match gaps.as_slice() {
            _ if run.is_empty() => write!(f, "no layer was run")?,
            [] => write!(f, "no gap beyond the standard errors of the statistics measured")?,
            gaps => write!(f, "gap in {} of {} layers run: {}", gaps.len(), run.len(), gaps.join(", "))?,
        }
        write!(f, " (output changes by {:.2e} in all; seed {})", self.change, self.seed)
    }
}
