//! A network as data.

use serde::{Deserialize, Serialize};

use crate::data::Shape;
use crate::setting::SettingError;

/// Weights of the largest network, a hundred times what the digits need: 40 MB.
pub const MOST_WEIGHTS: usize = 10_000_000;
/// Layers of the deepest network, of each kind.
pub const MOST_LAYERS: usize = 100;
/// Outputs of a layer for one example: those of a convolution of 64 channels on 256 x 256 pixels.
pub const MOST_OUTPUTS: usize = 1 << 22;
/// Channels of the largest group of decorrelated batch norm, whose work is their cube.
const MOST_DECORRELATED: usize = 256;

/// A network as data: from the input through convolutions, residual stages and hidden layers to the classes. Whatever is left out of
/// a file is as in [`Recipe::default`].
///
/// ```
/// use batchnorm_lab::network::{NormKind, Recipe};
/// let recipe = Recipe::from_toml("hidden = [100]\nnorm = 'group'\nconvolutions = [{ channels = 32, kernel = 7, pool = 2 }]")?;
/// assert_eq!((recipe.norm, recipe.convolutions[0].kernel), (NormKind::Group, 7));
/// assert_eq!(Recipe::from_toml(&recipe.to_toml())?, recipe);
/// # Ok::<(), batchnorm_lab::network::RecipeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Units of each hidden layer, the last before the classes.
    pub hidden: Vec<usize>,
    /// The activation.
    pub activation: ActivationKind,
    /// The norm at each convolution and hidden layer.
    pub norm: NormKind,
    /// Its place.
    pub placement: Placement,
    /// Share of the outputs of each hidden layer that are dropped in a training pass; without hidden layers, of what the last layer gets.
    pub dropout: f64,
    /// Start weights; biases start at 0. Where it is not said, He's for ReLU and Glorot's for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Added to the variance inside the square root.
    pub epsilon: f64,
    /// Weight of the new value in the running statistics.
    pub weight_of_new: f64,
    /// Groups of group norm; channels of a group of decorrelated batch norm.
    pub groups: usize,
    /// Limits of r and d of batch renormalisation.
    pub renormalization: [f64; 2],
    /// Examples of a ghost batch, by which batch norm normalises in training instead of the whole batch (Hoffer et al. 2017).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ghost: Option<usize>,
    /// Convolutions, each followed by its pooling.
    pub convolutions: Vec<Convolving>,
    /// Residual stages behind them (He et al. 2016, section 4.2); each but the first halves rows and columns. Behind the last one the mean
    /// of each channel goes on.
    pub stages: Vec<Stage>,
}

/// A convolution that keeps rows and columns, and pooling behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolving {
    /// Its channels.
    pub channels: usize,
    /// Rows and columns of its kernel, an odd number.
    pub kernel: usize,
    /// Rows and columns of which the greatest value goes on; 1 for no pooling.
    #[serde(default = "no_pooling")]
    pub pool: usize,
}

fn no_pooling() -> usize {
    1
}

/// Residual blocks of one width: two convolutions of 3 x 3 each, and the shortcut past them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Channels of each block.
    pub channels: usize,
    /// Number of blocks.
    pub blocks: usize,
}

/// An activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActivationKind {
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// max(0, x).
    Relu,
}

/// A norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// None: a bias in its place.
    None,
    /// Batch norm.
    Batch,
    /// Batch renormalisation (Ioffe 2017).
    Renorm,
    /// Layer norm: over all channels (and rows and columns) of an example; gamma and beta for each channel.
    Layer,
    /// Group norm.
    Group,
    /// Instance norm, of convolutions alone: a hidden layer has one value a channel, and gets a bias.
    Instance,
    /// RMS norm, over what layer norm is over.
    Rms,
    /// Decorrelated batch norm (whitening).
    Decorrelated,
}

/// The place of a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Before the activation; the layer in front has no bias.
    Before,
    /// Behind the activation; the layer in front keeps its bias, for an activation stands between.
    After,
}

/// Start weights, from a normal distribution of mean 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Variance 2 / inputs (He et al. 2015).
    He,
    /// Variance 2 / (inputs + outputs) (Glorot and Bengio 2010).
    Glorot,
    /// This standard deviation.
    Gaussian(f64),
}

/// Text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a network as TOML: {0}")]
pub struct RecipeError(String);

