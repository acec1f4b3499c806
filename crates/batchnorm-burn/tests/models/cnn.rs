// A small convolutional network in the spirit of Burn's own examples. Whoever includes this text imports `BatchNorm`
// and `BatchNormConfig` before it, from `burn::nn` or from `batchnorm_burn`: nothing else differs.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::tensor::{Device, Tensor};

#[derive(Config, Debug)]
pub struct ConvBlockConfig {
    pub channels: [usize; 2],
    #[config(default = "[3, 3]")]
    pub kernel: [usize; 2],
}

#[derive(Module, Debug)]
pub struct ConvBlock {
    conv: Conv2d,
    norm: BatchNorm,
    activation: Relu,
    pool: MaxPool2d,
}

impl ConvBlockConfig {
    pub fn init(&self, device: &Device) -> ConvBlock {
        ConvBlock {
            conv: Conv2dConfig::new(self.channels, self.kernel).with_padding(PaddingConfig2d::Same).init(device),
            norm: BatchNormConfig::new(self.channels[1]).with_epsilon(1e-4).with_momentum(0.2).init(device),
            activation: Relu::new(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }
}

impl ConvBlock {
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(self.conv.forward(x));
        self.pool.forward(self.activation.forward(x))
    }
}

/// Configuration for square images with sides of a multiple of 4.
#[derive(Config, Debug)]
pub struct CnnConfig {
    pub side: usize,
    #[config(default = "[1, 4, 8]")]
    pub channels: [usize; 3],
    #[config(default = 10)]
    pub classes: usize,
}

#[derive(Module, Debug)]
pub struct Cnn {
    first: ConvBlock,
    second: ConvBlock,
    output: Linear,
}

impl CnnConfig {
    pub fn init(&self, device: &Device) -> Cnn {
        let [input, first, second] = self.channels;
        Cnn {
            first: ConvBlockConfig::new([input, first]).init(device),
            second: ConvBlockConfig::new([first, second]).init(device),
            output: LinearConfig::new(second * (self.side / 4).pow(2), self.classes).init(device),
        }
    }
}

impl Cnn {
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.output.forward(self.second.forward(self.first.forward(images)).flatten(1, 3))
    }

    pub fn norms(&self) -> Vec<&BatchNorm> {
        vec![&self.first.norm, &self.second.norm]
    }
}
