//! How a picture becomes the input of a network, as data: what a training did to its pictures, and whoever uses the network has to do too.

use serde::{Deserialize, Serialize};

/// What is done to a picture, in this order: its size is changed, its middle is cut out, its colours are put in order, and each value
/// `v` of 0 to 255 becomes `(v * scale - mean) / sd` by its channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The new size; none where pictures are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Height and width of what is cut out of the middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<[usize; 2]>,
    /// What values of 0 to 255 are multiplied by first: 1/255 where they are then from 0 to 1.
    #[serde(default = "one")]
    pub scale: f64,
    /// What is subtracted then, for each channel in the order of `colours`, or one for all.
    #[serde(default)]
    pub mean: Vec<f64>,
    /// What is divided by then, likewise.
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
    /// The shorter side gets this length, the other one in proportion.
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
    /// As large as fits into this size in its proportions, in the middle, with borders of a colour.
    Letterbox {
        /// Rows.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// Red, green and blue of the borders.
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
    /// The nearest pixel.
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
    /// One channel, of luminance (0.299, 0.587, 0.114).
    Grey,
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

/// The name of a model's metadata entry that has its recipe, as [`Recipe::to_toml`] writes it.
pub const METADATA: &str = "batchnorm.recipe";

impl Recipe {
    /// As text of TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("numbers, words and lists are values of TOML")
    }
}

fn one() -> f64 {
    1.0
}
