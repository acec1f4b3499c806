//! Running statistics measured anew, on data of the user's, by running the model.
//!
//! Layer by layer: the statistics of each norm are those of what it will see in use, with the norms before it already right; they are exact
//! moments over all values of all samples, pooled sample by sample, so they depend neither on batches nor on threads. In one pass: each norm
//! normalises each batch by itself, as in training, and what is pooled depends on the size of the batches.
//!
//! Variances are those of the population (divided by N), by which a norm in use gives variance 1 on these data.

mod answers;
mod error;
mod layer;
mod plan;
mod spread;
mod work;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub use answers::{Answers, Side, Sign, Verdict};
pub use error::RecalibrateError;
pub use layer::{Drift, Errors, Recalibrated};
pub(crate) use plan::{BETWEEN_STATES, say};
pub use plan::{Event, Outcome, Progress, Request, Tell};

use crate::cut::CutSamples;
use crate::engine::{Array, Engine, EngineError, Given, Passes, Source, Stages, Written};
use work::Work;

/// An engine, and how long it ran.
struct Timed<'e> {
    engine: &'e dyn Engine,
    nanoseconds: AtomicU64,
}

impl Engine for Timed<'_> {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn run(&self, given: Vec<(&str, Cow<'_, Array>)>, wanted: &[&str]) -> Result<Vec<Array>, EngineError> {
        let start = Instant::now();
        let result = self.engine.run(given, wanted);
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    fn within(&self, work: &mut (dyn FnMut() + Send)) {
        self.engine.within(work);
    }
}

/// Measures statistics anew. `labels` are the right classes of the samples, where they are known. `tell` is told what happens, and may stop
/// it. The result does not depend on the number of threads (of rayon's pool that this is called in), nor, layer by layer, on the batches.
///
/// # Errors
/// What the engine and the data say; values that are not finite; a stop.
pub fn recalibrate(
    engine: &dyn Engine,
    written: &Written,
    source: &dyn Source,
    labels: Option<&[usize]>,
    request: &Request,
    resumed: Option<Progress>,
    tell: &mut Tell,
) -> Result<Outcome, RecalibrateError> {
    if source.is_empty() {
        return Err(RecalibrateError::Empty);
    }
    let start = Instant::now();
    let timed = Timed { engine, nanoseconds: AtomicU64::new(0) };
    let norms = || written.norms.iter().enumerate();
    let is_chosen = |place: &usize| request.layers.contains(place);
    let by_batch: Vec<usize> = norms().filter(|(_, norm)| norm.training).map(|(place, _)| place).collect();
    let still_training: Vec<usize> = by_batch.iter().copied().filter(|place| !is_chosen(place)).collect();
    let stopped: Vec<usize> = request.layers.iter().chain(&still_training).copied().collect();
    let cut = request.cut.as_ref().map(|cut| CutSamples { source, cut });
    let training: &dyn Source = cut.as_ref().map_or(source, |cut| cut);
    let passes = |source, stops: &[usize], by_batch: &[usize]| Passes {
        engine: &timed,
        written,
        stages: Stages::of(written, stops),
        source,
        by_batch: by_batch.to_vec(),
    };
    let computed = written.computed();
    for &place in &request.layers {
        if !computed.contains(written.norms[place].input.as_str()) {
            return Err(RecalibrateError::Constant(written.norms[place].name.clone()));
        }
    }
    // As it is in the file; while it is measured; in use.
    let before = passes(source, &by_batch, &by_batch);
    let during = passes(training, &stopped, if request.one_pass { &stopped } else { &still_training });
    let after = passes(source, &still_training, &still_training);
    let old: Vec<Given> = written.norms.iter().map(|norm| Given::of(&norm.statistics)).collect();
    let batch = unit(&before, &old, request)?;
    // (Labels that do not fit the answers are refused before anything is measured.)
    if let Some(largest) = labels.and_then(|labels| labels.iter().max()) {
        let samples = batch.min(source.len());
        let answers = before.go_from_start(0..samples, before.stages.count() - 1, &old)?;
        let all = vec![*largest; samples];
        let taken = Answers::default().take(&written.outputs, &answers, &answers, samples, Some(&all));
        taken.map_err(RecalibrateError::Labels)?;
    }
    let mut work = Work::new([&before, &during, &after], request, labels, batch, old);
    let progress = resumed.unwrap_or_default();
    work.go_on_from(&progress)?;
    let announced = work.announce(progress.stage, tell)?;
    let answers = work.run(progress, tell)?;
    let seconds = start.elapsed().as_secs_f64();
    let find = |place: &usize| work.known.iter().find(|(known, ..)| known == place).map(|(_, layer)| layer.clone());
    Ok(Outcome {
        layers: request.layers.iter().filter_map(find).collect(),
        answers,
        batch,
        samples: source.len(),
        engine: engine.name().to_owned(),
        engine_share: timed.nanoseconds.load(Ordering::Relaxed) as f64
            / (1e9 * seconds * rayon::current_num_threads() as f64),
        seconds,
        announced,
    })
}

/// Samples that go through the model together: those asked for, if two of them give the norms together just what each gives alone; else as
/// many as the file declares, or one. So what is measured does not depend on batches, to the bit. In one pass it does anyway: then it is
/// enough that samples do not mix.
fn unit(before: &Passes, old: &[Given], request: &Request) -> Result<usize, RecalibrateError> {
    let (written, samples) = (before.written, before.source.len());
    let alone = written.declared_batch().filter(|&declared| declared <= samples).unwrap_or(1);
    // (A norm that still looks at batches mixes samples by itself.)
    if request.batch <= 1 || samples < 2 || !before.by_batch.is_empty() {
        return Ok(request.batch.max(1));
    }
    let names: Vec<&str> = request.layers.iter().map(|&place| written.norms[place].input.as_str()).collect();
    let run = |places: Range<usize>| before.values(places, old, &names);
    let first = run(0..1);
    let (Ok(both), Ok(first), Ok(second)) = (run(0..2), &first, run(1..2)) else {
        run(0..alone)?;
        return Ok(alone);
    };
    let same = both.iter().zip(first).zip(&second).all(|((both, first), second)| {
        let [Some(both_values), Some(one), Some(other)] = [both, first, second].map(Array::as_floats) else {
            return true;
        };
        let mut pieces = one.iter().chain(other);
        let is_close = |one: f32, other: f32| {
            let size = one.abs().max(other.abs());
            one.to_bits() == other.to_bits() || request.one_pass && (one - other).abs() <= CLOSE * size.max(1.0)
        };
        both.shape.first() == first.shape.first().map(|rows| 2 * rows).as_ref()
            && both_values.len() == one.len() + other.len()
            && both_values.iter().all(|&value| pieces.next().is_some_and(|&piece| is_close(value, piece)))
    });
    Ok(if same { request.batch } else { alone })
}

/// How far rounding may take a value that is computed in a batch or alone.
const CLOSE: f32 = 1e-3;
