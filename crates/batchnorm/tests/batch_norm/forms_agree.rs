//! One gradient, many roads: 500 random features, among them pairs, constants, outliers that come first and every eps from
//! 1e-12 to 1, through the closed form, the graph node by node, the Jacobian, the kernels, a complex step and dual numbers.

use crate::support::Random;
use crate::support::wide::largest;
use batchnorm::reference::number::{Complex, complex_step, directional_derivative};
use batchnorm::reference::{Real, compact, jacobian, mixed, second_order, staged, tangent};
use batchnorm::{
    Axes, BatchNorm, Config, ConstantChannel, ParameterDirection, Policies, Saved, Tensor, Trained, View, ViewMut,
};

const CASES: usize = 500;
/// Staged, compact, kernel and Jacobian among each other, by the measure of docs/numerics.md.
const AGREE: f64 = 1e-12;
/// The kernel against a complex step (A8).
const EXACT: f64 = 1e-13;

struct Case {
    what: String,
    x: Vec<f64>,
    dy: Vec<f64>,
    gamma: f64,
    beta: f64,
    epsilon: f64,
    /// x' and gamma'.
    direction: (Vec<f64>, f64),
}

impl Case {
    fn new(number: usize, random: &mut Random) -> Case {
        // A fifth are pairs, whose gradient is eps / (variance + eps) of its terms.
        let n = if number.is_multiple_of(5) { 2 } else { 2 + random.below(120) };
        let epsilon = [1e-12, 1e-10, 1e-8, 1e-5, 1e-3, 1.0][number % 6];
        let (mean, deviation) = (random.normal() * 20.0, 10f64.powf(random.uniform() * 4.0 - 2.0));
        let mut x = random.normals(n, mean, deviation);
        let kind = match number % 10 {
            3 => {
                x.fill(mean);
                "constant"
            }
            7 => {
                x[0] = mean + 1e3 * deviation;
                "outlier first"
            }
            _ => "normal",
        };
        let what =
            format!("case {number}: {kind}, {n} values, mean {mean:.3}, deviation {deviation:.3}, eps {epsilon:e}");
        let dy = random.normals(n, 0.1, 1.0);
        let direction = (random.normals(n, 0.3 * deviation, deviation), random.normal());
        Case { what, x, dy, gamma: random.normal(), beta: random.normal(), epsilon, direction }
    }

    fn view<'d>(&self, data: &'d [f64]) -> View<'d, f64> {
        View::new(data, &[self.x.len(), 1], Axes::NCHW).expect("a column")
    }

    /// With the formula's own derivative where all values are alike.
    fn trained(&self) -> (BatchNorm, Trained<f64>) {
        let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
        let config = Config::pytorch().epsilon(self.epsilon).policies(policies);
        let mut layer = config.channels(1).build().expect("a layer");
        layer.set_gamma(&[self.gamma]).expect("one");
        layer.set_beta(&[self.beta]).expect("one");
        let trained = layer.forward_train(&self.view(&self.x)).expect("a right call");
        (layer, trained)
    }

    fn scales(&self) -> Scales {
        let pass = compact::forward(&self.x, self.gamma, self.beta, self.epsilon);
        let products = self.dy.iter().zip(&pass.normalized).map(|(dy, xhat)| (dy * xhat).abs()).sum();
        let r = pass.inverse_deviation;
        let dx = self.gamma.abs() * r * largest(&self.dy);
        let moved = r * largest(&self.direction.0);
        Scales {
            dx,
            products,
            sums: self.dy.iter().map(|dy| dy.abs()).sum(),
            grown: 1.0 + pass.mean.abs() * r,
            y: self.gamma.abs() * moved + self.direction.1.abs() * largest(&pass.normalized),
            curved: dx * moved * (self.x.len() as f64).sqrt() + self.direction.1.abs() * r * largest(&self.dy),
        }
    }
}

/// What errors are measured by: of dx, dgamma and dbeta as in docs/numerics.md, section 0; of y' and dx', what their terms are
/// at most.
struct Scales {
    dx: f64,
    products: f64,
    sums: f64,
    /// 1 + mean / deviation.
    grown: f64,
    y: f64,
    curved: f64,
}

/// The largest distance between two arrays, as a part of a scale.
fn distance(one: &[f64], other: &[f64], scale: f64) -> f64 {
    assert_eq!(one.len(), other.len());
    let worst = one.iter().zip(other).map(|(one, other)| (one - other).abs());
    worst.fold(0.0, |most: f64, error| if error.is_nan() { f64::INFINITY } else { most.max(error) }) / scale
}

