//! A recipe as a sentence for people.

use std::fmt;

use super::description::{Colours, Filter, Layout, Recipe, Resize};

/// In the order in which it is done, sizes as height x width: `shortest side to 256 (pillow-bilinear), middle 224 x 224, RGB, v/255, mean 0.485
/// 0.456 0.406, sd 0.229 0.224 0.225, NCHW`.
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resize {
            None => f.write_str("own size")?,
            Some(resize) => write!(f, "{resize}")?,
        }
        if let Some([height, width]) = self.crop {
            write!(f, ", middle {height} x {width}")?;
        }
        write!(f, ", {}, ", self.colours)?;
        let inverse = (1.0 / self.scale).round();
        match self.scale {
            1.0 => f.write_str("v")?,
            // (1/255, in its usual roundings.)
            scale if inverse > 1.0 && (scale * inverse - 1.0).abs() < 1e-7 => write!(f, "v/{inverse}")?,
            scale => write!(f, "v * {scale}")?,
        }
        for (name, numbers) in [("mean", &self.mean), ("sd", &self.sd)] {
            if !numbers.is_empty() {
                write!(f, ", {name}")?;
                numbers.iter().try_for_each(|number| write!(f, " {number}"))?;
            }
        }
        write!(f, ", {}", self.layout)
    }
}

/// What becomes of the size.
impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resize::Shortest { length, filter } => write!(f, "shortest side to {length} ({filter})"),
            Resize::Exact { height, width, filter } => write!(f, "stretched to {height} x {width} ({filter})"),
            Resize::Letterbox { height, width, colour: [red, green, blue], filter } => {
                write!(f, "fitted into {height} x {width} ({filter}) on colour {red} {green} {blue}")
            }
        }
    }
}

/// Its name in a recipe.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Filter::PillowBilinear => "pillow-bilinear",
            Filter::PillowBicubic => "pillow-bicubic",
            Filter::OpencvLinear => "opencv-linear",
            Filter::Nearest => "nearest",
        })
    }
}

/// What people call them.
impl fmt::Display for Colours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Colours::Rgb => "RGB",
            Colours::Bgr => "BGR",
            Colours::Grey => "grey",
        })
    }
}

/// What people call it.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layout::Nchw => "NCHW",
            Layout::Nhwc => "NHWC",
        })
    }
}
