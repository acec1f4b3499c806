//! Models written against Burn's layer, with ours: the same source text, of which only the import differs.

#![allow(missing_docs)]

mod support;

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::{ModuleRecord, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, SafetensorsStore, bridge};
use burn::tensor::{Bytes, Device, Tensor};
use support::{Source, bits, floats};

mod theirs {
    pub mod mlp {
        use burn::nn::{BatchNorm, BatchNormConfig};
        include!("models/mlp.rs");
    }
    pub mod cnn {
        use burn::nn::{BatchNorm, BatchNormConfig};
        include!("models/cnn.rs");
    }
}

mod ours {
    pub mod mlp {
        use batchnorm_burn::{BatchNorm, BatchNormConfig};
        include!("models/mlp.rs");
    }
    pub mod cnn {
        use batchnorm_burn::{BatchNorm, BatchNormConfig};
        include!("models/cnn.rs");
    }
}

/// The operations of a model that the tests need.
trait Network: Module {
    /// Its name in `golden/make_torch.py`.
    const NAME: &'static str;
    fn create(device: &Device) -> Self;
    fn run(&self, images: Tensor<4>) -> Tensor<2>;
    /// Running mean and variance of each batch norm.
    fn statistics(&self) -> Vec<Vec<f32>>;
}

macro_rules! network {
    ($name:literal, $model:ty, $config:expr) => {
        impl Network for $model {
            const NAME: &'static str = $name;

            fn create(device: &Device) -> Self {
                $config.init(device)
            }

            fn run(&self, images: Tensor<4>) -> Tensor<2> {
                self.forward(images)
            }

            fn statistics(&self) -> Vec<Vec<f32>> {
                let of_one = self.norms().into_iter().map(|norm| [&norm.running_mean, &norm.running_var]);
                of_one.flatten().map(|state| floats(state.value_sync())).collect()
            }
        }
    };
}
network!("mlp", theirs::mlp::Mlp, theirs::mlp::MlpConfig::new(burn::nn::BatchNormConfig::new(16)));
network!("mlp", ours::mlp::Mlp, ours::mlp::MlpConfig::new(batchnorm_burn::BatchNormConfig::new(16)));
network!("cnn", theirs::cnn::Cnn, theirs::cnn::CnnConfig::new(8));
network!("cnn", ours::cnn::Cnn, ours::cnn::CnnConfig::new(8));

/// Each test, for both models.
macro_rules! tests {
    ($($test:ident)*) => {
        mod mlp {
            $(#[test] fn $test() { super::$test::<super::theirs::mlp::Mlp, super::ours::mlp::Mlp>(); })*
        }
        mod cnn {
            $(#[test] fn $test() { super::$test::<super::theirs::cnn::Cnn, super::ours::cnn::Cnn>(); })*
        }
    };
}
tests! {
    an_old_record_loads_and_evaluates_as_before
    a_training_step_is_the_same
    after_training_a_saved_and_reloaded_model_evaluates_to_the_same_bits
    freezing_and_evaluating_mean_the_same
    pytorchs_weights_load
    it_has_as_many_parameters
}

fn trained<N: Network>(mut model: N, batches: &[Tensor<4>], target: &Tensor<2>) -> N {
    let mut optimizer = SgdConfig::new().init();
    for x in batches {
        let loss = (model.run(x.clone()) - target.clone()).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, gradients);
    }
    model
}

fn batches(device: &Device) -> (Vec<Tensor<4>>, Tensor<2>) {
    let mut source = Source::new(900);
    let batches = (0..6).map(|_| source.tensor::<4>(&[8, 1, 8, 8], device)).collect();
    (batches, source.tensor::<2>(&[8, 10], device))
}

fn bytes(model: impl Module) -> Vec<u8> {
    model.into_record().into_bytes().unwrap().to_vec()
}

fn from_bytes<N: Network>(bytes: &[u8], device: &Device) -> N {
    N::create(device).load_record(ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).unwrap())
}

/// All float parameters, in the order of the fields; running statistics too.
fn parameters(model: &impl Module) -> Vec<f32> {
    struct Collected(Vec<f32>);
    impl ModuleVisitor for Collected {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(floats(param.val()));
        }
    }
    let mut collected = Collected(Vec::new());
    model.visit(&mut collected);
    collected.0
}

