//! A batch in parts is the batch: forward, backward, and what is refused.

use crate::support::Random;
use batchnorm::{
    Activation, Axes, CallError, Config, Element, GradientBuffers, Input, Moments, NonFinite, Normalizer,
    ParameterGradients, Parameters, Policies, Saved, View, ViewMut,
};

const CHANNELS: usize = 3;
const PLANE: usize = 5;

struct Whole {
    samples: usize,
    x: Vec<f64>,
    dy: Vec<f64>,
    residual: Option<Vec<f64>>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
}

/// y, dx, the residual's gradient, dgamma and dbeta.
type Step = (Vec<f64>, Vec<f64>, Vec<f64>, ParameterGradients);

fn view(data: &[f64], samples: usize) -> View<'_, f64> {
    View::new(data, &[samples, CHANNELS, PLANE], Axes::NCHW).expect("an array of the shape")
}

fn view_mut(data: &mut [f64], samples: usize) -> ViewMut<'_, f64> {
    ViewMut::new(data, &[samples, CHANNELS, PLANE], Axes::NCHW).expect("an array of the shape")
}

fn rule(activation: Activation) -> Normalizer {
    Config::pytorch().activation(activation).normalizer().expect("a rule")
}

impl Whole {
    fn new(samples: usize, mean: f64, residual: bool, random: &mut Random) -> Whole {
        let len = samples * CHANNELS * PLANE;
        Whole {
            samples,
            x: random.normals(len, mean, 2.0),
            dy: random.normals(len, 0.3, 1.0),
            residual: residual.then(|| random.normals(len, 0.0, 1.0)),
            gamma: vec![1.5, -0.4, 0.9],
            beta: vec![0.2, 0.0, -0.7],
        }
    }

    fn parameters(&self) -> Parameters<'_, f64> {
        Parameters { gamma: Some(&self.gamma), beta: Some(&self.beta) }
    }

    fn at_once(&self, rule: &Normalizer) -> Step {
        let (x, dy) = (view(&self.x, self.samples), view(&self.dy, self.samples));
        let residual = self.residual.as_deref().map(|residual| view(residual, self.samples));
        let [mut y, mut dx, mut dresidual] = [(); 3].map(|()| vec![0.0; self.x.len()]);
        let mut out = view_mut(&mut y, self.samples);
        let input = residual.as_ref().map_or(Input::from(&x), |residual| Input::adding(&x, residual));
        let (saved, _) = rule.train(input, self.parameters(), None, &mut out).expect("a right call");
        let mut out = view_mut(&mut dx, self.samples);
        let gradients = if residual.is_some() {
            let mut second = view_mut(&mut dresidual, self.samples);
            saved
                .backward(
                    Input::with_output(&x, &view(&y, self.samples)),
                    &dy,
                    GradientBuffers::with_residual(&mut out, &mut second),
                )
                .expect("a right call")
        } else {
            saved.backward(&x, &dy, &mut out).expect("a right call")
        };
        (y, dx, dresidual, gradients)
    }

    /// In parts of so many samples.
    fn in_parts(&self, rule: &Normalizer, sizes: &[usize]) -> Step {
        assert_eq!(sizes.iter().sum::<usize>(), self.samples);
        let sample = CHANNELS * PLANE;
        let mut start = 0;
        let mut part = |&size: &usize| {
            start += size;
            ((start - size) * sample..start * sample, size)
        };
        let parts: Vec<_> = sizes.iter().map(&mut part).collect();
        let all: Vec<_> = parts.iter().map(|(at, size)| rule.moments(&view(&self.x[at.clone()], *size))).collect();
        let whole = all[1..].iter().fold(all[0].clone(), |one, other| one.merge(other).expect("as many channels"));
        let [mut y, mut dx, mut dresidual] = [(); 3].map(|()| vec![0.0; self.x.len()]);
        let mut saved: Vec<Saved> = Vec::new();
        let mut sums = ParameterGradients { dgamma: vec![0.0; CHANNELS], dbeta: vec![0.0; CHANNELS] };
        for (at, size) in &parts {
            let (x, dy) = (view(&self.x[at.clone()], *size), view(&self.dy[at.clone()], *size));
            let residual = self.residual.as_ref().map(|residual| view(&residual[at.clone()], *size));
            let input = residual.as_ref().map_or(Input::from(&x), |residual| Input::adding(&x, residual));
            let mut out = view_mut(&mut y[at.clone()], *size);
            let mut left = rule.train_part(input, self.parameters(), &whole, &mut out).expect("a right call");
            if residual.is_some() {
                let mut out = view_mut(&mut dresidual[at.clone()], *size);
                left.residual_gradient(&view(&y[at.clone()], *size), &dy, &mut out).expect("a right call");
                left = left.without_residual();
                let dz = view(&dresidual[at.clone()], *size);
                sums.add(&left.parameter_gradients(&x, &dz).expect("a right call")).expect("as many channels");
            } else {
                sums.add(&left.parameter_gradients(&x, &dy).expect("a right call")).expect("as many channels");
            }
            saved.push(left);
        }
        for ((at, size), saved) in parts.iter().zip(&saved) {
            let x = view(&self.x[at.clone()], *size);
            let upstream = if self.residual.is_some() { &dresidual } else { &self.dy };
            let mut out = view_mut(&mut dx[at.clone()], *size);
            saved.backward_part(&x, &view(&upstream[at.clone()], *size), &sums, &mut out).expect("a right call");
        }
        (y, dx, dresidual, sums)
    }
}

