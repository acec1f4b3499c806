//! Layers in both directions: one way through the model with the file's statistics, one with the measured ones, and from each layer on what
//! another one's statistics do. What comes before a layer is computed once for all layers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use batchnorm::reference::random::Random;

use super::layer::{Effects, LayerGap};
use super::progress::Progress;
use super::quantiles::Histogram;
use super::tally::Tally;
use crate::engine::{Given, PassError, Passes, State, in_batches, in_parallel};
use crate::recalibrate::{Answers, BETWEEN_STATES, Event, Outcome, RecalibrateError, Recalibrated, Tell, say};
use crate::statistics::Statistics;

/// The seed of which statistics move up and which down.
const SEED: u64 = 26;

pub(super) struct Rank<'r> {
    /// The samples as in use, and as they were measured.
    passes: &'r Passes<'r>,
    measuring: &'r Passes<'r>,
    old: &'r [Given],
    new: &'r [Given],
    /// The layers that are looked at, by their places.
    looked_at: BTreeMap<usize, LookedAt>,
    histograms: BTreeMap<usize, Histogram>,
}

/// A layer that is looked at.
struct LookedAt {
    /// The first stage that it is used in, wherever in the file that use stands.
    stage: usize,
    /// Its measured statistics, moved by their standard errors.
    moved: Given,
}

impl<'r> Rank<'r> {
    pub fn new(
        [passes, measuring]: [&'r Passes<'r>; 2],
        [old, new]: [&'r [Given]; 2],
        looked_at: &[(usize, LayerGap)],
        quantiles: bool,
    ) -> Rank<'r> {
        let stage = |layer: usize| {
            let uses = |norms: &Vec<usize>| norms.iter().any(|&norm| passes.written.norms[norm].layer == layer);
            passes.stages.norms.iter().position(uses).unwrap_or(usize::MAX)
        };
        let histogram = |(place, layer): &(usize, LayerGap)| {
            (*place, Histogram::of(&passes.written.norms[*place], &layer.layer.new))
        };
        let histograms = if quantiles { looked_at.iter().map(histogram).collect() } else { BTreeMap::new() };
        let looked_at = looked_at
            .iter()
            .map(|(place, layer)| (*place, LookedAt { stage: stage(*place), moved: moved(&layer.layer, *place) }));
        Rank { passes, measuring, old, new, looked_at: looked_at.collect(), histograms }
    }

    /// Takes all batches through the model, or those behind the ones of which there is a tally.
    pub fn run(
        &self,
        measured: &Outcome,
        (mut done, mut tally): (usize, Tally),
        labels: Option<&[usize]>,
        tell: &mut Tell<Progress>,
    ) -> Result<Tally, RecalibrateError> {
        let batches = in_batches(self.passes.source.len(), measured.batch);
        let left = batches.get(done..).ok_or(RecalibrateError::Progress)?;
        let start = Instant::now();
        let mut told: Option<Instant> = None;
        for some in left.chunks(rayon::current_num_threads()) {
            // (First when the layers are measured: that took long.)
            if told.is_none_or(|told| told.elapsed() > BETWEEN_STATES) {
                let state =
                    Progress::Ranking { measured: Box::new(measured.clone()), done, tally: Box::new(tally.clone()) };
                say(tell, Event::State(Box::new(state)))?;
                told = Some(Instant::now());
            }
            let seen = in_parallel(self.passes.engine, some.to_vec(), |batch| {
                let labels = labels.map(|labels| &labels[batch.clone()]);
                self.of_batch(batch, labels)
            })?;
            seen.into_iter().for_each(|seen| tally.merge(seen));
            if some.as_ptr() == left.as_ptr() {
                let rounds = left.len() as f64 / some.len() as f64;
                let seconds = start.elapsed().as_secs_f64() * rounds;
                say(tell, Event::Ranking { seconds, layers: self.looked_at.len() })?;
            }
            done += some.len();
            say(tell, Event::Done(done as f64 / batches.len() as f64))?;
        }
        Ok(tally)
    }

