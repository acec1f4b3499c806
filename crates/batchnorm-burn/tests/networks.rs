//! Networks of the kinds that people have, of which only the import changes: against Burn's layers, and through all that is
//! done with a model.

#![allow(missing_docs)]

mod support;

use batchnorm::BatchMoments;
use batchnorm_burn::{BatchNorm, Recalibration, RunningVariance, map_norms, name_layers, norms};
use burn::module::{Module, ModuleMapper, Param, Quantizer};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{Device, Tensor, TensorData};
use support::{Source, bits, floats};

/// A network that the tests can run.
pub trait Network: Module + 'static {
    /// Paths of its batch norms.
    const NORMS: &[&str];
    fn new(device: &Device) -> Self;
    fn forward(&self, x: Tensor<4>) -> Tensor<2>;
}

mod theirs {
    use super::Network;
    use burn::nn;
    include!("models/networks.rs");
}

mod ours {
    use super::Network;
    use batchnorm_burn::nn;
    include!("models/networks.rs");
}

fn device() -> Device {
    Device::default().autodiff()
}

fn input(seed: u64, samples: usize) -> Tensor<4> {
    Source::new(seed).tensor::<4>(&[samples, 3, 6, 6], &device())
}

/// Loads with what both have: the sibling norms' records are Burn's too.
fn the_same<A: Network, B: Network>(from: &A) -> B {
    B::new(&device()).load_record(from.clone().into_record())
}

/// Weights from a seed, instead of those that Burn draws for all tests together.
struct Seeded(Source);

impl ModuleMapper for Seeded {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D < 2 {
            return param;
        }
        param.map(|weight| {
            let (shape, device) = (weight.dims(), weight.device());
            let fan_in: usize = if D == 2 { shape[0] } else { shape[1..].iter().product() };
            let values = self.0.values(shape.iter().product(), 0.0, (fan_in as f32).powf(-0.5));
            Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
        })
    }
}

fn start<N: Network>(seed: u64) -> N {
    N::new(&device()).map(&mut Seeded(Source::new(seed)))
}

fn near(what: &str, one: &[f32], other: &[f32]) {
    let largest = other.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() <= 1e-3 * largest, "{what}: {one} {other} of {largest}");
    }
}

fn state<N: Network>(net: &N) -> Vec<Vec<u32>> {
    norms(net).iter().flat_map(|norm| [bits(norm.running_mean.value()), bits(norm.running_var.value())]).collect()
}

/// Outputs, gradients, evaluation, a training of some steps, records.
fn trains_as_with_burns<A: Network, B: Network>() {
    // Burn's convention of the variance, to be comparable.
    let mut ours =
        map_norms(start::<A>(899), |_, norm| BatchNorm { running_variance: RunningVariance::Population, ..norm });
    let mut theirs: B = the_same(&ours);
    let (mut optimizer, mut theirs_optimizer) = (SgdConfig::new().init(), SgdConfig::new().init());
    for step in 0..5 {
        let x = input(900 + step, 16);
        let (dx, same) = (x.clone().require_grad(), x.require_grad());
        let (y, z) = (ours.forward(dx.clone()), theirs.forward(same.clone()));
        near("output", &floats(y.clone()), &floats(z.clone()));
        let (gradients, others) = (y.square().mean().backward(), z.square().mean().backward());
        near("gradient", &floats(dx.grad(&gradients).unwrap()), &floats(same.grad(&others).unwrap()));
        let (gradients, others) =
            (GradientsParams::from_grads(gradients, &ours), GradientsParams::from_grads(others, &theirs));
        assert_eq!(gradients.len(), others.len());
        theirs = theirs_optimizer.step(0.05, theirs, others);
        ours = optimizer.step(0.05, ours, gradients);
    }
    let x = input(910, 16).inner();
    let evaluated = floats(ours.valid().forward(x.clone()));
    near("evaluation", &evaluated, &floats(theirs.valid().forward(x.clone())));
    let bytes = ours.clone().into_record().into_bytes().unwrap();
    let loaded = A::new(&device()).load_record(burn::store::ModuleRecord::from_bytes(bytes).unwrap());
    assert_eq!(floats(loaded.valid().forward(x.clone())), evaluated);
    let back: B = the_same(&ours);
    near("a record for Burn's", &floats(back.valid().forward(x)), &evaluated);
}

