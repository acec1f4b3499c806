//! The rounds of `bench`: the passes and a plain copy in turns, their times, and a check of the answers.

use std::time::Instant;

use batchnorm::reference::compact;
use batchnorm::{Activation, Axes, Element, Input, Parameters, Rule, RunningStatistics, Saved, View, ViewMut};
use rayon::prelude::*;

use crate::failure::Failure;

/// The work to time.
pub struct Work {
    /// In the layout's order.
    pub shape: Vec<usize>,
    pub axes: Axes<'static>,
    pub channels: usize,
    pub rule: Rule,
    pub activation: Activation,
    pub residual: bool,
    pub rounds: usize,
}

/// One thing that was timed.
pub struct Pass {
    pub name: &'static str,
    /// Milliseconds.
    pub median: f64,
    /// Milliseconds, the first and the third.
    pub quartiles: [f64; 2],
    /// Bytes that are read and written.
    pub bytes: usize,
}

impl Pass {
    pub fn gigabytes_a_second(&self) -> f64 {
        self.bytes as f64 / self.median / 1e6
    }
}

pub struct Measured {
    /// The copy first.
    pub passes: [Pass; 4],
}

impl Measured {
    pub fn copy(&self) -> &Pass {
        &self.passes[0]
    }
}

/// Arrays of the work's size, filled once.
struct Arrays<T> {
    x: Vec<T>,
    dy: Vec<T>,
    residual: Vec<T>,
    y: Vec<T>,
    dx: Vec<T>,
    dresidual: Vec<T>,
}

impl<T: Element> Arrays<T> {
    fn new(work: &Work) -> Result<Self, Failure> {
        let too_large = || {
            let shape = work.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            Failure::usage(format!("--shape: {shape} does not fit the memory; ask for a smaller one"))
        };
        let len = work.shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size)).ok_or_else(too_large)?;
        let array = |seed: u64, wanted: bool| -> Result<Vec<T>, Failure> {
            let len = if wanted { len } else { 0 };
            let mut values = Vec::new();
            // More than any machine has is refused at once; what is only too much for this one, where it fails.
            if len > isize::MAX as usize / 16 || values.try_reserve_exact(len).is_err() {
                return Err(too_large());
            }
            let mut state = seed;
            // Spread over -1..1, around 0.3; Knuth's linear congruential generator.
            values.extend((0..len).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                T::from_f64((state >> 40) as f64 / f64::from(1 << 23) - 0.7)
            }));
            Ok(values)
        };
        Ok(Arrays {
            x: array(1, true)?,
            dy: array(2, true)?,
            residual: array(3, work.residual)?,
            y: array(4, true)?,
            dx: array(5, true)?,
            dresidual: array(6, work.residual)?,
        })
    }
}

/// Checks one step, then times the rounds.
pub fn measure<T: Element>(work: &Work) -> Result<Measured, Failure> {
    let mut arrays = Arrays::<T>::new(work)?;
    let running = RunningStatistics::start(work.channels).map_err(Failure::usage)?;
    train(work, &mut arrays)?;
    check(work, &arrays)?;
    let mut times = [const { Vec::new() }; 4];
    // Two rounds that are not counted: pages and caches.
    for round in 0..work.rounds + 2 {
        let copied = timed(|| {
            copy(&arrays.x, &mut arrays.y);
            Ok(())
        })?
        .0;
        let evaluated = timed(|| eval(work, &mut arrays, &running))?.0;
        let (trained, saved) = timed(|| train(work, &mut arrays))?;
        let back = timed(|| backward(work, &mut arrays, &saved))?.0;
        if round >= 2 {
            for (times, time) in times.iter_mut().zip([copied, trained, evaluated, back]) {
                times.push(time);
            }
        }
    }
    let array = size_of_val(&arrays.x[..]);
    let extra = if work.residual { array } else { 0 };
    let bytes = [2 * array, 2 * array + extra, 2 * array + extra, 3 * array + 2 * extra];
    let names = ["copy", "train", "eval", "backward"];
    let mut all = times.into_iter().zip(names).zip(bytes);
    let passes = std::array::from_fn(|_| {
        let ((mut times, name), bytes) = all.next().expect("four passes");
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times[(times.len() - 1) * part / 4];
        Pass { name, median: at(2), quartiles: [at(1), at(3)], bytes }
    });
    Ok(Measured { passes })
}

