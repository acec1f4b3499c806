//! The layers of somebody else's model: found and named by one call, wherever they are.

#![allow(missing_docs)]

mod support;

use std::sync::Arc;

use batchnorm_burn::{
    BatchNorm, BatchNormConfig, Decorrelated, DecorrelatedConfig, GroupNorm, GroupNormConfig, LayerNorm,
    LayerNormConfig, Normalization, NormalizationConfig, Participant, Policies, RunningVariance, SampleNorm,
    SampleNormConfig, SingleValue, Switches, map_norms, name_layers, norms,
};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use support::{Source, floats};

/// A model of another crate: nothing of it can be reached by its fields.
mod foreign {
    use super::*;

    #[derive(Module, Debug)]
    pub struct Block {
        bn1: BatchNorm,
        downsample: Option<BatchNorm>,
    }

    #[derive(Module, Debug)]
    #[expect(clippy::large_enum_variant, reason = "somebody else's")]
    pub enum Head {
        Plain(Linear),
        Normed(Tail),
    }

    #[derive(Module, Debug)]
    pub struct Tail {
        norm: BatchNorm,
    }

    #[derive(Module, Debug)]
    pub struct Stage {
        blocks: Vec<Block>,
    }

    #[derive(Module, Debug)]
    pub struct Model<N: Module> {
        layer4: Stage,
        pair: (BatchNorm, [BatchNorm; 2]),
        head: Head,
        plain: Head,
        other: N,
        white: Decorrelated,
        sample: SampleNorm,
        group: GroupNorm,
        choice: Normalization,
    }

    impl Model<LayerNorm> {
        pub fn new(device: &Device) -> Self {
            let norm = || BatchNormConfig::new(3).init(device);
            // A block is built once and cloned.
            let block = Block { bn1: norm(), downsample: None };
            Model {
                layer4: Stage { blocks: vec![Block { downsample: Some(norm()), ..block.clone() }, block] },
                pair: (norm(), [norm(), norm()]),
                head: Head::Normed(Tail { norm: norm() }),
                plain: Head::Plain(LinearConfig::new(3, 3).init(device)),
                other: LayerNormConfig::new(3).init(device),
                white: DecorrelatedConfig::new(3, 2).init(device),
                sample: SampleNormConfig::rms(3).init(device),
                group: GroupNormConfig::new(1, 3).init(device),
                choice: NormalizationConfig::Batch(BatchNormConfig::new(3)).init(device),
            }
        }

        pub fn errors(&self) -> Vec<String> {
            let x = || Tensor::<2>::ones([4, 5], &Device::default());
            let of = |norm: &BatchNorm| norm.try_forward_eval(x()).unwrap_err().to_string();
            let mut errors: Vec<String> = self.layer4.blocks.iter().map(|block| of(&block.bn1)).collect();
            if let Head::Normed(tail) = &self.head {
                errors.push(of(&tail.norm));
            }
            errors.push(self.white.try_forward_eval(x()).unwrap_err().to_string());
            errors.push(self.sample.try_forward(x()).unwrap_err().to_string());
            errors.push(self.group.try_forward(x()).unwrap_err().to_string());
            errors.push(self.other.try_forward(x()).unwrap_err().to_string());
            errors
        }

        pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
            let x = self.pair.1[1].forward(self.pair.0.forward(x));
            let x = self.layer4.blocks.iter().fold(x, |x, block| block.bn1.forward(x));
            self.choice.forward(x)
        }
    }
}

const BATCH_NORMS: [&str; 8] = [
    "layer4.blocks.0.bn1",
    "layer4.blocks.0.downsample",
    "layer4.blocks.1.bn1",
    "pair.0",
    "pair.1.0",
    "pair.1.1",
    "head.norm",
    "choice",
];

fn check_errors(model: &foreign::Model<LayerNorm>) {
    let paths = ["layer4.blocks.0.bn1", "layer4.blocks.1.bn1", "head.norm", "white", "sample", "group", "other"];
    for (error, path) in model.errors().iter().zip(paths) {
        assert!(error.starts_with(&format!("{path}: input: expected 3 channels, got 5")), "{error}");
        assert!(!error.contains("name_layers"), "{error}");
    }
}

