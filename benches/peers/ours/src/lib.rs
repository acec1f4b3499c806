//! `batchnorm` behind a C interface, so that it runs in the process of its peers, and what it is measured against: sweeps
//! over memory and bare loops. One case: buffers of one shape, made beforehand by the caller.

use std::ffi::{CString, c_char, c_int};
use std::slice::{from_raw_parts, from_raw_parts_mut};

use batchnorm::{
    Activation, Axes, Config, GradientBuffers, Input, Normalizer, ParameterGradients, Parameters, RunningStatistics,
    Saved, Tier, View, ViewMut,
};
use batchnorm_bare_loops::{self as bare, Bare, InstructionSet, Order, Shape, sweeps};

/// The caller's buffers: `f32`, dense, in the case's layout; the last six have one value a channel.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffers {
    x: *const f32,
    dy: *const f32,
    residual: *const f32,
    y: *mut f32,
    dx: *mut f32,
    dresidual: *mut f32,
    gamma: *const f32,
    beta: *const f32,
    running_mean: *const f32,
    running_variance: *const f32,
    dgamma: *mut f32,
    dbeta: *mut f32,
}

/// What is timed. The numbers are those of `measure.py`.
const TRAIN: c_int = 0;
const EVAL: c_int = 1;
const BACKWARD: c_int = 2;
const TRAIN_RELU: c_int = 3;
const BACKWARD_RELU: c_int = 4;
const TRAIN_ADD_RELU: c_int = 5;
const BACKWARD_ADD_RELU: c_int = 6;
const COPY: c_int = 7;
const STREAM: c_int = 8;
const READ: c_int = 9;
const BARE_TRAIN: c_int = 10;
const BARE_EVAL: c_int = 11;
const BARE_BACKWARD: c_int = 12;
const BARE_PREPARE: c_int = 13;

/// One shape and layout, ready to run.
pub struct Case {
    shape: Vec<usize>,
    axes: Axes<'static>,
    channels: usize,
    buffers: Buffers,
    running: RunningStatistics,
    plain: Normalizer,
    relu: Normalizer,
    /// What the last forward pass of each kind left: plain, relu, adding.
    saved: [Option<Saved>; 3],
    /// None on processors it is not written for.
    bare: Option<Bare>,
}

impl Case {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// # Safety
    /// The buffers are as long as the shape says and nobody else uses them now.
    unsafe fn run(&mut self, what: c_int) -> Result<(), Box<dyn std::error::Error>> {
        let (len, channels, b) = (self.len(), self.channels, self.buffers);
        // SAFETY: the caller's promise; the written ones are distinct buffers.
        let (x, dy, residual, gamma, beta, running_mean, running_variance) = unsafe {
            (
                from_raw_parts(b.x, len),
                from_raw_parts(b.dy, len),
                from_raw_parts(b.residual, len),
                from_raw_parts(b.gamma, channels),
                from_raw_parts(b.beta, channels),
                from_raw_parts(b.running_mean, channels),
                from_raw_parts(b.running_variance, channels),
            )
        };
        // SAFETY: as above.
        let (y, dx, dresidual, dgamma, dbeta) = unsafe {
            (
                from_raw_parts_mut(b.y, len),
                from_raw_parts_mut(b.dx, len),
                from_raw_parts_mut(b.dresidual, len),
                from_raw_parts_mut(b.dgamma, channels),
                from_raw_parts_mut(b.dbeta, channels),
            )
        };
        let threads = rayon::current_num_threads();
        match what {
            COPY | STREAM | READ => {
                match what {
                    COPY => sweeps::copy(x, y, threads),
                    STREAM => sweeps::stream(x, y, threads),
                    _ => sweeps::read(x, threads),
                }
                return Ok(());
            }
            BARE_TRAIN | BARE_EVAL | BARE_BACKWARD | BARE_PREPARE => {
                let bare = self.bare.as_mut().ok_or("no bare loops for this processor")?;
                let buffers =
                    &mut bare::Buffers { x, dy, gamma, beta, running_mean, running_variance, y, dx, dgamma, dbeta };
                match what {
                    BARE_TRAIN => bare.train(buffers),
                    BARE_EVAL => bare.eval(buffers),
                    BARE_BACKWARD => bare.backward(buffers),
                    _ => bare.prepare(buffers)?,
                }
                return Ok(());
            }
            _ => {}
        }
        let view = |data| View::new(data, &self.shape, self.axes);
        let parameters = Parameters { gamma: Some(gamma), beta: Some(beta) };
        let vx = view(x)?;
        let mut out = |gradients: ParameterGradients| {
            for channel in 0..channels {
                dgamma[channel] = gradients.dgamma[channel] as f32;
                dbeta[channel] = gradients.dbeta[channel] as f32;
            }
        };
        match what {
            TRAIN | TRAIN_RELU | TRAIN_ADD_RELU => {
                let mut vy = ViewMut::new(y, &self.shape, self.axes)?;
                let residual = view(residual)?;
                let (normalizer, input, place) = match what {
                    TRAIN => (&self.plain, Input::from(&vx), 0),
                    TRAIN_RELU => (&self.relu, Input::from(&vx), 1),
                    _ => (&self.relu, Input::adding(&vx, &residual), 2),
                };
                self.saved[place] = Some(normalizer.train(input, parameters, None, &mut vy)?.0);
            }
            EVAL => {
                let mut vy = ViewMut::new(y, &self.shape, self.axes)?;
                self.plain.eval(&vx, parameters, Some(&self.running), &mut vy)?;
            }
            BACKWARD | BACKWARD_RELU => {
                let saved = self.saved[usize::from(what == BACKWARD_RELU)].as_ref().ok_or("no forward pass yet")?;
                out(saved.backward(&vx, &view(dy)?, &mut ViewMut::new(dx, &self.shape, self.axes)?)?);
            }
            BACKWARD_ADD_RELU => {
                let saved = self.saved[2].as_ref().ok_or("no forward pass yet")?;
                let mut dx = ViewMut::new(dx, &self.shape, self.axes)?;
                let mut dresidual = ViewMut::new(dresidual, &self.shape, self.axes)?;
                let buffers = GradientBuffers::with_residual(&mut dx, &mut dresidual);
                out(saved.backward(Input::with_output(&vx, &view(y)?), &view(dy)?, buffers)?);
            }
            _ => return Err("no such call".into()),
        }
        Ok(())
    }
}

