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
    /// The layers that are looked at, by their places, with their statistics moved by their standard errors.
    looked_at: BTreeMap<usize, Given>,
    histograms: BTreeMap<usize, Histogram>,
    answers: Answers,
    effects: BTreeMap<usize, Effects>,
    /// What the errors do.
    errors: BTreeMap<usize, Answers>,
}

/// What one batch gives.
#[derive(Default)]
struct Seen {
    answers: Answers,
    /// For each layer: only this, all but this, and what its errors do.
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
        let looked_at = layers[..top].iter().map(|(place, layer)| (*place, moved(&layer.layer, *place)));
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
            errors: BTreeMap::new(),
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
                let seen = seen.map_err(RecalibrateError::Labels)?;
                self.answers.merge(&seen.answers);
                for (place, [only, but, error]) in &seen.effects {
                    let effects = self.effects.entry(*place).or_default();
                    effects.only_this.merge(only);
                    effects.all_but_this.merge(but);
                    self.errors.entry(*place).or_default().merge(error);
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

    /// One batch; the inner error is of its labels.
    fn of_batch(&self, batch: Range<usize>, labels: Option<&[usize]>) -> Result<Result<Seen, String>, PassError> {
        let (passes, written) = (self.passes, self.passes.written);
        let samples = batch.len();
        let mut right = passes.start(batch)?;
        let mut as_is = right.clone();
        // (First, so that each layer's outputs are compared and gone: they may be large, and layers many.)
        let answers_right = passes.finish(&right, self.new)?;
        let answers_as_is = passes.finish(&as_is, self.old)?;
        let compare = |before: &State, after: &State| {
            let mut answers = Answers::default();
            answers.take(&written.outputs, before, after, samples, labels).map(|()| answers)
        };
        let mut seen = match compare(&answers_as_is, &answers_right) {
            Ok(answers) => Seen { answers, ..Seen::default() },
            Err(error) => return Ok(Err(error)),
        };
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
            for (&place, moved) in self.looked_at.iter().filter(|(place, _)| self.first_stage(**place) == stage) {
                let with = |all: &[Given], of: &dyn Fn(usize) -> Given| -> Vec<Given> {
                    let uses = written.norms.iter().zip(all).enumerate();
                    uses.map(|(at, (norm, given))| if norm.layer == place { of(at) } else { given.clone() }).collect()
                };
                let only = passes.finish(&as_is, &with(self.old, &|at| self.new[at].clone()))?;
                let but = passes.finish(&right, &with(self.new, &|at| self.old[at].clone()))?;
                let error = passes.finish(&right, &with(self.new, &|_| moved.clone()))?;
                let pairs = [(&answers_as_is, &only), (&answers_right, &but), (&answers_right, &error)];
                match pairs.map(|(before, after)| compare(before, after)) {
                    [Ok(only), Ok(but), Ok(error)] => seen.effects.push((place, [only, but, error])),
                    [Err(error), ..] | [_, Err(error), _] | [.., Err(error)] => return Ok(Err(error)),
                }
            }
        }
        Ok(Ok(seen))
    }

    /// The first stage that a layer is used in, wherever in the file that use stands.
    fn first_stage(&self, layer: usize) -> usize {
        let uses = |norms: &Vec<usize>| norms.iter().any(|&norm| self.passes.written.norms[norm].layer == layer);
        self.passes.stages.norms.iter().position(uses).unwrap_or(usize::MAX)
    }

    /// Puts what was found into the layers; the answers of the whole model.
    pub fn into_layers(mut self, layers: &mut [(usize, LayerGap)]) -> Answers {
        for (place, layer) in layers {
            layer.quantiles = self.histograms.get(place).map(Histogram::quantiles);
            layer.effects = self.effects.remove(place).map(|effects| Effects {
                error: self.errors.get(place).map_or(0.0, |answers| answers.change),
                ..effects
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
