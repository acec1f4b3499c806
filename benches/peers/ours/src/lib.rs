//! `batchnorm` behind a C interface, so that it runs in the process of its peers, and the copies it is measured
//! against. One case: buffers of one shape, made beforehand by the caller.

use std::ffi::c_int;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use batchnorm::{
    Activation, Axes, Config, GradientBuffers, Input, Normalizer, ParameterGradients, Parameters, RunningStatistics,
    Saved, View, ViewMut,
};
use rayon::prelude::*;

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
        let (x, dy, residual, gamma, beta) = unsafe {
            (
                from_raw_parts(b.x, len),
                from_raw_parts(b.dy, len),
                from_raw_parts(b.residual, len),
                from_raw_parts(b.gamma, channels),
                from_raw_parts(b.beta, channels),
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
        match what {
            COPY => return Ok(plain_copy(x, y)),
            STREAM => return Ok(streaming_copy(x, y)),
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

/// Elements a task copies; a multiple of every vector.
const BLOCK: usize = 1 << 16;

/// Blocks over the pool; a small tensor by the caller's thread, whom waking others would only hold up.
fn by_blocks(x: &[f32], y: &mut [f32], copy: fn(&[f32], &mut [f32])) {
    if x.len() <= BLOCK {
        return copy(x, y);
    }
    y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(y, x)| copy(x, y));
}

fn plain_copy(x: &[f32], y: &mut [f32]) {
    by_blocks(x, y, |x, y| y.copy_from_slice(x));
}

fn streaming_copy(x: &[f32], y: &mut [f32]) {
    by_blocks(x, y, stream);
}

#[cfg(target_arch = "x86_64")]
fn stream(x: &[f32], y: &mut [f32]) {
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has it.
        unsafe { stream_512(x, y) }
    } else if is_x86_feature_detected!("avx") {
        // SAFETY: the processor has it.
        unsafe { stream_256(x, y) }
    } else {
        y.copy_from_slice(x);
    }
}

/// Elsewhere there is no such store: the floor is the plain copy.
#[cfg(not(target_arch = "x86_64"))]
fn stream(x: &[f32], y: &mut [f32]) {
    y.copy_from_slice(x);
}

#[cfg(target_arch = "x86_64")]
macro_rules! stream {
    ($name:ident, $feature:literal, $vector:ty, $width:literal, $load:ident, $store:ident) => {
        #[target_feature(enable = $feature)]
        fn $name(x: &[f32], y: &mut [f32]) {
            use std::arch::x86_64::*;
            assert_eq!(x.len(), y.len());
            // SAFETY: any bits are a vector of floats.
            let (head, body, _) = unsafe { y.align_to_mut::<$vector>() };
            let (start, vectors) = (head.len(), body.len());
            head.copy_from_slice(&x[..start]);
            for (to, from) in body.iter_mut().zip(x[start..].chunks_exact($width)) {
                // SAFETY: as many floats as a vector holds; `to` is aligned.
                unsafe { $store((to as *mut $vector).cast(), $load(from.as_ptr())) }
            }
            let rest = start + vectors * $width;
            y[rest..].copy_from_slice(&x[rest..]);
            _mm_sfence();
        }
    };
}
#[cfg(target_arch = "x86_64")]
stream!(stream_512, "avx512f", __m512, 16, _mm512_loadu_ps, _mm512_stream_ps);
#[cfg(target_arch = "x86_64")]
stream!(stream_256, "avx", __m256, 8, _mm256_loadu_ps, _mm256_stream_ps);

/// Builds the pool of all calls. 0, or -1 if there is one already.
#[unsafe(no_mangle)]
pub extern "C" fn ours_start(threads: usize) -> c_int {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_or(-1, |()| 0)
}

/// A case of `samples` x `channels` x `plane` values; null if it cannot be.
///
/// # Safety
/// `buffers` point to arrays of these lengths that live as long as the case.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ours_case(
    samples: usize,
    channels: usize,
    plane: usize,
    nhwc: c_int,
    buffers: *const Buffers,
) -> *mut Case {
    // SAFETY: the caller's promise.
    let (buffers, mean, variance) = unsafe {
        let buffers = *buffers;
        (buffers, from_raw_parts(buffers.running_mean, channels), from_raw_parts(buffers.running_variance, channels))
    };
    let (shape, axes) = match nhwc {
        0 => (vec![samples, channels, plane], Axes::NCHW),
        _ => (vec![samples, plane, channels], Axes::NHWC),
    };
    let normalizer = |activation| Config::pytorch().activation(activation).normalizer();
    let (Ok(running), Ok(plain), Ok(relu)) = (
        RunningStatistics::from_parts(mean, variance, 1),
        normalizer(Activation::Identity),
        normalizer(Activation::Relu),
    ) else {
        return std::ptr::null_mut();
    };
    Box::into_raw(Box::new(Case { shape, axes, channels, buffers, running, plain, relu, saved: [const { None }; 3] }))
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
