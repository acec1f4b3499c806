// A perceptron with batch norm, as one writes it with Burn. Whoever includes this text imports `BatchNorm` and
// `BatchNormConfig` before it, from `burn::nn` or from `batchnorm_burn`: nothing else differs.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation::relu};

#[derive(Config, Debug)]
pub struct MlpConfig {
    pub norm: BatchNormConfig,
    #[config(default = 64)]
    pub inputs: usize,
    #[config(default = 2)]
    pub layers: usize,
    #[config(default = 10)]
    pub classes: usize,
}

#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Vec<Linear>,
    norms: Vec<Option<BatchNorm>>,
    output: Linear,
}

impl MlpConfig {
    pub fn init(&self, device: &Device) -> Mlp {
        let width = self.norm.num_features;
        // By its fields, as Burn allows.
        let norm = BatchNormConfig { epsilon: self.norm.epsilon, momentum: self.norm.momentum, ..BatchNormConfig::new(width) };
        let hidden = |layer| LinearConfig::new(if layer == 0 { self.inputs } else { width }, width).init(device);
        Mlp {
            hidden: (0..self.layers).map(hidden).collect(),
            norms: (0..self.layers).map(|_| Some(norm.init(device))).collect(),
            output: LinearConfig::new(width, self.classes).init(device),
        }
    }
}

impl Mlp {
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.hidden.iter().zip(&self.norms).fold(images.flatten(1, 3), |x, (hidden, norm)| {
            let x = hidden.forward(x);
            relu(match norm {
                Some(norm) => norm.forward(x),
                None => x,
            })
        });
        self.output.forward(x)
    }

    pub fn norms(&self) -> Vec<&BatchNorm> {
        self.norms.iter().flatten().collect()
    }
}