fn timed<R>(call: impl FnOnce() -> Result<R, Failure>) -> Result<(f64, R), Failure> {
    let start = Instant::now();
    let result = call()?;
    Ok((start.elapsed().as_secs_f64() * 1e3, result))
}

/// Over all threads, where that pays.
fn copy<T: Element>(from: &[T], to: &mut [T]) {
    const PART: usize = 1 << 16;
    if from.len() < PART {
        return to.copy_from_slice(from);
    }
    to.par_chunks_mut(PART).zip(from.par_chunks(PART)).for_each(|(to, from)| to.copy_from_slice(from));
}

fn view<'a, T: Element>(work: &Work, data: &'a [T]) -> Result<View<'a, T>, Failure> {
    View::new(data, &work.shape, work.axes).map_err(|error| Failure::usage(format!("--shape: {error}")))
}

fn out<'a, T: Element>(work: &Work, data: &'a mut [T]) -> Result<ViewMut<'a, T>, Failure> {
    ViewMut::new(data, &work.shape, work.axes).map_err(|error| Failure::usage(format!("--shape: {error}")))
}

const NONE: Parameters<'static, f32> = Parameters { gamma: None, beta: None };

fn train<T: Element>(work: &Work, arrays: &mut Arrays<T>) -> Result<Saved, Failure> {
    let x = view(work, &arrays.x)?;
    let y = &mut out(work, &mut arrays.y)?;
    let trained = if work.residual {
        let residual = view(work, &arrays.residual)?;
        work.rule.train(Input::adding(&x, &residual), NONE, None, y)
    } else {
        work.rule.train(&x, NONE, None, y)
    };
    trained.map(|(saved, _)| saved).map_err(Failure::refused)
}

fn eval<T: Element>(work: &Work, arrays: &mut Arrays<T>, running: &RunningStatistics) -> Result<Saved, Failure> {
    let x = view(work, &arrays.x)?;
    let y = &mut out(work, &mut arrays.y)?;
    let evaluated = if work.residual {
        let residual = view(work, &arrays.residual)?;
        work.rule.eval(Input::adding(&x, &residual), NONE, Some(running), y)
    } else {
        work.rule.eval(&x, NONE, Some(running), y)
    };
    evaluated.map_err(Failure::refused)
}

fn backward<T: Element>(work: &Work, arrays: &mut Arrays<T>, saved: &Saved) -> Result<(), Failure> {
    let (x, dy) = (view(work, &arrays.x)?, view(work, &arrays.dy)?);
    let dx = &mut out(work, &mut arrays.dx)?;
    let gradients = if work.residual {
        let y = view(work, &arrays.y)?;
        saved.backward_adding(&x, &y, &dy, dx, &mut out(work, &mut arrays.dresidual)?)
    } else {
        saved.backward(&x, &dy, dx)
    };
    gradients.map(|_| ()).map_err(Failure::refused)
}

/// The training output of the first and the last channel against the plain formula.
fn check<T: Element>(work: &Work, arrays: &Arrays<T>) -> Result<(), Failure> {
    let plane: usize = if work.axes == Axes::NCHW { work.shape[2..].iter().product() } else { 1 };
    for channel in [0, work.channels - 1] {
        let places: Vec<usize> = (0..arrays.x.len()).filter(|place| place / plane % work.channels == channel).collect();
        let values: Vec<f64> = places.iter().map(|&place| arrays.x[place].to_f64()).collect();
        let truth = compact::forward(&values, 1.0, 0.0, 1e-5).y;
        for (place, mut z) in places.into_iter().zip(truth) {
            if work.residual {
                z += arrays.residual[place].to_f64();
            }
            let expected = if z > 0.0 { z } else { work.activation.slope() * z };
            // A few units of the type's precision; what is checked is that the right thing is timed.
            let most = (T::from_f64(1.01).to_f64() - 1.01).abs().max(1e-9) * 8.0 * (1.0 + z.abs());
            let got = arrays.y[place].to_f64();
            if (got - expected).abs() > most {
                return Err(Failure::refused(format!(
                    "the answer is wrong at {place}: expected {expected}, got {got}; nothing was timed; please report this"
                )));
            }
        }
    }
    Ok(())
}
