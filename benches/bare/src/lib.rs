//! What a call of `batchnorm` is measured against.
//!
//! - [`sweeps`]: how long memory takes. A call's *traffic floor* ([`Traffic`]) is put together from a read sweep and a copy.
//! - [`Bare`]: how long the arithmetic takes. Training, inference and the backward pass of `f32` arrays in loops alone: no
//!   policies, views, layers, running statistics, second reductions, and no promise about bits. The formulas are those
//!   of the library: plain sums in `f64`, every output rounded once.
//! - [`second_thread`]: whether further threads are cores of their own or share one, by measurement.
//!
//! Nothing is timed before it was checked: [`Bare::prepare`] compares every form of every loop with plain scalar code, and
//! only then picks the fastest.
//!
//! ```
//! use batchnorm_bare_loops::{Bare, Buffers, InstructionSet, Order, Shape};
//! let shape = Shape { samples: 4, channels: 3, plane: 10, order: Order::Planes };
//! let x: Vec<f32> = (0..120).map(|i| (i * i % 31) as f32).collect();
//! let (ones, zeros) = ([1.0; 3], [0.0; 3]);
//! let (mut y, mut dx, mut dgamma, mut dbeta) = ([0.0; 120], [0.0; 120], [0.0; 3], [0.0; 3]);
//! let Some(set) = InstructionSet::best() else { return }; // (none for this processor)
//! let mut bare = Bare::new(shape, set, 1).expect("a set that runs here");
//! let mut buffers = Buffers {
//!     x: &x, dy: &x, gamma: &ones, beta: &zeros, running_mean: &zeros, running_variance: &ones,
//!     y: &mut y, dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta,
//! };
//! bare.prepare(&mut buffers).expect("right answers");
//! bare.train(&mut buffers);
//! bare.backward(&mut buffers);
//! ```

mod contention;
mod finish;
mod placement;
mod plain;
mod planes;
mod rows;
pub mod sweeps;
mod threads;
mod vector;

use std::time::Instant;

pub use contention::{Contention, second_thread, threads_a_core};
use finish::{Finish, Kind};
pub use sweeps::Traffic;
pub use vector::InstructionSet;

/// Added to the variance.
pub const EPSILON: f64 = 1e-5;

/// Where a channel's values lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Side by side in planes (NCHW).
    Planes,
    /// In rows of all channels (NHWC; N x C with a plane of 1).
    Rows,
}

/// A dense array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of samples, above 0.
    pub samples: usize,
    /// Number of channels, above 0.
    pub channels: usize,
    /// Values a channel has in a sample, above 0.
    pub plane: usize,
    /// Where they lie.
    pub order: Order,
}

impl Shape {
    /// Number of values.
    pub fn values(&self) -> usize {
        self.samples * self.channels * self.plane
    }

    /// Number of values a channel.
    fn count(&self) -> usize {
        self.samples * self.plane
    }
}

/// The arrays of a step. Those from `gamma` to `running_variance`, `dgamma` and `dbeta` have a value a channel.
#[derive(Debug)]
#[allow(missing_docs)] // They are named as everywhere.
pub struct Buffers<'a> {
    pub x: &'a [f32],
    pub dy: &'a [f32],
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    pub running_mean: &'a [f32],
    pub running_variance: &'a [f32],
    pub y: &'a mut [f32],
    pub dx: &'a mut [f32],
    pub dgamma: &'a mut [f32],
    pub dbeta: &'a mut [f32],
}

/// How a loop goes about its work. All forms give the same answers, but for rounding in the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    threads: usize,
    /// Stores past the caches.
    streamed: bool,
    /// Memory is asked for what comes next: in planes for what is summed after what is mapped. (Costs more than it brings
    /// where a cache has it.)
    ahead: bool,
    split: Split,
}

