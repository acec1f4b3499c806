//! How a model's pictures are prepared, out of flags, files and what the model says of itself.

use std::path::{Path, PathBuf};

use batchnorm_model::file::ModelFile;
use batchnorm_model::recipe::{self, BORDER, Colours, Filter, Layout, Recipe, Resize};

use crate::failure::Failure;

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
    /// What values of 0 to 255 are multiplied by first, such as 1/255.
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    pub scale: Option<f64>,
    /// What is subtracted then: one number, or one for each channel, with commas.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', allow_hyphen_values = true, value_parser = number)]
    pub mean: Option<Vec<f64>>,
    /// What is divided by then, likewise.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', value_parser = number)]
    pub sd: Option<Vec<f64>>,
    /// rgb, bgr or grey.
    #[arg(long, value_name = "ORDER")]
    pub colours: Option<String>,
    /// nchw or nhwc.
    #[arg(long, value_name = "AXES")]
    pub layout: Option<String>,
}

/// The recipe of a model's pictures.
pub fn recipe_of(file: &ModelFile, path: &Path, pictures: &Pictures) -> Result<Recipe, Failure> {
    let of_model =
        file.metadata(recipe::METADATA).map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
    let of_model = match of_model {
        // (One that says how numbers of a table are prepared is none of pictures.)
        Some(text) => Recipe::parse(&text).ok(),
        None => None,
    };
    pictures.over(of_model)
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

/// A number, or a quotient of two.
fn number(text: &str) -> Result<f64, String> {
    let expected = || format!("expected a number, or a quotient such as 1/255, got {text:?}");
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| expected());
    match text.split_once('/') {
        Some((above, below)) => Ok(number(above)? / number(below)?),
        None => number(text),
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
        ("letterbox", size) => {
            lengths("--resize", size).map(|[height, width]| Resize::Letterbox { height, width, colour: BORDER, filter })
        }
        _ => Err(expected()),
    }
}
