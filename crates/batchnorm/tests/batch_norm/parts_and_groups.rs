//! Parts of a batch by switches, and ghost batches with weights and residual: each is what the same pass by itself is.

use super::passes::{passes, share};
use crate::support::Random;
use batchnorm::{
    Activation, Axes, BatchNorm, CallError, Config, Element, EmptyBatch, GradientBuffers, Input, Normalizer,
    ParameterGradients, Parameters, Policies, Renormalization, RunningStatistics, SingleValue, Switches, View, ViewMut,
    Weights,
};
use std::num::NonZeroUsize;
use std::ops::Range;

const CHANNELS: usize = 3;
const PLANE: usize = 5;
const SAMPLE: usize = CHANNELS * PLANE;
const SAMPLES: usize = 7;

fn view<T: Element>(data: &[T]) -> View<'_, T> {
    View::new(data, &[data.len() / SAMPLE, CHANNELS, PLANE], Axes::NCHW).expect("an array of the shape")
}

fn view_mut<T: Element>(data: &mut [T]) -> ViewMut<'_, T> {
    let shape = [data.len() / SAMPLE, CHANNELS, PLANE];
    ViewMut::new(data, &shape, Axes::NCHW).expect("an array of the shape")
}

fn at(samples: &Range<usize>) -> Range<usize> {
    samples.start * SAMPLE..samples.end * SAMPLE
}

/// What stands beside x.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Residual,
    /// A weight for each sample, or for each value.
    Weights(bool),
}

const ALL_BESIDE: [Beside; 4] = [Beside::Nothing, Beside::Residual, Beside::Weights(false), Beside::Weights(true)];

/// The arrays of a call.
struct Case {
    x: Vec<f64>,
    dy: Vec<f64>,
    residual: Vec<f64>,
    weights: Vec<f64>,
    weights_shape: [usize; 3],
    beside: Beside,
}

/// y, dx, the residual's gradient where there is one, and the parameters'.
type Step = (Vec<f64>, Vec<f64>, Vec<f64>, ParameterGradients);

impl Case {
    fn new(beside: Beside, random: &mut Random) -> Case {
        let len = SAMPLES * SAMPLE;
        let shape = if beside == Beside::Weights(true) { [SAMPLES, CHANNELS, PLANE] } else { [SAMPLES, 1, 1] };
        let count = shape.iter().product();
        Case {
            x: random.normals(len, 1.0, 2.0),
            dy: random.normals(len, 0.2, 1.0),
            residual: random.normals(len, 0.0, 1.0),
            weights: (0..count).map(|at| [1.0, 0.5, 2.0, 0.0][(at + at / 5) % 4]).collect(),
            weights_shape: shape,
            beside,
        }
    }

    /// Some of the samples, as a case of its own.
    fn of(&self, samples: &Range<usize>) -> Case {
        let own = |data: &[f64]| data[at(samples)].to_vec();
        let each = self.weights.len() / SAMPLES;
        let [_, channels, plane] = self.weights_shape;
        Case {
            x: own(&self.x),
            dy: own(&self.dy),
            residual: own(&self.residual),
            weights: self.weights[samples.start * each..samples.end * each].to_vec(),
            weights_shape: [samples.len(), channels, plane],
            beside: self.beside,
        }
    }

    /// Forward by `forward`, backward by `backward`.
    fn step<S, B>(
        &self,
        forward: impl FnOnce(Input<f64>, &mut ViewMut<f64>) -> Result<(S, B), CallError>,
        backward: impl FnOnce(&S, Input<f64>, &View<f64>, GradientBuffers<f64>) -> Result<ParameterGradients, CallError>,
    ) -> (Step, B) {
        let (x, dy, residual) = (view(&self.x), view(&self.dy), view(&self.residual));
        let weights = Weights::new(&self.weights, &self.weights_shape).expect("right weights");
        let [mut y, mut dx, mut dresidual] = [(); 3].map(|()| vec![f64::NAN; self.x.len()]);
        let input = match self.beside {
            Beside::Nothing => Input::from(&x),
            Beside::Residual => Input::adding(&x, &residual),
            Beside::Weights(_) => Input::weighted(&x, &weights),
        };
        let (saved, batch) = forward(input, &mut view_mut(&mut y)).expect("a right call");
        let (mut out, mut second) = (view_mut(&mut dx), view_mut(&mut dresidual));
        let of = match self.beside {
            Beside::Residual => {
                let buffers = GradientBuffers::with_residual(&mut out, &mut second);
                backward(&saved, Input::with_output(&x, &view(&y)), &dy, buffers)
            }
            _ => backward(&saved, input, &dy, (&mut out).into()),
        };
        let of = of.expect("a right call");
        let dresidual = if self.beside == Beside::Residual { dresidual } else { Vec::new() };
        ((y, dx, dresidual, of), batch)
    }
}