impl Default for Recipe {
    /// The network of Ioffe and Szegedy's first experiment at today's defaults: three hidden layers of 100, batch norm before ReLU, He's start;
    /// epsilon 1e-5 and weight of the new value 0.1, PyTorch's.
    fn default() -> Self {
        Recipe {
            hidden: vec![100; 3],
            activation: ActivationKind::Relu,
            norm: NormKind::Batch,
            placement: Placement::Before,
            dropout: 0.0,
            start: None,
            epsilon: 1e-5,
            weight_of_new: 0.1,
            groups: 4,
            renormalization: [3.0, 5.0],
            ghost: None,
            convolutions: Vec::new(),
            stages: Vec::new(),
        }
    }
}

/// Networks by name.
pub const NAMES: [&str; 5] = ["mlp", "course", "resnet8", "resnet14", "resnet20"];

impl Recipe {
    /// A network by its name: `mlp`, fully connected; `course`, the convolutional network of CS231n's second assignment (a convolution of 32
    /// channels and 7 x 7, pooling, a hidden layer of 100); `resnet8`, `resnet14`, `resnet20`, those of He et al. (2016) for CIFAR-10 with 1, 2 or 3
    /// blocks a stage.
    pub fn named(name: &str) -> Option<Recipe> {
        let resnet = |blocks| Recipe {
            hidden: vec![],
            convolutions: vec![Convolving { channels: 16, kernel: 3, pool: 1 }],
            stages: [16, 32, 64].map(|channels| Stage { channels, blocks }).to_vec(),
            ..Recipe::default()
        };
        Some(match name {
            "mlp" => Recipe::default(),
            "course" => Recipe {
                hidden: vec![100],
                convolutions: vec![Convolving { channels: 32, kernel: 7, pool: 2 }],
                ..Recipe::default()
            },
            "resnet8" => resnet(1),
            "resnet14" => resnet(2),
            "resnet20" => resnet(3),
            _ => return None,
        })
    }

