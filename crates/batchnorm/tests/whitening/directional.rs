//! Derivatives along a direction, of first and second order: the transpose of the backward pass, a symmetric Hessian,
//! constant statistics, degenerate input, bad calls.

use super::rows::{assert_close, view};
use crate::support::Random;
use crate::support::wide::largest;
use batchnorm::{
    Affine, Axes, CallError, Config, ConstantChannel, Decorrelated, ParameterDirection, Policies, RunningCovariance,
    SavedWhitening, SingleValue, View, ViewMut, WhiteningConfig,
};

/// A pass of several groups and what it is differentiated with: arrays (samples, channels).
struct Step {
    saved: SavedWhitening,
    x: Vec<f64>,
    dy: Vec<f64>,
    channels: usize,
}

impl Step {
    /// y' along a direction.
    fn jvp(&self, t: &[f64], parameters: ParameterDirection) -> Vec<f64> {
        let (mut moved, c) = (vec![f64::NAN; t.len()], self.channels);
        self.saved.jvp(&view(&self.x, c), &view(t, c), parameters, &mut view_mut(&mut moved, c)).expect("a right call");
        moved
    }

    /// dx' and dgamma' along a direction.
    fn hvp(&self, t: &[f64], parameters: ParameterDirection) -> (Vec<f64>, Vec<f64>) {
        let (mut moved, c) = (vec![f64::NAN; t.len()], self.channels);
        let (x, dy, out) = (view(&self.x, c), view(&self.dy, c), &mut view_mut(&mut moved, c));
        let of = self.saved.hvp(&x, &dy, &view(t, c), parameters, out).expect("a right call");
        assert_eq!(of.dbeta, vec![0.0; c]);
        (moved, of.dgamma)
    }
}

fn view_mut(data: &mut [f64], channels: usize) -> ViewMut<'_, f64> {
    let shape = [data.len() / channels, channels];
    ViewMut::new(data, &shape, Axes::NCHW).expect("rows of all channels")
}

fn with_parameters(config: WhiteningConfig) -> Decorrelated {
    let mut layer = config.build().expect("a layer");
    let channels = layer.config().channels;
    layer.set_gamma(&(0..channels).map(|i| 0.7 - 0.4 * i as f64).collect::<Vec<_>>()).expect("one for each");
    layer.set_beta(&(0..channels).map(|i| 0.3 * i as f64).collect::<Vec<_>>()).expect("one for each");
    layer
}

/// Training, with and without a channel of constants, whose gradient is declared or not, and evaluation: five channels in
/// groups of two.
fn steps(random: &mut Random) -> Vec<(&'static str, Step)> {
    const C: usize = 5;
    let mut all = Vec::new();
    for (name, constant, constant_channel, training) in [
        ("training", false, ConstantChannel::ZeroGradient, true),
        ("a declared channel", true, ConstantChannel::ZeroGradient, true),
        ("a channel of constants", true, ConstantChannel::Derivative, true),
        ("evaluation", false, ConstantChannel::ZeroGradient, false),
    ] {
        let mut x = random.normals(C * 40, 1.0, 2.0);
        x.chunks_mut(C).for_each(|row| row[3] += 2.0 * row[2]);
        if constant {
            x.chunks_mut(C).for_each(|row| row[1] = 0.1);
        }
        let policies = Policies { constant_channel, ..Policies::default() };
        let mut layer = with_parameters(WhiteningConfig::new(C, 2).epsilon(1e-3).policies(policies));
        let saved = if training {
            layer.forward_train(&view(&x, C)).expect("a right call").saved
        } else {
            let covariances = [2.0, 0.7, 0.7, 1.0, 3.0, -1.0, -1.0, 0.5, 4.0];
            let running = RunningCovariance::from_parts(&[0.5, 1.0, 0.0, -1.0, 2.0], &covariances, 2, 3);
            layer.set_running(running.expect("covariances")).expect("groups of two");
            layer.eval(&view(&x, C)).expect("a right call").saved
        };
        let dy = random.normals(x.len(), 0.2, 1.0);
        all.push((name, Step { saved, x, dy, channels: C }));
    }
    all
}

