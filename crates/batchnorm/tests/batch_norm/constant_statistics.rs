//! Where the statistics are constants, dx is scale * dz whatever x is, in every form of the backward pass: an infinite x must
//! not become 0 * infinity on the way.

use batchnorm::{
    Activation, Axes, BatchNorm, Config, Element, GradientBuffers, Input, ParameterGradients, RunningStatistics, Saved,
    Switches, View, ViewMut, Weights,
};

const INFINITY: f64 = f64::INFINITY;
/// Three samples of two channels and two positions; the second channel is finite.
const SHAPE: [usize; 3] = [3, 2, 2];
const X: [f64; 12] = [INFINITY, 1.0, 0.5, -0.5, -2.0, -INFINITY, 1.5, 2.0, 3.0, 0.25, -1.0, 4.0];
const DY: [f64; 12] = [0.5, 1.0, -1.0, 2.0, -1.0, 0.25, 0.5, 1.0, 4.0, -2.0, 1.0, 3.0];
const RESIDUAL: [f64; 12] = [1.0, -3.0, 0.5, 0.5, 2.5, 1.0, -2.0, -4.0, 0.0, 1.0, 0.5, -8.0];

fn rounded<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// The values of NCHW in the order of an axis of channels elsewhere.
fn arranged(values: &[f64], axes: Axes) -> Vec<f64> {
    let place = |n: usize, c: usize, p: usize| values[(n * 2 + c) * 2 + p];
    match axes {
        Axes::Channel(-1) => (0..3).flat_map(|n| (0..4).map(move |at| place(n, at % 2, at / 2))).collect(),
        _ => values.to_vec(),
    }
}

fn shape(axes: Axes) -> [usize; 3] {
    if axes == Axes::NHWC { [3, 2, 2] } else { SHAPE }
}

/// Sums that play no part where the statistics are constants.
fn any_sums() -> ParameterGradients {
    ParameterGradients { dgamma: vec![INFINITY, 3.0], dbeta: vec![f64::NAN, -7.0] }
}

/// dx of x and dy, of the pass that left `saved` (`beside` is its output or weights), by one form of the backward pass.
type Form<T> = fn(&BatchNorm, &Saved, &View<T>, &View<T>, &mut ViewMut<T>);

fn plain_forms<T: Element>() -> Vec<(&'static str, Form<T>)> {
    vec![
        ("Saved::backward", |_, saved, x, dy, dx| drop(saved.backward(x, dy, dx).unwrap())),
        ("Saved::backward_part", |_, saved, x, dy, dx| saved.backward_part(x, dy, &any_sums(), dx).unwrap()),
        ("BatchNorm::backward_into", |layer, saved, x, dy, dx| drop(layer.backward_into(x, dy, saved, dx).unwrap())),
        ("Saved::backward_in_place", |_, saved, x, dy, dx| {
            let mut over = dy.to_vec();
            let mut over = ViewMut::new(&mut over, x.shape(), Axes::Channel(x.channel_axis() as isize)).unwrap();
            saved.backward_in_place(x, &mut over).unwrap();
            copy(&over.as_view(), dx);
        }),
        ("BatchNorm::backward", |layer, saved, x, dy, dx| {
            let gradients = layer.backward(x, dy, saved).unwrap();
            let axes = Axes::Channel(x.channel_axis() as isize);
            copy(&View::new(gradients.dx.data(), x.shape(), axes).unwrap(), dx);
        }),
    ]
}

/// By an identity: y = (x - 0) * 1 + 0 by statistics 0 and 1 and eps 0, which leaves every value as it is.
fn copy<T: Element>(from: &View<T>, into: &mut ViewMut<T>) {
    let mut identity = Config::pytorch().epsilon(0.0).channels(from.channels()).build().unwrap();
    identity.set_running(RunningStatistics::start(from.channels()).unwrap()).unwrap();
    identity.eval_into(from, into).unwrap();
}