/// Two devices: a step of two replicas in either order is one update with the moments of both.
fn trains_on_several_devices<A: Network>() {
    let start = start::<A>(919);
    let mut first: Option<Vec<Vec<u32>>> = None;
    for order in [[0, 1], [1, 0], [0, 1]] {
        let net = start.clone().unfreeze();
        let between = net.clone();
        let mut replicas: Vec<Option<A>> = (0..2).map(|_| Some(between.clone())).collect();
        let before = state(&net);
        let mut seen: [Vec<BatchMoments>; 2] = Default::default();
        for number in order {
            let replica = replicas[number].take().unwrap();
            seen[number] = std::thread::spawn(move || {
                let replica = replica.fork(&device());
                let x = input(920 + number as u64, 8);
                // What each norm sees: held by another clone that goes its own way.
                let look = replica.clone().train();
                norms(&look).hold();
                look.forward(x.clone());
                let seen = norms(&look).iter().map(|norm| norm.held_moments().remove(0)).collect();
                let gradients = replica.forward(x).square().mean().backward();
                drop(GradientsParams::from_grads(gradients, &replica));
                seen
            })
            .join()
            .unwrap();
        }
        drop(between);
        assert_ne!(state(&net), before);
        assert_eq!(first.get_or_insert_with(|| state(&net)), &state(&net), "{order:?}");
        for (number, norm) in norms(&net).iter().enumerate() {
            let alone = norm.valid();
            let start = batchnorm::RunningStatistics::start(alone.gamma.dims()[0]).unwrap();
            alone.set_running_statistics(&start).unwrap();
            alone.commit(&seen[0][number].merge(&seen[1][number]).unwrap()).unwrap();
            let all = |norm: &BatchNorm| [norm.running_mean.value(), norm.running_var.value()].map(floats);
            for (got, expected) in all(norm).iter().flatten().zip(all(&alone).iter().flatten()) {
                assert!(got.to_bits().abs_diff(expected.to_bits()) <= 1, "{}: {got} {expected}", norm.path());
            }
        }
    }
}

fn everything_else<A: Network, B: Network>() {
    let net = start::<A>(929);
    // Names, whoever has written the model.
    assert_eq!(norms(&net).iter().map(|norm| norm.path().to_string()).collect::<Vec<_>>(), A::NORMS);
    assert!(name_layers(&net).len() >= A::NORMS.len());
    for norm in norms(&net) {
        let said = norm.try_forward_eval(Tensor::<2>::ones([2, 99], &Device::default())).unwrap_err().to_string();
        assert!(said.starts_with(&format!("{}: input: expected ", norm.path())), "{said}");
    }
    // A step that is dropped.
    let before = state(&net);
    norms(&net).hold();
    net.forward(input(930, 8));
    assert_eq!(norms(&net).discard_held(), 1);
    norms(&net).release();
    assert_eq!(state(&net), before);
    // Training, then recalibration without a list of layers.
    (0..3).for_each(|step| drop(net.forward(input(931 + step, 8))));
    let use_of = |net: &A, x: Tensor<4>| drop(net.forward(x));
    let batches = || (0..2).map(|step| input(940 + step, 9).inner());
    let done = Recalibration::layer_by_layer().run(&net, batches, use_of).unwrap();
    assert_eq!(done.layers.len(), A::NORMS.len());
    // Quantised, the error is that of Burn's layer.
    let theirs: B = the_same(&net);
    let (ours, theirs) = (net.valid(), theirs.valid());
    let x = input(950, 8).inner();
    let exact = floats(ours.forward(x.clone()));
    let plain = Device::default();
    let scheme = plain.settings().quantization.scheme.with_value(QuantValue::Q8S);
    let quantizer = || Quantizer::new(Calibration::MinMax, scheme);
    let (ours, theirs) = (ours.quantize_weights(&mut quantizer()), theirs.quantize_weights(&mut quantizer()));
    let (got, expected) = (floats(ours.forward(x.clone())), floats(theirs.forward(x)));
    let error = |one: &[f32]| one.iter().zip(&exact).map(|(one, exact)| (one - exact).abs()).fold(0.0f32, f32::max);
    assert!(error(&got) <= 1.05 * error(&expected) + 1e-3, "{} {}", error(&got), error(&expected));
}

macro_rules! tests {
    ($($name:ident),*) => {$(
        mod $name {
            use super::{ours, theirs};

            #[test]
            fn trains_as_with_burns() {
                super::trains_as_with_burns::<ours::$name::Net, theirs::$name::Net>();
            }

            #[test]
            fn trains_on_several_devices() {
                super::trains_on_several_devices::<ours::$name::Net>();
            }

            #[test]
            fn everything_else() {
                super::everything_else::<ours::$name::Net, theirs::$name::Net>();
            }
        }
    )*};
}
tests!(residual, inverted, enums, generator, table);