/// The sum of products of all pairs, and of their magnitudes.
fn product(pairs: [(&[f64], &[f64]); 3]) -> [f64; 2] {
    let terms = pairs.into_iter().flat_map(|(one, other)| one.iter().zip(other).map(|(one, other)| one * other));
    terms.fold([0.0, 0.0], |[sum, size], term| [sum + term, size + term.abs()])
}

#[test]
fn the_jvp_is_the_transpose_of_the_backward_pass() {
    let mut random = Random::new(1233);
    let mut worst = 0.0f64;
    for (name, step) in steps(&mut random) {
        let c = step.channels;
        let t = random.normals(step.x.len(), 0.3, 1.0);
        let [gamma, beta] = [(); 2].map(|()| random.normals(c, 0.0, 1.0));
        let moved = step.jvp(&t, ParameterDirection { gamma: Some(&gamma), beta: Some(&beta) });
        let mut dx = vec![f64::NAN; t.len()];
        let (x, dy) = (view(&step.x, c), view(&step.dy, c));
        let of = step.saved.backward(&x, &dy, &mut view_mut(&mut dx, c)).expect("a right call");
        let [forth, size] = product([(&step.dy, &moved), (&[], &[]), (&[], &[])]);
        let [back, size_back] = product([(&dx, &t), (&of.dgamma, &gamma), (&of.dbeta, &beta)]);
        let error = (forth - back).abs() / size.min(size_back);
        assert!(error <= 1e-12, "{name}: {forth} {back}");
        assert!(forth.abs() > 1e-3 * size, "{name}: it says something");
        worst = worst.max(error);
    }
    println!("JVP against VJP: {worst:.1e}");
}

#[test]
fn the_hessian_is_symmetric_and_double_backward_is_made_of_it() {
    let mut random = Random::new(1234);
    let mut worst = 0.0f64;
    for (name, step) in steps(&mut random) {
        let c = step.channels;
        let [(one, of_one), (two, of_two)] =
            [(); 2].map(|()| (random.normals(step.x.len(), 0.3, 1.0), random.normals(c, 0.0, 1.0)));
        let beta = random.normals(c, 0.0, 1.0);
        let parameters = ParameterDirection { gamma: Some(&of_one), beta: Some(&beta) };
        let along_one = step.hvp(&one, parameters);
        let along_two = step.hvp(&two, ParameterDirection { gamma: Some(&of_two), beta: None });
        let [forth, size] = product([(&along_one.0, &two), (&along_one.1, &of_two), (&[], &[])]);
        let [back, size_back] = product([(&along_two.0, &one), (&along_two.1, &of_one), (&[], &[])]);
        let error = (forth - back).abs() / size.min(size_back);
        assert!(error <= 1e-12, "{name}: {forth} {back}");
        assert!(forth.abs() > 1e-4 * size, "{name}: it says something");
        worst = worst.max(error);

        let [mut by_x, mut by_dy] = [(); 2].map(|()| vec![f64::NAN; one.len()]);
        let (x, dy, of_dx) = (view(&step.x, c), view(&step.dy, c), view(&one, c));
        let (out_x, out_dy) = (&mut view_mut(&mut by_x, c), &mut view_mut(&mut by_dy, c));
        let by_gamma = step.saved.double_backward(&x, &dy, &of_dx, parameters, out_x, out_dy).expect("a right call");
        assert_eq!(((by_x, by_gamma), by_dy), (along_one, step.jvp(&one, parameters)), "{name}");
    }
    println!("the Hessian against its transpose: {worst:.1e}");
}

