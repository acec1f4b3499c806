//! The rounds of `bench`: sweeps over memory, the layer's passes and bare loops in turns, and their times.

use std::any::Any;
use std::time::Instant;

use batchnorm::{Element, RunningStatistics, Saved};
use batchnorm_bare_loops::{Bare, Buffers, Traffic, sweeps};

use super::step::{Arrays, Work, backward, check, eval, train};
use crate::failure::Failure;

/// What is timed in every round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    PlainCopy,
    /// Past the caches.
    StreamingCopy,
    Train,
    Eval,
    Backward,
    BareTrain,
    BareEval,
    BareBackward,
}

use Call::*;

const CALLS: [Call; 9] = [Read, PlainCopy, StreamingCopy, Train, Eval, Backward, BareTrain, BareEval, BareBackward];

/// One row of the answer.
pub struct Pass {
    pub name: &'static str,
    /// Milliseconds.
    pub median: f64,
    /// Milliseconds, the first and the third.
    pub quartiles: [f64; 2],
    /// Bytes that are read and written, each array once.
    pub bytes: usize,
    /// What the pass's traffic takes; the sweeps have none.
    pub floor: Option<Limit>,
    /// The same arithmetic in loops alone; for `f32`, unfused, where there are loops for the instruction set.
    pub bare: Option<Limit>,
}

/// What a pass is measured against.
pub struct Limit {
    /// Milliseconds.
    pub median: f64,
    /// The pass's time over this one, the median over the rounds.
    pub over: f64,
}

impl Pass {
    pub fn gigabytes_a_second(&self) -> f64 {
        self.bytes as f64 / self.median / 1e6
    }
}

pub struct Measured {
    /// A read sweep and a copy first.
    pub passes: [Pass; 5],
}

impl Measured {
    pub fn copy(&self) -> &Pass {
        &self.passes[1]
    }
}

/// What the calls work on.
struct Bench<'a, T> {
    work: &'a Work,
    arrays: Arrays<T>,
    running: RunningStatistics,
    saved: Saved,
    bare: Option<BareStep>,
}

/// Bare loops, and their arrays of a value a channel: the defaults of the layer.
struct BareStep {
    loops: Bare,
    ones: Vec<f32>,
    zeros: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
}

impl BareStep {
    /// `None` where there are no loops for this work.
    fn new<T: Element>(work: &Work) -> Option<Self> {
        let fused = work.residual || work.activation.slope() != 1.0;
        let is_f32 = (&T::default() as &dyn Any).is::<f32>();
        let set = work.set.filter(|_| is_f32 && !fused)?;
        let loops = Bare::new(work.bare_shape(), set, rayon::current_num_threads())?;
        let of = |value| vec![value; work.channels];
        Some(BareStep { loops, ones: of(1.0), zeros: of(0.0), dgamma: of(0.0), dbeta: of(0.0) })
    }

    /// Something with the loops and their arrays; `None` where these are not of `f32`.
    fn with<T: Element, R>(
        &mut self,
        arrays: &mut Arrays<T>,
        call: impl FnOnce(&mut Bare, &mut Buffers) -> R,
    ) -> Option<R> {
        let Arrays { x, dy, y, dx, .. } = (arrays as &mut dyn Any).downcast_mut::<Arrays<f32>>()?;
        let BareStep { loops, ones, zeros, dgamma, dbeta } = self;
        let (gamma, beta, running_mean, running_variance) = (&*ones, &*zeros, &*zeros, &*ones);
        let buffers = &mut Buffers { x, dy, gamma, beta, running_mean, running_variance, y, dx, dgamma, dbeta };
        Some(call(loops, buffers))
    }
}

