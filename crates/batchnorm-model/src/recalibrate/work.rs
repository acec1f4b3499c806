//! A recalibration on its way: batches through stages, moments into populations, populations into statistics.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use batchnorm::{BatchMoments, POPULATION_ROW, Population};
use rayon::prelude::*;

use super::plan::{BETWEEN_STATES, say};
use super::{Answers, Event, Progress, RecalibrateError, Recalibrated, Request, Tell};
use crate::engine::{Given, Keeper, PassError, Passes, State, in_batches, in_parallel};

/// Between two states told is at least so many times as long as one took.
const SHARE: u32 = 10;
/// Batches for each thread between two waits for all threads, where batches keep no memory.
const ROUNDS: usize = 4;

pub(super) struct Work<'w> {
    /// The model as it is in the file, while it is measured, and in use.
    before: &'w Passes<'w>,
    during: &'w Passes<'w>,
    after: &'w Passes<'w>,
    request: &'w Request,
    labels: Option<&'w [usize]>,
    batches: Vec<Range<usize>>,
    keeper: Keeper,
    /// The statistics of all norms in the file, and as far as they are known now.
    old: Vec<Given>,
    new: Vec<Given>,
    /// The norms that are done, by their places.
    pub known: Vec<(usize, Recalibrated)>,
    /// What layers have seen that are done, for those that are used again.
    used: BTreeMap<usize, Population>,
    /// Seconds of each stage for a batch, at last those of the answers before.
    seconds: Vec<f64>,
    done: f64,
    told: Instant,
    /// How long telling a state took, the last time.
    telling: Duration,
}

/// The norms that are measured together, by their places, and what is known of each layer: one that is used several times has one
/// population of all that it sees.
struct Measured {
    norms: Vec<usize>,
    layers: BTreeMap<usize, Population>,
}

/// For each norm the moments of each sample of a batch.
type Moments = Vec<Vec<BatchMoments>>;