/// Evaluation: mean and covariance are constants.
#[test]
fn constant_statistics_do_not_move() {
    let mut random = Random::new(1235);
    let (_, step) = steps(&mut random).remove(3);
    let (c, n) = (step.channels, step.x.len() / step.channels);
    let t = random.normals(step.x.len(), 0.3, 1.0);
    let [gamma_t, beta_t] = [(); 2].map(|()| random.normals(c, 0.0, 1.0));
    let parameters = ParameterDirection { gamma: Some(&gamma_t), beta: Some(&beta_t) };
    let (moved, (dx, dgamma)) = (step.jvp(&t, parameters), step.hvp(&t, parameters));
    let matrices: Vec<&[f64]> = step.saved.matrices().collect();
    let whitened = |values: &dyn Fn(usize) -> f64, i: usize| -> f64 {
        let (first, d) = (i / 2 * 2, matrices[i / 2].len().isqrt());
        (0..d).map(|j| matrices[i / 2][(i - first) * d + j] * values(first + j)).sum()
    };
    let mean = [0.5, 1.0, 0.0, -1.0, 2.0];
    let mut expected_dgamma = vec![0.0; c];
    for k in 0..n {
        let at = |i: usize| k * c + i;
        for i in 0..c {
            let along = whitened(&|j| t[at(j)], i);
            let xhat = whitened(&|j| step.x[at(j)] - mean[j], i);
            let y = (0.7 - 0.4 * i as f64) * along + gamma_t[i] * xhat + beta_t[i];
            assert!((moved[at(i)] - y).abs() < 1e-13, "y' ({k}, {i})");
            let gradient = whitened(&|j| gamma_t[j] * step.dy[at(j)], i);
            assert!((dx[at(i)] - gradient).abs() < 1e-13, "dx' ({k}, {i})");
            expected_dgamma[i] += step.dy[at(i)] * along;
        }
    }
    assert_close(&dgamma, &expected_dgamma);
}

/// A group of one channel is batch norm.
#[test]
fn groups_of_one_channel_are_batch_norm() {
    let mut random = Random::new(1236);
    for (mean, epsilon) in [(0.0, 1e-5), (1e3, 1e-3), (-1e6, 0.0)] {
        for constant_channel in [ConstantChannel::ZeroGradient, ConstantChannel::Derivative] {
            let mut x = random.normals(3 * 70, mean, 2.0);
            if epsilon > 0.0 {
                x.chunks_mut(3).for_each(|row| row[1] = 0.1);
            }
            let dy = random.normals(x.len(), 0.3, 1.0);
            let t = random.normals(x.len(), 0.1, 1.0);
            let [gamma, beta] = [(); 2].map(|()| random.normals(3, 0.0, 1.0));
            let parameters = ParameterDirection { gamma: Some(&gamma), beta: Some(&beta) };
            let policies = Policies { constant_channel, ..Policies::default() };
            let mut known = Config::pytorch().epsilon(epsilon).policies(policies).channels(3).build().expect("a layer");
            let ours = with_parameters(WhiteningConfig::new(3, 1).epsilon(epsilon).policies(policies));
            known.set_gamma(ours.gamma().expect("some")).expect("three");
            let passed = known.forward_train(&view(&x, 3)).expect("a right call").saved;
            let [mut y_t, mut dx_t] = [(); 2].map(|()| vec![f64::NAN; x.len()]);
            let (x_view, t_view) = (view(&x, 3), view(&t, 3));
            passed.jvp(&x_view, &t_view, parameters, &mut view_mut(&mut y_t, 3)).expect("a right call");
            let of = passed.hvp(&x_view, &view(&dy, 3), &t_view, parameters, &mut view_mut(&mut dx_t, 3));
            let dgamma_t = of.expect("a right call").dgamma;
            let saved = ours.forward_train(&x_view).expect("a right call").saved;
            let step = Step { saved, x: x.clone(), dy, channels: 3 };
            let (got_y, (got_dx, got_dgamma)) = (step.jvp(&t, parameters), step.hvp(&t, parameters));
            for (what, got, known) in [("y'", got_y, y_t), ("dx'", got_dx, dx_t), ("dgamma'", got_dgamma, dgamma_t)] {
                for channel in 0..3 {
                    let of = |values: &[f64]| values.iter().skip(channel).step_by(3).copied().collect::<Vec<_>>();
                    let (got, known) = (of(&got), of(&known));
                    let scale = largest(&known);
                    for (got, known) in got.iter().zip(&known) {
                        let close = (got - known).abs() <= 1e-13 * scale.max(1.0);
                        assert!(close, "{what} of {channel}: {got:?}, {known:?} (mean {mean}, {constant_channel:?})");
                    }
                }
            }
        }
    }
}