fn close(ours: &[f32], theirs: &[f32], bound: f32) {
    assert_eq!(ours.len(), theirs.len());
    let most = theirs.iter().fold(1.0f32, |most, value| most.max(value.abs()));
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= bound * most, "{ours} and {theirs}");
    }
}

fn an_old_record_loads_and_evaluates_as_before<Theirs: Network, Ours: Network>() {
    let (tracked, device) = (Device::default().autodiff(), Device::default());
    let (batches, target) = batches(&tracked);
    // `valid` has Burn take in its pending update, which its record lacks otherwise.
    let old = trained(Theirs::create(&tracked), &batches, &target).valid();
    let new: Ours = from_bytes(&bytes(old.clone()), &device);
    let x = batches[0].clone().without_autodiff();
    close(&floats(new.run(x.clone())), &floats(old.run(x.clone())), 1e-6);
    assert_eq!(new.statistics(), old.statistics());
    assert_eq!(parameters(&new), parameters(&old));

    // And back.
    let back: Theirs = from_bytes(&bytes(new), &device);
    assert_eq!(bits(back.run(x.clone())), bits(old.run(x)));
}

fn a_training_step_is_the_same<Theirs: Network, Ours: Network>() {
    let device = Device::default().autodiff();
    let (batches, target) = batches(&device);
    let old = trained(Theirs::create(&device), &batches, &target).valid();
    let start = bytes(old);
    let step = |batch: usize| std::slice::from_ref(&batches[batch]);
    let theirs = trained(from_bytes::<Theirs>(&start, &device), step(0), &target);
    let ours = trained(from_bytes::<Ours>(&start, &device), step(0), &target);
    // Outputs by the batch, which depend on every trained parameter but not on the running variance's convention.
    close(&floats(ours.run(batches[1].clone())), &floats(theirs.run(batches[1].clone())), 2e-6);
}

fn after_training_a_saved_and_reloaded_model_evaluates_to_the_same_bits<Theirs: Network, Ours: Network>() {
    let device = Device::default().autodiff();
    let (batches, target) = batches(&device);
    let model = trained(Ours::create(&device), &batches, &target);
    let loaded: Ours = from_bytes(&bytes(model.clone()), &device);
    let x = batches[0].clone().without_autodiff();
    let y = bits(model.valid().run(x.clone()));
    assert_eq!(bits(loaded.valid().run(x.clone())), y);
    // And goes on to the same bits.
    let on = |model: Ours| bits(trained(model, &batches, &target).valid().run(x.clone()));
    let went_on = on(model);
    assert_eq!(on(loaded), went_on);
    assert_ne!(went_on, y);
}

fn freezing_and_evaluating_mean_the_same<Theirs: Network, Ours: Network>() {
    /// The output, how many parameters get a gradient, and whether the statistics moved.
    fn seen<N: Network>(start: &[u8], change: impl Fn(N) -> N, x: &Tensor<4>) -> (Vec<f32>, usize, bool) {
        let model = change(from_bytes(start, &Device::default().autodiff()));
        let before = model.statistics();
        let y = model.run(x.clone());
        let moved = model.statistics() != before;
        if !x.is_autodiff() {
            return (floats(y), 0, moved);
        }
        // Something that requires a gradient, so that there is a graph when nobody does.
        let other = Tensor::<1>::ones([1], &x.device()).require_grad();
        let gradients = (y.clone().square().sum() + other).backward();
        (floats(y), GradientsParams::from_grads(gradients, &model).len(), moved)
    }
    let tracked = Device::default().autodiff();
    let (batches, target) = batches(&tracked);
    let start = bytes(trained(Theirs::create(&tracked), &batches, &target).valid());
    let x = &batches[1];
    let plain = &x.clone().without_autodiff();
    let both = |theirs: fn(Theirs) -> Theirs, ours: fn(Ours) -> Ours, x: &Tensor<4>| {
        let (theirs, ours) = (seen(&start, theirs, x), seen(&start, ours, x));
        close(&ours.0, &theirs.0, 2e-6);
        assert_eq!((ours.1, ours.2), (theirs.1, theirs.2));
        ours
    };
    let trains = both(|model| model, |model| model, x);
    let (freeze, valid) = (both(Module::freeze, Module::freeze, x), both(|m| m.valid(), |m| m.valid(), plain));
    let no_grad = both(Module::no_grad, Module::no_grad, x);
    // Two layers with weights, two batch norms, an output: a pair of parameters each.
    assert_eq!((trains.1, trains.2), (10, true));
    assert_eq!((freeze.1, freeze.2), (0, false));
    assert_eq!((valid.1, valid.2), (0, false));
    assert_eq!((no_grad.1, no_grad.2), (0, true));
    assert_eq!((&freeze.0, &no_grad.0), (&valid.0, &trains.0));
    // And undone.
    assert_eq!(both(|m| m.freeze().unfreeze(), |m| m.freeze().unfreeze(), x), trains);
    assert_eq!(both(|m| m.valid().train(), |m| m.valid().train(), x), trains);
}

