//! Layers in both directions: one way through the model with the file's statistics, one with the measured ones, and from each layer on what
//! another one's statistics do. What comes before a layer is computed once for all layers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use batchnorm::reference::random::Random;

use super::layer::{Effects, LayerGap};
use super::quantiles::Histogram;
use crate::engine::{Given, PassError, Passes, State, in_parallel};
use crate::recalibrate::{Answers, Event, RecalibrateError, Recalibrated, Tell, say};
use crate::statistics::Statistics;

/// The seed of which statistics move up and which down.
const SEED: u64 = 26;

pub(super) struct Rank<'r> {
    passes: &'r Passes<'r>,
    old: &'r [Given],
    new: &'r [Given],
    /// The layers that are looked at, by their places.
    looked_at: BTreeMap<usize, LookedAt>,
    histograms: BTreeMap<usize, Histogram>,
    answers: Answers,
    /// For each layer: only this, all but this, and what its errors do.
    effects: BTreeMap<usize, [Answers; 3]>,
}

/// A layer that is looked at.
struct LookedAt {
    /// The first stage that it is used in, wherever in the file that use stands.
    stage: usize,
    /// Its measured statistics, moved by their standard errors.
    moved: Given,
}

/// What one batch gives.
#[derive(Default)]
struct Seen {
    answers: Answers,
    effects: Vec<(usize, [Answers; 3])>,
    counts: Vec<(usize, Vec<u64>)>,
}

impl<'r> Rank<'r> {
    pub fn new(
        passes: &'r Passes<'r>,
        [old, new]: [&'r [Given]; 2],
        layers: &[(usize, LayerGap)],
        top: usize,
        quantiles: bool,
    ) -> Rank<'r> {
        let stage = |layer: usize| {
            let uses = |norms: &Vec<usize>| norms.iter().any(|&norm| passes.written.norms[norm].layer == layer);
            passes.stages.norms.iter().position(uses).unwrap_or(usize::MAX)
        };
        let looked_at = layers[..top]
            .iter()
            .map(|(place, layer)| (*place, LookedAt { stage: stage(*place), moved: moved(&layer.layer, *place) }));
        let histogram = |(place, layer): &(usize, LayerGap)| {
            (*place, Histogram::of(&passes.written.norms[*place], &layer.layer.new))
        };
        Rank {
            passes,
            old,
            new,
            looked_at: looked_at.collect(),
            histograms: if quantiles { layers[..top].iter().map(histogram).collect() } else { BTreeMap::new() },
            answers: Answers::default(),
            effects: BTreeMap::new(),
        }
    }

    /// Takes all batches through the model.
    pub fn run(
        &mut self,
        batches: &[Range<usize>],
        labels: Option<&[usize]>,
        tell: &mut Tell,
    ) -> Result<(), RecalibrateError> {
        let start = Instant::now();
        let mut done = 0;
        for some in batches.chunks(rayon::current_num_threads()) {
            let seen = in_parallel(self.passes.engine, some.to_vec(), |batch| {
                let labels = labels.map(|labels| &labels[batch.clone()]);
                self.of_batch(batch, labels)
            })?;
            for seen in seen {
                self.answers.merge(&seen.answers);
                for (place, three) in &seen.effects {
                    let all = self.effects.entry(*place).or_default();
                    all.iter_mut().zip(three).for_each(|(all, more)| all.merge(more));
                }
                for (place, counts) in &seen.counts {
                    self.histograms.entry(*place).and_modify(|histogram| histogram.add(counts));
                }
            }
            if done == 0 {
                let rounds = batches.len() as f64 / some.len() as f64;
                let seconds = start.elapsed().as_secs_f64() * rounds;
                say(tell, &Event::Ranking { seconds, layers: self.looked_at.len() })?;
            }
            done += some.len();
            say(tell, &Event::Done(done as f64 / batches.len() as f64))?;
        }
        Ok(())
    }

    /// One batch.
    fn of_batch(&self, batch: Range<usize>, labels: Option<&[usize]>) -> Result<Seen, PassError> {
        let (passes, written) = (self.passes, self.passes.written);
        let samples = batch.len();
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
        let mut seen = Seen { answers: compare(&answers_as_is, &answers_right)?, ..Seen::default() };
        for stage in 0..passes.stages.norms.len() {
            right = passes.go(right, stage, self.new)?;
            as_is = passes.go(as_is, stage, self.old)?;
            for &norm in &passes.stages.norms[stage] {
                let layer = written.norms[norm].layer;
                if let (Some(histogram), Some(array)) =
                    (self.histograms.get(&layer), right.value(&written.norms[norm].input))
                {
                    let mut counts = histogram.empty();
                    histogram.count(array, &mut counts);
                    seen.counts.push((layer, counts));
                }
            }
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
                seen.effects.push((place, three));
            }
        }
        Ok(seen)
    }

    /// Puts what was found into the layers; the answers of the whole model.
    pub fn into_layers(mut self, layers: &mut [(usize, LayerGap)]) -> Answers {
        for (place, layer) in layers {
            layer.quantiles = self.histograms.get(place).map(Histogram::quantiles);
            layer.effects = self.effects.remove(place).map(|[only_this, all_but_this, error]| Effects {
                only_this,
                all_but_this,
                error: error.change,
            });
        }
        self.answers
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