#[test]
fn every_layer_is_told_its_path_and_keeps_it() {
    let device = Device::default().autodiff();
    let model = foreign::Model::new(&device);
    let before = model.errors();
    assert!(before.iter().all(|error| error.contains("`name_layers(&model)` would give its path")), "{before:?}");
    assert!(before.iter().all(|error| error.contains("tests/names.rs:")), "{before:?}");

    let mut all = name_layers(&model);
    assert_eq!(all.len(), BATCH_NORMS.len() + 4);
    all.retain(|path| BATCH_NORMS.contains(&path.as_str()));
    assert_eq!(all, BATCH_NORMS);
    check_errors(&model);
    assert!(model.to_string().contains("layer4.blocks.0.downsample"), "{model}");
    check_errors(&model.clone());
    check_errors(&model.clone().fork(&device).to_device(&device));
    check_errors(&model.valid());
    check_errors(&model.valid().train());
    check_errors(&model.clone().no_grad().load_record(model.clone().into_record()));
    // A walk through a part of the model does not make its layers forget where they are in the whole; being told does.
    let pair = (BatchNormConfig::new(3).init(&device), vec![BatchNormConfig::new(3).init(&device)]);
    name_layers(&pair);
    assert_eq!(norms(&pair.1).iter().next().map(|norm| norm.path().to_string()).as_deref(), Some("0"));
    assert_eq!(pair.1[0].name.path().as_deref(), Some("1.0"));
    name_layers(&pair.1);
    assert_eq!(pair.1[0].name.path().as_deref(), Some("0"));
    // A given name stays beside the path.
    let norm = BatchNormConfig::new(3).with_name("stem").init(&device);
    let refusal = |norm: &BatchNorm| norm.try_forward_eval(Tensor::<2>::ones([4, 5], &device)).unwrap_err().to_string();
    assert!(refusal(&norm).starts_with("stem: input"));
    let in_vector = vec![norm];
    name_layers(&in_vector);
    assert!(refusal(&in_vector[0]).starts_with("0 (stem): input"), "{}", refusal(&in_vector[0]));
    // A layer that is the model.
    let alone = BatchNormConfig::new(3).init(&device);
    assert_eq!(name_layers(&alone), [""]);
    assert!(refusal(&alone).starts_with("BatchNorm: input") && !refusal(&alone).contains("built at"));
}

#[test]
fn one_call_reaches_all_of_them() {
    let device = Device::default().autodiff();
    let model = foreign::Model::new(&device);
    assert_eq!(norms(&model).iter().map(|norm| norm.path().to_string()).collect::<Vec<_>>(), BATCH_NORMS);
    let x = Source::new(5).tensor::<2>(&[6, 3], &device);
    let state = |model: &foreign::Model<LayerNorm>| -> Vec<Vec<f32>> {
        norms(model).iter().map(|norm| floats(norm.running_mean.value())).collect()
    };
    let start = state(&model);

    // A step in waiting, dropped, and one committed: by the layers of the model, not by copies.
    norms(&model).hold();
    model.forward(x.clone());
    assert_eq!(state(&model), start);
    assert_eq!(norms(&model).discard_held(), 1);
    model.forward(x.clone());
    assert!(norms(&model).commit_held().unwrap().is_empty());
    assert_ne!(state(&model), start);
    norms(&model).release();

    // All or none: one of them cannot take a batch in.
    let model = map_norms(model, |path, norm| match path {
        "pair.0" => BatchNorm { momentum: 7.0, ..norm },
        _ => norm,
    });
    norms(&model).hold();
    let before = state(&model);
    norms(&model).filter(|path| path != "pair.0").into_iter().for_each(|norm| drop(norm.try_forward_train(x.clone())));
    assert!(norms(&model).commit_held().unwrap_err().to_string().starts_with("pair.0: momentum"));
    assert_eq!(state(&model), before);
    norms(&model).release();

    // Options of some, options of all.
    let mut team = batchnorm::Team::of(1, std::time::Duration::from_secs(60)).into_iter();
    let participant = Participant::new(team.next().unwrap());
    let policies = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
    let model = map_norms(model, |path, norm| {
        let norm = BatchNorm { policies, momentum: 0.1, participant: Some(participant.clone()), ..norm };
        let norm = norm.convert_running_variance(RunningVariance::Population, 6);
        if path.starts_with("layer4.") {
            norm.pin(Some(Switches::frozen()))
        } else {
            BatchNorm { ghost: Some(2), ..norm }
        }
    });
    for norm in norms(&model) {
        let frozen = norm.path().starts_with("layer4.");
        assert_eq!((norm.pinned.is_some(), norm.ghost.is_none()), (frozen, frozen), "{}", norm.path());
        assert_eq!((norm.policies, norm.running_variance), (policies, RunningVariance::Population));
        assert!(norm.participant.is_some());
    }
    // Threads of their own walk by themselves.
    let model = Arc::new(std::sync::Mutex::new(model));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(norms(&model.lock().unwrap().clone()).len(), BATCH_NORMS.len()));
        }
    });
}

#[test]
fn a_walk_that_panics_is_over() {
    let device = Device::default();
    let model = foreign::Model::new(&device);
    let panics = std::panic::AssertUnwindSafe(|| map_norms(model.clone(), |_, _| panic!("no")));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(norms(&model).len(), BATCH_NORMS.len());
    // Nor is an ordinary visit a walk.
    assert!(model.num_params() > 0 && !model.devices().is_empty());
}