/// Builds the pool of all calls, the caller one of its threads, as in the peers' pools, or (`outside`) as rayon builds it where
/// nobody asks for more. 0, or -1 if there is one already.
#[unsafe(no_mangle)]
pub extern "C" fn ours_start(threads: usize, outside: c_int) -> c_int {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let builder = if outside == 0 { builder.use_current_thread() } else { builder };
    builder.build_global().map_or(-1, |()| 0)
}

/// Whether `threads` threads have cores of their own, in words that live for ever. `found` gets one thread's time for a
/// piece of arithmetic, then the time of all at once, in milliseconds.
///
/// # Safety
/// `found` has room for two.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ours_contention(threads: usize, found: *mut f64) -> *const c_char {
    let contention = bare::second_thread(threads);
    // SAFETY: the caller's promise.
    unsafe { found.cast::<[f64; 2]>().write([contention.alone, contention.together]) }
    CString::new(contention.verdict()).unwrap_or_default().into_raw()
}

/// 1 where the best instruction set here is wider than AVX2, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn ours_beyond_avx2() -> c_int {
    c_int::from(Tier::best() > Tier::Avx2)
}

/// A case of `samples` x `channels` x `plane` values, with the best instruction set or with AVX2; null if it cannot be.
///
/// # Safety
/// `buffers` point to arrays of these lengths that live as long as the case.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ours_case(
    samples: usize,
    channels: usize,
    plane: usize,
    nhwc: c_int,
    avx2: c_int,
    buffers: *const Buffers,
) -> *mut Case {
    // SAFETY: the caller's promise.
    let (buffers, mean, variance) = unsafe {
        let buffers = *buffers;
        (buffers, from_raw_parts(buffers.running_mean, channels), from_raw_parts(buffers.running_variance, channels))
    };
    let (shape, axes, order) = match nhwc {
        0 => (vec![samples, channels, plane], Axes::NCHW, Order::Planes),
        _ => (vec![samples, plane, channels], Axes::NHWC, Order::Rows),
    };
    // (N, C) is rows, whatever it is called.
    let order = if plane == 1 { Order::Rows } else { order };
    let tier = if avx2 == 0 { Tier::best() } else { Tier::Avx2 };
    let normalizer = |activation| Config::pytorch().activation(activation).tier(tier).normalizer();
    let set = if tier == Tier::Avx512 { InstructionSet::Avx512 } else { InstructionSet::Avx2 };
    let bare = Bare::new(Shape { samples, channels, plane, order }, set, rayon::current_num_threads());
    let (Ok(running), Ok(plain), Ok(relu)) = (
        RunningStatistics::from_parts(mean, variance, 1),
        normalizer(Activation::Identity),
        normalizer(Activation::Relu),
    ) else {
        return std::ptr::null_mut();
    };
    let saved = [const { None }; 3];
    Box::into_raw(Box::new(Case { shape, axes, channels, buffers, running, plain, relu, saved, bare }))
}

/// One call. 0, or -1 with the reason on stderr.
///
/// # Safety
/// `case` is from [`ours_case`], its buffers are alive, and no other call is running.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ours_run(case: *mut Case, what: c_int) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { (*case).run(what) } {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("batchnorm: {error}");
            -1
        }
    }
}

/// The end of a case.
///
/// # Safety
/// `case` is from [`ours_case`] and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ours_end(case: *mut Case) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(case) });
}
