//! One source text, instantiated with Burn's layer and with ours: only the import differs.

#![allow(missing_docs)]

mod support;

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor, activation::relu};
use support::{Source, bits, floats};

macro_rules! models {
    ($module:ident, $($import:tt)*) => {
        mod $module {
            use super::*;
            use $($import)*::{BatchNorm, BatchNormConfig};

            #[derive(Config, Debug)]
            pub struct NetConfig {
                pub norm: BatchNormConfig,
                #[config(default = 4)]
                pub classes: usize,
            }

            #[derive(Module, Debug)]
            pub struct Net {
                conv: Conv2d,
                norm: BatchNorm,
                hidden: Linear,
                norms: Vec<Option<BatchNorm>>,
                output: Linear,
            }

            impl Net {
                pub fn new(device: &Device) -> Net {
                    let config = NetConfig::new(BatchNormConfig::new(3).with_epsilon(1e-4).with_momentum(0.2));
                    // By its fields too, as Burn allows.
                    let flat = BatchNormConfig { num_features: 5, epsilon: 1e-5, momentum: 0.1 };
                    Net {
                        conv: Conv2dConfig::new([2, 3], [3, 3]).init(device),
                        norm: config.norm.init(device),
                        hidden: LinearConfig::new(48, 5).init(device),
                        norms: vec![Some(flat.init(device)), None],
                        output: LinearConfig::new(5, config.classes).init(device),
                    }
                }

                pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
                    let x = relu(self.norm.forward(self.conv.forward(x)));
                    let x = self.hidden.forward(x.flatten(1, 3));
                    let x = self.norms.iter().flatten().fold(x, |x, norm| norm.forward(x));
                    self.output.forward(relu(x))
                }

                pub fn statistics(&self) -> (Tensor<1>, Tensor<1>) {
                    (self.norm.running_mean.value_sync(), self.norm.running_var.value_sync())
                }
            }

            pub fn trained(mut net: Net, batches: &[Tensor<4>], target: &Tensor<2>) -> Net {
                let mut optimizer = SgdConfig::new().init();
                for x in batches {
                    let loss = (net.forward(x.clone()) - target.clone()).square().mean();
                    let gradients = GradientsParams::from_grads(loss.backward(), &net);
                    net = optimizer.step(0.05, net, gradients);
                }
                net
            }
        }
    };
}
models!(theirs, burn::nn);
models!(ours, batchnorm_burn);

fn close(ours: &[f32], theirs: &[f32], bound: f32) {
    let most = theirs.iter().fold(1.0f32, |most, value| most.max(value.abs()));
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= bound * most, "{ours} and {theirs}");
    }
}

fn batches(device: &Device) -> (Vec<Tensor<4>>, Tensor<2>) {
    let mut source = Source::new(900);
    let batches = (0..6).map(|_| source.tensor::<4>(&[8, 2, 6, 6], device)).collect();
    (batches, source.tensor::<2>(&[8, 4], device))
}

#[test]
fn an_old_record_loads_and_evaluates_as_before() {
    let device = Device::default().autodiff();
    let (batches, target) = batches(&device);
    // `valid` has Burn take in its pending update, which its record lacks otherwise.
    let old = theirs::trained(theirs::Net::new(&device), &batches, &target).valid();
    let bytes = old.clone().into_record().into_bytes().unwrap();
    let new = ours::Net::new(&Device::default()).load_record(ModuleRecord::from_bytes(bytes).unwrap());
    let x = batches[0].clone().without_autodiff();
    close(&floats(new.forward(x.clone())), &floats(old.forward(x.clone())), 1e-6);
    assert_eq!(bits(new.statistics().1), bits(old.statistics().1));

    // And back.
    let bytes = new.clone().into_record().into_bytes().unwrap();
    let back = theirs::Net::new(&Device::default()).load_record(ModuleRecord::from_bytes(bytes).unwrap());
    assert_eq!(bits(back.forward(x.clone())), bits(old.forward(x)));
}

#[test]
fn after_training_a_saved_and_reloaded_model_evaluates_to_the_same_bits() {
    let device = Device::default().autodiff();
    let (batches, target) = batches(&device);
    let net = ours::trained(ours::Net::new(&device), &batches, &target);
    let bytes = net.clone().into_record().into_bytes().unwrap();
    let loaded = ours::Net::new(&device).load_record(ModuleRecord::from_bytes(bytes).unwrap());
    let x = batches[0].clone().without_autodiff();
    assert_eq!(bits(loaded.valid().forward(x.clone())), bits(net.valid().forward(x)));
}

#[test]
fn counts_and_configurations_are_the_same() {
    let device = Device::default();
    assert_eq!(ours::Net::new(&device).num_params(), theirs::Net::new(&device).num_params());
    let old = theirs::NetConfig::new(burn::nn::BatchNormConfig::new(7).with_momentum(0.3));
    let new = ours::NetConfig::load_binary(old.to_string().as_bytes()).unwrap();
    assert_eq!(new.to_string(), old.to_string());
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