    /// One batch.
    fn of_batch(&self, batch: Range<usize>, labels: Option<&[usize]>) -> Result<Tally, PassError> {
        let (passes, written) = (self.passes, self.passes.written);
        let samples = batch.len();
        let mut tally = Tally { counts: self.counts(batch.clone())?, ..Tally::default() };
        let mut right = passes.start(batch)?;
        let mut as_is = right.clone();
        // (First, so that each layer's outputs are compared and gone: they may be large, and layers many.)
        let answers_right = passes.finish(&right, self.new)?;
        let answers_as_is = passes.finish(&as_is, self.old)?;
        let compare = |before: &State, after: &State| {
            let mut answers = Answers::default();
            // (That labels fit was seen before anything was measured.)
            answers.take(&written.outputs, before, after, samples, labels).map_err(PassError::Data)?;
            Ok::<Answers, PassError>(answers)
        };
        tally.answers = compare(&answers_as_is, &answers_right)?;
        for stage in 0..passes.stages.norms.len() {
            right = passes.go(right, stage, self.new)?;
            as_is = passes.go(as_is, stage, self.old)?;
            for (&place, LookedAt { moved, .. }) in self.looked_at.iter().filter(|(_, layer)| layer.stage == stage) {
                let with = |all: &[Given], of: &dyn Fn(usize) -> Given| -> Vec<Given> {
                    let uses = written.norms.iter().zip(all).enumerate();
                    uses.map(|(at, (norm, given))| if norm.layer == place { of(at) } else { given.clone() }).collect()
                };
                let only = passes.finish(&as_is, &with(self.old, &|at| self.new[at].clone()))?;
                let but = passes.finish(&right, &with(self.new, &|at| self.old[at].clone()))?;
                let error = passes.finish(&right, &with(self.new, &|_| moved.clone()))?;
                let three =
                    [compare(&answers_as_is, &only)?, compare(&answers_right, &but)?, compare(&answers_right, &error)?];
                tally.effects.insert(place, three);
            }
        }
        Ok(tally)
    }

    /// How many values fall into the bins of each norm whose quantiles are taken, where all norms are right.
    fn counts(&self, batch: Range<usize>) -> Result<BTreeMap<usize, Vec<u64>>, PassError> {
        let mut all = Tally::default();
        if self.histograms.is_empty() {
            return Ok(all.counts);
        }
        let passes = self.measuring;
        let mut state = passes.start(batch)?;
        for stage in 0..passes.stages.norms.len() {
            state = passes.go(state, stage, self.new)?;
            for norm in passes.stages.norms[stage].iter().map(|&norm| &passes.written.norms[norm]) {
                if let (Some(histogram), Some(array)) = (self.histograms.get(&norm.layer), state.value(&norm.input)) {
                    let counts = BTreeMap::from([(norm.layer, histogram.count(array))]);
                    all.merge(Tally { counts, ..Tally::default() });
                }
            }
        }
        Ok(all.counts)
    }

    /// Puts what was found into the layers; the answers of the whole model.
    pub fn into_layers(self, mut tally: Tally, layers: &mut [(usize, LayerGap)]) -> Answers {
        for (place, layer) in layers {
            let counts = self.histograms.get(place).zip(tally.counts.get(place));
            layer.quantiles = counts.map(|(histogram, counts)| histogram.quantiles(counts));
            layer.effects = tally.effects.remove(place).map(|[only_this, all_but_this, error]| Effects {
                only_this,
                all_but_this,
                error: error.change,
            });
        }
        tally.answers
    }
}

/// A layer's measured statistics, each a standard error higher or lower.
fn moved(layer: &Recalibrated, place: usize) -> Given {
    let mut random = Random::new(SEED.wrapping_add(place as u64));
    let mut moved = |value: f64, error: f64| if random.below(2) == 0 { value - error } else { value + error };
    let error = |channel: usize| layer.channel_errors.as_ref().map_or([0.0; 2], |errors| errors[channel]);
    let (mut mean, mut variance) = (Vec::new(), Vec::new());
    for channel in 0..layer.new.mean.len() {
        let [of_mean, of_variance] = error(channel);
        mean.push(moved(layer.new.mean[channel], of_mean));
        variance.push(moved(layer.new.variance[channel], of_variance).max(0.0));
    }
    Given::of(&Statistics { mean, variance })
}
