//! The cases: what is called, on which type, by which instruction set, on arrays of which layout.

use crate::data::{Array, Layout};
use batchnorm::reference::compact;
use batchnorm::{Config, Element, Normalizer, Parameters, RunningStatistics, Saved, Tier};
use half::bf16;
use std::fmt;
use std::hint::black_box;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Train,
    Eval,
    Backward,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    F32,
    F64,
    Bf16,
}

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    call: Call,
    kind: Kind,
    pub tier: Tier,
    pub layout: Layout,
}

/// Valgrind knows no AVX-512.
const TIERS: [Tier; 2] = [Tier::Avx2, Tier::Baseline];
const KINDS: [Kind; 3] = [Kind::F32, Kind::F64, Kind::Bf16];

/// A channel has some chunks of values, and neither they nor the tiles of a map end with a plane or a vector.
const FOR_ALL: [Layout; 3] = [
    Layout::nchw("nchw", 8, 64, 28 * 28),
    Layout::nhwc("nhwc", 8, 64, 28 * 28, 64),
    // The first channels of an array with more: neither runs nor dense rows, so that sums and maps both go by tiles.
    Layout::nhwc("cut", 8, 64, 28 * 28, 80),
];

/// Ways of their own, which do not depend on the type: only in f32.
const SHORT: [Layout; 2] = [
    // Planes shorter than what is worth prefetching, of an odd length.
    Layout::nchw("nchw-7x7", 32, 64, 7 * 7),
    // Hardly any values a channel: what a call and a channel cost beside the loops.
    Layout::nhwc("8x1024", 8, 1024, 1, 1024),
];

/// Outputs so large that they are written past the caches, which only instruction sets with such stores do.
const LARGE: [Layout; 2] =
    [Layout::nchw("nchw-large", 32, 64, 56 * 56), Layout::nhwc("nhwc-large", 32, 64, 56 * 56, 64)];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let call = match self.call {
            Call::Train => "train",
            Call::Eval => "eval",
            Call::Backward => "backward",
        };
        let kind = match self.kind {
            Kind::F32 => "f32",
            Kind::F64 => "f64",
            Kind::Bf16 => "bf16",
        };
        let tier = match self.tier {
            Tier::Baseline => "baseline",
            Tier::Avx2 => "avx2",
            Tier::Avx512 => "avx512",
        };
        write!(f, "{call}/{kind}/{tier}/{}", self.layout.name)
    }
}

impl Case {
    pub fn all() -> Vec<Case> {
        let mut all = Vec::new();
        let mut add = |kinds: &[Kind], tiers: &[Tier], layouts: &[Layout]| {
            for call in [Call::Train, Call::Eval, Call::Backward] {
                for &kind in kinds {
                    for &tier in tiers {
                        all.extend(layouts.iter().map(|&layout| Case { call, kind, tier, layout }));
                    }
                }
            }
        };
        add(&KINDS, &TIERS, &FOR_ALL);
        add(&[Kind::F32], &TIERS, &SHORT);
        add(&[Kind::F32], &[Tier::Avx2], &LARGE);
        all
    }

    /// Makes the call so many times.
    pub fn repeat(self, times: usize) {
        match self.kind {
            Kind::F32 => Ready::<f32>::new(self).repeat(times),
            Kind::F64 => Ready::<f64>::new(self).repeat(times),
            Kind::Bf16 => Ready::<bf16>::new(self).repeat(times),
        }
    }

    /// Ends the program where the call's answer is wrong: what is fast and wrong is not to be counted.
    pub fn check(self) {
        match self.kind {
            Kind::F32 => Ready::<f32>::new(self).check(2f64.powi(-24)),
            Kind::F64 => Ready::<f64>::new(self).check(2f64.powi(-53)),
            Kind::Bf16 => Ready::<bf16>::new(self).check(2f64.powi(-8)),
        }
    }
}

const EPSILON: f64 = 1e-5;
const MEAN: f64 = 0.75;
const VARIANCE: f64 = 2.5;
/// How far the twin may be off itself, for it sums plainly.
const TWIN: f64 = 1e-10;

/// A case with its arrays, the outputs among them: a call allocates none.
struct Ready<T> {
    case: Case,
    normalizer: Normalizer,
    x: Array<T>,
    dy: Array<T>,
    /// y, or dx.
    output: Array<T>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    running: RunningStatistics,
    /// For the backward pass.
    saved: Option<Saved>,
}

