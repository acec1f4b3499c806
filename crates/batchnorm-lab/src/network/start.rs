//! A network at its start: built from its recipe, with weights from a seed.

use batchnorm_burn::name_layers;
use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};
use chacha20::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Network;
use super::architecture::Architecture;
use super::layers::{Block, Convolution, Hidden, Order};
use super::norm::Norm;
use super::recipe::{Recipe, Start};
use crate::data::Shape;
use crate::digits::{CLASSES, SHAPE};
use crate::random::{Purpose, generator};

/// Examples of a pass in evaluation, at most: more cost memory and save no time.
const PORTION: usize = 500;
/// Outputs of a layer in a pass in evaluation.
const MOST_TOGETHER: usize = 1 << 24;

impl Recipe {
    /// The network a seed starts with, for inputs of a shape. The weights are the same whatever the norm.
    ///
    /// # Panics
    /// If [`check`](Self::check) objects.
    pub fn start(&self, input: Shape, classes: usize, seed: u64, device: &Device) -> Network {
        self.built(input, classes, Some(generator(seed, Purpose::Weights)), device)
    }

    /// The network with all weights 0: room for those of a file.
    ///
    /// # Panics
    /// If [`check`](Self::check) objects.
    pub fn blank(&self, input: Shape, classes: usize, device: &Device) -> Network {
        self.built(input, classes, None, device)
    }

    fn built(&self, input: Shape, classes: usize, generator: Option<ChaCha8Rng>, device: &Device) -> Network {
        let mut build = Build { recipe: self, generator, device, channels: input.channels };
        let Shape { mut rows, mut columns, .. } = input;
        let mut convolutions = Vec::new();
        for convolving in &self.convolutions {
            convolutions.push(build.convolution(convolving.channels, convolving.kernel, 1));
            (rows, columns) = (rows / convolving.pool, columns / convolving.pool);
        }
        let blocks = self.blocks().map(|(channels, stride)| build.block(channels, stride)).collect();
        let mut inputs = if self.stages.is_empty() { build.channels * rows * columns } else { build.channels };
        let mut hidden = Vec::new();
        for &units in &self.hidden {
            let norm = if self.norms_hidden() { Norm::start(self, units, device) } else { None };
            hidden.push(Hidden { linear: build.linear(inputs, units, self.has_bias(norm.is_some())), norm });
            inputs = units;
        }
        let output = build.linear(inputs, classes, true);
        let order = Order { activation: self.activation, placement: self.placement };
        let pools = self.convolutions.iter().map(|convolving| convolving.pool).collect();
        // So that a pass in evaluation takes 64 MB a layer, and not many examples for nothing.
        let portion = (MOST_TOGETHER / self.widest(input, classes).max(1)).clamp(1, PORTION);
        let network =
            Network { convolutions, blocks, hidden, output, input, pools, order, portion, dropout: self.dropout };
        name_layers(&network);
        network
    }
}

impl Architecture {
    /// The network a seed starts with. The weights are the same with and without batch norm.
    ///
    /// # Panics
    /// If [`check`](Self::check) objects.
    pub fn start(&self, batch_norm: bool, seed: u64, device: &Device) -> Network {
        self.recipe(batch_norm).start(SHAPE, CLASSES, seed, device)
    }
}

struct Build<'b> {
    recipe: &'b Recipe,
    /// Draws the weights; without it they are 0.
    generator: Option<ChaCha8Rng>,
    device: &'b Device,
    /// Channels that the next convolution gets.
    channels: usize,
}

impl Build<'_> {
    /// Start weights of a map from so many inputs to so many outputs, each of which they reach.
    fn weights(&mut self, count: usize, inputs: usize, outputs: usize) -> Vec<f32> {
        let deviation = match self.recipe.started() {
            Start::He => (2.0 / inputs as f64).sqrt(),
            Start::Glorot => (2.0 / (inputs + outputs) as f64).sqrt(),
            Start::Gaussian(deviation) => deviation,
        };
        let Some(generator) = &mut self.generator else { return vec![0.0; count] };
        let normal = StandardNormal.sample_iter(generator);
        normal.take(count).map(|z: f64| (z * deviation) as f32).collect()
    }

    fn bias(&self, outputs: usize) -> Param<Tensor<1>> {
        Param::from_tensor(Tensor::zeros([outputs], self.device))
    }

    fn linear(&mut self, inputs: usize, outputs: usize, bias: bool) -> Linear {
        let weights = self.weights(inputs * outputs, inputs, outputs);
        Linear {
            weight: Param::from_data(TensorData::new(weights, [inputs, outputs]), self.device),
            bias: bias.then(|| self.bias(outputs)),
        }
    }

    fn convolution(&mut self, channels: usize, kernel: usize, stride: usize) -> Convolution {
        let (from, area) = (std::mem::replace(&mut self.channels, channels), kernel * kernel);
        let weights = self.weights(channels * from * area, from * area, channels * area);
        let norm = Norm::start(self.recipe, channels, self.device);
        let padding = kernel / 2;
        let convolution = Conv2d {
            weight: Param::from_data(TensorData::new(weights, [channels, from, kernel, kernel]), self.device),
            bias: self.recipe.has_bias(norm.is_some()).then(|| self.bias(channels)),
            // Its other fields: one place that says what they are.
            ..Conv2dConfig::new([1, 1], [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
                .init(self.device)
        };
        Convolution { convolution, norm }
    }

    fn block(&mut self, channels: usize, stride: usize) -> Block {
        let before = self.channels;
        let (first, second) = (self.convolution(channels, 3, stride), self.convolution(channels, 3, 1));
        let shortcut = (before != channels || stride != 1).then(|| {
            self.channels = before;
            self.convolution(channels, 1, stride)
        });
        Block { first, second, shortcut }
    }
}