/// A channel whose values are all alike does not move and has no gradient that could; its neighbours come out as without
/// it.
#[test]
fn a_declared_channel_leaves_its_neighbours_alone() {
    let mut random = Random::new(1237);
    let [x, dy, t] = [(1.0, 2.0), (0.2, 1.0), (0.3, 1.0)].map(|(mean, size)| random.normals(2 * 60, mean, size));
    let with = |rows: &[f64], third: &dyn Fn(usize) -> f64| -> Vec<f64> {
        rows.chunks(2).enumerate().flat_map(|(k, row)| [row[0], third(k), row[1]]).collect()
    };
    let (gamma, beta) = ([0.5, -1.0, 2.0], [1.0, 0.25, -1.0]);
    let step = |layer: Decorrelated, x: Vec<f64>, dy: Vec<f64>| {
        let channels = layer.config().channels;
        Step { saved: layer.forward_train(&view(&x, channels)).expect("right").saved, x, dy, channels }
    };
    let wave = |k: usize| (k as f64).sin();
    let (three, dy_three, t_three) = (with(&x, &|_| 0.1), with(&dy, &wave), with(&t, &|k| 1.0 - wave(k)));
    let alone = step(Decorrelated::new(2, 2).expect("a layer"), x, dy);
    let both = step(Decorrelated::new(3, 3).expect("a layer"), three.clone(), dy_three.clone());
    let of_two = ParameterDirection { gamma: Some(&[0.5, 2.0]), beta: Some(&[1.0, -1.0]) };
    let of_three = ParameterDirection { gamma: Some(&gamma), beta: Some(&beta) };
    let (expected, got) = (alone.jvp(&t, of_two), both.jvp(&t_three, of_three));
    assert_close(&got, &with(&expected, &|_| 0.25));
    assert!(got.iter().skip(1).step_by(3).all(|&y| y == 0.25));
    let (expected, got) = (alone.hvp(&t, of_two), both.hvp(&t_three, of_three));
    assert_close(&got.0, &with(&expected.0, &|_| 0.0));
    assert!(got.0.iter().skip(1).step_by(3).all(|&dx| dx == 0.0));
    assert_close(&got.1, &[expected.1[0], 0.0, expected.1[1]]);
    assert_eq!(got.1[1], 0.0);
    // The derivative of the formula is another, for the neighbours too.
    let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
    let steep = step(WhiteningConfig::new(3, 3).policies(policies).build().expect("a layer"), three, dy_three);
    let (dx, dgamma) = steep.hvp(&t_three, of_three);
    assert!((0..3).all(|i| (dx[i] - got.0[i]).abs() > 1e-3) && dgamma[1].abs() > 1.0);
}

#[test]
fn a_group_with_nan_is_nan_and_no_other_notices() {
    let mut random = Random::new(1238);
    let arrays = [(1.0, 2.0), (0.2, 1.0), (0.3, 1.0)].map(|(mean, size)| random.normals(6 * 50, mean, size));
    let of = |[x, dy, t]: [Vec<f64>; 3]| {
        let layer = with_parameters(WhiteningConfig::new(6, 2));
        let saved = layer.forward_train(&view(&x, 6)).expect("a right call").saved;
        let step = Step { saved, x, dy, channels: 6 };
        let parameters = ParameterDirection { gamma: Some(&[1.0; 6]), beta: None };
        (step.jvp(&t, parameters), step.hvp(&t, parameters))
    };
    let (y, (dx, dgamma)) = of(arrays.clone());
    for (bad, which) in
        [(f64::NAN, 0), (f64::INFINITY, 0), (1e200, 0), (f64::NAN, 1), (f64::INFINITY, 1), (f64::NAN, 2)]
    {
        let mut broken = arrays.clone();
        broken[which][6 * 7 + 3] = bad; // channel 3, of the second group of two
        let (got_y, (got_dx, got_dgamma)) = of(broken);
        // dy plays no part in y'.
        let is_bad = |at: usize| at % 6 / 2 == 1;
        let right = |what: &str, got: &[f64], expected: &[f64], bad_too: &dyn Fn(usize) -> bool| {
            for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
                let holds = if bad_too(at) { got.is_nan() } else { got.to_bits() == expected.to_bits() };
                assert!(holds, "{what} [{at}], {bad} in array {which}: {got} for {expected}");
            }
        };
        right("y'", &got_y, &y, &|at| which != 1 && is_bad(at));
        right("dx'", &got_dx, &dx, &is_bad);
        // An upstream gradient is of its own channel alone in dgamma'.
        right("dgamma'", &got_dgamma, &dgamma, &|at| if which == 1 { at == 3 } else { is_bad(at) });
    }
}