/// What a thread gets, always the same part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// Planes: channels, of which so many are summed and then mapped at once, in the order of memory.
    Channels(usize),
    /// Rows: a range of them; tables of sums are added up between the sums and the map.
    Rows,
    /// Rows: a range of columns, of which so many are summed and then mapped at once.
    Columns(usize),
}

/// The loops of one shape, and what a forward pass leaves for the backward pass.
#[derive(Debug)]
pub struct Bare {
    shape: Shape,
    set: InstructionSet,
    threads: usize,
    /// For training, inference and the backward pass: the fastest, once it is known.
    forms: [Form; 3],
    mean: Vec<f64>,
    inverse: Vec<f64>,
    /// Sums and coefficients of rows, so that no call allocates.
    tables: Vec<f64>,
}

impl Bare {
    /// Loops for arrays of a shape, over so many threads: the caller's, and others of the current rayon pool.
    /// `None` where this machine lacks the instruction set.
    ///
    /// # Panics
    /// If the shape has no values, or `threads` is 0.
    pub fn new(shape: Shape, set: InstructionSet, threads: usize) -> Option<Bare> {
        assert!(shape.values() > 0 && threads > 0, "expected values and threads, got {shape:?} and {threads}");
        let tables = match shape.order {
            Order::Planes => Vec::new(),
            Order::Rows => vec![0.0; rows::table_len(shape.channels, threads)],
        };
        let first = forms(&shape, threads)[0];
        let of_channels = || vec![0.0; shape.channels];
        let (mean, inverse) = (of_channels(), of_channels());
        set.is_supported().then_some(Bare { shape, set, threads, forms: [first; 3], mean, inverse, tables })
    }

    /// Checks every form of every loop against plain scalar code, then picks the fastest of each.
    ///
    /// # Errors
    /// The wrong answer, if one is.
    ///
    /// # Panics
    /// As the calls.
    pub fn prepare(&mut self, buffers: &mut Buffers) -> Result<(), String> {
        for kind in [Kind::Train, Kind::Eval, Kind::Backward] {
            let answers = plain::answers(&self.shape, kind, buffers);
            let mut best = f64::INFINITY;
            for form in forms(&self.shape, self.threads) {
                let (out, of_channels): (&mut [f32], _) = match kind {
                    Kind::Backward => (buffers.dx, true),
                    _ => (buffers.y, false),
                };
                out.fill(f32::NAN);
                if of_channels {
                    buffers.dgamma.fill(f32::NAN);
                    buffers.dbeta.fill(f32::NAN);
                }
                self.run(kind, form, buffers);
                let right = plain::check(&self.shape, kind, &answers, buffers);
                right.map_err(|wrong| format!("bare loops, {form:?}: {wrong}"))?;
                let time = (0..4).map(|_| {
                    let start = Instant::now();
                    self.run(kind, form, buffers);
                    start.elapsed().as_secs_f64()
                });
                let time = time.fold(f64::INFINITY, f64::min);
                if time < best {
                    (best, self.forms[kind as usize]) = (time, form);
                }
            }
        }
        Ok(())
    }

    /// The forms picked for training, inference and the backward pass, in words.
    pub fn forms(&self) -> [String; 3] {
        self.forms.map(|form| format!("{form:?}"))
    }

    /// y from x by its own moments, which the backward pass finds in `self`.
    ///
    /// # Panics
    /// If the arrays are not of the shape.
    pub fn train(&mut self, buffers: &mut Buffers) {
        self.run(Kind::Train, self.forms[Kind::Train as usize], buffers);
    }

    /// y from x by the running statistics.
    ///
    /// # Panics
    /// If the arrays are not of the shape.
    pub fn eval(&mut self, buffers: &mut Buffers) {
        self.run(Kind::Eval, self.forms[Kind::Eval as usize], buffers);
    }

    /// dx, dgamma and dbeta from x and dy, by the moments of the last training call.
    ///
    /// # Panics
    /// If the arrays are not of the shape.
    pub fn backward(&mut self, buffers: &mut Buffers) {
        self.run(Kind::Backward, self.forms[Kind::Backward as usize], buffers);
    }

