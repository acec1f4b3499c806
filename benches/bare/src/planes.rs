//! NCHW: some channels are summed and then mapped, while the caches still have them.

use std::ops::Range;

use crate::finish::{Finish, Kind};
use crate::vector::{self, InstructionSet, Loops, Vector, WIDTH};
use crate::{Arrays, Form, Shape, Split, threads};

/// Channels that are taken at once at most.
pub const MOST_CHANNELS: usize = 64;

/// A call.
///
/// # Safety
/// The arrays are of the shape, nobody else uses the output, and the machine has the instruction set.
pub unsafe fn run(shape: &Shape, set: InstructionSet, form: Form, arrays: Arrays, finish: &Finish) {
    threads::each(form.threads, |thread| {
        let channels = threads::part(shape.channels, 1, thread, form.threads);
        // SAFETY: the caller's promise; each thread has channels of its own.
        unsafe { vector::run(set, Part { shape, form, arrays, finish, channels }) }
    });
}

/// What a thread has.
struct Part<'a, 'b> {
    shape: &'a Shape,
    form: Form,
    arrays: Arrays,
    finish: &'a Finish<'b>,
    channels: Range<usize>,
}

impl Loops for Part<'_, '_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match (self.finish.kind == Kind::Backward, self.form.streamed) {
                (false, false) => self.blocks::<V, false, false>(),
                (false, true) => self.blocks::<V, false, true>(),
                (true, false) => self.blocks::<V, true, false>(),
                (true, true) => self.blocks::<V, true, true>(),
            }
        }
    }
}

impl Part<'_, '_> {
    #[inline(always)]
    unsafe fn blocks<V: Vector, const BACK: bool, const STREAM: bool>(&self) {
        let Split::Channels(at_once) = self.form.split else { unreachable!("planes are split by channels") };
        let &Shape { samples, channels, plane, .. } = self.shape;
        // SAFETY: the caller's promise; places are below samples * channels * plane.
        unsafe {
            let mut start = self.channels.start;
            while start < self.channels.end {
                let len = at_once.min(self.channels.end - start);
                let mut sums = [[V::splat(0.0); 4]; MOST_CHANNELS];
                if self.finish.kind != Kind::Eval {
                    for sample in 0..samples {
                        for (channel, sums) in sums[..len].iter_mut().enumerate() {
                            let place = (sample * channels + start + channel) * plane;
                            let x = self.arrays.x.add(place);
                            sum_run::<V, BACK>(x, self.arrays.dy.add(place), plane, sums);
                        }
                    }
                }
                let mut all = [[0.0; 4]; MOST_CHANNELS];
                for (channel, (coefficients, sums)) in all.iter_mut().zip(&sums).enumerate().take(len) {
                    let totals = [sums[0].add(sums[2]).total(), sums[1].add(sums[3]).total()];
                    *coefficients = self.finish.coefficients(start + channel, totals);
                }
                for sample in 0..samples {
                    for (channel, coefficients) in all[..len].iter().enumerate() {
                        let place = (sample * channels + start + channel) * plane;
                        let (x, dy) = (self.arrays.x.add(place), self.arrays.dy.add(place));
                        let ahead = if self.form.ahead && start + len < self.channels.end { len * plane } else { 0 };
                        map_run::<V, BACK, STREAM>(x, dy, self.arrays.out.add(place), plane, ahead, coefficients);
                    }
                }
                start += len;
            }
            if STREAM {
                crate::sweeps::fence();
            }
        }
    }
}

/// Adds a run to the sums: of x and x * x, or of dy and dy * x; two chains of each.
#[inline(always)]
unsafe fn sum_run<V: Vector, const BACK: bool>(x: *const f32, dy: *const f32, len: usize, sums: &mut [V; 4]) {
    let [mut first, mut second, mut other_first, mut other_second] = *sums;
    // SAFETY: the caller's promise: `len` values.
    unsafe {
        let mut at = 0;
        while at + 2 * WIDTH <= len {
            let (x0, x1) = (V::load(x.add(at)), V::load(x.add(at + WIDTH)));
            let (a0, a1) = if BACK { (V::load(dy.add(at)), V::load(dy.add(at + WIDTH))) } else { (x0, x1) };
            (first, second) = (first.add(a0), a0.mul_add(x0, second));
            (other_first, other_second) = (other_first.add(a1), a1.mul_add(x1, other_second));
            at += 2 * WIDTH;
        }
        while at < len {
            let here = WIDTH.min(len - at);
            let x0 = V::load_first(x.add(at), here);
            let a0 = if BACK { V::load_first(dy.add(at), here) } else { x0 };
            (first, second) = (first.add(a0), a0.mul_add(x0, second));
            at += here;
        }
    }
    *sums = [first, second, other_first, other_second];
}

/// Maps a run. With `ahead` it asks for the values so far ahead, which are to be summed next: while it writes, memory would have
/// nothing to read.
#[inline(always)]
unsafe fn map_run<V: Vector, const BACK: bool, const STREAM: bool>(
    x: *const f32,
    dy: *const f32,
    out: *mut f32,
    len: usize,
    ahead: usize,
    coefficients: &[f64; 4],
) {
    // SAFETY: the caller's promise: `len` values.
    unsafe {
        let [mean, k1, k2, k3] = coefficients;
        let (mean, k1, k2, k3) = (V::splat(*mean), V::splat(*k1), V::splat(*k2), V::splat(*k3));
        let mut at = 0;
        if STREAM {
            // To where a vector of f32 may be streamed.
            let head = ((out as usize).wrapping_neg() % 32 / 4).min(len);
            if head > 0 {
                let (vx, vdy) = (V::load_first(x, head), if BACK { V::load_first(dy, head) } else { k3 });
                one::<V, BACK>(vx, vdy, mean, k1, k2, k3).store_first(out, head);
                at = head;
            }
        }
        while at + WIDTH <= len {
            if ahead > 0 && (x.add(at) as usize) % 64 < 32 {
                vector::prefetch(x.wrapping_add(at + ahead));
                if BACK {
                    vector::prefetch(dy.wrapping_add(at + ahead));
                }
            }
            let (vx, vdy) = (V::load(x.add(at)), if BACK { V::load(dy.add(at)) } else { k3 });
            let y = one::<V, BACK>(vx, vdy, mean, k1, k2, k3);
            if STREAM {
                y.stream(out.add(at))
            } else {
                y.store(out.add(at))
            }
            at += WIDTH;
        }
        if at < len {
            let rest = len - at;
            let (vx, vdy) = (V::load_first(x.add(at), rest), if BACK { V::load_first(dy.add(at), rest) } else { k3 });
            one::<V, BACK>(vx, vdy, mean, k1, k2, k3).store_first(out.add(at), rest);
        }
    }
}

/// fma(x - mean, k1, k2), or fma(dy, k3, fma(x - mean, k1, k2)).
#[inline(always)]
pub unsafe fn one<V: Vector, const BACK: bool>(x: V, dy: V, mean: V, k1: V, k2: V, k3: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let y = x.sub(mean).mul_add(k1, k2);
        if BACK { dy.mul_add(k3, y) } else { y }
    }
}
