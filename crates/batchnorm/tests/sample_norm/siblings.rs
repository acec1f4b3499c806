//! Layer, group, instance and RMS norm: accuracy against the twin, bits, directional derivatives, degenerate rows.

use crate::support::Random;
use crate::support::double_double::DoubleDouble;
use crate::support::run::Sizes;
use crate::support::samples::{Case, EPSILON, Kind, Worst, places, view, view_mut};
use batchnorm::reference::rows;
use batchnorm::thresholds::{BLOCKS, FLUSH, LEAST, SIDE, TASK};
use batchnorm::{
    Affine, Axes, AxisRole, ConstantChannel, Element, ParameterDirection, SampleConfig, SampleNorm, View, ViewMut,
};

fn sizes(n: usize, c: usize, plane: usize) -> Sizes {
    Sizes { n, c, plane }
}

/// Edges of lanes, runs, chunks and tiles; one row and many.
fn table() -> Vec<(Kind, Sizes)> {
    let mut all = Vec::new();
    for plane in [1, 2, 7, 8, 15, 16, 17, 31, 33, 1023, 1024, 1025] {
        for axes in [1, 2] {
            let sizes = if plane > 100 { sizes(2, 2, plane) } else { sizes(5, 6, plane) };
            all.extend([(Kind::Layer(axes), sizes), (Kind::Rms(axes), sizes)]);
        }
        let sizes = if plane > 100 { sizes(1, 6, plane) } else { sizes(3, 6, plane) };
        all.extend([1, 2, 6].map(|groups| (Kind::Group(groups), sizes)));
        if plane > 1 {
            all.push((Kind::Instance, sizes));
        }
    }
    // All axes at once: one row.
    all.extend([(Kind::Layer(3), sizes(2, 3, 5)), (Kind::Rms(3), sizes(3, 5, 70))]);
    // Rows that are taken together, copied or not, and added up before they go to a total.
    for edge in [SIDE, FLUSH, 2 * FLUSH] {
        all.extend([edge - 1, edge, edge + 1].map(|rows| (Kind::Layer(1), sizes(rows, 1, 5))));
        all.extend([edge - 1, edge, edge + 1].map(|samples| (Kind::Group(2), sizes(samples, 4, 3))));
    }
    // Many rows.
    all.extend([(Kind::Layer(1), sizes(3000, 1, 9)), (Kind::Rms(1), sizes(101, 43, 3))]);
    all.extend([
        (Kind::Group(4), sizes(70, 12, 3)),
        (Kind::Group(3), sizes(40, 9, 20)),
        (Kind::Instance, sizes(40, 9, 16)),
    ]);
    all
}

fn worst<T: Element>(mean: f64, random: &mut Random) -> Worst {
    let mut worst = Worst::default();
    for (kind, sizes) in table() {
        let case = Case::<T>::new(kind, sizes, mean, random);
        let errors = case.errors(&case.dense());
        worst.join(errors);
    }
    println!("{} at mean/std {mean:e}: {worst:?}", std::any::type_name::<T>());
    worst
}

#[test]
fn f64_errors_do_not_grow_with_the_mean() {
    let mut random = Random::new(2200);
    for mean in [0.0, 3.0, 1e4, 1e6] {
        let Worst { y, dx, dgamma, dbeta, .. } = worst::<f64>(mean, &mut random);
        for (what, error) in [("y", y), ("dx", dx), ("dgamma", dgamma), ("dbeta", dbeta)] {
            assert!(error <= 1e-13, "{what} at mean {mean}: {error:e}");
        }
    }
}

/// Sums over rows in several blocks, and in several parts of each.
#[test]
fn errors_do_not_grow_with_the_number_of_rows() {
    let mut random = Random::new(2212);
    for (kind, sizes) in [
        (Kind::Layer(1), sizes(30_000, 1, 5)),
        (Kind::Group(2), sizes(8_000, 4, 4)),
        (Kind::Group(2), sizes(2_000, 4, 16)),
    ] {
        let case = Case::<f64>::new(kind, sizes, 100.0, &mut random);
        let errors = case.errors(&case.dense());
        println!("{kind:?} {sizes:?}: {errors:?}");
        let Worst { y, dx, dgamma, dbeta, .. } = errors;
        assert!([y, dx, dgamma, dbeta].into_iter().all(|error| error <= 1e-13), "{kind:?}: {errors:?}");
    }
}

