//! The arguments of `recalibrate`.

use std::path::PathBuf;
use std::str::FromStr;

use batchnorm_model::job::Blend;
use batchnorm_model::recipe::{Colours, Filter, Layout, Recipe, Resize};

use crate::failure::Failure;

/// Measure the running statistics of a trained model's batch norms anew, on your data.
///
/// For a model that goes to data that look different, or whose weights were averaged, pruned or changed since its statistics were taken.
/// By default layer by layer: each batch norm gets the exact mean and variance of what it will see in use, whatever the batches. What
/// the model answers is compared before and after. Data unlike those of its later use can ruin a model: labels tell (--unless-worse),
/// without them there are only signs. Before, pictures are compared with what the model's first norms remember of its training's.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0; 3, no model, or data that do not fit it; 4, weights without a graph, data that look otherwise prepared than the model's were, or a worse model under --unless-worse; 130, interrupted: the same command goes on; 2, 5 as for other commands."
)]
pub struct Arguments {
    /// The model (.onnx).
    pub input: PathBuf,
    /// Where the model with the new statistics goes; it may be the same file.
    #[arg(required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// Your data: .npy, .npz (arrays by the names of the model's inputs), a table (.csv, .tsv), or a folder of PNG and JPEG pictures,
    /// whose sub-folders are classes.
    #[arg(long, value_name = "PATH", required_unless_present = "rollback")]
    pub data: Option<PathBuf>,
    /// The right classes, whole numbers from 0: .npy, or .csv with one a line.
    #[arg(long, value_name = "PATH")]
    pub labels: Option<PathBuf>,
    #[command(flatten)]
    pub pictures: Pictures,
    /// The batch norms that are measured, by name; * is anything, and commas are between several. [default: all]
    #[arg(long, value_name = "PATTERN")]
    pub layers: Option<String>,
    /// Measure all in one pass, each batch normalised by itself as in training: faster for deep models, and it depends on --batch.
    #[arg(long)]
    pub one_pass: bool,
    /// Samples that run together. Layer by layer it changes no bit of the result.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch: usize,
    /// Mix with the old statistics: new:W gives the new ones the weight W (0 to 1), old:W the old ones.
    #[arg(long, value_name = "new:W|old:W")]
    pub blend: Option<Mix>,
    /// Write nothing if fewer answers are right than before; needs labels.
    #[arg(long)]
    pub unless_worse: bool,
    /// Go on where another preparation of the pictures fits the model far better.
    #[arg(long)]
    pub trust_data: bool,
    /// Put the statistics back that the model had before, which it has kept.
    #[arg(long, conflicts_with_all = ["data", "labels", "layers", "one_pass", "blend", "unless_worse"])]
    pub rollback: bool,
    /// Measure, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Threads. [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory of the process that runs the model, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 4.0)]
    pub max_memory: f64,
    /// Room for values between two layers in temporary files, in GiB; what finds none is computed again.
    #[arg(long, value_name = "GIB", default_value_t = 8.0)]
    pub cache: f64,
    /// Print one object of JSON (docs/json.md).
    #[arg(long)]
    pub json: bool,
}

/// How pictures are prepared. What is said here goes before the file of --recipe, and that before what the model says of itself.
#[derive(clap::Args, Clone, Default)]
pub struct Pictures {
    /// How pictures are prepared: TOML, timm's config.json or Hugging Face's preprocessor_config.json. [default: what the model says, else
    /// RGB of 0 to 1]
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// shortest:256 (the shorter side), exact:224x320 (height x width) or letterbox:640x640.
    #[arg(long, value_name = "HOW")]
    pub resize: Option<String>,
    /// pillow-bilinear, pillow-bicubic, opencv-linear or nearest.
    #[arg(long, value_name = "NAME", requires = "resize")]
    pub filter: Option<String>,
    /// The middle, height x width.
    #[arg(long, value_name = "HxW")]
    pub crop: Option<String>,
    /// What values of 0 to 255 are multiplied by first.
    #[arg(long, value_name = "NUMBER")]
    pub scale: Option<f64>,
    /// What is subtracted then: one number, or one for each channel, with commas.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', allow_hyphen_values = true)]
    pub mean: Option<Vec<f64>>,
    /// What is divided by then, likewise.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub sd: Option<Vec<f64>>,
    /// rgb, bgr or grey.
    #[arg(long, value_name = "ORDER")]
    pub colours: Option<String>,
    /// nchw or nhwc.
    #[arg(long, value_name = "AXES")]
    pub layout: Option<String>,
}