impl<T: Element> Bench<'_, T> {
    /// Everything ready, and one training step and all bare loops checked.
    fn new(work: &Work) -> Result<Bench<'_, T>, Failure> {
        let mut arrays = Arrays::<T>::new(work)?;
        let running = RunningStatistics::start(work.channels).map_err(Failure::usage)?;
        let mut bare = BareStep::new::<T>(work);
        if let Some(bare) = &mut bare {
            let prepared = bare.with(&mut arrays, |loops, buffers| loops.prepare(buffers));
            prepared.unwrap_or(Ok(())).map_err(Failure::refused)?;
        }
        let saved = train(work, &mut arrays)?;
        check(work, &arrays)?;
        Ok(Bench { work, arrays, running, saved, bare })
    }

    fn call(&mut self, call: Call) -> Result<(), Failure> {
        let threads = rayon::current_num_threads();
        let Bench { work, arrays, running, saved, bare } = self;
        let mut of_bare = |call: fn(&mut Bare, &mut Buffers)| {
            bare.as_mut().and_then(|bare| bare.with(arrays, call));
        };
        match call {
            Read => sweeps::read(&arrays.x, threads),
            PlainCopy => sweeps::copy(&arrays.x, &mut arrays.y, threads),
            StreamingCopy => sweeps::stream(&arrays.x, &mut arrays.y, threads),
            Train => *saved = train(work, arrays)?,
            Eval => drop(eval(work, arrays, running)?),
            Backward => backward(work, arrays, saved)?,
            BareTrain => of_bare(Bare::train),
            BareEval => of_bare(Bare::eval),
            BareBackward => of_bare(Bare::backward),
        }
        Ok(())
    }

    /// Milliseconds of each call; once untimed before, so that threads are awake and caches have what they can.
    fn turn(&mut self, call: Call, times: usize) -> Result<f64, Failure> {
        self.call(call)?;
        let start = Instant::now();
        for _ in 0..times {
            self.call(call)?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e3 / times as f64)
    }
}

/// Checks one step, then times the rounds.
pub fn measure<T: Element>(work: &Work) -> Result<Measured, Failure> {
    let mut bench = Bench::<T>::new(work)?;
    let has_bare = bench.bare.is_some();
    // Short calls are repeated for a millisecond, which also is a round that does not count: pages and caches.
    let mut repeats = [1; CALLS.len()];
    for (repeats, call) in repeats.iter_mut().zip(CALLS) {
        *repeats = (1.0 / bench.turn(call, 1)?).clamp(1.0, 1000.0) as usize;
    }
    let mut times = [const { Vec::new() }; CALLS.len()];
    for _ in 0..work.rounds {
        for ((times, call), repeats) in times.iter_mut().zip(CALLS).zip(repeats) {
            times.push(bench.turn(call, repeats)?);
        }
    }
    let array = size_of_val(&bench.arrays.x[..]);
    Ok(Measured { passes: passes(work, array, &times, has_bare) })
}

fn passes(work: &Work, array: usize, times: &[Vec<f64>; CALLS.len()], has_bare: bool) -> [Pass; 5] {
    let of = |call: Call| &times[call as usize];
    let copy = if median(of(StreamingCopy)) < median(of(PlainCopy)) { StreamingCopy } else { PlainCopy };
    let (rows, residual) = (work.in_rows(), work.residual);
    let pass = |name, call: Call, arrays: usize, traffic: Option<Traffic>, bare: Option<Call>| {
        let own = of(call);
        let limit = |other: &[f64]| {
            let ratios: Vec<f64> = own.iter().zip(other).map(|(own, other)| own / other).collect();
            Limit { median: median(other), over: median(&ratios) }
        };
        let floor = traffic.map(|traffic| {
            let rounds = of(Read).iter().zip(of(copy));
            limit(&rounds.map(|(&read, &copy)| traffic.floor(read, copy)).collect::<Vec<_>>())
        });
        let bare = bare.filter(|_| has_bare).map(|call| limit(of(call)));
        let quartiles = [at(own, 1), at(own, 3)];
        Pass { name, median: median(own), quartiles, bytes: arrays * array, floor, bare }
    };
    let extra = usize::from(residual);
    [
        pass("read", Read, 1, None, None),
        pass("copy", copy, 2, None, None),
        pass("train", Train, 2 + extra, Some(Traffic::train(rows, residual)), Some(BareTrain)),
        pass("eval", Eval, 2 + extra, Some(Traffic::eval(residual)), Some(BareEval)),
        pass("backward", Backward, 3 + 2 * extra, Some(Traffic::backward(rows, residual)), Some(BareBackward)),
    ]
}

/// A quartile.
fn at(times: &[f64], quarter: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[(times.len() - 1) * quarter / 4]
}

fn median(times: &[f64]) -> f64 {
    at(times, 2)
}
