//! Models and data for the tests of this workspace.

use std::sync::{Arc, Mutex};

use batchnorm::{BatchMoments, Moments};
use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::module::{Module, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

/// Features of a sample.
pub const FEATURES: usize = 6;
/// Classes of samples.
pub const CLASSES: usize = 3;

/// Numbers from a seed, of a linear congruential generator (Knuth's MMIX): uniform in -1..1.
pub struct Source(u64);

impl Source {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Source {
        println!("seed {seed}");
        Source(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// So many numbers.
    pub fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
}

/// A sample: features, far from 0 and of different scales, and their class.
#[derive(Debug, Clone)]
pub struct Sample([f32; FEATURES], i64);

/// Samples from a seed.
pub fn samples(seed: u64, count: usize) -> Vec<Sample> {
    let mut source = Source::new(seed);
    let mut sample = |number: usize| {
        let class = number % CLASSES;
        let feature = |f: usize, noise: f32| {
            let centre = if f % CLASSES == class { 1.0 } else { -0.5 };
            (centre + 0.8 * noise) * (f + 1) as f32 + 20.0 * f as f32
        };
        let values = std::array::from_fn(|f| feature(f, source.number() + source.number()));
        Sample(values, class as i64)
    };
    (0..count).map(&mut sample).collect()
}

/// A batch of samples.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The features.
    pub inputs: Tensor<2>,
    /// The classes.
    pub targets: Tensor<1, Int>,
}

/// Makes batches.
#[derive(Debug, Clone)]
pub struct Stack;

impl Batcher<Sample, Batch> for Stack {
    fn batch(&self, items: Vec<Sample>, device: &Device) -> Batch {
        let count = items.len();
        let values: Vec<f32> = items.iter().flat_map(|sample| sample.0).collect();
        let classes: Vec<i64> = items.iter().map(|sample| sample.1).collect();
        Batch {
            inputs: Tensor::from_data(TensorData::new(values, [count, FEATURES]), device),
            targets: Tensor::from_data(TensorData::new(classes, [count]), device),
        }
    }
}

/// A loader of batches, in the order of the samples.
pub fn loader(samples: Vec<Sample>, batch: usize) -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(Stack).batch_size(batch).build(InMemDataset::new(samples))
}

/// The moments of what each of a model's norms was given in training, in the order of the calls.
pub type Seen = Arc<Mutex<Vec<Vec<BatchMoments>>>>;

/// A network with a norm for its first layer, and one inside.
#[derive(Module, Debug)]
pub struct Net {
    /// Sees the data themselves.
    pub first: BatchNorm,
    hidden: Linear,
    /// Sees what depends on the weights.
    pub second: BatchNorm,
    output: Linear,
    #[module(skip)]
    seen: Seen,
}

impl Net {
    /// The network of a seed.
    pub fn new(seed: u64, device: &Device) -> Net {
        let mut source = Source::new(seed);
        let mut linear = |inputs: usize, outputs: usize| {
            let weights = TensorData::new(source.numbers(inputs * outputs), [inputs, outputs]);
            let layer = LinearConfig::new(inputs, outputs).init(device);
            Linear { weight: Param::from_data(weights, device), ..layer }
        };
        let (hidden, output) = (linear(FEATURES, 8), linear(8, CLASSES));
        let bias = |layer: Linear| Linear {
            bias: layer.bias.map(|bias| Param::from_tensor(bias.val().zeros_like())),
            ..layer
        };
        Net {
            first: BatchNormConfig::new(FEATURES).init(device),
            hidden: bias(hidden),
            second: BatchNormConfig::new(8).init(device),
            output: bias(output),
            seen: Arc::new(Mutex::new(vec![Vec::new(); 2])),
        }
    }

    /// What the norms were given in training so far.
    pub fn seen(&self) -> Vec<Vec<BatchMoments>> {
        self.seen.lock().unwrap().clone()
    }

    /// Scores of the classes.
    pub fn forward(&self, x: Tensor<2>, training: bool) -> Tensor<2> {
        let look = |layer: usize, x: &Tensor<2>| {
            if training {
                self.seen.lock().unwrap()[layer].push(moments(x));
            }
        };
        look(0, &x);
        let x = self.hidden.forward(self.first.forward(x));
        look(1, &x);
        self.output.forward(relu(self.second.forward(x)))
    }

    /// The mean loss of a batch, and the scores.
    pub fn loss(&self, batch: &Batch, training: bool) -> (Tensor<1>, Tensor<2>) {
        let scores = self.forward(batch.inputs.clone(), training);
        let loss = CrossEntropyLossConfig::new().init(&scores.device());
        (loss.forward(scores.clone(), batch.targets.clone()), scores)
    }
}

/// The moments of each column.
pub fn moments(x: &Tensor<2>) -> BatchMoments {
    let [count, channels] = x.dims();
    let values: Vec<f64> = x.clone().into_data().iter::<f64>().collect();
    let column = |c: usize| -> Vec<f64> { (0..count).map(|row| values[row * channels + c]).collect() };
    (0..channels).map(|c| Moments::of(&column(c))).collect::<Vec<_>>().into()
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let (loss, scores) = self.loss(&batch, true);
        let gradients = loss.backward();
        TrainOutput::new(self, gradients, ClassificationOutput::new(loss, scores, batch.targets))
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        let (loss, scores) = self.loss(&batch, false);
        ClassificationOutput::new(loss, scores, batch.targets)
    }
}
