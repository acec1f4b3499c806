//! A picture in memory, and in another size.

use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::U16x4;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// A picture in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green, blue and alpha of each pixel, each in 0..=65535, row by row; alpha is not multiplied in.
    pub pixels: Vec<[u16; 4]>,
}

impl Picture {
    /// The picture in another size, by triangles (what PIL and torchvision call bilinear, with antialiasing), colours weighed by
    /// alpha. It is stretched: whoever wants to keep the proportions cuts it first. Whole numbers all the way, so that the result is
    /// the same on every processor.
    ///
    /// # Panics
    /// If one of the lengths is 0, or above `u32::MAX`.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize) -> Picture {
        if (self.width, self.height) == (width, height) {
            return self.clone();
        }
        let length = |length: usize| u32::try_from(length).expect("a length below 2^32");
        let pixels: Vec<U16x4> = self.pixels.iter().map(|&pixel| U16x4::new(pixel)).collect();
        let from = TypedImage::from_pixels(length(self.width), length(self.height), pixels)
            .expect("as many pixels as its size says");
        let mut to = TypedImage::<U16x4>::new(length(width), length(height));
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize_typed(&from, &mut to, &options).expect("two sizes above 0");
        Picture { width, height, pixels: to.pixels().iter().map(|pixel| pixel.0).collect() }
    }
}
