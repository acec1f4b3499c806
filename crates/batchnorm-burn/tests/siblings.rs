//! Burn's other norms, of which only the import changes: values, gradients, records, PyTorch's names, configurations.

#![allow(missing_docs)]

mod support;

use batchnorm_burn::{
    GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm, LayerNormConfig, Normalization,
    NormalizationConfig, RmsNorm, RmsNormConfig,
};
use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::norm as nn;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, SafetensorsStore};
use burn::tensor::{Device, Tensor};
use support::{Source, floats, vector};

/// A layer of each kind, in a model whose fields are Burn's or ours.
macro_rules! model {
    ($name:ident: $layers:item) => {
        mod $name {
            use burn::module::{Module, ModuleDisplay};
            use burn::tensor::{Device, Tensor};
            $layers

            #[derive(Module, Debug)]
            pub struct Model {
                pub layer: LayerNorm,
                pub bare: LayerNorm,
                pub group: GroupNorm,
                pub instance: InstanceNorm,
                pub plain: InstanceNorm,
                pub rms: RmsNorm,
                pub choice: Normalization,
            }

            impl Model {
                pub fn new(device: &Device) -> Model {
                    let choice: NormalizationConfig = GroupNormConfig::new(2, 0).with_epsilon(1e-4).into();
                    Model {
                        layer: LayerNormConfig::new(5).with_epsilon(1e-3).init(device),
                        bare: LayerNormConfig::new(5).with_bias(false).init(device),
                        group: GroupNormConfig::new(3, 6).init(device),
                        instance: InstanceNormConfig::new(6).with_epsilon(1e-4).init(device),
                        plain: InstanceNormConfig::new(6).with_affine(false).init(device),
                        rms: RmsNormConfig::new(5).with_epsilon(1e-2).init(device),
                        choice: choice.with_num_features(6).init(device),
                    }
                }

                /// Of tensors of 6 channels and 5 positions.
                pub fn forward(&self, x: Tensor<3>) -> Vec<Tensor<3>> {
                    vec![
                        self.layer.forward(x.clone()),
                        self.bare.forward(x.clone()),
                        self.group.forward(x.clone()),
                        self.instance.forward(x.clone()),
                        self.plain.forward(x.clone()),
                        self.rms.forward(x.clone()),
                        self.choice.forward(x),
                    ]
                }

                pub fn shown(&self) -> String {
                    self.format(Default::default())
                }
            }
        }
    };
}
model!(ours: use batchnorm_burn::{
    GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm, LayerNormConfig, Normalization,
    NormalizationConfig, RmsNorm, RmsNormConfig,
};);
model!(theirs: use burn::nn::norm::{
    GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm, LayerNormConfig, Normalization,
    NormalizationConfig, RmsNorm, RmsNormConfig,
};);

fn started(seed: u64, device: &Device) -> ours::Model {
    let mut source = Source::new(seed);
    let mut model = ours::Model::new(device);
    let mut random = |param: Param<Tensor<1>>| {
        let [count] = param.dims();
        param.map(|_| vector(&source.values(count, 1.0, 0.5), device).require_grad())
    };
    model.layer.gamma = random(model.layer.gamma);
    model.layer.beta = model.layer.beta.map(&mut random);
    model.bare.gamma = random(model.bare.gamma);
    model.group.gamma = model.group.gamma.map(&mut random);
    model.group.beta = model.group.beta.map(&mut random);
    model.instance.gamma = model.instance.gamma.map(&mut random);
    model.instance.beta = model.instance.beta.map(&mut random);
    model.rms.gamma = random(model.rms.gamma);
    model
}

fn near<const D: usize>(one: Tensor<D>, other: Tensor<D>) {
    for (one, other) in floats(one).iter().zip(floats(other)) {
        assert!((one - other).abs() < 3e-5 * other.abs().max(1.0), "{one} {other}");
    }
}

#[test]
fn values_gradients_and_records_are_burns() {
    let device = Device::default().autodiff();
    let ours = started(8001, &device);
    let bytes = ours.clone().into_record().into_bytes().unwrap();
    let record = || burn::store::ModuleRecord::from_bytes(bytes.clone()).unwrap();
    let theirs = theirs::Model::new(&device).load_record(record());
    // And back: nothing is left out.
    let back = ours::Model::new(&device).load_record(theirs.clone().into_record());
    let mut source = Source::new(8002);
    let (x, dy) = (source.tensor::<3>(&[4, 6, 5], &device).require_grad(), source.tensor::<3>(&[4, 6, 5], &device));
    let outputs = [ours.forward(x.clone()), theirs.forward(x.clone()), back.forward(x.clone())];
    let [one, other, back] = outputs;
    for ((one, other), back) in one.into_iter().zip(other).zip(back) {
        near(one.clone(), other.clone());
        assert_eq!(floats(one.clone()), floats(back));
        let gradient = |y: Tensor<3>| x.grad(&(y * dy.clone()).sum().backward()).unwrap();
        near(gradient(one), gradient(other));
    }
    let shown = ours.shown();
    for line in ["LayerNorm {d_model: 5, epsilon: 0.001, bias: true", "GroupNorm {num_groups: 3, num_channels: 6"] {
        assert!(shown.contains(line) && theirs.shown().contains(line), "{shown}");
    }
}