impl<'w> Work<'w> {
    pub fn new(
        [before, during, after]: [&'w Passes<'w>; 3],
        request: &'w Request,
        labels: Option<&'w [usize]>,
        batch: usize,
        old: Vec<Given>,
    ) -> Work<'w> {
        let samples = during.source.len();
        let batches = in_batches(samples, batch);
        Work {
            before,
            during,
            after,
            request,
            labels,
            keeper: Keeper::new(batches.len(), request.memory, request.files),
            batches,
            new: old.clone(),
            old,
            known: Vec::new(),
            used: BTreeMap::new(),
            seconds: Vec::new(),
            done: 0.0,
            told: Instant::now(),
            telling: Duration::ZERO,
        }
    }

    /// The stages whose ends are measured.
    fn stages(&self) -> usize {
        self.during.stages.norms.len()
    }

    /// The norms of a stage that are measured.
    fn chosen(&self, stage: usize) -> Vec<usize> {
        let norms = self.during.stages.norms[stage].iter().copied();
        norms.filter(|norm| self.request.layers.contains(norm)).collect()
    }

    pub fn go_on_from(&mut self, progress: &Progress) -> Result<(), RecalibrateError> {
        let norms = &self.during.written.norms;
        for (place, layer) in &progress.known {
            let norm = norms.get(*place).ok_or(RecalibrateError::Progress)?;
            if norm.name != layer.name || norm.statistics.mean.len() != layer.new.mean.len() {
                return Err(RecalibrateError::Progress);
            }
            self.new[*place] = Given::of(&layer.new);
        }
        let at_a_batch = progress.done == 0 || self.batches.iter().any(|batch| batch.end == progress.done);
        if progress.stage > self.stages() || !at_a_batch {
            return Err(RecalibrateError::Progress);
        }
        self.known = progress.known.clone();
        for (layer, rows) in &progress.used {
            self.used.insert(*layer, Population::from_rows(rows).map_err(|_| RecalibrateError::Progress)?);
        }
        Ok(())
    }

    /// Takes the first batches all the way as all will go, and says how long what is left of that will take.
    pub fn announce(&mut self, left_from: usize, tell: &mut Tell) -> Result<f64, RecalibrateError> {
        let some: Vec<Range<usize>> = self.batches.iter().take(rayon::current_num_threads()).cloned().collect();
        // (The first time it also touches all memory for the first time.)
        self.probe(&some)?;
        let (stages, before) = self.probe(&some)?;
        let rounds = self.batches.len() as f64 / some.len() as f64;
        let room = self.request.memory as u64 + self.request.files;
        let (mut all, mut from_start, mut bytes) = (rounds * before, 0.0, 0);
        for (stage, &(own, left)) in stages.iter().enumerate() {
            // Batches that find no room start anew in each stage.
            let needed = bytes as f64 * self.batches.len() as f64;
            let kept = if needed > 0.0 { (room as f64 / needed).min(1.0) } else { 1.0 };
            let anew = if self.request.one_pass { 0.0 } else { (1.0 - kept) * from_start };
            self.seconds.push((own + anew) / some.len() as f64);
            // (Of a stage that was begun, all of it.)
            if stage >= left_from {
                all += rounds * (own + anew);
            }
            from_start += own;
            bytes = left;
        }
        self.seconds.push(before / some.len() as f64);
        let passes = if self.request.one_pass { 3 } else { self.stages() + 2 };
        say(tell, Event::Announced { seconds: all, layers: self.request.layers.len(), passes })?;
        Ok(all)
    }

    /// Seconds that some batches take for each stage, with the bytes that each leaves of a batch; and those of the answers before.
    fn probe(&self, some: &[Range<usize>]) -> Result<(Vec<(f64, usize)>, f64), RecalibrateError> {
        let mut start = Instant::now();
        let mut states = in_parallel(self.during.engine, some.to_vec(), |batch| self.during.start(batch))?;
        let mut stages = Vec::new();
        for stage in 0..=self.stages() {
            let is_last = stage == self.stages();
            let chosen = if is_last { Vec::new() } else { self.chosen(stage) };
            if is_last && (self.request.one_pass || self.request.cut.is_some()) {
                // (In use its norms do not look at batches any more.)
                in_parallel(self.during.engine, some.to_vec(), |batch| {
                    self.answer(self.after, batch, &self.new).map(drop)
                })?;
            } else {
                states = in_parallel(self.during.engine, states, |state| {
                    let mut state = self.during.go(state, stage, &self.new)?;
                    moments_of(self.during, &mut state, &chosen)?;
                    Ok(state)
                })?;
            }
            let bytes = states.iter().map(State::bytes).max().unwrap_or(0);
            let in_memory = bytes.saturating_mul(self.batches.len()) <= self.request.memory;
            if !(is_last || self.request.one_pass || in_memory) {
                let mut keeper = Keeper::new(states.len(), 0, self.request.files);
                for (at, state) in states.iter_mut().enumerate() {
                    keeper.put(at, std::mem::take(state)).map_err(PassError::from)?;
                    *state = match keeper.take(at).map_err(PassError::from)? {
                        Some(state) => state,
                        // (It is larger than all the room that there is: each stage starts anew.)
                        None => self.during.go_from_start(some[at].clone(), stage, &self.new)?,
                    };
                }
            }
            stages.push((start.elapsed().as_secs_f64(), bytes));
            start = Instant::now();
        }
        in_parallel(self.during.engine, some.to_vec(), |batch| self.answer(self.before, batch, &self.old).map(drop))?;
        Ok((stages, start.elapsed().as_secs_f64()))
    }

    /// Measures what is not known yet, and compares the answers before and after.
    pub fn run(&mut self, progress: Progress, tell: &mut Tell) -> Result<Answers, RecalibrateError> {
        let Progress { stage, mut done, mut measured, .. } = progress;
        if self.request.one_pass {
            if stage == 0 {
                let norms = (0..self.stages()).flat_map(|stage| self.chosen(stage)).collect();
                let mut all = self.measured(norms, &measured)?;
                self.measure(0..self.stages(), done, &mut all, tell)?;
                self.settle(all)?;
                self.tell_state(self.stages(), 0, None, tell)?;
            }
        } else {
            for stage in stage..self.stages() {
                let mut norms = self.measured(self.chosen(stage), &measured)?;
                self.measure(stage..stage + 1, done, &mut norms, tell)?;
                self.settle(norms)?;
                (done, measured) = (0, Vec::new());
                // (Of thousands of small layers telling all states would take longer than measuring.)
                if self.told.elapsed() > SHARE * self.telling {
                    self.tell_state(stage + 1, 0, None, tell)?;
                }
            }
        }
        self.answers(tell)
    }

    /// Takes all batches, from a sample on, through some stages, and measures norms at the ends of these.
    fn measure(
        &mut self,
        stages: Range<usize>,
        from: usize,
        measured: &mut Measured,
        tell: &mut Tell,
    ) -> Result<(), RecalibrateError> {
        let chosen: Vec<Vec<usize>> = stages.clone().map(|stage| self.chosen(stage)).collect();
        let left: Vec<usize> = (0..self.batches.len()).filter(|&at| self.batches[at].start >= from).collect();
        for some in left.chunks(self.together()) {
            let mut kept = Vec::with_capacity(some.len());
            for &at in some {
                kept.push((at, self.keeper.take(at).map_err(PassError::from)?));
            }
            let seen = in_parallel(self.during.engine, kept, |(at, mut kept)| {
                let batch = &self.batches[at];
                let mut moments = Moments::new();
                for (stage, chosen) in stages.clone().zip(&chosen) {
                    let mut state = match kept.take() {
                        Some(state) => self.during.go(state, stage, &self.new)?,
                        None => self.during.go_from_start(batch.clone(), stage, &self.new)?,
                    };
                    moments.extend(moments_of(self.during, &mut state, chosen)?);
                    kept = Some(state);
                }
                // (In one pass nothing goes on from here.)
                Ok((at, kept.filter(|_| !self.request.one_pass), moments))
            })?;
            for (at, state, moments) in seen {
                self.observe(measured, moments)?;
                if let Some(state) = state {
                    self.keeper.put(at, state).map_err(PassError::from)?;
                }
                self.done += self.seconds[stages.clone()].iter().sum::<f64>();
            }
            self.tell_done(tell)?;
            if self.told.elapsed() > BETWEEN_STATES {
                let done = self.batches[some[some.len() - 1]].end;
                self.tell_state(stages.start, done, Some(measured), tell)?;
            }
        }
        Ok(())
    }

    /// Batches that are begun before all are waited for.
    fn together(&self) -> usize {
        let threads = rayon::current_num_threads();
        if self.request.one_pass { ROUNDS * threads } else { threads }
    }

    fn answers(&mut self, tell: &mut Tell) -> Result<Answers, RecalibrateError> {
        let mut answers = Answers::default();
        let all: Vec<usize> = (0..self.batches.len()).collect();
        for some in all.chunks(rayon::current_num_threads()) {
            let mut kept = Vec::with_capacity(some.len());
            for &at in some {
                kept.push((at, self.keeper.take(at).map_err(PassError::from)?));
            }
            let seen = in_parallel(self.during.engine, kept, |(at, kept)| {
                let batch = &self.batches[at];
                let before = self.answer(self.before, batch.clone(), &self.old)?;
                let after = match kept {
                    // (Cut samples are measured, and not used.)
                    Some(state) if self.request.cut.is_none() => self.during.go(state, self.stages(), &self.new)?,
                    _ => self.answer(self.after, batch.clone(), &self.new)?,
                };
                Ok((at, before, after))
            })?;
            for (at, before, after) in seen {
                let batch = &self.batches[at];
                let labels = self.labels.map(|labels| &labels[batch.clone()]);
                let outputs = &self.during.written.outputs;
                answers.take(outputs, &before, &after, batch.len(), labels).map_err(RecalibrateError::Labels)?;
                self.done += self.seconds[self.stages()..].iter().sum::<f64>();
            }
            self.tell_done(tell)?;
        }
        Ok(answers)
    }

    /// A batch at the model's outputs.
    fn answer(&self, passes: &Passes, batch: Range<usize>, statistics: &[Given]) -> Result<State, PassError> {
        passes.go_from_start(batch, passes.stages.count() - 1, statistics)
    }

    /// Norms to go on with. What a layer has seen in an earlier use counts on.
    fn measured(
        &mut self,
        norms: Vec<usize>,
        before: &[(usize, Vec<[f64; POPULATION_ROW]>)],
    ) -> Result<Measured, RecalibrateError> {
        let mut layers = BTreeMap::new();
        for &place in &norms {
            let norm = &self.during.written.norms[place];
            let known = match before.iter().find(|(known, _)| *known == norm.layer) {
                Some((_, rows)) => Population::from_rows(rows).map_err(|_| RecalibrateError::Progress)?,
                None => match self.used.get(&norm.layer) {
                    Some(known) => known.clone(),
                    None => Population::new(norm.statistics.mean.len())
                        .map_err(|_| RecalibrateError::Constant(norm.name.clone()))?,
                },
            };
            layers.entry(norm.layer).or_insert(known);
        }
        Ok(Measured { norms, layers })
    }

    /// Takes in what was measured of a batch, sample by sample.
    fn observe(&self, measured: &mut Measured, moments: Moments) -> Result<(), RecalibrateError> {
        let norms: Vec<_> =
            measured.norms.iter().map(|&place| &self.during.written.norms[place]).zip(moments).collect();
        let samples = norms.first().map_or(0, |(_, moments)| moments.len());
        let observed = measured.layers.par_iter_mut().map(|(layer, population)| {
            let uses = || norms.iter().filter(|(norm, _)| norm.layer == *layer);
            for (norm, sample) in (0..samples).flat_map(|at| uses().map(move |(norm, moments)| (norm, &moments[at]))) {
                let left_out = population.observe(sample).map_err(|_| PassError::Length {
                    layer: norm.name.clone(),
                    expected: norm.statistics.mean.len(),
                    got: sample.channels().len(),
                })?;
                if !left_out.is_empty() {
                    return Err(RecalibrateError::NotFinite { layer: norm.name.clone(), channels: left_out.len() });
                }
            }
            Ok(())
        });
        observed.collect::<Vec<_>>().into_iter().collect()
    }

    /// From now on norms have the statistics of what was measured.
    fn settle(&mut self, measured: Measured) -> Result<(), RecalibrateError> {
        let norms = &self.during.written.norms;
        for (layer, population) in measured.layers {
            for (place, norm) in norms.iter().enumerate().filter(|(_, norm)| norm.layer == layer) {
                let known = Recalibrated::of(norm, &population, self.request.mix)?;
                self.new[place] = Given::of(&known.new);
                self.known.retain(|(other, _)| *other != place);
                self.known.push((place, known));
            }
            self.used.insert(layer, population);
        }
        Ok(())
    }

    fn tell_done(&self, tell: &mut Tell) -> Result<(), RecalibrateError> {
        let all = self.seconds.iter().sum::<f64>() * self.batches.len() as f64;
        say(tell, Event::Done(if all > 0.0 { (self.done / all).min(1.0) } else { 1.0 }))
    }

    fn tell_state(
        &mut self,
        stage: usize,
        done: usize,
        measured: Option<&Measured>,
        tell: &mut Tell,
    ) -> Result<(), RecalibrateError> {
        let rows = |measured: &Measured| {
            measured.layers.iter().map(|(layer, population)| (*layer, population.to_rows())).collect()
        };
        let measured = measured.map(rows).unwrap_or_default();
        let norms = &self.during.written.norms;
        let is_used_again = |layer: &usize| norms.iter().filter(|norm| norm.layer == *layer).count() > 1;
        let used = self.used.iter().filter(|(layer, _)| is_used_again(layer));
        let used = used.map(|(layer, population)| (*layer, population.to_rows())).collect();
        let begun = Instant::now();
        let told =
            say(tell, Event::State(Box::new(Progress { stage, done, known: self.known.clone(), measured, used })));
        self.told = Instant::now();
        self.telling = self.told - begun;
        told
    }
}

/// The moments of each sample of a batch at the inputs of norms.
fn moments_of(passes: &Passes, state: &mut State, norms: &[usize]) -> Result<Moments, PassError> {
    norms.iter().map(|&norm| state.moments(passes.written, norm)).collect()
}
