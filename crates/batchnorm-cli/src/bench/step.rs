//! What `bench` times: the work, its arrays, the layer's passes over them, and a check of the answers.

use batchnorm::reference::compact;
use batchnorm::{
    Activation, Axes, Element, GradientBuffers, Input, Normalizer, Parameters, RunningStatistics, Saved, View, ViewMut,
};

use batchnorm_bare_loops::{self as bare, InstructionSet};

use crate::failure::Failure;

/// The work to time.
pub struct Work {
    /// In the layout's order.
    pub shape: Vec<usize>,
    pub axes: Axes<'static>,
    pub channels: usize,
    pub normalizer: Normalizer,
    pub activation: Activation,
    pub residual: bool,
    pub rounds: usize,
    /// Of the bare loops; `None` where there are none for the instruction set.
    pub set: Option<InstructionSet>,
}

impl Work {
    /// Samples and values a channel has in each.
    fn samples_and_plane(&self) -> (usize, usize) {
        let values: usize = self.shape.iter().product();
        (self.shape[0], values / self.shape[0] / self.channels)
    }

    /// Whether the channels of a place lie side by side; where a plane has one value, they do whatever the layout is called.
    pub fn in_rows(&self) -> bool {
        self.axes == Axes::NHWC || self.samples_and_plane().1 == 1
    }

    /// The shape as the bare loops have it.
    pub fn bare_shape(&self) -> bare::Shape {
        let (samples, plane) = self.samples_and_plane();
        let order = if self.in_rows() { bare::Order::Rows } else { bare::Order::Planes };
        bare::Shape { samples, channels: self.channels, plane, order }
    }
}

/// Arrays of the work's size, filled once.
pub struct Arrays<T> {
    pub x: Vec<T>,
    pub dy: Vec<T>,
    residual: Vec<T>,
    pub y: Vec<T>,
    pub dx: Vec<T>,
    dresidual: Vec<T>,
}

impl<T: Element> Arrays<T> {
    pub fn new(work: &Work) -> Result<Self, Failure> {
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

fn view<'a, T: Element>(work: &Work, data: &'a [T]) -> Result<View<'a, T>, Failure> {
    View::new(data, &work.shape, work.axes).map_err(|error| Failure::usage(format!("--shape: {error}")))
}

fn out<'a, T: Element>(work: &Work, data: &'a mut [T]) -> Result<ViewMut<'a, T>, Failure> {
    ViewMut::new(data, &work.shape, work.axes).map_err(|error| Failure::usage(format!("--shape: {error}")))
}

const NONE: Parameters<'static, f32> = Parameters { gamma: None, beta: None };

pub fn train<T: Element>(work: &Work, arrays: &mut Arrays<T>) -> Result<Saved, Failure> {
    let x = view(work, &arrays.x)?;
    let y = &mut out(work, &mut arrays.y)?;
    let trained = if work.residual {
        let residual = view(work, &arrays.residual)?;
        work.normalizer.train(Input::adding(&x, &residual), NONE, None, y)
    } else {
        work.normalizer.train(&x, NONE, None, y)
    };
    trained.map(|(saved, _)| saved).map_err(Failure::refused)
}

pub fn eval<T: Element>(work: &Work, arrays: &mut Arrays<T>, running: &RunningStatistics) -> Result<Saved, Failure> {
    let x = view(work, &arrays.x)?;
    let y = &mut out(work, &mut arrays.y)?;
    let evaluated = if work.residual {
        let residual = view(work, &arrays.residual)?;
        work.normalizer.eval(Input::adding(&x, &residual), NONE, Some(running), y)
    } else {
        work.normalizer.eval(&x, NONE, Some(running), y)
    };
    evaluated.map_err(Failure::refused)
}

pub fn backward<T: Element>(work: &Work, arrays: &mut Arrays<T>, saved: &Saved) -> Result<(), Failure> {
    let (x, dy) = (view(work, &arrays.x)?, view(work, &arrays.dy)?);
    let dx = &mut out(work, &mut arrays.dx)?;
    let gradients = if work.residual {
        let y = view(work, &arrays.y)?;
        let mut dresidual = out(work, &mut arrays.dresidual)?;
        saved.backward(Input::with_output(&x, &y), &dy, GradientBuffers::with_residual(dx, &mut dresidual))
    } else {
        saved.backward(&x, &dy, dx)
    };
    gradients.map(|_| ()).map_err(Failure::refused)
}

/// The training output of the first and the last channel against the plain formula.
pub fn check<T: Element>(work: &Work, arrays: &Arrays<T>) -> Result<(), Failure> {
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