    fn run(&mut self, kind: Kind, form: Form, buffers: &mut Buffers) {
        let (values, channels) = (self.shape.values(), self.shape.channels);
        let out = if kind == Kind::Backward { &mut *buffers.dx } else { &mut *buffers.y };
        let planes = [buffers.x.len(), buffers.dy.len(), out.len()];
        assert!(planes.iter().all(|&len| len == values), "expected arrays of {values} values, got {planes:?}");
        let running = [buffers.running_mean, buffers.running_variance];
        let of_channels = [buffers.gamma.len(), buffers.beta.len(), running[0].len(), running[1].len()];
        let gradients = [buffers.dgamma.len(), buffers.dbeta.len()];
        let fits = of_channels.iter().chain(&gradients).all(|&len| len == channels);
        assert!(fits, "expected a value for each of {channels} channels, got {of_channels:?} and {gradients:?}");
        let arrays = Arrays { x: buffers.x.as_ptr(), dy: buffers.dy.as_ptr(), out: out.as_mut_ptr() };
        let finish = Finish {
            kind,
            count: self.shape.count() as f64,
            gamma: buffers.gamma,
            beta: buffers.beta,
            running,
            mean: self.mean.as_mut_ptr(),
            inverse: self.inverse.as_mut_ptr(),
            dgamma: buffers.dgamma.as_mut_ptr(),
            dbeta: buffers.dbeta.as_mut_ptr(),
        };
        // SAFETY: all arrays were found to be of the shape's lengths, `new` that the instruction set is there and made
        // the tables; nobody else has the outputs, which are borrowed mutably.
        unsafe {
            match self.shape.order {
                Order::Planes => planes::run(&self.shape, self.set, form, arrays, &finish),
                Order::Rows => rows::run(&self.shape, self.set, form, arrays, &finish, &mut self.tables),
            }
        }
    }
}

/// The arrays of one call, each thread in its own part of `out`.
#[derive(Clone, Copy)]
struct Arrays {
    x: *const f32,
    dy: *const f32,
    out: *mut f32,
}
// SAFETY: threads read x and dy, and write to disjoint parts of `out`: that is what `Form` splits.
unsafe impl Send for Arrays {}
// SAFETY: as above.
unsafe impl Sync for Arrays {}

/// What is tried: threads where they may pay, stores past the caches where the array may not stay in them.
fn forms(shape: &Shape, threads: usize) -> Vec<Form> {
    let values = shape.values();
    let splits = match shape.order {
        Order::Planes => {
            let channels = |bytes: usize| (bytes / (shape.plane * 4)).clamp(1, planes::MOST_CHANNELS);
            let mut all = vec![channels(4 << 10), channels(16 << 10), channels(64 << 10)];
            all.dedup();
            all.into_iter().map(Split::Channels).collect()
        }
        Order::Rows => {
            let mut all = vec![Split::Rows, Split::Columns(usize::MAX), Split::Columns(128)];
            // In large arrays rows are read whole: memory delivers them faster than pieces of them.
            all.truncate(if values < 1 << 22 { 3 } else { 1 });
            all
        }
    };
    // To wake a thread takes some microseconds, which `prepare` does not see: it calls again and again.
    let mut over: Vec<usize> = if values < 1 << 16 { vec![1] } else { vec![threads] };
    if (1 << 16..1 << 20).contains(&values) && threads > 1 {
        over.push(1);
    }
    let large: &[bool] = if values < 1 << 20 { &[false] } else { &[false, true] };
    let mut forms = Vec::new();
    for split in splits {
        for &threads in &over {
            for &streamed in large {
                forms.extend(large.iter().map(|&ahead| Form { threads, streamed, ahead, split }));
            }
        }
    }
    forms
}
