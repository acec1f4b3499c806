// Networks as people write them; what `nn` is, is said where this file is included.

/// A residual network, as ResNet-18: stages in vectors, blocks with an optional downsampling.
pub mod residual {
    use super::nn::conv::{Conv2d, Conv2dConfig};
    use super::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
    use burn::module::Module;
    use burn::tensor::activation::relu;
    use burn::tensor::{Device, Tensor};

    #[derive(Module, Debug)]
    pub struct Downsample {
        conv: Conv2d,
        bn: BatchNorm,
    }

    #[derive(Module, Debug)]
    pub struct Block {
        conv1: Conv2d,
        bn1: BatchNorm,
        conv2: Conv2d,
        bn2: BatchNorm,
        downsample: Option<Downsample>,
    }

    #[derive(Module, Debug)]
    pub struct Stage {
        blocks: Vec<Block>,
    }

    #[derive(Module, Debug)]
    pub struct Net {
        conv1: Conv2d,
        bn1: BatchNorm,
        layers: Vec<Stage>,
        fc: Linear,
    }

    fn conv(from: usize, to: usize, kernel: usize, stride: usize, device: &Device) -> Conv2d {
        let padding = PaddingConfig2d::Explicit(kernel / 2, kernel / 2, kernel / 2, kernel / 2);
        let config = Conv2dConfig::new([from, to], [kernel, kernel]).with_stride([stride, stride]);
        config.with_padding(padding).with_bias(false).init(device)
    }