impl<T: Element> Ready<T> {
    fn new(case: Case) -> Self {
        let Case { call, tier, layout, .. } = case;
        let channels = layout.channels;
        let mut ready = Ready {
            case,
            normalizer: Config::pytorch().epsilon(EPSILON).tier(tier).normalizer().expect("a tier there is"),
            x: Array::new(layout, 1.5, 6.0, 1),
            dy: Array::new(layout, 0.0, 2.0, 2),
            // What is not written shows.
            output: Array::filled(layout, T::from_f64(f64::NAN)),
            gamma: (0..channels).map(|channel| 0.5 + channel as f32 / channels as f32).collect(),
            beta: (0..channels).map(|channel| channel as f32 / channels as f32 - 0.5).collect(),
            running: RunningStatistics::from_parts(&vec![MEAN; channels], &vec![VARIANCE; channels], 1)
                .expect("finite"),
            saved: None,
        };
        if call == Call::Backward {
            ready.saved = Some(ready.train());
            ready.output.elements_mut().fill(T::from_f64(f64::NAN));
        }
        ready
    }

    fn repeat(&mut self, times: usize) {
        for _ in 0..times {
            match self.case.call {
                Call::Train => drop(black_box(self.train())),
                Call::Eval => self.eval(),
                Call::Backward => drop(black_box(self.backward())),
            }
            black_box(self.output.elements());
        }
    }

    fn train(&mut self) -> Saved {
        let parameters = Parameters { gamma: Some(&self.gamma[..]), beta: Some(&self.beta[..]) };
        let trained = self.normalizer.train(&self.x.view(), parameters, None, &mut self.output.view_mut());
        trained.expect("shapes fit").0
    }

    fn eval(&mut self) {
        let parameters = Parameters { gamma: Some(&self.gamma[..]), beta: Some(&self.beta[..]) };
        let (x, mut y) = (self.x.view(), self.output.view_mut());
        self.normalizer.eval(&x, parameters, Some(&self.running), &mut y).expect("shapes fit");
    }

    /// dgamma and dbeta.
    fn backward(&mut self) -> (Vec<f64>, Vec<f64>) {
        let saved = self.saved.as_ref().expect("there was a forward pass");
        let gradients = saved.backward(&self.x.view(), &self.dy.view(), &mut self.output.view_mut());
        let gradients = gradients.expect("shapes fit");
        (gradients.dgamma, gradients.dbeta)
    }

    /// `rounding` is half a unit in the last place of the type, relative.
    fn check(&mut self, rounding: f64) {
        let sums = match self.case.call {
            Call::Train => {
                self.train();
                None
            }
            Call::Eval => {
                self.eval();
                None
            }
            Call::Backward => Some(self.backward()),
        };
        for channel in 0..self.case.layout.channels {
            let x = self.x.channel(channel);
            let (gamma, beta) = (f64::from(self.gamma[channel]), f64::from(self.beta[channel]));
            let right = match self.case.call {
                Call::Train => compact::forward(&x, gamma, beta, EPSILON).y,
                Call::Eval => compact::forward_eval(&x, gamma, beta, MEAN, VARIANCE, EPSILON),
                Call::Backward => {
                    let right = compact::backward(&x, gamma, EPSILON, &self.dy.channel(channel));
                    let (dgamma, dbeta) = sums.as_ref().expect("those of this call");
                    // The sums are of f64, which no type of the array rounds.
                    self.agree("dgamma", channel, &dgamma[channel..=channel], &[right.dgamma], 0.0);
                    self.agree("dbeta", channel, &dbeta[channel..=channel], &[right.dbeta], 0.0);
                    right.dx
                }
            };
            self.agree("the output", channel, &self.output.channel(channel), &right, rounding);
        }
    }

    /// Errors count relative to the greatest value.
    fn agree(&self, what: &str, channel: usize, found: &[f64], right: &[f64], rounding: f64) {
        let greatest = right.iter().fold(0.0f64, |greatest, value| greatest.max(value.abs()));
        let bound = rounding * 1.01 * greatest + TWIN * greatest.max(1.0);
        for (found, right) in found.iter().zip(right) {
            let error = (found - right).abs();
            assert!(error <= bound, "{}: {what} of channel {channel}: {found} for {right}", self.case);
        }
    }
}
