//! What a recipe makes of a picture: its size, and its values.

use batchnorm_io::picture::{self, MOST_PIXELS};

use super::description::{Filter, Recipe, Resize};
use super::error::RecipeError;

impl Recipe {
    /// Height and width of a picture of this size when it has been resized, with its borders.
    ///
    /// # Errors
    /// More pixels than a picture may have.
    pub fn resized_size(&self, height: usize, width: usize) -> Result<[usize; 2], RecipeError> {
        let size = match self.resize {
            None => return Ok([height, width]),
            Some(Resize::Exact { height, width, .. } | Resize::Letterbox { height, width, .. }) => {
                return Ok([height, width]);
            }
            Some(Resize::Shortest { length, .. }) => {
                // (Rounded down: whole numbers, so that no rounding of a quotient plays into it.)
                let longer =
                    |long: usize, short: usize| (length as u128 * long as u128 / (short as u128).max(1)) as u64;
                let length = length as u64;
                if width <= height { [longer(height, width), length] } else { [length, longer(width, height)] }
            }
        };
        let [height, width] = size;
        match u128::from(height) * u128::from(width) <= u128::from(MOST_PIXELS) {
            true => Ok([height as usize, width as usize]),
            false => Err(RecipeError::Large { most: MOST_PIXELS, height, width }),
        }
    }

    /// Height and width of the input that a picture of this size becomes.
    ///
    /// # Errors
    /// As [`resized_size`](Self::resized_size); a middle that is larger than the picture.
    pub fn size_of(&self, height: usize, width: usize) -> Result<[usize; 2], RecipeError> {
        let [height, width] = self.resized_size(height, width)?;
        match self.crop {
            None => Ok([height, width]),
            Some([crop_height, crop_width]) if crop_height <= height && crop_width <= width => {
                Ok([crop_height, crop_width])
            }
            Some([crop_height, crop_width]) => Err(RecipeError::Crop { crop_height, crop_width, height, width }),
        }
    }

    /// What each value of 0 to 255 becomes in each channel of the input: computed in double precision, rounded once.
    pub fn values(&self) -> Vec<[f32; 256]> {
        let of = |numbers: &[f64], channel: usize, none: f64| match numbers {
            [] => none,
            [one] => *one,
            // (A recipe that has not been checked may have too few.)
            many => many.get(channel).copied().unwrap_or(f64::NAN),
        };
        let channels = 0..self.channels();
        let table = |channel| {
            let (mean, sd) = (of(&self.mean, channel, 0.0), of(&self.sd, channel, 1.0));
            std::array::from_fn(|value| ((value as f64 * self.scale - mean) / sd) as f32)
        };
        channels.map(table).collect()
    }
}

impl From<Filter> for picture::Filter {
    fn from(filter: Filter) -> picture::Filter {
        match filter {
            Filter::PillowBilinear => picture::Filter::PillowBilinear,
            Filter::PillowBicubic => picture::Filter::PillowBicubic,
            Filter::OpencvLinear => picture::Filter::OpencvLinear,
            Filter::Nearest => picture::Filter::Nearest,
        }
    }
}
