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

/// How values between pixels are found. Those of one name differ between libraries, so the name says whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// Triangles, over more pixels where the picture gets smaller (antialiasing): what Pillow and torchvision call bilinear.
    #[default]
    PillowBilinear,
    /// Cubics with a = -0.5, likewise: what they call bicubic.
    PillowBicubic,
    /// Between four pixels whatever the size, centres of pixels half a pixel from the edge: OpenCV's INTER_LINEAR.
    OpencvLinear,
    /// The pixel that the centre of the new one falls into: Pillow's nearest.
    Nearest,
}

impl Picture {
    /// The picture in another size, by [`Filter::PillowBilinear`], colours weighed by alpha. It is stretched: whoever wants to keep the
    /// proportions cuts it first. Whole numbers all the way, so that the result is the same on every processor.
    ///
    /// # Panics
    /// If one of the lengths is 0, or above `u32::MAX`.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize) -> Picture {
        self.resized_by(width, height, Filter::PillowBilinear)
    }

    /// The picture in another size, as [`resized`](Self::resized) gives it, by any filter.
    ///
    /// Pillow and OpenCV round to 8 bits between the two directions, this does to 16: a picture of 8 bits that is rounded to 8 bits after
    /// it differs from theirs by 1 level at most, as far as was measured (`tests/golden/resized`). That is Pillow 11 and 12.0, which resize
    /// along rows first, as this does; Pillow 13 begins with columns where that is less work, by which its bicubic of noise moved by up to
    /// 7 levels.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn resized_by(&self, width: usize, height: usize, filter: Filter) -> Picture {
        if (self.width, self.height) == (width, height) {
            return self.clone();
        }
        let length = |length: usize| u32::try_from(length).expect("a length below 2^32");
        let pixels: Vec<U16x4> = self.pixels.iter().map(|&pixel| U16x4::new(pixel)).collect();
        let from = TypedImage::from_pixels(length(self.width), length(self.height), pixels)
            .expect("as many pixels as its size says");
        let mut to = TypedImage::<U16x4>::new(length(width), length(height));
        let options = ResizeOptions::new().resize_alg(match filter {
            Filter::PillowBilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            Filter::PillowBicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
            Filter::OpencvLinear => ResizeAlg::Interpolation(FilterType::Bilinear),
            Filter::Nearest => ResizeAlg::Nearest,
        });
        Resizer::new().resize_typed(&from, &mut to, &options).expect("two sizes above 0");
        Picture { width, height, pixels: to.pixels().iter().map(|pixel| pixel.0).collect() }
    }
}