fn near(what: &str, got: &[f64], expected: &[f64], bound: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= bound * scale, "{what}: {got:e} for {expected:e}");
    }
}

/// keras 16633: accumulating gradients there does not accumulate batch norm.
#[test]
fn micro_batches_are_the_large_batch() {
    let mut random = Random::new(1300);
    for mean in [0.0, 1e3] {
        for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.2)] {
            for residual in [false, true] {
                let whole = Whole::new(24, mean, residual, &mut random);
                let rule = rule(activation);
                let expected = whole.at_once(&rule);
                for sizes in [&[24][..], &[12, 12], &[1, 0, 7, 16], &[1; 24], &[0, 24], &[23, 1]] {
                    let got = whole.in_parts(&rule, sizes);
                    let what = format!("{activation:?}, mean {mean}, {sizes:?}");
                    let bound = 1e-12 * (1.0 + mean / 100.0);
                    near(&what, &got.0, &expected.0, bound);
                    near(&what, &got.1, &expected.1, bound);
                    near(&what, &got.2, &expected.2, 0.0);
                    near(&what, &got.3.dgamma, &expected.3.dgamma, bound);
                    near(&what, &got.3.dbeta, &expected.3.dbeta, bound);
                }
                let one = whole.in_parts(&rule, &[24]);
                assert_eq!((one.0, one.1), (expected.0, expected.1), "one part has the bits of the batch");
            }
        }
    }
}

fn moments(rule: &Normalizer, data: &[f64], samples: usize) -> batchnorm::BatchMoments {
    rule.moments(&view(data, samples))
}