#[test]
fn f32_output_is_within_two_ulp_and_gradients_within_a_millionth() {
    let mut random = Random::new(2201);
    for mean in [0.0, 1e2, 1e4, 1e6] {
        let Worst { y_ulps, dx, dgamma, dbeta, .. } = worst::<f32>(mean, &mut random);
        assert!(y_ulps <= 2.0, "y at mean {mean}: {y_ulps} ulp");
        if mean <= 1e4 {
            assert!(dx <= 1e-6 && dgamma <= 1e-6 && dbeta <= 1e-6, "mean {mean}: {dx:e} {dgamma:e} {dbeta:e}");
        }
    }
}

#[cfg(feature = "half")]
#[test]
fn halves_are_within_an_ulp_of_the_correctly_rounded_value() {
    let mut random = Random::new(2202);
    for mean in [0.0, 30.0] {
        // Half a unit of rounding, and one more.
        let f16 = worst::<half::f16>(mean, &mut random).y_ulps;
        let bf16 = worst::<half::bf16>(mean, &mut random).y_ulps;
        assert!(f16 <= 1.5 && bf16 <= 1.5, "mean {mean}: {f16} {bf16}");
    }
}

fn bits<T: Element>(every: usize, first: usize, random: &mut Random) {
    for (kind, sizes) in table().into_iter().skip(first).step_by(every) {
        Case::<T>::new(kind, sizes, 5.0, random).same_bits_everywhere(&[1]);
    }
}

#[test]
fn the_bits_do_not_depend_on_layout_and_instructions() {
    let mut random = Random::new(2203);
    bits::<f32>(1, 0, &mut random);
    bits::<f64>(2, 0, &mut random);
    #[cfg(feature = "half")]
    {
        bits::<half::f16>(3, 0, &mut random);
        bits::<half::bf16>(3, 1, &mut random);
    }
}

/// Large enough for threads, and for rows and channels that these cut.
#[test]
fn the_bits_do_not_depend_on_threads() {
    let mut random = Random::new(2204);
    let large = [
        // Around two totals instead of one, and as many as there may be.
        (Kind::Layer(1), sizes(2 * LEAST - 1, 1, TASK / LEAST)),
        (Kind::Layer(1), sizes(2 * LEAST, 1, TASK / LEAST)),
        (Kind::Layer(1), sizes(2 * LEAST, 1, TASK / LEAST - 1)),
        (Kind::Layer(1), sizes(17, 11, 700)),
        (Kind::Layer(1), sizes(4, 5, 9000)),
        (Kind::Layer(2), sizes(3, 7, 5000)),
        (Kind::Rms(1), sizes(40_000, 1, 3)),
        (Kind::Group(2), sizes(500, 20, 9)),
        (Kind::Group(4), sizes(9, 20, 500)),
        (Kind::Instance, sizes(7, 5, 2100)),
    ];
    for (kind, sizes) in large {
        Case::<f32>::new(kind, sizes, 5.0, &mut random).same_bits_everywhere(&[1, 2, 3, 8]);
    }
    // As many totals as there may be.
    let most = sizes(BLOCKS * TASK / 64, 1, 64);
    Case::<f32>::new(Kind::Rms(1), most, 5.0, &mut random).same_bits_everywhere(&[2, 8]);
}

#[test]
fn the_directional_derivative_is_the_transpose_of_the_backward_pass() {
    let mut random = Random::new(2205);
    let mut worst: f64 = 0.0;
    for mean in [0.0, 3.0, 1e4, 1e6] {
        for (kind, sizes) in table() {
            let case = Case::<f64>::new(kind, sizes, mean, &mut random);
            // Upstream is dy; the direction is dy too, and the parameters go along one another.
            let got = case.dense();
            let products = |one: &[f64], other: &[f64]| -> [f64; 2] {
                let terms = || one.iter().zip(other).map(|(one, other)| one * other);
                [terms().sum(), terms().map(f64::abs).sum()]
            };
            let upstream = random.normals(case.x.len(), 0.2, 1.0);
            let place = &places(kind, sizes)[0];
            let other =
                Case { dy: upstream, x: case.x.clone(), gamma: case.gamma.clone(), beta: case.beta.clone(), ..case };
            let back =
                other.step(kind.config().constant_group(ConstantChannel::Derivative).epsilon(EPSILON), [place; 2]);
            let forwards = products(&other.dy, &got.moved);
            let backwards =
                [products(&back.dx, &case.dy), products(&back.dgamma, &case.beta), products(&back.dbeta, &case.gamma)];
            let total: f64 = backwards.iter().map(|[sum, _]| sum).sum();
            let scale: f64 = forwards[1] + backwards.iter().map(|[_, scale]| scale).sum::<f64>();
            let distance = (forwards[0] - total).abs() / scale;
            assert!(distance <= 1e-12, "{kind:?} {sizes:?}, mean {mean}: {distance:e}");
            worst = worst.max(distance);
        }
    }
    println!("worst distance between JVP and VJP: {worst:.1e}");
}

