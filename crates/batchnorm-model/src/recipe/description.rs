//! A recipe as data.

use serde::{Deserialize, Serialize};

/// What is done to a picture, in this order: its size is changed, its middle is cut out, its colours are put in order, and each value
/// `v` of 0 to 255 becomes `(v * scale - mean) / sd` by its channel.
///
/// A picture begins as whole numbers of 0 to 255 (those of 16 bits are rounded to them), of which transparency is left out, as Pillow's
/// `convert("RGB")` and OpenCV's `imread` do it; grey is made before the size is changed. Values are rounded to whole numbers again when the size has
/// been changed, as Pillow and OpenCV give them (and to 16 bits within, so that a value may differ from theirs by 1; see
/// `Picture::resized_by` of `batchnorm-io`).
///
/// The default is what most expect who say nothing: the picture's own size, red, green and blue in 0..1, NCHW.
///
/// ```
/// use batchnorm_model::recipe::Recipe;
///
/// let recipe = Recipe::parse("crop = [224, 224]\nmean = [0.5]\nresize = { to = 'shortest', length = 256 }")?;
/// assert_eq!(recipe.to_string(), "shortest side to 256 (pillow-bilinear), middle 224 x 224, RGB, v/255, mean 0.5, NCHW");
/// assert_eq!(Recipe::default().to_string(), "own size, RGB, v/255, NCHW");
/// # Ok::<(), batchnorm_model::recipe::RecipeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The new size; none where pictures are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Height and width of what is cut out of the middle. Where the rest is odd, half of it is rounded as torchvision does, to the even
    /// number (Hugging Face's processors round it down).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<[usize; 2]>,
    /// What values of 0 to 255 are multiplied by first: 1/255, the default, where they are then from 0 to 1.
    #[serde(default = "to_one")]
    pub scale: f64,
    /// What is subtracted then, for each channel in the order of `colours`, or one for all; none is 0.
    #[serde(default)]
    pub mean: Vec<f64>,
    /// What is divided by then, likewise; none is 1.
    #[serde(default)]
    pub sd: Vec<f64>,
    /// The order of the channels.
    #[serde(default)]
    pub colours: Colours,
    /// Where the channels' axis stands.
    #[serde(default)]
    pub layout: Layout,
}

/// Another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resize {
    /// The shorter side gets this length, the other one in proportion, rounded down as torchvision and Hugging Face do.
    Shortest {
        /// Its length.
        length: usize,
        /// How values between pixels are found.
        #[serde(default)]
        filter: Filter,
    },
    /// Just this size, whatever the proportions.
    Exact {
        /// Rows.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// How values between pixels are found.
        #[serde(default)]
        filter: Filter,
    },
    /// As large as fits into this size in its proportions, in the middle, with borders of a colour. (Of odd borders the upper and left
    /// ones are thinner by a pixel, as ultralytics has it.)
    Letterbox {
        /// Rows.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// Red, green and blue of the borders: ultralytics' grey where nothing is said.
        #[serde(default = "border")]
        colour: [u8; 3],
        /// How values between pixels are found.
        #[serde(default)]
        filter: Filter,
    },
}

/// How values between pixels are found, and by whose convention: those of one name differ between libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Triangles, over more pixels where the picture gets smaller (antialiasing): Pillow's and torchvision's bilinear.
    #[default]
    PillowBilinear,
    /// Cubics with a = -0.5, with antialiasing: Pillow's and torchvision's bicubic.
    PillowBicubic,
    /// Between four pixels, also where the picture gets smaller: OpenCV's INTER_LINEAR.
    OpencvLinear,
    /// The pixel that the centre of the new one falls into: Pillow's nearest.
    Nearest,
}

/// The order of a picture's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colours {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as OpenCV reads them.
    Bgr,
    /// One channel, of luminance (0.299, 0.587, 0.114; as Pillow's `convert("L")` rounds it).
    Grey,
}

impl Colours {
    /// For each channel of an input that of red, green and blue (of grey pictures, in which all three are alike, the first).
    pub fn order(self) -> &'static [usize] {
        match self {
            Colours::Rgb => &[0, 1, 2],
            Colours::Bgr => &[2, 1, 0],
            Colours::Grey => &[0],
        }
    }
}

/// Where the axis of channels stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Behind that of the samples.
    #[default]
    Nchw,
    /// At the end.
    Nhwc,
}

/// The colour of borders where a recipe says none: that of ultralytics' models.
pub const BORDER: [u8; 3] = [114; 3];

/// The name of a model's metadata entry that has its recipe, as [`Recipe::to_toml`] writes it.
pub const METADATA: &str = "batchnorm.recipe";

impl Recipe {
    /// As text of TOML, which [`parse`](Self::parse) reads as the same recipe.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("numbers, words and lists are values of TOML")
    }

    /// How many channels the input has.
    pub fn channels(&self) -> usize {
        match self.colours {
            Colours::Rgb | Colours::Bgr => 3,
            Colours::Grey => 1,
        }
    }
}

impl Default for Recipe {
    fn default() -> Recipe {
        let (colours, layout) = (Colours::default(), Layout::default());
        Recipe { resize: None, crop: None, scale: to_one(), mean: Vec::new(), sd: Vec::new(), colours, layout }
    }
}

fn to_one() -> f64 {
    1.0 / 255.0
}

fn border() -> [u8; 3] {
    BORDER
}