#[test]
fn what_does_not_belong_together_is_refused_and_writes_nothing() {
    let mut random = Random::new(1301);
    let whole = Whole::new(4, 0.0, false, &mut random);
    let rule = rule(Activation::Identity);
    let sample = CHANNELS * PLANE;
    let x = view(&whole.x[..2 * sample], 2);
    let mut y = vec![-7.0; 2 * sample];
    let refused = |moments: &batchnorm::BatchMoments, rule: &Normalizer, x: &View<f64>| {
        let mut own = vec![-7.0; x.count() * CHANNELS];
        let mut out = view_mut(&mut own, x.count() / PLANE);
        let error = rule.train_part(x, whole.parameters(), moments, &mut out).expect_err("it does not fit");
        assert!(own.iter().all(|&y| y == -7.0));
        error
    };
    // Of fewer values than the part, of channels of their own, of another number of channels.
    let less = moments(&rule, &whole.x[..sample], 1);
    assert_eq!(refused(&less, &rule, &x), CallError::OtherWhole { channel: 0, expected: 10, got: 5 });
    let mut uneven = moments(&rule, &whole.x, 4).channels().to_vec();
    uneven[2] = uneven[2].merge(Moments::of(&[1.0]));
    assert_eq!(refused(&uneven.into(), &rule, &x), CallError::OtherWhole { channel: 2, expected: 20, got: 21 });
    let two = batchnorm::BatchMoments::from(vec![Moments::of(&[1.0, 2.0]); 2]);
    assert_eq!(refused(&two, &rule, &x), CallError::Length { argument: "whole", expected: 3, got: 2 });
    assert!(moments(&rule, &whole.x, 4).merge(&two).is_err());
    // The policies are those of the whole.
    let none = vec![0.0; 0];
    let one = vec![Moments::of(&[1.0]); 3].into();
    assert!(matches!(refused(&one, &rule, &view(&none, 0)), CallError::SingleValue { .. }));
    let strict = Policies { non_finite: NonFinite::Error, ..Policies::default() };
    let strict = Config::pytorch().policies(strict).normalizer().expect("a rule");
    let mut bad = whole.x.clone();
    bad[3 * sample] = f64::NAN;
    let bad = moments(&rule, &bad, 4);
    assert_eq!(refused(&bad, &strict, &x), CallError::NonFinite { channels: vec![0] });

    // A part has no backward pass of its own: its own sums are not the batch's.
    let right = moments(&rule, &whole.x, 4);
    let mut out = view_mut(&mut y, 2);
    let saved = rule.train_part(&x, whole.parameters(), &right, &mut out).expect("a right call");
    let dy = view(&whole.dy[..2 * sample], 2);
    let mut dx = vec![-7.0; 2 * sample];
    let error = saved.backward(&x, &dy, &mut view_mut(&mut dx, 2)).expect_err("it needs the sums").to_string();
    assert!(error.contains("part of a batch") && error.contains("backward_part"), "{error}");
    let short = ParameterGradients { dgamma: vec![0.0; 3], dbeta: vec![0.0; 2] };
    let error = saved.backward_part(&x, &dy, &short, &mut view_mut(&mut dx, 2)).expect_err("two sums");
    assert_eq!(error, CallError::Length { argument: "whole", expected: 3, got: 2 });
    let four = view(&whole.x, 4);
    assert!(matches!(
        saved.parameter_gradients(&four, &four),
        Err(CallError::OtherBatch { expected: 10, got: 20, .. })
    ));
    assert!(dx.iter().all(|&dx| dx == -7.0));
}

/// The same over types: f32 parts are the f32 batch within a rounding.
#[test]
fn parts_of_narrow_types_are_within_a_rounding() {
    fn narrow<T: Element>(random: &mut Random, epsilon: f64) {
        let x: Vec<T> = random.normals(64 * 6, 5.0, 2.0).into_iter().map(T::from_f64).collect();
        let rule = rule(Activation::Relu);
        let at = |samples: usize| [samples, 6];
        let shape = at(64);
        let all = View::new(&x, &shape, Axes::NCHW).expect("an array of the shape");
        let none = Parameters::<f32>::default();
        let mut expected = vec![T::default(); x.len()];
        let mut out = ViewMut::new(&mut expected, &shape, Axes::NCHW).expect("an array of the shape");
        rule.train(&all, none, None, &mut out).expect("a right call");
        let whole = rule.moments(&all);
        for (place, x) in x.chunks(6 * 10).enumerate() {
            let shape = at(x.len() / 6);
            let mut y = vec![T::default(); x.len()];
            let part = View::new(x, &shape, Axes::NCHW).expect("an array of the shape");
            let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("an array of the shape");
            rule.train_part(&part, none, &whole, &mut out).expect("a right call");
            for (y, expected) in y.iter().zip(&expected[place * 60..]) {
                let (y, expected) = (y.to_f64(), expected.to_f64());
                assert!((y - expected).abs() <= epsilon * expected.abs(), "{y} {expected}");
            }
        }
    }
    let mut random = Random::new(1302);
    narrow::<f32>(&mut random, f64::from(f32::EPSILON));
    #[cfg(feature = "half")]
    narrow::<half::bf16>(&mut random, 1.0 / 128.0);
}