#[test]
fn staged_compact_kernel_and_jacobian_agree() {
    let mut random = Random::new(2600);
    let mut worst: f64 = 0.0;
    for number in 0..CASES {
        let case = Case::new(number, &mut random);
        let (n, scales) = (case.x.len(), case.scales());
        let closed = compact::backward(&case.x, case.gamma, case.epsilon, &case.dy);
        let nodes = staged::forward(&case.x, case.gamma, case.beta, case.epsilon);
        let by_nodes = staged::backward(&nodes, case.gamma, &case.dy).gradients;
        let rows = jacobian::jacobian(&case.x, case.gamma, case.epsilon);
        let by_jacobian: Vec<f64> = (0..n).map(|l| (0..n).map(|i| rows[i * n + l] * case.dy[i]).sum()).collect();
        let (layer, trained) = case.trained();
        let kernel = layer.backward(&case.view(&case.x), &case.view(&case.dy), &trained.saved).expect("a right call");
        let own = |values: Option<Vec<f64>>| values.expect("the layer has it")[0];
        let (dgamma, dbeta) = (own(kernel.dgamma.clone()), own(kernel.dbeta.clone()));
        for (road, dx) in [("staged", &by_nodes.dx[..]), ("Jacobian", &by_jacobian), ("kernel", kernel.dx.data())] {
            let error = distance(dx, &closed.dx, scales.dx);
            assert!(error <= AGREE, "{}, {road}: {error:e}", case.what);
            worst = worst.max(error);
        }
        for (road, of_gamma, of_beta) in [("staged", by_nodes.dgamma, by_nodes.dbeta), ("kernel", dgamma, dbeta)] {
            // Of a constant feature the readable roads have the rounding of their mean for xhat; the kernel has 0.
            let rounding = case.x.len() as f64 * f64::EPSILON * scales.grown * scales.sums;
            let constant = case.what.contains("constant");
            let allowed = if constant { rounding } else { AGREE * scales.grown * scales.products };
            let error = (of_gamma - closed.dgamma).abs();
            assert!(error <= allowed, "{}, {road}: dgamma {error:e} of {allowed:e}", case.what);
            assert!(!constant || road != "kernel" || of_gamma == 0.0);
            assert!((of_beta - closed.dbeta).abs() <= AGREE * scales.sums, "{}, {road}: dbeta", case.what);
        }
    }
    println!("worst distance from the closed form, of dx: {worst:.1e}");
}

#[test]
fn a_complex_step_agrees() {
    let mut random = Random::new(2601);
    let mut worst: f64 = 0.0;
    for number in 0..CASES {
        let case = Case::new(number, &mut random);
        let scales = case.scales();
        let loss = |x: &[Complex], gamma: Complex, beta: Complex| {
            // About a value of the feature, so that the sums of the formula round as little as they may.
            let shift = Complex::constant(case.x[case.x.len() - 1]);
            let x: Vec<Complex> = x.iter().map(|&x| x - shift).collect();
            let y = compact::forward(&x, gamma, beta, Complex::constant(case.epsilon)).y;
            y.iter().zip(&case.dy).fold(Complex::constant(0.0), |sum, (&y, &dy)| sum + y * Complex::constant(dy))
        };
        let (gamma, beta) = (Complex::constant(case.gamma), Complex::constant(case.beta));
        let slopes: Vec<f64> = (0..case.x.len()).map(|i| complex_step(&case.x, i, |x| loss(x, gamma, beta))).collect();
        let x: Vec<Complex> = case.x.iter().map(|&x| Complex::constant(x)).collect();
        let dgamma = complex_step(&[case.gamma], 0, |gamma| loss(&x, gamma[0], beta));
        let dbeta = complex_step(&[case.beta], 0, |beta| loss(&x, gamma, beta[0]));
        let (layer, trained) = case.trained();
        let kernel = layer.backward(&case.view(&case.x), &case.view(&case.dy), &trained.saved).expect("a right call");
        let error = distance(kernel.dx.data(), &slopes, scales.dx);
        assert!(error <= EXACT * scales.grown, "{}: {error:e} of {:e}", case.what, EXACT * scales.grown);
        worst = worst.max(error / scales.grown);
        let own = |values: &Option<Vec<f64>>| values.as_ref().expect("the layer has it")[0];
        let error = (own(&kernel.dgamma) - dgamma).abs();
        // Of a constant feature, dgamma is 0 to within rounding.
        assert!(error <= EXACT * scales.grown * scales.products.max(1e-300), "{}: dgamma {error:e}", case.what);
        let error = (own(&kernel.dbeta) - dbeta).abs();
        assert!(error <= EXACT * scales.sums, "{}: dbeta {error:e}", case.what);
    }
    println!("worst distance from a complex step, of 1 + mean/std: {worst:.1e}");
}

