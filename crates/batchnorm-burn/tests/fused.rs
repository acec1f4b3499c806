//! Residual and activation in the layer's pass: against the layer followed by Burn's own operations, against the core's
//! readable twin, for who asks, from any memory.

#![allow(missing_docs)]

mod support;

use batchnorm::reference::compact;
use batchnorm_burn::{Activation, BatchNorm, BatchNormConfig, Fused};
use burn::module::{Module, Param, ParamGroup};
use burn::tensor::activation::{leaky_relu, relu};
use burn::tensor::{DType, Device, Tensor};
use support::{Source, by_channel, floats, vector};

const ACTIVATIONS: [Activation; 3] = [Activation::Relu, Activation::LeakyRelu(0.2), Activation::Identity];

/// A way to call the layer, with what follows it.
#[derive(Debug, Clone, Copy)]
struct Kind {
    activation: Activation,
    adding: bool,
    training: bool,
}

/// All kinds in which something follows the layer.
fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for activation in ACTIVATIONS {
        for adding in [false, true] {
            for training in [false, true] {
                if adding || activation != Activation::Identity {
                    kinds.push(Kind { activation, adding, training });
                }
            }
        }
    }
    kinds
}

impl Kind {
    /// The layer and what follows, in one pass.
    fn fused<const D: usize>(self, norm: &BatchNorm, x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        let fused: Fused<'_, D> = match self.adding {
            true => norm.adding(residual).then(self.activation),
            false => norm.then(self.activation),
        };
        if self.training { fused.forward_train(x) } else { fused.forward_eval(x) }
    }

    /// The layer and what follows, one operation after the other.
    fn in_turn<const D: usize>(self, norm: &BatchNorm, x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        let z = if self.training { norm.forward_train(x) } else { norm.forward_eval(x) };
        let z = if self.adding { z + residual } else { z };
        match self.activation {
            Activation::Relu => relu(z),
            Activation::LeakyRelu(slope) => leaky_relu(z, slope),
            Activation::Identity => z,
        }
    }
}

fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Bits of the values, whatever their number type.
fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u64> {
    doubles(tensor).into_iter().map(f64::to_bits).collect()
}