/// The twin against differences in double-double arithmetic, which leave fifteen digits; and y' against the same.
#[test]
fn the_twin_differentiates_its_formula_and_the_layer_moves_like_it() {
    let mut random = Random::new(2206);
    let wide = |value: f64| DoubleDouble::from(value);
    let all = |values: &[f64]| values.iter().map(|&value| wide(value)).collect::<Vec<_>>();
    type Forward = fn(&[DoubleDouble], &[DoubleDouble], &[DoubleDouble], DoubleDouble) -> rows::Forward<DoubleDouble>;
    type Backward =
        fn(&[DoubleDouble], &[DoubleDouble], DoubleDouble, &[DoubleDouble]) -> rows::Gradients<DoubleDouble>;
    let kinds: [(Kind, Forward, Backward); 2] =
        [(Kind::Layer(1), rows::forward, rows::backward), (Kind::Rms(1), rows::rms_forward, rows::rms_backward)];
    for (kind, forward, backward) in kinds {
        let case = Case::<f64>::new(kind, sizes(1, 1, 9), 0.7, &mut random);
        let at = |step: f64, of_x: &dyn Fn(usize) -> f64, of_parameters: f64| {
            let moved = |from: &[f64], by: &dyn Fn(usize) -> f64| -> Vec<DoubleDouble> {
                (0..9).map(|i| wide(from[i]) + wide(by(i)) * wide(step)).collect()
            };
            let gamma = moved(&case.gamma, &|i| of_parameters * case.beta[i]);
            let beta = moved(&case.beta, &|i| of_parameters * case.gamma[i]);
            forward(&moved(&case.x, of_x), &gamma, &beta, wide(EPSILON)).y
        };
        let step = 1e-10;
        let slopes = |of_x: &dyn Fn(usize) -> f64, of_parameters: f64| -> Vec<DoubleDouble> {
            let (high, low) = (at(step, of_x, of_parameters), at(-step, of_x, of_parameters));
            high.into_iter().zip(low).map(|(high, low)| (high - low) / wide(2.0 * step)).collect()
        };
        let truth = backward(&all(&case.x), &all(&case.gamma), wide(EPSILON), &all(&case.dy));
        for i in 0..9 {
            let unit = slopes(&|at| if at == i { 1.0 } else { 0.0 }, 0.0);
            let dx = unit.iter().zip(&case.dy).fold(wide(0.0), |sum, (&slope, &dy)| sum + slope * wide(dy));
            assert!((dx - truth.dx[i]).to_f64().abs() < 1e-14, "{kind:?}");
        }
        let moved = case.dense().moved;
        for (got, slope) in moved.into_iter().zip(slopes(&|at| case.dy[at], 1.0)) {
            assert!((got - slope.to_f64()).abs() < 1e-14, "{kind:?}: {got} {}", slope.to_f64());
        }
    }
}