    /// The network in a TOML text.
    ///
    /// # Errors
    /// No TOML, unknown names, values of another type.
    pub fn from_toml(text: &str) -> Result<Recipe, RecipeError> {
        toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(String::new(), |span| {
                format!("line {}: ", text.get(..span.start).unwrap_or_default().matches('\n').count() + 1)
            });
            RecipeError(format!("{place}{}", error.message().split_whitespace().collect::<Vec<_>>().join(" ")))
        })
    }

    /// The network as a TOML text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe has numbers, names and lists")
    }

    /// Tells whether the norm goes by the batch.
    pub fn needs_batches(&self) -> bool {
        matches!(self.norm, NormKind::Batch | NormKind::Renorm | NormKind::Decorrelated)
    }

    /// The start weights: those that are said, or those that are for the activation.
    pub fn started(&self) -> Start {
        self.start.unwrap_or(match self.activation {
            ActivationKind::Relu => Start::He,
            ActivationKind::Sigmoid | ActivationKind::Tanh => Start::Glorot,
        })
    }

    /// Channels and stride of each residual block: the first of each stage but the first halves rows and columns.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let of_stage = |(stage, of): (usize, &Stage)| {
            let channels = of.channels;
            (0..of.blocks).map(move |at| (channels, if stage > 0 && at == 0 { 2 } else { 1 }))
        };
        self.stages.iter().enumerate().flat_map(of_stage)
    }

    /// Tells whether a layer in front of a norm keeps a bias.
    pub(super) fn has_bias(&self, normed: bool) -> bool {
        !normed || self.placement == Placement::After
    }

    /// Tells whether hidden layers, which have one value a channel, have the norm.
    pub(super) fn norms_hidden(&self) -> bool {
        !matches!(self.norm, NormKind::None | NormKind::Instance)
    }

    /// Checks that the network can be built for inputs of a shape.
    ///
    /// # Errors
    /// The first setting that is out of range; more than [`MOST_WEIGHTS`] weights count as such.
    pub fn check(&self, input: Shape, classes: usize) -> Result<(), SettingError> {
        let error = |setting, expected: &str, got: String| Err(SettingError::new(setting, expected, got));
        if let Some(Start::Gaussian(deviation)) = self.start
            && !(deviation > 0.0 && deviation.is_finite())
        {
            return error("weight_deviation", "a finite number above 0", deviation.to_string());
        }
        let widths = || self.hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        if self.hidden.len() > MOST_LAYERS {
            return error("hidden", &format!("at most {MOST_LAYERS} hidden layers"), self.hidden.len().to_string());
        }
        if self.hidden.contains(&0) {
            return error("hidden", "one unit or more in each layer", widths());
        }
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return error("epsilon", "a finite number >= 0", self.epsilon.to_string());
        }
        if !(0.0..=1.0).contains(&self.weight_of_new) {
            return error("weight_of_new", "a weight in 0..=1", self.weight_of_new.to_string());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return error("dropout", "a share in 0..1", self.dropout.to_string());
        }
        let [r_max, d_max] = self.renormalization;
        if let Err(reason) = batchnorm_burn::Renormalization::new(r_max, d_max) {
            return error("renormalization", &reason.to_string(), format!("{r_max}, {d_max}"));
        }
        if let Some(ghost) = self.ghost {
            if ghost < 2 {
                return error(
                    "ghost",
                    "2 examples or more, for batch norm needs two values to normalise by",
                    ghost.to_string(),
                );
            }
            if self.norm != NormKind::Batch {
                return error("ghost", "batch norm with it", format!("{} norm", self.norm_name()));
            }
        }
        self.check_convolutions(input)?;
        self.check_groups()?;
        let outline = self.outline(input, classes);
        let weights = outline.iter().map(|layer| layer.parameters).fold(0, usize::saturating_add);
        if weights > MOST_WEIGHTS {
            let (setting, got) = match self.convolutions.is_empty() {
                true => ("hidden", widths()),
                false => ("network", weights.to_string()),
            };
            return error(setting, &format!("at most {MOST_WEIGHTS} weights in all"), got);
        }
        if let Some(layer) = outline.iter().find(|layer| layer.output.values() > MOST_OUTPUTS) {
            let got = format!("{} ({}) in {}", layer.output.values(), layer.output, layer.path);
            return error("network", &format!("at most {MOST_OUTPUTS} outputs of a layer for an example"), got);
        }
        Ok(())
    }

    /// Outputs for an example of the layer with most of them, the input included.
    pub fn widest(&self, input: Shape, classes: usize) -> usize {
        self.outline(input, classes).iter().map(|layer| layer.output.values()).fold(input.values(), usize::max)
    }

    fn check_convolutions(&self, input: Shape) -> Result<(), SettingError> {
        let error = |expected: &str, got: String| Err(SettingError::new("network", expected, got));
        if self.norm == NormKind::Instance && self.convolutions.is_empty() {
            let expected = "another norm: instance norm is of convolutions, and this network has none";
            return Err(SettingError::new("norm", expected, "instance"));
        }
        if self.convolutions.is_empty() {
            return match self.stages.is_empty() {
                true => Ok(()),
                false => error("a convolution in front of the residual stages", String::from("none")),
            };
        }
        if !input.is_picture() {
            return error("a network without convolutions for examples that are no pictures", input.to_string());
        }
        let (convolutions, blocks) = (self.convolutions.len(), self.stages.iter().map(|stage| stage.blocks));
        if convolutions.max(blocks.fold(0, usize::saturating_add)) > MOST_LAYERS {
            return error(&format!("at most {MOST_LAYERS} convolutions and residual blocks"), String::from("more"));
        }
        let (mut rows, mut columns) = (input.rows, input.columns);
        for Convolving { channels, kernel, pool } in &self.convolutions {
            if *channels == 0 || kernel % 2 == 0 || *kernel > 31 || *pool == 0 {
                let got = format!("channels {channels}, kernel {kernel}, pool {pool}");
                return error("convolutions of a channel or more, an odd kernel up to 31 and a pool of 1 or more", got);
            }
            (rows, columns) = (rows / pool, columns / pool);
        }
        if self.stages.iter().any(|stage| stage.channels == 0 || stage.blocks == 0) {
            return error("a channel and a block or more in each stage", String::from("0"));
        }
        if rows == 0 || columns == 0 {
            return error("pooling that leaves a row and a column", format!("inputs of {input}"));
        }
        Ok(())
    }

    fn check_groups(&self) -> Result<(), SettingError> {
        if !matches!(self.norm, NormKind::Group | NormKind::Decorrelated) {
            return Ok(());
        }
        let convolved = self.convolutions.iter().map(|convolution| convolution.channels);
        let mut widths =
            convolved.chain(self.stages.iter().map(|stage| stage.channels)).chain(self.hidden.iter().copied());
        match (self.groups, widths.find(|width| self.groups == 0 || width % self.groups != 0)) {
            (0, _) => Err(SettingError::new("groups", "a number above 0", 0)),
            (groups, _) if groups > MOST_DECORRELATED && self.norm == NormKind::Decorrelated => {
                let expected = format!("groups of at most {MOST_DECORRELATED} channels to decorrelate");
                Err(SettingError::new("groups", &expected, groups))
            }
            (groups, Some(width)) => {
                let expected = format!("a number that divides the channels of every norm, {width} among them");
                Err(SettingError::new("groups", &expected, groups))
            }
            _ => Ok(()),
        }
    }
}