#[test]
fn pytorchs_names_both_ways() {
    let device = Device::default();
    let ours = started(8003, &device.clone().autodiff()).valid();
    let x = Source::new(8004).tensor::<3>(&[4, 6, 5], &device);
    let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(BurnToPyTorchAdapter);
    ours.save_into(&mut store).unwrap();
    let bytes = store.get_bytes().unwrap();
    let reading = || SafetensorsStore::from_bytes(Some(bytes.clone())).with_from_adapter(PyTorchToBurnAdapter);
    for name in ["layer.weight", "layer.bias", "group.weight", "instance.bias", "rms.weight"] {
        assert!(SafetensorsStore::from_bytes(Some(bytes.clone())).get_tensor(name).unwrap().is_some(), "{name}");
    }
    let mut again = ours::Model::new(&device);
    let loaded = again.load_from(&mut reading()).unwrap();
    assert!(loaded.missing.is_empty() && loaded.errors.is_empty() && loaded.unused.is_empty(), "{loaded:?}");
    let mut burns = theirs::Model::new(&device);
    let loaded = burns.load_from(&mut reading().allow_partial(true)).unwrap();
    // Burn's adapters do not know its instance norm.
    assert_eq!(loaded.missing.len(), 2, "{loaded:?}");
    (burns.instance.gamma, burns.instance.beta) = (ours.instance.gamma.clone(), ours.instance.beta.clone());
    for ((one, again), burns) in ours.forward(x.clone()).into_iter().zip(again.forward(x.clone())).zip(burns.forward(x))
    {
        assert_eq!(floats(one.clone()), floats(again));
        near(one, burns);
    }
}

#[test]
fn configurations_are_burns() {
    macro_rules! same {
        ($($ours:expr => $theirs:expr, $type:ty;)*) => {$(
            assert_eq!($ours.to_string(), $theirs.to_string());
            <$type>::load_binary($theirs.to_string().as_bytes()).unwrap();
        )*};
    }
    same! {
        LayerNormConfig::new(3).with_bias(false) => nn::LayerNormConfig::new(3).with_bias(false), LayerNormConfig;
        GroupNormConfig::new(3, 6) => nn::GroupNormConfig::new(3, 6), GroupNormConfig;
        InstanceNormConfig::new(3) => nn::InstanceNormConfig::new(3), InstanceNormConfig;
        RmsNormConfig::new(3) => nn::RmsNormConfig::new(3), RmsNormConfig;
        NormalizationConfig::Batch(batchnorm_burn::BatchNormConfig::new(3)) =>
            nn::NormalizationConfig::Batch(nn::BatchNormConfig::new(3)), NormalizationConfig;
    }
    let device = Device::default();
    let of = |norm: Normalization| norm.num_features();
    assert_eq!(of(NormalizationConfig::Identity.with_num_features(4).init(&device)), 0);
    for config in [
        NormalizationConfig::from(LayerNormConfig::new(0)),
        RmsNormConfig::new(0).into(),
        InstanceNormConfig::new(0).into(),
        GroupNormConfig::new(2, 0).into(),
        batchnorm_burn::BatchNormConfig::new(0).into(),
    ] {
        let config = config.with_num_features(4);
        assert_eq!((config.num_features(), of(config.init(&device))), (4, 4));
    }
}

#[test]
fn refusals_name_the_layer() {
    let device = Device::default();
    let layer: LayerNorm = LayerNormConfig::new(3).init(&device);
    let error = layer.try_forward(Tensor::<2>::ones([2, 4], &device)).unwrap_err().to_string();
    assert!(
        error.starts_with("LayerNorm: input: expected 3 channels, got 4") && error.contains("siblings.rs"),
        "{error}"
    );
    let group: GroupNorm = GroupNormConfig::new(2, 4).init(&device);
    assert!(group.try_forward(Tensor::<3>::ones([2, 6, 3], &device)).is_err());
    // A single position, of which Burn's layer makes beta.
    let mut instance: InstanceNorm = InstanceNormConfig::new(3).init(&device);
    let one = || Tensor::<3>::ones([2, 3, 1], &device);
    assert!(instance.try_forward(one()).unwrap_err().to_string().starts_with("InstanceNorm: "));
    instance.policies.single_value = batchnorm_burn::SingleValue::Population;
    assert_eq!(floats(instance.forward(one())), [0.0; 6]);
    let rms: RmsNorm = RmsNormConfig::new(3).init(&device);
    assert!(RmsNormConfig::new(3).with_epsilon(-1.0).try_init(&device).is_err());
    assert!(GroupNormConfig::new(3, 4).try_init(&device).is_err());
    // One row, as Burn takes it.
    let row = Tensor::<1>::from_floats([1.0, 2.0, 4.0], &device);
    near(rms.forward(row.clone()), nn::RmsNormConfig::new(3).init(&device).forward(row));
}