/// Alike to the bit: y = beta, dx = 0 by declaration, whatever the magnitude; of one value too.
#[test]
fn constant_rows_give_beta_and_no_gradient() {
    for value in [0.0f32, 1.0, 100.1, 1e7, 1e30, 3e38] {
        for (kind, sizes) in [
            (Kind::Layer(1), sizes(3, 2, 37)),
            (Kind::Group(2), sizes(3, 4, 9)),
            (Kind::Group(2), sizes(3, 4, 25)),
            (Kind::Instance, sizes(3, 4, 16)),
            (Kind::Layer(1), sizes(4, 3, 1)),
            (Kind::Group(4), sizes(4, 4, 1)),
        ] {
            let mut case = Case::<f32>::new(kind, sizes, 2.0, &mut Random::new(2207));
            let rows = kind.rows(sizes);
            for &(i, _) in &rows[1] {
                case.x[i] = value;
            }
            let got = case.step(kind.config(), [&places(kind, sizes)[0]; 2]);
            for &(i, parameter) in &rows[1] {
                assert_eq!(got.y[i], case.beta[parameter] as f32, "{kind:?} {value}");
                assert_eq!(got.dx[i], 0.0, "{kind:?} {value}");
                // Only the parameters move it: beta' is gamma here, and xhat is 0.
                assert_eq!(got.moved[i], case.gamma[parameter] as f32, "{kind:?} {value}");
            }
        }
    }
    // The derivative of the formula, for who wants it: by 1 / sqrt(eps).
    let steep = SampleConfig::layer(1).constant_group(ConstantChannel::Derivative).build(&[2]).expect("a layer");
    let x = View::new(&[4.0f32, 4.0], &[1, 2], Axes::NCHW).expect("a view");
    let (_, saved) = steep.forward(&x).expect("a right call");
    let dx = steep.backward(&x, &View::new(&[1.0f32, 0.0], &[1, 2], Axes::NCHW).expect("a view"), &saved);
    assert!((dx.expect("a right call").dx.data()[0] - 158.11).abs() < 0.01);
    // RMS norm has nothing to go by where all is 0; one value of its own is its sign.
    let rms = SampleNorm::rms(&[1]).expect("a layer");
    let x = View::new(&[0.0f64, -7.0], &[2, 1], Axes::NCHW).expect("a view");
    let (y, saved) = rms.forward(&x).expect("a right call");
    assert!(y.data()[0] == 0.0 && (y.data()[1] + 1.0).abs() < 1e-6);
    let dx = rms.backward(&x, &x, &saved).expect("a right call").dx;
    assert!(dx.data()[0] == 0.0 && dx.data()[1].abs() < 1e-6);
}