fn pytorchs_weights_load<Theirs: Network, Ours: Network>() {
    fn evaluated<N: Network>(device: &Device) -> [Vec<f32>; 2] {
        let file = |name: String| {
            SafetensorsStore::from_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name))
        };
        let mut model = N::create(device);
        let mut weights = file(format!("torch_{}.safetensors", N::NAME)).with_from_adapter(PyTorchToBurnAdapter);
        let result = model.load_from(&mut weights).unwrap();
        assert!(result.errors.is_empty() && result.missing.is_empty(), "{result:?}");
        assert!(result.unused.iter().all(|name| name.ends_with("num_batches_tracked")), "{result:?}");

        let mut output = file(format!("torch_{}_output.safetensors", N::NAME));
        let mut stored = |name| bridge::to_data(output.get_tensor(name).unwrap().unwrap()).unwrap();
        let y = model.run(Tensor::from_data(stored("x"), device));
        [floats(y), stored("y").iter::<f32>().collect()]
    }
    let device = Device::default();
    for [y, torchs] in [evaluated::<Theirs>(&device), evaluated::<Ours>(&device)] {
        close(&y, &torchs, 1e-6);
    }
}

fn it_has_as_many_parameters<Theirs: Network, Ours: Network>() {
    let device = Device::default();
    assert_eq!(Ours::create(&device).num_params(), Theirs::create(&device).num_params());
}

#[test]
fn stored_configurations_are_the_same() {
    let old = theirs::mlp::MlpConfig::new(burn::nn::BatchNormConfig::new(7).with_momentum(0.3).with_epsilon(1e-4));
    let new = <ours::mlp::MlpConfig as burn::config::Config>::load_binary(old.to_string().as_bytes()).unwrap();
    assert_eq!(new.to_string(), old.to_string());
    assert_eq!((new.norm.num_features, new.norm.momentum, new.norm.epsilon), (7, 0.3, 1e-4));
}

#[test]
fn a_layer_goes_over_by_value_and_back() {
    let device = Device::default().autodiff();
    let mut source = Source::new(901);
    let old = burn::nn::BatchNormConfig::new(3).init(&device);
    for _ in 0..3 {
        old.forward(source.tensor::<3>(&[4, 3, 5], &device));
    }
    let pending = floats(old.running_var.value());
    let new = batchnorm_burn::BatchNorm::from(old.clone());
    assert_ne!(floats(new.running_var.value()), pending, "Burn lags one update; taken over, it does not");
    assert_eq!(floats(new.running_var.value()), floats(old.running_var.value_sync()));
    assert_eq!(new.running_variance, batchnorm_burn::RunningVariance::Population);
    assert_eq!((new.gamma.id, new.beta.id), (old.gamma.id, old.beta.id));

    // Another update by each: the same convention.
    let x = source.tensor::<3>(&[4, 3, 5], &device);
    new.forward(x.clone());
    old.forward(x.clone());
    close(&floats(new.running_var.value()), &floats(old.running_var.value_sync()), 1e-6);

    let back = burn::nn::BatchNorm::from(new.clone());
    assert_eq!(bits(back.running_var.value()), bits(new.running_var.value()));
    let x = x.without_autodiff();
    close(&floats(new.valid().forward(x.clone())), &floats(back.valid().forward(x)), 1e-6);

    let population = floats(new.running_var.value());
    let sample = new.convert_running_variance(batchnorm_burn::RunningVariance::Sample, 20);
    close(&floats(sample.running_var.value()), &population.iter().map(|v| v * 20.0 / 19.0).collect::<Vec<_>>(), 1e-7);
}
