//! Weights from and to PyTorch, through Burn's own store. Files and scripts are in `golden/`.

#![allow(missing_docs)]

mod support;

use std::path::{Path, PathBuf};

use batchnorm_burn::{BatchNorm, BatchNormConfig, save_with_batch_count};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, SafetensorsStore, bridge};
use burn::tensor::{Device, Tensor, activation::relu};
use support::{bits, floats};

/// The network of `golden/make_torch.py`.
#[derive(Module, Debug)]
struct Net {
    conv: Conv2d,
    norm: BatchNorm,
    output: Linear,
}

impl Net {
    fn new(device: &Device) -> Net {
        Net {
            conv: Conv2dConfig::new([2, 3], [3, 3]).init(device),
            norm: BatchNormConfig::new(3).init(device),
            output: LinearConfig::new(48, 4).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.output.forward(relu(self.norm.forward(self.conv.forward(x))).flatten(1, 3))
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn stored<const D: usize>(name: &str, device: &Device) -> Tensor<D> {
    let mut store = SafetensorsStore::from_file(golden("torch_net_output.safetensors"));
    let tensor = store.get_tensor(name).unwrap().unwrap();
    Tensor::from_data(bridge::to_data(tensor).unwrap(), device)
}

fn loaded(name: &str, device: &Device) -> Net {
    let mut net = Net::new(device);
    let mut store = SafetensorsStore::from_file(golden(name)).with_from_adapter(PyTorchToBurnAdapter);
    let result = net.load_from(&mut store).unwrap();
    assert!(result.errors.is_empty() && result.missing.is_empty(), "{result:?}");
    net
}

#[test]
fn torchs_files_evaluate_as_torch_does_with_and_without_the_count() {
    let device = Device::default();
    let expected = floats(stored::<2>("y", &device));
    for name in ["torch_net.safetensors", "torch_net_without_count.safetensors"] {
        let y = floats(loaded(name, &device).forward(stored("x", &device)));
        let largest = expected.iter().fold(1.0f32, |largest, y| largest.max(y.abs()));
        for (y, expected) in y.iter().zip(&expected) {
            assert!((y - expected).abs() <= 1e-6 * largest, "{name}: {y} for {expected}");
        }
    }
}

#[test]
fn what_we_write_has_torchs_names_and_loads_again_to_the_bit() {
    let device = Device::default();
    let net = loaded("torch_net.safetensors", &device);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("from_burn.safetensors");
    let store = || SafetensorsStore::from_file(&path).overwrite(true);
    net.save_into(&mut store().with_to_adapter(BurnToPyTorchAdapter)).unwrap();
    let y = net.forward(stored("x", &device));
    let text: String = floats(y.clone()).iter().map(|y| format!("{y:?}\n")).collect();
    std::fs::write(folder.join("from_burn_output.txt"), text).unwrap();
    println!("for golden/check_torch.py: {}", folder.display());

    let keys = store().keys().unwrap();
    for key in ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"] {
        assert!(keys.iter().any(|name| name == key), "{keys:?} lacks {key}");
    }
    assert!(!keys.iter().any(|name| name.contains("num_batches_tracked")), "{keys:?}");
    let mut again = Net::new(&device);
    again.load_from(&mut store().with_from_adapter(PyTorchToBurnAdapter)).unwrap();
    assert_eq!(bits(again.forward(stored("x", &device))), bits(y));
}

#[test]
fn the_count_is_written_when_asked_for_as_torch_writes_it() {
    let device = Device::default();
    let net = loaded("torch_net.safetensors", &device);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("from_burn_with_count.safetensors");
    let store = || SafetensorsStore::from_file(&path).overwrite(true);
    save_with_batch_count(&net, &mut store().with_to_adapter(BurnToPyTorchAdapter), 20).unwrap();

    // Names, types, shapes and values are those of torch's own file, which had 20 steps.
    let tensors = |mut store: SafetensorsStore| {
        let tensors = store.get_all_tensors().unwrap();
        let named = |(name, tensor): (&String, _)| (name.clone(), bridge::to_data(tensor).unwrap());
        tensors.iter().map(named).collect::<Vec<_>>()
    };
    assert_eq!(tensors(store()), tensors(SafetensorsStore::from_file(golden("torch_net.safetensors"))));

    let mut again = Net::new(&device);
    again.load_from(&mut store().with_from_adapter(PyTorchToBurnAdapter)).unwrap();
    assert_eq!(bits(again.forward(stored("x", &device))), bits(net.forward(stored("x", &device))));
}

#[test]
fn every_batch_norm_gets_its_count_and_nothing_else_does() {
    #[derive(Module, Debug)]
    struct Nested {
        nets: Vec<Net>,
        theirs: Option<burn::nn::BatchNorm>,
        other: burn::nn::LayerNorm,
    }
    let device = Device::default();
    let nested = Nested {
        nets: vec![Net::new(&device), Net::new(&device)],
        theirs: Some(burn::nn::BatchNormConfig::new(2).init(&device)),
        other: burn::nn::LayerNormConfig::new(2).init(&device),
    };
    let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(BurnToPyTorchAdapter);
    save_with_batch_count(&nested, &mut store, u64::MAX).unwrap();
    let mut file = SafetensorsStore::from_bytes(Some(store.get_bytes().unwrap()));
    let counts: Vec<String> = file.keys().unwrap().into_iter().filter(|name| name.contains("num_batches")).collect();
    assert_eq!(counts, ["nets.0.norm", "nets.1.norm", "theirs"].map(|layer| format!("{layer}.num_batches_tracked")));
    let data = bridge::to_data(file.get_tensor(&counts[0]).unwrap().unwrap()).unwrap();
    assert_eq!(data.iter::<i64>().collect::<Vec<_>>(), [i64::MAX]);
}

#[test]
fn files_that_are_no_weights_are_errors_and_change_nothing() {
    let device = Device::default();
    let mut net = loaded("torch_net.safetensors", &device);
    let before = bits(net.forward(stored("x", &device)));
    let whole = std::fs::read(golden("torch_net.safetensors")).unwrap();
    for bytes in [whole[..whole.len() - 10].to_vec(), whole[..20].to_vec(), b"GIF89a".to_vec(), Vec::new()] {
        let mut store = SafetensorsStore::from_bytes(Some(bytes)).with_from_adapter(PyTorchToBurnAdapter);
        assert!(net.load_from(&mut store).is_err());
    }
    assert_eq!(bits(net.forward(stored("x", &device))), before);
}