#[test]
fn no_value_and_one() {
    let empty = View::new(&[0.0f64; 0], &[0, 2], Axes::NCHW).expect("an empty array");
    let some = ParameterDirection { gamma: Some(&[1.0, 2.0]), beta: Some(&[3.0, 4.0]) };
    for epsilon in [1e-5, 0.0] {
        let layer = WhiteningConfig::new(2, 2).epsilon(epsilon).build().expect("a layer");
        let trained = layer.forward_train(&empty).expect("allowed").saved;
        // (Evaluation by the running covariance I.)
        for saved in [trained, layer.eval(&empty).expect("allowed").saved] {
            let out = &mut ViewMut::new(&mut [], &[0, 2], Axes::NCHW).expect("an empty array");
            saved.jvp(&empty, &empty, some, out).expect("a right call");
            let of = saved.hvp(&empty, &empty, &empty, some, out).expect("a right call");
            assert_eq!((of.dgamma, of.dbeta), (vec![0.0; 2], vec![0.0; 2]));
        }
    }
    let policies = Policies { single_value: SingleValue::Population, ..Policies::default() };
    let layer = WhiteningConfig::new(2, 2).policies(policies).build().expect("a layer");
    let saved = layer.forward_train(&view(&[3.0, -1.0], 2)).expect("allowed").saved;
    let step = Step { saved, x: vec![3.0, -1.0], dy: vec![1.0, 2.0], channels: 2 };
    assert_eq!(step.jvp(&[5.0, 7.0], some), [3.0, 4.0]);
    assert_eq!(step.hvp(&[5.0, 7.0], some), (vec![0.0; 2], vec![0.0; 2]));
}

