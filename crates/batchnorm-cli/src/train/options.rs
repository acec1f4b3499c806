//! The flags of `train`.

use std::path::PathBuf;

use clap::ValueEnum;

/// Train one network and write it to a file that PyTorch reads too.
///
/// Without --data and --network, a sigmoid network learns 1,437 embedded images of handwritten digits by plain gradient descent;
/// its accuracy is that on 360 other images, by running statistics.
///
/// With one of them, any network of this program learns any labelled set: `digits`, `mnist`, `fashion-mnist`, `cifar10` where `scripts/data`
/// or a package has put them, or what a PATH holds: IDX files, CIFAR's binary batches, pictures in a folder for each class (with folders
/// `train` and `test` above them, or not), or a table of numbers whose last column, or one called class, label, target or species, is the
/// class. Unless flags say otherwise it is trained by gradient descent with Nesterov's momentum of 0.9, at a rate that rises for a twentieth of
/// the steps and falls along a cosine, with L2 of 1e-4 on weights and biases; values are standardised; pictures of CIFAR are mirrored and cropped at random.
///
/// The file is safetensors: weights by PyTorch's names, under the metadata's key `batchnorm` what they are, and under names that begin with
/// `training.` what a training needs to go on. It is saved about every second (after each step that takes longer) and on
/// Ctrl-C, and the same command goes on from there: it ends in the same file, to the bit, as if it had never been
/// stopped or killed, on any number of threads (on one machine). More --steps train a finished network further, unless something depends on their
/// number: a learning rate that falls along a cosine, --average swa without numbers.
#[derive(Clone, clap::Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// The data set: digits, mnist, fashion-mnist, cifar10, cifar100, or a path. [default: digits]
    #[arg(long, value_name = "NAME|PATH", help_heading = "Data")]
    pub data: Option<PathBuf>,

    /// Rows and columns that pictures of a folder get. [default: their own if they have one of at most 64; else 64]
    #[arg(long, value_name = "N|NxN", help_heading = "Data")]
    pub size: Option<String>,

    /// Share kept out of training to watch it by.
    #[arg(long, value_name = "SHARE", default_value = "0", allow_negative_numbers = true, help_heading = "Data")]
    pub validation: String,

    /// Share to test with, of a set that has no part for it.
    #[arg(long, value_name = "SHARE", default_value = "0.2", allow_negative_numbers = true, help_heading = "Data")]
    pub test: String,

    /// Examples of the training set that are used, of all classes in proportion. [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Data")]
    pub examples: Option<String>,

    /// Classes whose examples are used, by name, with commas between. [default: all]
    #[arg(long, value_name = "CLASS,CLASS,...", help_heading = "Data")]
    pub classes: Option<String>,

    /// Changes to pictures in training: none, or some of flip, crop=N, shift=N with commas between.
    /// [default: flip,crop=4 for CIFAR; none for others]
    #[arg(long, value_name = "CHANGES", help_heading = "Data")]
    pub augment: Option<String>,

    /// Leave values as they are (pictures in 0..1) instead of standardising each channel.
    #[arg(long, help_heading = "Data")]
    pub unscaled: bool,

    /// The network: mlp, course, resnet8, resnet14, resnet20, or a TOML file of one. The flags below change it.
    /// [default: a sigmoid mlp; with --data mlp]
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = "Network")]
    pub network: Option<PathBuf>,

    /// Units of each hidden layer. [default: 100,100,100; 100 for course, none for resnets]
    #[arg(long, value_name = "N,N,...", allow_negative_numbers = true, help_heading = "Network")]
    pub hidden: Option<String>,

    /// Convolutions in front of them: channels, with xKERNEL (3 unless it is said) and /POOL where pooling follows, such as 16,32x5/2.
    #[arg(long, value_name = "N[xK][/P],...", help_heading = "Network")]
    pub convolutions: Option<String>,

    /// The activation.
    #[arg(long, value_enum, help_heading = "Network")]
    pub activation: Option<Activation>,

    /// The norm. [default: batch]
    #[arg(long, value_enum, help_heading = "Network")]
    pub norm: Option<Norm>,

    /// Leave batch norm out: biases in its place. The same as --norm none.
    #[arg(long, conflicts_with = "norm", help_heading = "Network")]
    pub no_batch_norm: bool,

    /// The place of the norm: before or after the activation.
    #[arg(long, value_enum, help_heading = "Network")]
    pub placement: Option<Place>,

    /// Share of the outputs of each hidden layer that are dropped in training.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Network")]
    pub dropout: Option<String>,

    /// Start weights: he, glorot, or a number, the standard deviation. [default: he for ReLU, glorot for others]
    #[arg(long, value_name = "he|glorot|SD", allow_negative_numbers = true, help_heading = "Network")]
    pub start: Option<String>,

    /// Added to the variance. [default: 1e-5]
    #[arg(long, value_name = "EPS", allow_negative_numbers = true, help_heading = "Network")]
    pub epsilon: Option<String>,

    /// Weight of the new value in the running statistics (PyTorch's momentum). [default: 0.1]
    #[arg(long, value_name = "W", allow_negative_numbers = true, help_heading = "Network")]
    pub update_weight: Option<String>,

    /// Groups of group norm; channels of a group of decorrelated batch norm. [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Network")]
    pub groups: Option<String>,

    /// Limits of r and d of batch renormalisation. [default: 3,5]
    #[arg(long, value_name = "R,D", allow_negative_numbers = true, help_heading = "Network")]
    pub renorm: Option<String>,

    /// Examples of a ghost batch, by which batch norm normalises in training instead of the whole batch.
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Network")]
    pub ghost: Option<String>,

    /// Start from the weights of this file of `train`: its network, its standardising of values, its weights.
    #[arg(long, value_name = "MODEL", help_heading = "From another network", conflicts_with_all = [
        "network", "hidden", "convolutions", "activation", "norm", "no_batch_norm", "placement", "epsilon", "groups", "renorm", "ghost", "unscaled",
    ])]
    pub from: Option<PathBuf>,

    /// The output layer: new, with start weights from the seed, or kept. [default: new]
    #[arg(long, value_enum, requires = "from", help_heading = "From another network")]
    pub head: Option<OutputLayer>,

    /// Layers whose weights and biases stay: body (all but the output), or paths of --outline with commas between, in which
    /// * stands for any text.
    #[arg(long, value_name = "PATTERN", requires = "from", help_heading = "From another network")]
    pub freeze: Option<String>,

    /// The running statistics of norms, of frozen layers or, without --freeze, of all: frozen (they normalise, and stay) or adapting (the
    /// batch normalises, and they follow it). [default: frozen with --freeze]
    #[arg(long, value_enum, requires = "from", help_heading = "From another network")]
    pub statistics: Option<RunningStatistics>,

    /// Their gammas and betas: frozen or trained. [default: frozen with --freeze]
    #[arg(long, value_enum, requires = "from", help_heading = "From another network")]
    pub affine: Option<Parameters>,

    /// Print the network, layer by layer, and train nothing.
    #[arg(long, help_heading = "Network")]
    pub outline: bool,

    /// Steps in all. [default: 600; 3000 with --no-batch-norm; with --data or --network those of 12 epochs]
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "epochs", help_heading = "Training")]
    pub steps: Option<String>,

    /// Passes over the training set in all.
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    pub epochs: Option<String>,

    /// Learning rate. [default: 0.5; 3 with --no-batch-norm; what `compare` found best for each; with --data or --network 0.1; 0.02 without a norm; with --from 0.01; with Adam always 0.001]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, help_heading = "Training")]
    pub learning_rate: Option<String>,

    /// Course of the learning rate: constant, cosine, or step:EVERY,FACTOR (steps between, and the factor).
    #[arg(long, value_name = "COURSE", help_heading = "Training")]
    pub schedule: Option<String>,

    /// Steps in which the learning rate rises. [default: a twentieth of a cosine's; none of other courses]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    pub warm_up: Option<String>,

    /// Examples a step. [default: 60; with --data or --network 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    pub batch_size: Option<String>,

    /// How examples come together: mixed, or sorted by class, so that those of a batch depend on each other.
    #[arg(long, value_enum, default_value = "mixed", help_heading = "Training")]
    pub order: Mixing,

    /// The optimiser.
    #[arg(long, value_enum, help_heading = "Training")]
    pub optimizer: Option<Rule>,

    /// Momentum of sgd.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Training")]
    pub momentum: Option<String>,

    /// Nesterov's form of the momentum, or not.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true", help_heading = "Training")]
    pub nesterov: Option<bool>,

    /// L2: the penalty on the squares of weights and biases.
    #[arg(long, value_name = "PENALTY", allow_negative_numbers = true, help_heading = "Training")]
    pub weight_decay: Option<String>,

    /// Penalise gammas and betas too.
    #[arg(long, help_heading = "Training")]
    pub decay_norms: bool,

    /// The greatest norm of all gradients together.
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, help_heading = "Training")]
    pub clip: Option<String>,

    /// Steps between evaluations on the way. [default: an epoch with --data or --network; none otherwise]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    pub evaluate_every: Option<String>,

    /// End the training after so many evaluations without a better loss on --validation, and keep the best network.
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    pub patience: Option<String>,

    /// Keep the average of the weights: ema:DECAY (after each step), or swa:FROM,EVERY (the mean over every so many-th step from one on); its
    /// statistics are computed again on training examples, and it is the network of the file. ema is ema:0.999; swa takes
    /// twenty networks of the last quarter
    #[arg(long, value_name = "AVERAGE", help_heading = "Training")]
    pub average: Option<String>,

    /// Seed of the start weights, the order of the batches, what is dropped and how pictures are changed.
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, help_heading = "Training")]
    pub seed: String,

    /// Threads. Any number gives the same bits. [default: 1, or all cores with convolutions]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Training")]
    pub threads: Option<String>,

    /// The file to write, and to go on from; of a link, the file it leads to.
    #[arg(long, value_name = "FILE", default_value = "batchnorm-model.safetensors", help_heading = "Files")]
    pub output: PathBuf,

    /// Seconds between saves; 0 to save after each step. [default: 1, or twenty times what a save takes]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Files")]
    pub save_every: Option<String>,

    /// Write a line of JSON for each evaluation, each 50 steps and each warning to this file.
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub log: Option<PathBuf>,

    /// Write event files for TensorBoard to this folder: loss, accuracy, learning rate, and the norms' statistics, gammas and betas.
    #[arg(long, value_name = "FOLDER", help_heading = "Files")]
    pub tensorboard: Option<PathBuf>,

    /// The description of the training in --output, where another program saved the file again without it: JSON (what the file
    /// had under `batchnorm` in its metadata, or what `train --json` printed), or a file of `batchnorm train` that has it.
    #[arg(long, value_name = "FILE", conflicts_with = "restart", help_heading = "Files")]
    pub description: Option<PathBuf>,

    /// Start anew and replace what is in the file, whatever it is, at the first save.
    #[arg(long, help_heading = "Files")]
    pub restart: bool,

    /// Print the summary as JSON instead of text.
    #[arg(long, help_heading = "Files")]
    pub json: bool,
}

/// The norms of [`batchnorm_lab::network::NormKind`], by the names of the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Norm {
    /// none: a bias in its place
    None,
    /// batch norm
    Batch,
    /// batch renormalisation
    Renorm,
    /// layer norm
    Layer,
    /// group norm
    Group,
    /// instance norm, of convolutions
    Instance,
    /// RMS norm
    Rms,
    /// decorrelated batch norm (whitening)
    Decorrelated,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Activation {
    Sigmoid,
    Tanh,
    Relu,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Place {
    Before,
    After,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputLayer {
    New,
    Kept,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RunningStatistics {
    Frozen,
    Adapting,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Parameters {
    Frozen,
    Trained,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mixing {
    Mixed,
    ByClass,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rule {
    /// gradient descent, with --momentum
    Sgd,
    /// Adam: L2 is part of the gradient
    Adam,
    /// Adam with decoupled decay
    Adamw,
}