#[test]
fn with_eps_0_nothing_is_divided_by_0() {
    for config in [SampleConfig::layer(1), SampleConfig::rms(1), SampleConfig::group(1)] {
        let norm = config.epsilon(0.0).constant_group(ConstantChannel::Derivative).build(&[4]).expect("a layer");
        let x = View::new(&[0.0f32, 0.0, 0.0, 0.0, 1.0, -1.0, 1.0, -1.0], &[2, 4], Axes::NCHW).expect("a view");
        let (y, saved) = norm.forward(&x).expect("a right call");
        assert_eq!(y.data(), [0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 1.0, -1.0]);
        assert_eq!(norm.backward(&x, &x, &saved).expect("a right call").dx.data(), [0.0; 8]);
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    let mut random = Random::new(2208);
    for bad in [f32::NAN, f32::INFINITY] {
        for (kind, sizes) in [
            (Kind::Layer(1), sizes(5, 3, 40)),
            (Kind::Rms(2), sizes(5, 3, 40)),
            (Kind::Group(3), sizes(5, 6, 9)),
            (Kind::Group(3), sizes(5, 6, 40)),
            (Kind::Instance, sizes(5, 6, 40)),
            (Kind::Layer(1), sizes(7, 5, 2000)),
        ] {
            let case = Case::<f32>::new(kind, sizes, 2.0, &mut random);
            let rows = kind.rows(sizes);
            let mut spoiled = Case {
                x: case.x.clone(),
                dy: case.dy.clone(),
                gamma: case.gamma.clone(),
                beta: case.beta.clone(),
                ..case
            };
            spoiled.x[rows[2][3].0] = bad;
            for place in places(kind, sizes) {
                let [clean, got] = [&case, &spoiled].map(|case| case.step(kind.config(), [&place; 2]));
                for (number, row) in rows.iter().enumerate() {
                    for &(i, _) in row {
                        if number == 2 {
                            let all = [got.y[i], got.dx[i], got.moved[i], got.curved[i]];
                            assert!(all.iter().all(|value| value.is_nan()), "{kind:?}: {all:?}");
                        } else {
                            let both = [&clean, &got]
                                .map(|all| [all.y[i], all.dx[i], all.moved[i], all.curved[i]].map(f32::to_bits));
                            assert_eq!(both[0], both[1], "{kind:?}, row {number}");
                        }
                    }
                }
            }
        }
    }
}

/// std from 1e-30 to 1e37 in f32: the output has std 1.
#[test]
fn very_large_values_are_no_trouble() {
    let mut random = Random::new(2209);
    for (kind, sizes) in
        [(Kind::Layer(1), sizes(2, 1, 900)), (Kind::Rms(1), sizes(2, 1, 900)), (Kind::Group(1), sizes(2, 3, 300))]
    {
        for deviation in [1e19, 1e30, 1e37] {
            let mut case = Case::<f32>::new(kind, sizes, 0.0, &mut random);
            case.x = random.normals_f32(case.x.len(), 0.0, deviation);
            let plain = Case { gamma: vec![1.0; case.gamma.len()], beta: vec![0.0; case.beta.len()], ..case };
            let y = plain.dense().y;
            for row in kind.rows(sizes) {
                let square: f64 = row.iter().map(|&(i, _)| f64::from(y[i]).powi(2)).sum::<f64>() / row.len() as f64;
                assert!((square.sqrt() - 1.0).abs() < 1e-5, "{kind:?} {deviation}: {square}");
            }
        }
    }
    // f64 whose variance overflows is told by NaN, not by zeros.
    let x = View::new(&[1e200f64, -1e200], &[1, 2], Axes::NCHW).expect("a view");
    for norm in [SampleNorm::layer(&[2]), SampleNorm::rms(&[2]), SampleNorm::group(1, 2)] {
        let y = norm.expect("a layer").forward(&x).expect("a right call").0;
        assert!(y.data().iter().all(|y| y.is_nan()));
    }
}

#[test]
fn of_nothing_comes_nothing() {
    for (norm, shape) in [
        (SampleNorm::layer(&[3]), vec![0, 3]),
        (SampleNorm::rms(&[3]), vec![2, 0, 3]),
        (SampleNorm::group(3, 3), vec![0, 3, 4]),
        (SampleNorm::instance(3), vec![2, 3, 0]),
    ] {
        let norm = norm.expect("a layer");
        let x = View::<f32>::new(&[], &shape, Axes::Channel(if shape.len() == 3 && shape[1] == 0 { 2 } else { 1 }));
        let x = x.expect("an empty array");
        let (y, saved) = norm.forward(&x).expect("a right call");
        assert_eq!((y.shape(), y.data().len()), (&shape[..], 0));
        let (mut dx, mut moved) = ([0.0f32; 0], [0.0f32; 0]);
        let axes = Axes::Channel(x.channel_axis() as isize);
        let mut dx = ViewMut::new(&mut dx, &shape, axes).expect("an empty array");
        let gradients = norm.backward_into(&x, &x, &saved, &mut dx).expect("a right call");
        assert_eq!((gradients.dgamma, gradients.dbeta), (vec![0.0; 3], vec![0.0; 3]));
        let mut moved = ViewMut::new(&mut moved, &shape, axes).expect("an empty array");
        saved.jvp(&x, &x, ParameterDirection::default(), &mut moved).expect("a right call");
    }
}

/// Group norm of one group per channel is instance norm, of one group over a plane is layer norm of a sample; samples by
/// roles; and by hand.
#[test]
fn they_agree_where_they_should() {
    let mut random = Random::new(2210);
    let shape = sizes(4, 6, 20);
    let x = random.normals(480, 3.0, 2.0);
    let forward = |norm: SampleNorm| norm.forward(&view(&x, shape)).expect("a right call").0.into_data();
    let instance = forward(SampleNorm::instance(6).expect("a layer"));
    assert_eq!(instance, forward(SampleNorm::group(6, 6).expect("a layer")));
    let [group, layer] =
        [SampleNorm::group(1, 6), SampleNorm::layer(&[6, 20])].map(|norm| forward(norm.expect("a layer")));
    assert!(group.iter().zip(&layer).all(|(group, layer)| (group - layer).abs() < 1e-14));
    // Two sample axes, as (time, batch), or the batch last as in MATLAB: roles say which.
    let roles = [AxisRole::Sample, AxisRole::Channel, AxisRole::Space, AxisRole::Sample];
    let norm = SampleNorm::group(2, 6).expect("a layer");
    let strided = View::with_strides(&x, &[2, 6, 20, 2], &[240, 20, 1, 120], 0, Axes::Roles(&roles)).expect("a view");
    let mut y = vec![0.0; 480];
    let mut out =
        ViewMut::with_strides(&mut y, &[2, 6, 20, 2], &[240, 20, 1, 120], 0, Axes::Roles(&roles)).expect("a view");
    norm.forward_into(&strided, &mut out).expect("a right call");
    assert_eq!(y, forward(norm));
    // A row that is there four times.
    let row = [1.0, 2.0, 6.0];
    let broadcast = View::with_strides(&row, &[2, 2, 3], &[0, 0, 1], 0, Axes::NHWC).expect("a view");
    let norm = SampleNorm::layer(&[3]).expect("a layer");
    let alone = norm.forward(&View::new(&row, &[1, 3], Axes::NCHW).expect("a view")).expect("a right call").0;
    assert_eq!(norm.forward(&broadcast).expect("a right call").0.data(), alone.data().repeat(4));
    // (1, 2, 3, 6): mean 3, variance 3.5; root mean square sqrt(12.5).
    let x = View::new(&[1.0f64, 2.0, 3.0, 6.0], &[1, 4], Axes::NCHW).expect("a view");
    let [mut layer, mut rms] = [SampleConfig::layer(1), SampleConfig::rms(1).affine(Affine::ScaleAndShift)]
        .map(|config| config.epsilon(0.0).build(&[4]).expect("a layer"));
    for norm in [&mut layer, &mut rms] {
        norm.set_gamma(&[1.0, 1.0, 1.0, 2.0]).expect("four");
        norm.set_beta(&[0.0, 0.0, 5.0, 0.0]).expect("four");
    }
    let expected = [-2.0 / 3.5f64.sqrt(), -1.0 / 3.5f64.sqrt(), 5.0, 6.0 / 3.5f64.sqrt()];
    for (y, expected) in layer.forward(&x).expect("a right call").0.data().iter().zip(expected) {
        assert!((y - expected).abs() < 1e-15);
    }
    let root = 12.5f64.sqrt();
    let expected = [1.0 / root, 2.0 / root, 5.0 + 3.0 / root, 12.0 / root];
    for (y, expected) in rms.forward(&x).expect("a right call").0.data().iter().zip(expected) {
        assert!((y - expected).abs() < 1e-14);
    }
}

/// A sample alone gives the bits it gives in a batch.
#[test]
fn no_sample_sees_another() {
    let mut random = Random::new(2211);
    for kind in [Kind::Layer(1), Kind::Layer(2), Kind::Rms(1), Kind::Group(3), Kind::Instance] {
        for plane in [5, 30] {
            let all = Case::<f32>::new(kind, sizes(6, 6, plane), 1.0, &mut random);
            let together = all.dense();
            for sample in 0..6 {
                let range = sample * 6 * plane..(sample + 1) * 6 * plane;
                let (x, dy) = (all.x[range.clone()].to_vec(), all.dy[range.clone()].to_vec());
                let (gamma, beta) = (all.gamma.clone(), all.beta.clone());
                let alone = Case { kind, sizes: sizes(1, 6, plane), x, dy, gamma, beta }.dense();
                assert_eq!(alone.y, together.y[range.clone()], "{kind:?}");
                assert_eq!(alone.dx, together.dx[range], "{kind:?}");
            }
        }
    }
    let mut y = vec![0.0f32; 6];
    let x = [1.0f32; 6];
    SampleNorm::layer(&[3])
        .expect("a layer")
        .forward_into(&view(&x, sizes(1, 2, 3)), &mut view_mut(&mut y, sizes(1, 2, 3)))
        .expect("a right call");
    assert_eq!(y, [0.0; 6]);
}

/// Views that are parts of other arrays: what lies between their elements is not theirs.
#[cfg(feature = "ndarray")]
#[test]
fn views_of_ndarray() {
    use ndarray::{Array3, s};
    let mut random = Random::new(2213);
    for plane in [5, 20] {
        let values = random.normals_f32(4 * 6 * plane, 1.0, 2.0);
        let dense = Array3::from_shape_vec((4, 6, plane), values).expect("as many values");
        // Every second channel from the end, every third position.
        let part = s![.., ..;-2, 1..;3];
        let mut x = Array3::<f32>::from_elem((4, 12, 3 * plane), f32::NAN);
        x.slice_mut(part).assign(&dense);
        for norm in [SampleNorm::group(3, 6), SampleNorm::instance(6), SampleNorm::layer(&[6, plane])] {
            let norm = norm.expect("a layer");
            let expected = norm.forward(&View::of(dense.view(), Axes::NCHW).expect("a view")).expect("a right call").0;
            let mut y = Array3::<f32>::from_elem((4, 12, 3 * plane), 7.0);
            let x = View::of(x.slice(part), Axes::NCHW).expect("a view");
            let mut out = ViewMut::of(y.slice_mut(part), Axes::NCHW).expect("a view");
            norm.forward_into(&x, &mut out).expect("a right call");
            assert!(y.slice(part).iter().eq(expected.data()), "{:?}", norm.config());
            y.slice_mut(part).fill(7.0);
            assert!(y.iter().all(|&value| value == 7.0), "beside the view, {:?}", norm.config());
        }
    }
}