fn along(case: &Case, saved: &Saved, call: impl Fn(&Saved, ParameterDirection, &mut ViewMut<f64>)) -> Vec<f64> {
    let mut moved = vec![f64::NAN; case.x.len()];
    let mut out = ViewMut::new(&mut moved, &[case.x.len(), 1], Axes::NCHW).expect("a column");
    call(saved, ParameterDirection { gamma: Some(&[case.direction.1]), beta: None }, &mut out);
    moved
}

#[test]
fn directional_and_second_derivatives_agree() {
    let mut random = Random::new(2602);
    let (mut worst, mut worst_second) = (0.0f64, 0.0f64);
    for number in 0..CASES {
        let case = Case::new(number, &mut random);
        let (t, gamma_t) = (&case.direction.0, case.direction.1);
        let (scales, saved) = (case.scales(), case.trained().1.saved);
        let (x, dy, along_x) = (case.view(&case.x), case.view(&case.dy), case.view(t));

        // JVP against dual numbers, and against the backward pass (A9).
        let moved = along(&case, &saved, |saved, parameters, out| {
            saved.jvp(&x, &along_x, parameters, out).expect("a right call");
        });
        let (point, direction) = ([&case.x[..], &[case.gamma]].concat(), [&t[..], &[gamma_t]].concat());
        let n = case.x.len();
        let by_duals = directional_derivative(&point, &direction, |all| {
            compact::forward(&all[..n], all[n], Real::constant(case.beta), Real::constant(case.epsilon)).y
        });
        let error = distance(&moved, &by_duals, scales.y);
        assert!(error <= AGREE * scales.grown, "{}: JVP {error:e}", case.what);
        worst = worst.max(error / scales.grown);
        let mut dx = vec![0.0; n];
        let mut out = ViewMut::new(&mut dx, &[n, 1], Axes::NCHW).expect("a column");
        let gradients = saved.backward(&x, &dy, &mut out).expect("a right call");
        let product =
            |one: &[f64], other: &[f64]| -> f64 { one.iter().zip(other).map(|(one, other)| one * other).sum() };
        let magnitude =
            |one: &[f64], other: &[f64]| -> f64 { one.iter().zip(other).map(|(one, other)| (one * other).abs()).sum() };
        let (forth, back) = (product(&case.dy, &moved), product(&dx, t) + gradients.dgamma[0] * gamma_t);
        let scale = magnitude(&case.dy, &moved) + magnitude(&dx, t) + (gradients.dgamma[0] * gamma_t).abs();
        assert!((forth - back).abs() <= AGREE * scale, "{}: {forth} {back}", case.what);

        // The Hessian times the direction against the twin, and against dual numbers through the closed gradient.
        let curved = along(&case, &saved, |saved, parameters, out| {
            saved.hvp(&x, &dy, &along_x, parameters, out).expect("a right call");
        });
        let statistics = mixed::Statistics { running: [0.0, 1.0], share: 1.0 };
        let direction_of = tangent::Direction { x: t, gamma: gamma_t, beta: 0.0 };
        let twin =
            second_order::backward_tangent(&case.x, case.gamma, case.epsilon, statistics, true, &case.dy, direction_of);
        let through_gradient = directional_derivative(&point, &direction, |all| {
            let dy: Vec<_> = case.dy.iter().map(|&dy| Real::constant(dy)).collect();
            compact::backward(&all[..n], all[n], Real::constant(case.epsilon), &dy).dx
        });
        for (road, other) in [("twin", &twin.dx), ("dual numbers", &through_gradient)] {
            let error = distance(&curved, other, scales.curved);
            assert!(error <= AGREE * scales.grown, "{}, {road}: HVP {error:e}", case.what);
            worst_second = worst_second.max(error / scales.grown);
        }
    }
    println!("worst distance, of 1 + mean/std: JVP {worst:.1e}, HVP {worst_second:.1e}");
}

#[test]
fn a_constant_feature_has_no_gradient_by_declaration() {
    let mut random = Random::new(2603);
    for number in (3..CASES).step_by(10) {
        let case = Case::new(number, &mut random);
        let layer = BatchNorm::new(1).expect("a layer");
        let trained = layer.forward_train(&case.view(&case.x)).expect("a right call");
        let dx: Tensor<f64> =
            layer.backward(&case.view(&case.x), &case.view(&case.dy), &trained.saved).expect("a right call").dx;
        assert!(dx.data().iter().all(|&dx| dx == 0.0), "{}", case.what);
    }
}