fn parameters() -> Parameters<'static, f64> {
    Parameters { gamma: Some(&[0.5, -1.5, 2.0]), beta: Some(&[0.25, 0.0, -1.0]) }
}

fn running() -> RunningStatistics {
    RunningStatistics::from_parts(&[1.5, -0.5, 1.0], &[3.0, 0.5, 8.0], 7).expect("right statistics")
}

fn close(one: &[f64], other: &[f64]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| (one - other).abs() <= 1e-12 * (1.0 + other.abs()))
}

fn rules() -> [Normalizer; 3] {
    let config = Config::pytorch().activation(Activation::LeakyRelu(0.25));
    let renormalized = config.clone().renormalization(Renormalization::new(1.5, 0.2).expect("limits"));
    let policies = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
    [config.clone(), renormalized, config.policies(policies)].map(|config| config.normalizer().expect("a rule"))
}

#[test]
fn parts_by_any_switches_are_the_whole_batch() {
    let mut random = Random::new(3400);
    let running = running();
    let parts = [0..3, 3..4, 4..4, 4..SAMPLES];
    for beside in ALL_BESIDE {
        let case = Case::new(beside, &mut random);
        for rule in rules() {
            for switches in passes() {
                for update_running in [true, false] {
                    let switches = Switches { update_running, train_parameters: update_running, ..switches };
                    let ((y, dx, dresidual, of), batch) = case.step(
                        |input, y| rule.forward(input, parameters(), switches, Some(&running), y),
                        |saved, input, dy, buffers| saved.backward(input, dy, buffers),
                    );
                    let of_part = |case: &Case| {
                        let x = view(&case.x);
                        let weights = Weights::new(&case.weights, &case.weights_shape).expect("right weights");
                        let weighted = matches!(beside, Beside::Weights(_));
                        rule.moments_of(if weighted { Input::weighted(&x, &weights) } else { Input::from(&x) })
                    };
                    let cases = parts.clone().map(|samples| case.of(&samples));
                    let all = cases.each_ref().map(|case| of_part(case).expect("a right call"));
                    let whole = all[1..].iter().fold(all[0].clone(), |one, other| one.merge(other).expect("three"));
                    // Once for the sums, and once for dx by those of all.
                    let mut sums = ParameterGradients { dgamma: vec![0.0; 3], dbeta: vec![0.0; 3] };
                    for case in &cases {
                        let forward = |input: Input<f64>, y: &mut ViewMut<f64>| {
                            rule.forward_part(input, parameters(), switches, &whole, Some(&running), y)
                        };
                        let ((.., own), _) =
                            case.step(forward, |saved, input, dy, _| saved.parameter_gradients(input, dy));
                        sums.add(&own).expect("three");
                    }
                    assert!(
                        close(&sums.dgamma, &of.dgamma) && close(&sums.dbeta, &of.dbeta),
                        "{beside:?} {switches:?}"
                    );
                    for (case, samples) in cases.iter().zip(&parts) {
                        let forward = |input: Input<f64>, y: &mut ViewMut<f64>| {
                            rule.forward_part(input, parameters(), switches, &whole, Some(&running), y)
                        };
                        let ((part, part_dx, part_dresidual, _), got) =
                            case.step(forward, |saved, input, dy, buffers| {
                                assert_eq!(saved.trains_parameters(), update_running);
                                assert_eq!(
                                    saved.used_batch_statistics(),
                                    share(switches) > 0.0 && switches.gradient_through_statistics
                                );
                                saved.backward_part(input, dy, &sums, buffers).map(|()| sums.clone())
                            });
                        assert!(close(&part, &y[at(samples)]) && close(&part_dx, &dx[at(samples)]), "{switches:?}");
                        if beside == Beside::Residual {
                            assert!(close(&part_dresidual, &dresidual[at(samples)]));
                        }
                        for (got, expected) in got.channels().iter().zip(batch.channels()) {
                            assert_eq!((got.count(), got.weight()), (expected.count(), expected.weight()));
                            assert!((got.mean() - expected.mean()).abs() < 1e-14);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_running_statistics_decide_of_a_whole_batch_they_decide_of_its_parts() {
    let policies = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
    let rule = Config::pytorch().policies(policies).normalizer().expect("a rule");
    let (data, running) = ([5.0], RunningStatistics::from_parts(&[1.0], &[4.0], 3).expect("right statistics"));
    let x = View::new(&data, &[1, 1], Axes::NCHW).expect("one value");
    let whole = rule.moments(&x);
    let mut y = [7.0];
    let mut out = ViewMut::new(&mut y, &[1, 1], Axes::NCHW).expect("one value");
    let none = Parameters::<f64>::default();
    let error = rule.train_part(&x, none, &whole, &mut out).expect_err("no running statistics");
    assert!(matches!(error, CallError::SingleValue { .. }), "{error}");
    let mix = passes().into_iter().find(|&switches| (0.05..0.5).contains(&share(switches))).expect("a mix");
    let error = rule.forward_part(&x, none, mix, &whole, None, &mut out).expect_err("nothing to mix with");
    assert!(error.to_string().contains("half of `NormalizeBy::Mix`"), "{error}");
    let error = rule.forward_part(&x, none, Switches::evaluate(), &whole, None, &mut out).expect_err("nothing");
    assert!(matches!(error, CallError::NoRunningStatistics { .. }), "{error}");
    assert_eq!(y, [7.0]);
    let mut out = ViewMut::new(&mut y, &[1, 1], Axes::NCHW).expect("one value");
    let by_running = rule.forward_part(&x, none, Switches::train(), &whole, Some(&running), &mut out);
    let (saved, batch) = by_running.expect("by the running statistics");
    assert!(!saved.used_batch_statistics() && batch == whole);
    assert!((y[0] - 4.0 / (4.0f64 + 1e-5).sqrt()).abs() < 1e-15);
    // Of a batch that is empty there is nothing to mix in.
    let nothing = View::<f64>::new(&[], &[0, 1], Axes::NCHW).expect("no value");
    let mut out = ViewMut::new(&mut [], &[0, 1], Axes::NCHW).expect("no value");
    rule.forward_part(&nothing, none, mix, &rule.moments(&nothing), Some(&running), &mut out).expect("it passes");
    let refusing = Policies { empty_batch: EmptyBatch::Error, ..Policies::default() };
    let rule = Config::pytorch().policies(refusing).normalizer().expect("a rule");
    let error = rule.forward_part(&nothing, none, mix, &rule.moments(&nothing), Some(&running), &mut out);
    assert!(matches!(error, Err(CallError::EmptyBatch { .. })));
}

fn groups(size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..SAMPLES).step_by(size).map(move |start| start..SAMPLES.min(start + size))
}

#[test]
fn every_ghost_group_is_a_batch_of_its_own_with_its_weights_and_residual() {
    let mut random = Random::new(3401);
    let running = running();
    for beside in ALL_BESIDE {
        let case = Case::new(beside, &mut random);
        for rule in rules() {
            for size in [2, 3, 100] {
                let of = NonZeroUsize::new(size).expect("not 0");
                let ((y, dx, dresidual, of_all), batch) = case.step(
                    |input, y| rule.train_ghost(input, of, parameters(), Some(&running), y),
                    |saved, input, dy, buffers| {
                        let alone = saved.parameter_gradients(input, dy)?;
                        let all = saved.backward(input, dy, buffers)?;
                        assert_eq!(alone, all, "dx asked for or not");
                        Ok(all)
                    },
                );
                let mut sums = ParameterGradients { dgamma: vec![0.0; 3], dbeta: vec![0.0; 3] };
                let mut whole = None;
                for samples in groups(size) {
                    let ((own, own_dx, own_dresidual, own_of), own_batch) = case.of(&samples).step(
                        |input, y| rule.train(input, parameters(), Some(&running), y),
                        |saved, input, dy, buffers| saved.backward(input, dy, buffers),
                    );
                    assert_eq!((&own[..], &own_dx[..]), (&y[at(&samples)], &dx[at(&samples)]), "{beside:?} {size}");
                    if beside == Beside::Residual {
                        assert_eq!(own_dresidual, dresidual[at(&samples)]);
                    }
                    sums.add(&own_of).expect("three");
                    whole = Some(match whole {
                        Some(whole) => {
                            own_batch.merge(&whole).map(|_| whole.merge(&own_batch)).expect("three").expect("three")
                        }
                        None => own_batch,
                    });
                }
                assert_eq!((sums, whole), (of_all, Some(batch)), "{beside:?} {size}");
            }
        }
    }
}

#[test]
fn a_layer_takes_ghost_batches_with_weights_and_residual() {
    let mut random = Random::new(3402);
    let two = NonZeroUsize::new(2).expect("not 0");
    for beside in ALL_BESIDE {
        let case = Case::new(beside, &mut random);
        let mut layer = BatchNorm::new(CHANNELS).expect("a layer");
        let (x, dy, residual) = (view(&case.x), view(&case.dy), view(&case.residual));
        let weights = Weights::new(&case.weights, &case.weights_shape).expect("right weights");
        let input = match beside {
            Beside::Nothing => Input::from(&x),
            Beside::Residual => Input::adding(&x, &residual),
            Beside::Weights(_) => Input::weighted(&x, &weights),
        };
        // (Seven samples leave a group of one sample, which has five values a channel.)
        let trained = layer.train_ghost(input, two).expect("a right call");
        let y = view(trained.y.data());
        let back = if beside == Beside::Residual { Input::with_output(&x, &y) } else { input };
        let gradients = layer.backward_ghost(back, &dy, &trained.saved).expect("a right call");
        assert_eq!(gradients.dresidual.is_some(), beside == Beside::Residual);
        assert_eq!(layer.running().map(RunningStatistics::batches), Some(1));
        // Another kind of input than the forward pass's, and other weights than fit.
        let mut dx = vec![7.0; case.x.len()];
        let other = if beside == Beside::Nothing { Input::weighted(&x, &weights) } else { Input::from(&x) };
        let error = trained.saved.backward(other, &dy, &mut view_mut(&mut dx)).expect_err("another kind");
        assert!(matches!(error, CallError::OtherInput { .. }), "{error}");
        let short = Weights::new(&case.weights[..2], &[2, 1, 1]).expect("right weights");
        let error = layer.train_ghost(Input::weighted(&x, &short), two).expect_err("weights of two samples");
        assert!(matches!(error, CallError::WeightsShape { .. }), "{error}");
        assert!(dx.iter().all(|&dx| dx == 7.0));
        assert_eq!(layer.running().map(RunningStatistics::batches), Some(1));
    }
}

/// Arrays of samples without positions have no weights to divide among groups either.
#[test]
fn ghost_batches_of_no_values_go_by_the_policy_of_empty_batches() {
    let x = View::<f64>::new(&[], &[4, 2, 0], Axes::NCHW).expect("an empty array");
    let weights = Weights::new(&[], &[4, 1, 0]).expect("no weights");
    let two = NonZeroUsize::new(2).expect("not 0");
    let trained = BatchNorm::new(2).expect("a layer").train_ghost(Input::weighted(&x, &weights), two);
    let trained = trained.expect("an empty batch passes");
    assert!(trained.y.data().is_empty() && trained.batch.channels().iter().all(|moments| moments.count() == 0));
    let policies = Policies { empty_batch: EmptyBatch::Error, ..Policies::default() };
    let mut strict = Config::pytorch().policies(policies).channels(2).build().expect("a layer");
    assert!(strict.train_ghost(Input::weighted(&x, &weights), two).is_err());
}

/// One channel with one value and one that is all masked: a part is refused where the whole is.
#[test]
fn a_part_with_a_masked_channel_is_refused_as_the_whole_is() {
    let policies =
        Policies { single_value: SingleValue::UseRunning, empty_batch: EmptyBatch::Error, ..Policies::default() };
    let rule = Config::pytorch().policies(policies).normalizer().expect("a rule");
    let x = [1.0, 2.0, 3.0, 4.0];
    let x = View::new(&x, &[2, 2], Axes::NCHW).expect("an array");
    let weights = Weights::new(&[1.0, 0.0, 0.0, 0.0], &[2, 2]).expect("right weights");
    let (input, none) = (Input::weighted(&x, &weights), Parameters::<f64>::default());
    let running = RunningStatistics::start(2).expect("two");
    let mut y = [7.0; 4];
    let mut out = ViewMut::new(&mut y, &[2, 2], Axes::NCHW).expect("an array");
    let whole = rule.forward(input, none, Switches::train(), Some(&running), &mut out).expect_err("all masked");
    let moments = rule.moments_of(input).expect("moments");
    let part = rule.forward_part(input, none, Switches::train(), &moments, Some(&running), &mut out);
    assert_eq!(part.expect_err("all masked"), whole);
    assert!(matches!(whole, CallError::AllMasked { channel: 1 }), "{whole}");
    assert_eq!(y, [7.0; 4]);
}