    impl Block {
        fn new(from: usize, to: usize, stride: usize, device: &Device) -> Block {
            let norm = || BatchNormConfig::new(to).init(device);
            Block {
                conv1: conv(from, to, 3, stride, device),
                bn1: norm(),
                conv2: conv(to, to, 3, 1, device),
                bn2: norm(),
                downsample: (from != to).then(|| Downsample { conv: conv(from, to, 1, stride, device), bn: norm() }),
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<4> {
            let shortcut = match &self.downsample {
                Some(down) => down.bn.forward(down.conv.forward(x.clone())),
                None => x.clone(),
            };
            let x = relu(self.bn1.forward(self.conv1.forward(x)));
            relu(self.bn2.forward(self.conv2.forward(x)) + shortcut)
        }
    }

    impl super::Network for Net {
        const NORMS: &[&str] = &[
            "bn1",
            "layers.0.blocks.0.bn1",
            "layers.0.blocks.0.bn2",
            "layers.1.blocks.0.bn1",
            "layers.1.blocks.0.bn2",
            "layers.1.blocks.0.downsample.bn",
            "layers.1.blocks.1.bn1",
            "layers.1.blocks.1.bn2",
        ];

        fn new(device: &Device) -> Net {
            Net {
                conv1: conv(3, 8, 3, 1, device),
                bn1: BatchNormConfig::new(8).init(device),
                layers: vec![
                    Stage { blocks: vec![Block::new(8, 8, 1, device)] },
                    Stage { blocks: vec![Block::new(8, 12, 2, device), Block::new(12, 12, 1, device)] },
                ],
                fc: LinearConfig::new(12, 5).init(device),
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<2> {
            let x = relu(self.bn1.forward(self.conv1.forward(x)));
            let x = self.layers.iter().flat_map(|stage| &stage.blocks).fold(x, |x, block| block.forward(x));
            self.fc.forward(x.mean_dim(3).mean_dim(2).flatten(1, 3))
        }
    }
}

/// An inverted residual network, as MobileNetV2: depthwise convolutions, an optional expansion, norms in tuples.
pub mod inverted {
    use super::nn::conv::{Conv2d, Conv2dConfig};
    use super::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
    use burn::module::Module;
    use burn::tensor::{Device, Tensor};

    #[derive(Module, Debug)]
    pub struct Inverted {
        expand: Option<(Conv2d, BatchNorm)>,
        depthwise: (Conv2d, BatchNorm),
        project: (Conv2d, BatchNorm),
        #[module(skip)]
        residual: bool,
    }

    #[derive(Module, Debug)]
    pub struct Net {
        features: [Inverted; 2],
        dropout: Dropout,
        classifier: Linear,
    }

    fn part(from: usize, to: usize, kernel: usize, groups: usize, device: &Device) -> (Conv2d, BatchNorm) {
        let padding = PaddingConfig2d::Explicit(kernel / 2, kernel / 2, kernel / 2, kernel / 2);
        let config = Conv2dConfig::new([from, to], [kernel, kernel]).with_groups(groups).with_padding(padding);
        (config.with_bias(false).init(device), BatchNormConfig::new(to).with_momentum(0.03).with_epsilon(1e-3).init(device))
    }

    impl Inverted {
        fn new(from: usize, to: usize, ratio: usize, device: &Device) -> Inverted {
            let inner = from * ratio;
            Inverted {
                expand: (ratio > 1).then(|| part(from, inner, 1, 1, device)),
                depthwise: part(inner, inner, 3, inner, device),
                project: part(inner, to, 1, 1, device),
                residual: from == to,
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<4> {
            let apply = |(conv, norm): &(Conv2d, BatchNorm), x| norm.forward(conv.forward(x));
            let inner = self.expand.as_ref().map_or(x.clone(), |expand| apply(expand, x.clone()).clamp(0.0, 6.0));
            let inner = apply(&self.project, apply(&self.depthwise, inner).clamp(0.0, 6.0));
            if self.residual { inner + x } else { inner }
        }
    }

    impl super::Network for Net {
        const NORMS: &[&str] = &[
            "features.0.depthwise.1",
            "features.0.project.1",
            "features.1.expand.1",
            "features.1.depthwise.1",
            "features.1.project.1",
        ];

        fn new(device: &Device) -> Net {
            Net {
                features: [Inverted::new(3, 6, 1, device), Inverted::new(6, 6, 2, device)],
                dropout: DropoutConfig::new(0.0).init(),
                classifier: LinearConfig::new(6, 5).init(device),
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<2> {
            let x = self.features.iter().fold(x, |x, block| block.forward(x));
            self.classifier.forward(self.dropout.forward(x.mean_dim(3).mean_dim(2).flatten(1, 3)))
        }
    }
}

/// Blocks of several kinds in an enum, as YOLOX: a stem, cross-stage parts, a shortcut.
pub mod enums {
    use super::nn;
    use burn::module::Module;
    use burn::tensor::activation::sigmoid;
    use burn::tensor::{Device, Tensor};

    #[derive(Module, Debug)]
    pub struct Base {
        conv: nn::conv::Conv2d,
        bn: nn::BatchNorm,
    }

    #[derive(Module, Debug)]
    pub struct Partial {
        one: Base,
        other: Base,
        blocks: Vec<Base>,
    }

    #[derive(Module, Debug)]
    #[expect(clippy::large_enum_variant, reason = "as people write them")]
    pub enum Block {
        Base(Base),
        Partial(Partial),
        Pool(nn::pool::AvgPool2d),
    }

    #[derive(Module, Debug)]
    pub struct Net {
        blocks: Vec<Block>,
        head: nn::Linear,
    }

    impl Base {
        fn new(from: usize, to: usize, device: &Device) -> Base {
            let config = nn::conv::Conv2dConfig::new([from, to], [1, 1]).with_bias(false);
            Base { conv: config.init(device), bn: nn::BatchNormConfig::new(to).init(device) }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<4> {
            let x = self.bn.forward(self.conv.forward(x));
            x.clone() * sigmoid(x)
        }
    }

    impl Block {
        fn forward(&self, x: Tensor<4>) -> Tensor<4> {
            match self {
                Block::Base(base) => base.forward(x),
                Block::Pool(pool) => pool.forward(x),
                Block::Partial(Partial { one, other, blocks }) => {
                    let inner = blocks.iter().fold(one.forward(x.clone()), |x, block| block.forward(x.clone()) + x);
                    Tensor::cat(vec![inner, other.forward(x)], 1)
                }
            }
        }
    }

    impl super::Network for Net {
        const NORMS: &[&str] =
            &["blocks.0.bn", "blocks.2.one.bn", "blocks.2.other.bn", "blocks.2.blocks.0.bn", "blocks.2.blocks.1.bn"];

        fn new(device: &Device) -> Net {
            let base = |from, to| Base::new(from, to, device);
            let partial = Partial { one: base(8, 4), other: base(8, 4), blocks: vec![base(4, 4), base(4, 4)] };
            Net {
                blocks: vec![
                    Block::Base(base(3, 8)),
                    Block::Pool(nn::pool::AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init()),
                    Block::Partial(partial),
                ],
                head: nn::LinearConfig::new(8, 5).init(device),
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<2> {
            let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
            self.head.forward(x.mean_dim(3).mean_dim(2).flatten(1, 3))
        }
    }
}

/// A generator, as of a Wasserstein GAN: layers of features, a norm only in some, its own noise as `f32` tensors.
pub mod generator {
    use super::nn::{BatchNorm, BatchNormConfig, LeakyRelu, LeakyReluConfig, Linear, LinearConfig};
    use burn::module::Module;
    use burn::tensor::{Device, Tensor, TensorData};

    #[derive(Module, Debug)]
    pub struct Layer {
        linear: Linear,
        norm: Option<BatchNorm>,
        activation: LeakyRelu,
    }

    #[derive(Module, Debug)]
    pub struct Net {
        layer1: Layer,
        layer2: Layer,
        layer3: Layer,
        output: Linear,
    }

    impl Layer {
        fn new(from: usize, to: usize, norm: bool, device: &Device) -> Layer {
            Layer {
                linear: LinearConfig::new(from, to).init(device),
                norm: norm.then(|| BatchNormConfig::new(to).with_epsilon(0.8).init(device)),
                activation: LeakyReluConfig::new().with_negative_slope(0.2).init(),
            }
        }

        fn forward(&self, x: Tensor<2>) -> Tensor<2> {
            let x = self.linear.forward(x);
            let x = match &self.norm {
                Some(norm) => norm.forward(x),
                None => x,
            };
            self.activation.forward(x)
        }
    }

    impl super::Network for Net {
        const NORMS: &[&str] = &["layer2.norm", "layer3.norm"];

        fn new(device: &Device) -> Net {
            Net {
                layer1: Layer::new(12, 16, false, device),
                layer2: Layer::new(16, 24, true, device),
                layer3: Layer::new(24, 20, true, device),
                output: LinearConfig::new(20, 5).init(device),
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<2> {
            let [samples, ..] = x.dims();
            let features = x.reshape([samples as i32, -1]).narrow(1, 0, 12);
            // A tensor that the model makes by itself, on the device of its input.
            let noise: Vec<f32> = (0..samples * 12).map(|i| ((i * 37) % 11) as f32 / 11.0 - 0.5).collect();
            let noise = Tensor::<2>::from_data(TensorData::new(noise, [samples, 12]), &features.device());
            let x = self.layer3.forward(self.layer2.forward(self.layer1.forward(features + noise)));
            self.output.forward(x).tanh()
        }
    }
}

/// A norm in front, as for tables of numbers, and sibling norms behind it, chosen by a configuration.
pub mod table {
    use super::nn;
    use super::nn::norm::{Normalization, NormalizationConfig};
    use burn::config::Config;
    use burn::module::Module;
    use burn::tensor::activation::gelu;
    use burn::tensor::{Device, Tensor};

    #[derive(Config, Debug)]
    pub struct NetConfig {
        input: nn::BatchNormConfig,
        #[config(default = 10)]
        width: usize,
    }

    #[derive(Module, Debug)]
    pub struct Net {
        input: nn::BatchNorm,
        linears: Vec<nn::Linear>,
        norms: Vec<Normalization>,
        head: nn::Linear,
    }

    impl super::Network for Net {
        const NORMS: &[&str] = &["input", "norms.1"];

        fn new(device: &Device) -> Net {
            let config = NetConfig::new(nn::BatchNormConfig::new(12).with_momentum(0.2));
            let norms: [NormalizationConfig; 3] = [
                nn::LayerNormConfig::new(0).into(),
                nn::BatchNormConfig::new(0).into(),
                nn::RmsNormConfig::new(0).into(),
            ];
            let width = config.width;
            Net {
                input: config.input.init(device),
                linears: (0..3).map(|i| nn::LinearConfig::new(if i == 0 { 12 } else { width }, width).init(device)).collect(),
                norms: norms.into_iter().map(|norm| norm.with_num_features(width).init(device)).collect(),
                head: nn::LinearConfig::new(width, 5).init(device),
            }
        }

        fn forward(&self, x: Tensor<4>) -> Tensor<2> {
            let [samples, ..] = x.dims();
            let x = self.input.forward(x.reshape([samples as i32, -1]).narrow(1, 0, 12));
            let layers = self.linears.iter().zip(&self.norms);
            self.head.forward(layers.fold(x, |x, (linear, norm)| gelu(norm.forward(linear.forward(x)))))
        }
    }
}