fn check<T: Element>(activation: Activation, axes: Axes) {
    let config = Config::pytorch().activation(activation).channels(2);
    let mut layer = config.build().unwrap();
    layer.set_gamma(&[2.0, -0.5]).unwrap();
    layer.set_beta(&[0.25, 0.0]).unwrap();
    let scale = |c: usize| [2.0, -0.5][c] / (1.0f64 + 1e-5).sqrt();
    let slope = activation.slope();
    let expected = |z: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        let dz = |at: usize, c: usize| if z(at, c) > 0.0 { DY[at] } else { slope * DY[at] };
        (0..12).map(|at| (at, at / 2 % 2)).map(|(at, c)| scale(c) * dz(at, c)).collect()
    };
    let z = |at: usize, c: usize| X[at] * scale(c) + [0.25, 0.0][c];
    let (plain, with_residual) = (expected(&z), expected(&|at, c| z(at, c) + RESIDUAL[at]));

    let [x, dy, residual] = [&X, &DY, &RESIDUAL].map(|values| rounded::<T>(&arranged(values, axes)));
    let [x, dy, residual] = [&x, &dy, &residual].map(|values| View::new(values, &shape(axes), axes).unwrap());
    let compare = |got: &[T], truth: &[f64], form: &str| {
        for (at, (got, truth)) in got.iter().zip(arranged(truth, axes)).enumerate() {
            let truth = T::from_f64(truth).to_f64();
            let near = (got.to_f64() - truth).abs() <= 1e-15 * truth.abs();
            assert!(near, "{form}, {activation:?}, {axes:?}: dx[{at}] is {got:?}, expected {truth:?}");
        }
    };
    // Evaluation; and training whose statistics count as constants, by switches.
    let frozen = Switches { gradient_through_statistics: false, ..Switches::evaluate() };
    let passes = [layer.eval(&x).unwrap().saved, layer.clone().forward(&x, frozen).unwrap().saved];
    for saved in &passes {
        for (form, backward) in plain_forms::<T>() {
            let mut dx = vec![T::from_f64(7.0); 12];
            backward(&layer, saved, &x, &dy, &mut ViewMut::new(&mut dx, &shape(axes), axes).unwrap());
            compare(&dx, &plain, form);
        }
    }
    let evaluated = layer.eval(Input::adding(&x, &residual)).unwrap();
    let y = View::new(evaluated.y.data(), &shape(axes), axes).unwrap();
    let input = Input::with_output(&x, &y);
    for part in [false, true] {
        let [mut dx, mut dresidual] = [vec![T::from_f64(7.0); 12], vec![T::from_f64(7.0); 12]];
        let mut dx_view = ViewMut::new(&mut dx, &shape(axes), axes).unwrap();
        let mut dresidual_view = ViewMut::new(&mut dresidual, &shape(axes), axes).unwrap();
        let buffers = GradientBuffers::with_residual(&mut dx_view, &mut dresidual_view);
        if part {
            evaluated.saved.backward_part(input, &dy, &any_sums(), buffers).unwrap();
        } else {
            evaluated.saved.backward(input, &dy, buffers).unwrap();
        }
        compare(&dx, &with_residual, "with a residual");
        let dz: Vec<f64> = with_residual.iter().enumerate().map(|(at, dx)| dx / scale(at / 2 % 2)).collect();
        compare(&dresidual, &dz, "the residual");
    }
    let weights = Weights::mask(&[true; 12], &shape(axes)).unwrap();
    let saved = layer.eval(Input::weighted(&x, &weights)).unwrap().saved;
    for part in [false, true] {
        let mut dx = vec![T::from_f64(7.0); 12];
        let mut view = ViewMut::new(&mut dx, &shape(axes), axes).unwrap();
        if part {
            saved.backward_part(Input::weighted(&x, &weights), &dy, &any_sums(), &mut view).unwrap();
        } else {
            saved.backward(Input::weighted(&x, &weights), &dy, &mut view).unwrap();
        }
        compare(&dx, &plain, "with weights");
    }
}

#[test]
fn dx_is_scale_times_dz_in_every_form_of_the_backward_pass() {
    for axes in [Axes::NCHW, Axes::NHWC] {
        for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.25)] {
            check::<f64>(activation, axes);
            check::<f32>(activation, axes);
            #[cfg(feature = "half")]
            check::<half::bf16>(activation, axes);
        }
    }
}
