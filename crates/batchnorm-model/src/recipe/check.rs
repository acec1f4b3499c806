//! Whether pictures can be prepared by a recipe.

use batchnorm_io::picture::MOST_PIXELS;

use super::description::{Recipe, Resize};
use super::error::RecipeError;

/// The longest side that a recipe may ask for.
pub const MOST_SIDE: usize = 1 << 14;

impl Recipe {
    /// Makes sure that pictures can be prepared by it: sizes from 1 to [`MOST_SIDE`] and of no more pixels than pictures may have; a middle that can be
    /// cut out, as far as that does not depend on the picture; `mean` and `sd` for each channel, for all of them, or empty; and values that
    /// single precision has.
    ///
    /// # Errors
    /// The first field that is wrong, what was expected and what came.
    pub fn check(&self) -> Result<(), RecipeError> {
        let wrong =
            |field, expected: &str, got: String| Err(RecipeError::Value { field, expected: expected.to_owned(), got });
        if let Some(resize) = &self.resize {
            let [height, width] = resize.sides();
            expect_size("resize", height, width)?;
            if let Some([crop_height, crop_width]) = self.crop {
                // Of a shortest side it is known that no side is below it.
                let fits = match resize {
                    Resize::Shortest { length, .. } => crop_height.min(crop_width) <= *length,
                    Resize::Exact { .. } | Resize::Letterbox { .. } => crop_height <= height && crop_width <= width,
                };
                if !fits {
                    let got = format!("{crop_height} x {crop_width} of {height} x {width} (height x width)");
                    return wrong("crop", "no more than what the resize gives", got);
                }
            }
        }
        if let Some([height, width]) = self.crop {
            expect_size("crop", height, width)?;
        }
        if !self.scale.is_finite() || self.scale == 0.0 {
            return wrong("scale", "a number that is not 0, as 1/255 = 0.00392156862745098", self.scale.to_string());
        }
        let channels = self.channels();
        for (field, numbers) in [("mean", &self.mean), ("sd", &self.sd)] {
            if ![0, 1, channels].contains(&numbers.len()) {
                let expected = match channels {
                    1 => String::from("none or one, as there is one channel"),
                    _ => format!("none, one for all channels, or one for each of {channels}"),
                };
                return wrong(field, &expected, format!("{} numbers", numbers.len()));
            }
            if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
                return wrong(field, "finite numbers", number.to_string());
            }
        }
        if let Some(sd) = self.sd.iter().find(|&&sd| sd <= 0.0) {
            return wrong("sd", "numbers above 0, which are divided by", sd.to_string());
        }
        if let Some(value) = self.values().iter().flatten().find(|value| !value.is_finite()) {
            return wrong("sd", "`scale`, `mean` and `sd` that make values of single precision", value.to_string());
        }
        Ok(())
    }
}

fn expect_size(field: &'static str, height: usize, width: usize) -> Result<(), RecipeError> {
    let sides = 1..=MOST_SIDE;
    if sides.contains(&height) && sides.contains(&width) && height as u64 * width as u64 <= MOST_PIXELS {
        return Ok(());
    }
    let expected = format!("sides from 1 to {MOST_SIDE}, and at most {MOST_PIXELS} pixels");
    Err(RecipeError::Value { field, expected, got: format!("{height} x {width} (height x width)") })
}

impl Resize {
    /// Height and width that it says, of a shortest side a square of it.
    fn sides(&self) -> [usize; 2] {
        match *self {
            Resize::Shortest { length, .. } => [length, length],
            Resize::Exact { height, width, .. } | Resize::Letterbox { height, width, .. } => [height, width],
        }
    }
}