/// Scaled by a power of two, without eps, every bit is the same, as far as the documented sizes go.
#[test]
fn it_keeps_its_digits_at_the_ends_of_the_range() {
    let mut random = Random::new(1239);
    let [x, dy, t] = [(0.5, 1.0), (0.0, 1.0), (0.2, 1.0)].map(|(mean, size)| random.normals(120, mean, size));
    let gamma = random.normals(3, 0.0, 1.0);
    // x scaled, and x' too or not.
    let of = |scale: f64, scale_t: f64| {
        let scaled = |values: &[f64], by: f64| -> Vec<f64> { values.iter().map(|value| value * by).collect() };
        let (x, t) = (scaled(&x, scale), scaled(&t, scale_t));
        let saved = with_parameters(WhiteningConfig::new(3, 3).epsilon(0.0)).forward_train(&view(&x, 3));
        let step = Step { saved: saved.expect("a right call").saved, x, dy: dy.clone(), channels: 3 };
        // y' and dgamma' do not depend on a scale of both, dx' is -1 homogeneous; gamma' goes with x' / x.
        let ratio = scale_t / scale;
        let gamma = scaled(&gamma, ratio);
        let parameters = ParameterDirection { gamma: Some(&gamma), beta: None };
        let (moved, (dx, dgamma)) = (step.jvp(&t, parameters), step.hvp(&t, parameters));
        [scaled(&moved, 1.0 / ratio), scaled(&scaled(&dx, scale), 1.0 / ratio), scaled(&dgamma, 1.0 / ratio)]
    };
    let expected = of(1.0, 1.0);
    assert!(expected.iter().flatten().all(|value| value.is_finite() && value.abs() > 1e-6));
    for power in [-450, -300, -120, 120, 300, 450] {
        let scale = 2f64.powi(power);
        assert_eq!(of(scale, scale), expected, "x and x' times 2^{power}");
        if power.abs() <= 300 {
            assert_eq!(of(scale, 1.0), expected, "x times 2^{power}");
        }
    }
    // Any eps is legal, with a channel of constants too, whose gradient is declared to be 0.
    for epsilon in [1e-200, 1e-300, 5e-324] {
        let x: Vec<f64> = x.iter().enumerate().map(|(i, x)| if i % 3 == 1 { 2.0 } else { *x }).collect();
        let saved = with_parameters(WhiteningConfig::new(3, 3).epsilon(epsilon)).forward_train(&view(&x, 3));
        let step = Step { saved: saved.expect("a right call").saved, x, dy: dy.clone(), channels: 3 };
        let parameters = ParameterDirection { gamma: Some(&gamma), beta: None };
        let (moved, (dx, dgamma)) = (step.jvp(&t, parameters), step.hvp(&t, parameters));
        assert!([moved, dx, dgamma].iter().flatten().all(|value| value.is_finite()), "{epsilon:e}");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let values = Random::new(1240).normals(30, 0.0, 1.0);
    let (x, other, of_five) = (view(&values, 3), view(&values, 5), view(&values, 5));
    let layer = WhiteningConfig::new(3, 2).affine(Affine::ScaleOnly).build().expect("a layer");
    let saved = layer.forward_train(&x).expect("a right call").saved;
    let none = ParameterDirection::default();
    let short = ParameterDirection { gamma: Some(&[1.0]), ..none };
    let long = ParameterDirection { beta: Some(&[1.0; 4]), ..none };
    let fewer = view(&values[..27], 3);
    for (x, dy, direction, parameters, argument) in [
        (&of_five, &of_five, &of_five, none, "x: expected 3 channels"),
        (&fewer, &fewer, &fewer, none, "x: the saved forward pass had 10 values"),
        (&x, &other, &x, none, "dy"),
        (&x, &x, &other, none, "direction"),
        (&x, &x, &x, short, "direction of gamma"),
        (&x, &x, &x, long, "direction of beta"),
    ] {
        let mut moved = [7.0; 30];
        let error = saved.hvp(x, dy, direction, parameters, &mut view_mut(&mut moved, 3)).expect_err("it does not fit");
        println!("{error}");
        assert!(error.to_string().starts_with(argument), "{error} ({argument})");
        if !argument.starts_with("dy") {
            let of_jvp = saved.jvp(x, direction, parameters, &mut view_mut(&mut moved, 3));
            assert_eq!(of_jvp.expect_err("it does not fit"), error);
        }
        let [mut by_x, mut by_dy] = [[7.0; 30]; 2];
        let (out_x, out_dy) = (&mut view_mut(&mut by_x, 3), &mut view_mut(&mut by_dy, 3));
        assert!(saved.double_backward(x, dy, direction, parameters, out_x, out_dy).is_err());
        assert_eq!([moved, by_x, by_dy], [[7.0; 30]; 3]);
    }
    let [mut by_x, mut by_dy] = [[7.0; 30]; 2];
    let (out_x, out_dy) = (&mut view_mut(&mut by_x, 3), &mut view_mut(&mut by_dy, 5));
    let error = saved.double_backward(&x, &x, &x, none, out_x, out_dy);
    assert!(matches!(error, Err(CallError::Shape { argument: "by_dy", .. })));
    let error = saved.jvp(&x, &x, none, out_dy);
    assert!(matches!(error, Err(CallError::Shape { argument: "out", .. })));
    let error = saved.hvp(&x, &x, &x, none, out_dy);
    assert!(matches!(error, Err(CallError::Shape { argument: "out", .. })));
    assert_eq!([by_x, by_dy], [[7.0; 30]; 2]);
}