/// The weights of a mix.
#[derive(Debug, Clone, Copy)]
pub struct Mix(pub Blend);

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let expected = || format!("expected new:W or old:W with a weight of 0 to 1, such as new:0.1, got {text:?}");
        let (which, weight) = text.split_once(':').ok_or_else(expected)?;
        let weight: f64 = weight.parse().map_err(|_| expected())?;
        let blend = match which {
            "new" => Blend::New(weight),
            "old" => Blend::Old(weight),
            _ => return Err(expected()),
        };
        blend.weight().map_err(|_| expected())?;
        Ok(Mix(blend))
    }
}

impl Arguments {
    pub fn check(&self) -> Result<(), Failure> {
        let positive = |name: &str, number: f64| match number > 0.0 && number < 1e6 {
            true => Ok(()),
            false => Err(Failure::usage(format!("{name}: expected a number of GiB above 0, got {number}"))),
        };
        positive("--max-memory", self.max_memory)?;
        if self.cache != 0.0 {
            positive("--cache", self.cache)?;
        }
        if self.batch == 0 || self.threads == Some(0) {
            return Err(Failure::usage("--batch, --threads: expected 1 or more, got 0"));
        }
        Ok(())
    }
}

impl Pictures {
    /// Whether anything is said here.
    pub fn is_empty(&self) -> bool {
        let Pictures { recipe, resize, filter, crop, scale, mean, sd, colours, layout } = self;
        recipe.is_none()
            && [resize, filter, crop, colours, layout].iter().all(|text| text.is_none())
            && scale.is_none()
            && mean.is_none()
            && sd.is_none()
    }

    /// The recipe, from what the model says of itself where it does.
    pub fn over(&self, of_model: Option<Recipe>) -> Result<Recipe, Failure> {
        let mut recipe = match &self.recipe {
            Some(path) => Recipe::read(path).map_err(Failure::input)?,
            None => of_model.unwrap_or_default(),
        };
        if let Some(how) = &self.resize {
            recipe.resize = Some(resize(how, self.filter.as_deref())?);
        }
        if let Some(size) = &self.crop {
            recipe.crop = Some(lengths("--crop", size)?);
        }
        if let Some(scale) = self.scale {
            recipe.scale = scale;
        }
        if let Some(mean) = &self.mean {
            recipe.mean.clone_from(mean);
        }
        if let Some(sd) = &self.sd {
            recipe.sd.clone_from(sd);
        }
        if let Some(word) = &self.colours {
            let all = [("rgb", Colours::Rgb), ("bgr", Colours::Bgr), ("grey", Colours::Grey)];
            recipe.colours = one_of("--colours", word, &all)?;
        }
        if let Some(word) = &self.layout {
            recipe.layout = one_of("--layout", word, &[("nchw", Layout::Nchw), ("nhwc", Layout::Nhwc)])?;
        }
        recipe.check().map_err(Failure::usage)?;
        Ok(recipe)
    }
}

fn one_of<T: Copy>(flag: &str, word: &str, all: &[(&str, T)]) -> Result<T, Failure> {
    let found = all.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, value)| *value);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    found.ok_or_else(|| Failure::usage(format!("{flag}: expected {}, got {word:?}", names.join(", "))))
}

fn lengths(flag: &str, text: &str) -> Result<[usize; 2], Failure> {
    let parsed = text.split_once('x').and_then(|(height, width)| Some([height.parse().ok()?, width.parse().ok()?]));
    parsed.ok_or_else(|| Failure::usage(format!("{flag}: expected height x width, such as 224x224, got {text:?}")))
}

fn resize(how: &str, filter: Option<&str>) -> Result<Resize, Failure> {
    let filters = [
        ("pillow-bilinear", Filter::PillowBilinear),
        ("pillow-bicubic", Filter::PillowBicubic),
        ("opencv-linear", Filter::OpencvLinear),
        ("nearest", Filter::Nearest),
    ];
    let filter = filter.map_or(Ok(Filter::default()), |word| one_of("--filter", word, &filters))?;
    let expected = || Failure::usage(format!("--resize: expected shortest:N, exact:HxW or letterbox:HxW, got {how:?}"));
    match how.split_once(':').ok_or_else(expected)? {
        ("shortest", length) => Ok(Resize::Shortest { length: length.parse().map_err(|_| expected())?, filter }),
        ("exact", size) => lengths("--resize", size).map(|[height, width]| Resize::Exact { height, width, filter }),
        ("letterbox", size) => lengths("--resize", size).map(|[height, width]| Resize::Letterbox {
            height,
            width,
            colour: batchnorm_model::recipe::BORDER,
            filter,
        }),
        _ => Err(expected()),
    }
}