fn bits_of(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The tensors of a case.
struct Case<const D: usize> {
    norm: BatchNorm,
    x: Tensor<D>,
    residual: Tensor<D>,
    dy: Tensor<D>,
}

impl<const D: usize> Case<D> {
    fn new(seed: u64, shape: &[usize], dtype: DType) -> Self {
        let (mut source, device) = (Source::new(seed), Device::default().autodiff());
        let mut norm = BatchNormConfig::new(shape[1]).init(&device);
        norm.gamma = Param::from_tensor(vector(&source.values(shape[1], 1.0, 0.8), &device));
        norm.beta = Param::from_tensor(vector(&source.values(shape[1], 0.0, 1.0), &device));
        norm.running_mean.update(vector(&source.values(shape[1], 0.5, 0.5), &device));
        norm.running_var.update(vector(&source.values(shape[1], 4.0, 0.4), &device));
        let [x, residual, dy] = [(); 3].map(|()| source.tensor::<D>(shape, &device).cast(dtype));
        Case { norm, x, residual, dy }
    }

    /// Output and gradients; with the statistics as they were before.
    fn step(&self, forward: impl Fn(&BatchNorm, Tensor<D>, Tensor<D>) -> Tensor<D>) -> Step {
        let norm = self.norm.clone().train();
        let (x, residual) = (self.x.clone().detach().require_grad(), self.residual.clone().detach().require_grad());
        let y = forward(&norm, x.clone(), residual.clone());
        assert_eq!((y.dims(), y.dtype()), (self.x.dims(), self.x.dtype()));
        let gradients = (y.clone() * self.dy.clone()).sum().backward();
        Step {
            y: doubles(y),
            dx: doubles(x.grad(&gradients).expect("the input requires one")),
            dresidual: residual.grad(&gradients).map_or(Vec::new(), doubles),
            dgamma: doubles(norm.gamma.val().grad(&gradients).expect("gamma requires one")),
            dbeta: doubles(norm.beta.val().grad(&gradients).expect("beta requires one")),
            statistics: [norm.running_mean.value(), norm.running_var.value()].map(doubles),
        }
    }
}

struct Step {
    y: Vec<f64>,
    dx: Vec<f64>,
    /// Empty without a residual.
    dresidual: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
    statistics: [Vec<f64>; 2],
}

impl Step {
    fn bits(&self) -> Vec<Vec<u64>> {
        let [mean, variance] = &self.statistics;
        [&self.y, &self.dx, &self.dresidual, &self.dgamma, &self.dbeta, mean, variance]
            .map(|values| bits_of(values))
            .into()
    }
}

/// One channel's truth, and the measures of errors.
struct Channel {
    y: Vec<f64>,
    dx: Vec<f64>,
    dresidual: Vec<f64>,
    dgamma: f64,
    dbeta: f64,
    /// |gamma| / deviation * max|dy|.
    dx_scale: f64,
    /// The greatest |xhat|.
    xhat: f64,
    /// Sum of |dy * xhat|.
    dgamma_scale: f64,
    /// Sum of |dy|.
    dbeta_scale: f64,
}

/// The twin in `f64`, with the side of the kink told from the output that was got.
fn truth<const D: usize>(case: &Case<D>, kind: Kind, shape: &[usize], got: &[f64]) -> Vec<Channel> {
    let channels = |values: &[f64]| by_channel(values, shape);
    let (x, residual, dy) = (
        channels(&doubles(case.x.clone())),
        channels(&doubles(case.residual.clone())),
        channels(&doubles(case.dy.clone())),
    );
    let (gamma, beta) = (doubles(case.norm.gamma.val()), doubles(case.norm.beta.val()));
    let (mean, variance) = (doubles(case.norm.running_mean.value()), doubles(case.norm.running_var.value()));
    let channel = |(c, got): (usize, &Vec<f64>)| {
        let (x, residual, dy, epsilon) = (&x[c], &residual[c], &dy[c], 1e-5);
        let forward = compact::forward(x, gamma[c], beta[c], epsilon);
        let (mean, variance) = if kind.training { (forward.mean, forward.variance) } else { (mean[c], variance[c]) };
        let inverse = 1.0 / (variance + epsilon).sqrt();
        let z = match kind.training {
            true => forward.y,
            false => compact::forward_eval(x, gamma[c], beta[c], mean, variance, epsilon),
        };
        let slope = kind.activation.slope();
        let z = z.iter().zip(residual).map(|(z, residual)| if kind.adding { z + residual } else { *z });
        let y = z.map(|z| if z > 0.0 { z } else { slope * z }).collect();
        let dz: Vec<f64> = got.iter().zip(dy).map(|(got, dy)| if *got > 0.0 { *dy } else { slope * dy }).collect();
        let gradients = match kind.training {
            true => compact::backward(x, gamma[c], epsilon, &dz),
            false => compact::backward_eval(x, gamma[c], mean, variance, epsilon, &dz),
        };
        let xhat = || x.iter().map(|x| (x - mean) * inverse);
        Channel {
            y,
            dx: gradients.dx,
            dresidual: dz,
            dgamma: gradients.dgamma,
            dbeta: gradients.dbeta,
            dx_scale: gamma[c].abs() * inverse * dy.iter().fold(0.0, |largest, dy| dy.abs().max(largest)),
            xhat: xhat().fold(0.0, |largest, xhat| xhat.abs().max(largest)),
            dgamma_scale: dy.iter().zip(xhat()).map(|(dy, xhat)| (dy * xhat).abs()).sum(),
            dbeta_scale: dy.iter().map(|dy| dy.abs()).sum(),
        }
    };
    channels(got).iter().enumerate().map(channel).collect()
}

/// Fails where an error is more than it may be; NaN is more than anything.
fn within(what: &str, got: f64, expected: f64, bound: f64) {
    let error = (got - expected).abs();
    assert!(error <= bound, "{what}: got {got:e}, expected {expected:e}: off by {error:e}, of at most {bound:e}");
}

/// The contract's bounds for `f32` (A2, A7), against the twin.
fn the_contract_holds<const D: usize>(seed: u64, shape: &[usize], kind: Kind) {
    let case = Case::<D>::new(seed, shape, DType::F32);
    let got = case.step(|norm, x, residual| kind.fused(norm, x, residual));
    let channels = |values: &[f64]| by_channel(values, shape);
    let (y, dx, residual) = (channels(&got.y), channels(&got.dx), channels(&doubles(case.residual.clone())));
    let dresidual = if kind.adding { channels(&got.dresidual) } else { vec![Vec::new(); shape[1]] };
    let beta = doubles(case.norm.beta.val());
    let what = |name: &str| format!("{name} {shape:?} {kind:?}");
    for (c, truth) in truth(&case, kind, shape, &got.y).iter().enumerate() {
        for (i, (got, expected)) in y[c].iter().zip(&truth.y).enumerate() {
            // A sum is rounded in units of its parts.
            let part = if kind.adding { residual[c][i].abs() } else { 0.0 };
            let scale = expected.abs().max(beta[c].abs()).max(part) as f32;
            within(&what("y"), *got, *expected, 2.0 * f64::from(scale.next_up() - scale));
        }
        for (got, expected) in dx[c].iter().zip(&truth.dx) {
            within(&what("dx"), *got, *expected, 1e-6 * truth.dx_scale);
        }
        for (got, expected) in dresidual[c].iter().zip(&truth.dresidual) {
            assert_eq!(*got as f32, *expected as f32, "{}", what("dresidual"));
        }
        within(&what("dgamma"), got.dgamma[c], truth.dgamma, 1e-6 * truth.dgamma_scale);
        within(&what("dbeta"), got.dbeta[c], truth.dbeta, 1e-6 * truth.dbeta_scale);
    }
}

/// Roundings of one operation after the other, each relative to what is rounded: in `f64` the sums of the backward
/// pass, which is computed in `f64`, add theirs.
struct Precision {
    dtype: DType,
    /// Half a unit in the last place.
    unit: f64,
    /// Number of them that the backward pass's arithmetic adds.
    sums: f64,
}

const PRECISIONS: [Precision; 2] = [
    Precision { dtype: DType::F32, unit: 1.0 / (1u64 << 24) as f64, sums: 0.0 },
    Precision { dtype: DType::F64, unit: 1.0 / (1u64 << 53) as f64, sums: 60.0 },
];

/// One pass against one operation after the other: ReLU to the bit, the others to the roundings that are spared.
fn one_pass_is_many<const D: usize>(seed: u64, shape: &[usize], kind: Kind) {
    for Precision { dtype, unit, sums } in PRECISIONS {
        let case = Case::<D>::new(seed, shape, dtype);
        let fused = case.step(|norm, x, residual| kind.fused(norm, x, residual));
        let in_turn = case.step(|norm, x, residual| kind.in_turn(norm, x, residual));
        let what = |name: &str| format!("{name} {dtype:?} {shape:?} {kind:?}");
        assert_eq!(fused.statistics, in_turn.statistics, "{}", what("statistics"));
        if kind.activation == Activation::Relu && !kind.adding {
            assert_eq!(fused.bits(), in_turn.bits(), "{}", what("all"));
            continue;
        }
        // Rounding may put a value on the other side of 0 in Burn's operations: no such value is in these cases.
        let sides = |y: &[f64]| y.iter().map(|y| *y > 0.0).collect::<Vec<bool>>();
        assert_eq!(sides(&fused.y), sides(&in_turn.y), "{}: another seed", what("sides"));

        let residual = doubles(case.residual.clone());
        let slope = kind.activation.slope();
        for (i, (got, expected)) in fused.y.iter().zip(&in_turn.y).enumerate() {
            // z, the sum, the slope, the product, and the one rounding of the fused pass.
            let part = if kind.adding { residual[i].abs() } else { 0.0 };
            let leak = if *expected > 0.0 { 1.0 } else { slope };
            within(&what("y"), *got, *expected, 5.0 * unit * (expected.abs() + leak * part));
        }
        assert_eq!(fused.dresidual.len(), in_turn.dresidual.len());
        for (got, expected) in fused.dresidual.iter().zip(&in_turn.dresidual) {
            within(&what("dresidual"), *got, *expected, 3.0 * unit * expected.abs());
        }
        let channels = |values: &[f64]| by_channel(values, shape);
        let (dx, expected_dx) = (channels(&fused.dx), channels(&in_turn.dx));
        for (c, channel) in truth(&case, kind, shape, &fused.y).iter().enumerate() {
            // dz = slope * dy is off by three roundings, dx = scale * (dz - mean(dz) - xhat * mean(dz * xhat)) too, and
            // is rounded twice; mean(|xhat|) <= 1.
            let bound = (5.0 + sums) * unit * (2.0 + channel.xhat) * channel.dx_scale;
            for (got, expected) in dx[c].iter().zip(&expected_dx[c]) {
                within(&what("dx"), *got, *expected, bound);
            }
            // Gradients of parameters are f32's, as these are.
            let unit = unit.max(PRECISIONS[0].unit);
            let (got, expected) = ([fused.dgamma[c], fused.dbeta[c]], [in_turn.dgamma[c], in_turn.dbeta[c]]);
            within(&what("dgamma"), got[0], expected[0], 5.0 * unit * channel.dgamma_scale);
            within(&what("dbeta"), got[1], expected[1], 5.0 * unit * channel.dbeta_scale);
        }
    }
}

/// A check, for every kind, on every shape of the table and on random ones.
macro_rules! for_every_kind {
    ($check:ident, $seed:expr) => {{
        let check = |index: usize, shape: &[usize]| {
            for (number, kind) in kinds().into_iter().enumerate() {
                let seed = $seed + 100 * index as u64 + number as u64;
                match shape.len() {
                    2 => $check::<2>(seed, shape, kind),
                    3 => $check::<3>(seed, shape, kind),
                    4 => $check::<4>(seed, shape, kind),
                    _ => $check::<5>(seed, shape, kind),
                }
            }
        };
        for (index, shape) in support::SHAPES.iter().enumerate() {
            check(index, shape);
        }
        let mut source = Source::new($seed);
        for index in 0..16 {
            let mut shape: Vec<usize> =
                source.values(2 + index % 4, 4.0, 2.0).iter().map(|size| size.max(1.0) as usize).collect();
            // Two values a channel at least.
            shape[0] += 1;
            check(support::SHAPES.len() + index, &shape);
        }
    }};
}

#[test]
fn output_and_gradients_meet_the_contract() {
    for_every_kind!(the_contract_holds, 10_000);
}

#[test]
fn they_are_those_of_the_layer_and_burns_own_operations() {
    for_every_kind!(one_pass_is_many, 20_000);
}

/// The bits of the gradients that come where some of input, residual, gamma and beta require one.
fn gradients_of(case: &Case<3>, kind: Kind, [x, residual, gamma, beta]: [bool; 4]) -> [Option<Vec<u64>>; 4] {
    let require = |name, wanted, norm: BatchNorm| norm.set_require_grad_group(ParamGroup::from_path(name), wanted);
    let norm = require("gamma", gamma, require("beta", beta, case.norm.clone().train()));
    let x = case.x.clone().detach().set_require_grad(x);
    let residual = case.residual.clone().detach().set_require_grad(residual);
    let y = kind.fused(&norm, x.clone(), residual.clone());
    // Something that requires a gradient, so that there is a graph when nobody does.
    let other = Tensor::<1>::ones([1], &x.device()).require_grad();
    let gradients = ((y * case.dy.clone()).sum() + other.clone()).backward();
    assert!(other.grad(&gradients).is_some());
    let parameter = |tensor: Tensor<1>| tensor.grad(&gradients).map(bits);
    let of_tensor = |tensor: Tensor<3>| tensor.grad(&gradients).map(bits);
    [of_tensor(x), of_tensor(residual), parameter(norm.gamma.val()), parameter(norm.beta.val())]
}

#[test]
fn gradients_go_to_who_asked_alone_and_are_the_same_for_him() {
    for kind in kinds() {
        let case = Case::<3>::new(30_000, &[9, 4, 5], DType::F32);
        let complete = gradients_of(&case, kind, [true; 4]);
        assert_eq!(complete.each_ref().map(Option::is_some), [true, kind.adding, true, true]);
        for combination in 0..16 {
            let wanted = [1, 2, 4, 8].map(|bit| combination & bit != 0);
            let expected = [0, 1, 2, 3].map(|which| complete[which].clone().filter(|_| wanted[which]));
            assert_eq!(gradients_of(&case, kind, wanted), expected, "{kind:?}: {wanted:?}");
        }
    }
}

#[test]
fn they_do_not_depend_on_how_the_tensors_lie_in_memory() {
    let device = Device::default().autodiff();
    let mut source = Source::new(30_001);
    // NHWC in memory; every second sample of a larger batch; one plane for all channels and samples, by strides of 0.
    let x = source.tensor::<4>(&[8, 5, 4, 3], &device).permute([0, 3, 1, 2]).narrow(0, 2, 4);
    let residuals = [
        source.tensor::<4>(&[8, 3, 5, 4], &device).narrow(0, 1, 4),
        source.tensor::<4>(&[4, 4, 3, 5], &device).permute([0, 2, 3, 1]),
        source.tensor::<4>(&[1, 1, 5, 4], &device).expand([4, 3, 5, 4]),
    ];
    let dy = source.tensor::<4>(&[4, 5, 4, 3], &device).permute([0, 3, 1, 2]);
    let dense = |tensor: &Tensor<4>| Tensor::<4>::from_data(tensor.to_data(), &device);
    let norm = BatchNormConfig::new(3).init(&device);
    for residual in residuals {
        for kind in kinds() {
            let case = |x, residual, dy| Case { norm: norm.clone(), x, residual, dy };
            let run = |case: Case<4>| case.step(|norm, x, residual| kind.fused(norm, x, residual)).bits();
            let strided = run(case(x.clone(), residual.clone(), dy.clone()));
            assert_eq!(strided, run(case(dense(&x), dense(&residual), dense(&dy))), "{kind:?}");
        }
    }
}

#[test]
fn a_tensor_that_is_input_and_residual_gets_both_gradients() {
    let case = Case::<4>::new(30_002, &[4, 3, 5, 2], DType::F32);
    let apart = case.step(|norm, x, _| {
        let shortcut = x.clone() * 1.0;
        norm.adding(shortcut).then(Activation::Relu).forward(x)
    });
    let same = case.step(|norm, x, _| norm.adding(x.clone()).then(Activation::Relu).forward(x));
    assert_eq!(same.bits(), apart.bits());
}

#[test]
fn a_residual_that_was_repeated_gets_the_sum() {
    let case = Case::<2>::new(30_003, &[6, 3], DType::F32);
    let row = Source::new(30_004).tensor::<2>(&[1, 3], &case.x.device()).require_grad();
    let y = case.norm.adding(row.clone().expand([6, 3])).forward(case.x.clone());
    let gradients = (y * case.dy.clone()).sum().backward();
    assert_eq!(bits(row.grad(&gradients).unwrap()), bits(case.dy.sum_dim(0)));
}

#[test]
fn training_and_evaluation_are_told_apart_as_by_the_layer() {
    let case = Case::<3>::new(30_005, &[4, 3, 5], DType::F32);
    let (norm, x, residual) = (&case.norm, &case.x, &case.residual);
    let fused = |norm: &BatchNorm, x: Tensor<3>| {
        let residual = if x.is_autodiff() { residual.clone() } else { residual.clone().inner() };
        bits(norm.adding(residual).then(Activation::Relu).forward(x))
    };
    let one_by_one = |z: Tensor<3>| bits(norm.adding(case.residual.clone()).then(Activation::Relu).forward_eval(z));
    let statistics = |norm: &BatchNorm| (bits(norm.running_mean.value()), bits(norm.running_var.value()));
    let start = statistics(norm);

    // No autodiff, or frozen: evaluation, nothing changes.
    let evaluated = one_by_one(x.clone());
    assert_eq!(fused(norm, x.clone().inner()), evaluated);
    assert_eq!(fused(&norm.valid(), x.clone().inner()), evaluated);
    assert_eq!(fused(&norm.clone().freeze(), x.clone()), evaluated);
    assert_eq!(statistics(norm), start);

    // Autodiff: training, and the statistics are those that the layer alone has then.
    let alone = norm.clone();
    alone.forward_train(x.clone());
    let trained = fused(norm, x.clone());
    assert_ne!(trained, evaluated);
    assert_ne!(statistics(norm), start);
    assert_eq!(statistics(norm), statistics(&alone));

    // Said, whatever the device: moments and channels left out come as from the layer.
    let (ours, theirs) = (norm.clone(), norm.clone());
    let fused = ours.then(Activation::Relu).try_forward_train(x.clone().inner()).unwrap();
    let plain = theirs.try_forward_train(x.clone().inner()).unwrap();
    assert_eq!((fused.batch, fused.not_updated), (plain.batch, plain.not_updated));
    assert_eq!(bits(fused.output), bits(relu(plain.output)));
}

#[test]
fn half_types_are_cast_as_by_the_layer() {
    for dtype in [DType::F16, DType::BF16] {
        for kind in kinds() {
            let case = Case::<3>::new(30_006, &[6, 4, 5], dtype);
            let fused = case.step(|norm, x, residual| kind.fused(norm, x, residual));
            let in_f32 = Case {
                norm: case.norm.clone(),
                x: case.x.clone().cast(DType::F32),
                residual: case.residual.clone().cast(DType::F32),
                dy: case.dy.clone().cast(DType::F32),
            };
            let wide = in_f32.step(|norm, x, residual| kind.fused(norm, x, residual));
            let device = case.x.device();
            let narrowed = |values: &[f64]| -> Vec<f64> {
                let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
                doubles(vector(&values, &device).cast(dtype))
            };
            for (got, expected) in [(&fused.y, &wide.y), (&fused.dx, &wide.dx), (&fused.dresidual, &wide.dresidual)] {
                assert_eq!(bits_of(got), bits_of(&narrowed(expected)), "{dtype:?} {kind:?}");
            }
            assert_eq!([&fused.dgamma, &fused.dbeta], [&wide.dgamma, &wide.dbeta], "{dtype:?} {kind:?}");
            assert_eq!(fused.statistics, wide.statistics);
        }
    }
}

#[test]
fn a_channel_that_is_not_finite_is_no_others_business() {
    let device = Device::default();
    let norm = BatchNormConfig::new(2).init(&device);
    let x = Tensor::<2>::from_floats([[1.0, f32::NAN], [-1.0, 3.0], [0.0, 2.0]], &device);
    let trained = norm.then(Activation::Relu).try_forward_train(x).unwrap();
    assert_eq!(trained.not_updated, [1]);
    let y = floats(trained.output);
    assert!(y[0] > 1.2 && y[2] == 0.0 && y[4] == 0.0, "{y:?}");
    // A rectifier that made 0 of it would hide it.
    assert!(y[1].is_nan() && y[3].is_nan() && y[5].is_nan(), "{y:?}");
}

#[test]
fn an_empty_batch_changes_nothing() {
    for kind in kinds() {
        let case = Case::<2>::new(30_007, &[0, 3], DType::F32);
        let start = [case.norm.running_mean.value(), case.norm.running_var.value()].map(doubles);
        let step = case.step(|norm, x, residual| kind.fused(norm, x, residual));
        assert!(step.y.is_empty() && step.dx.is_empty() && step.dresidual.is_empty());
        assert_eq!((step.dgamma, step.dbeta), (vec![0.0; 3], vec![0.0; 3]), "{kind:?}");
        assert_eq!(step.statistics, start);
    }
}
