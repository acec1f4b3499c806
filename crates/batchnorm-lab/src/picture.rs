//! Conversion of any picture of a digit to the 8 x 8 pixels that the network knows.
//!
//! The digits of the data set were written on forms, scanned, cut out, stretched to fill the height of 32 x 32 black
//! and white points and about 20 of its width, and counted in blocks of 4 x 4. A picture gets the same:
//!
//! 1. **Ink**: transparency is laid on white, colours become luminance; dark on light or light on dark is decided by
//!    the border, whose median is taken for paper; ink is the distance from it, 1 where it is greatest.
//! 2. **Box**: the smallest one around everything that is not faint. (On photographs, with shadows on the paper, that
//!    is too much: this is for drawings and scans.)
//! 3. **Size**: the box is scaled to the full height of 8 pixels, its width in proportion, but within what digits of
//!    the data have: at most 6.5 pixels, at least 4.5 unless that would take more than half as much again.
//! 4. **Place**: from centre at centre, moved most of the way to where the ink's centre of mass is in the middle, as it
//!    is in the data.
//! 5. **Count**: each of the 64 pixels is the mean ink of the area beneath it. If a thin pen leaves less ink than
//!    digits of the data have, all is strengthened up to theirs.
//!
//! A picture of 8 x 8 pixels is taken pixel by pixel: ink as in step 1, but 1 only where it is full, and nothing else.

use thiserror::Error;

use crate::data::luminance_on_white;
use crate::digits::PIXELS;

/// Pixels of a side of what the network sees.
const SIDE: usize = 8;
/// Share of the strongest ink below which ink is faint: a stain or the edge of a soft brush.
const FAINT: f32 = 0.02;
/// Difference between paper and the strongest ink, of 1 between black and white, below which a picture is blank.
const BLANK: f32 = 0.1;
/// Widest digits of the data, in pixels of 8.
const WIDEST: f32 = 6.5;
/// Narrowest width that all but a plain bar are stretched to.
const NARROWEST: f32 = 4.5;
/// Greatest factor of that stretch.
const MOST_STRETCH: f32 = 1.5;
/// Share of the way that the box is moved towards its centre of mass: all the way would push long tails out.
const TOWARDS_MASS: f32 = 0.7;
/// Mean ink of the digits in the data, in full pixels of 64.
const USUAL_INK: f32 = 19.0;

/// A picture of any size, as colours with transparency.
#[derive(Debug, Clone, Copy)]
pub struct Source<'p> {
    /// Pixels in a row.
    pub width: usize,
    /// Red, green, blue and alpha of each pixel, row by row, each in 0..=65535.
    pub pixels: &'p [[u16; 4]],
}

/// The reason why no digit can be seen in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PictureError {
    /// Nothing in it, or next to nothing, differs from its border.
    #[error("expected a digit, dark on light or light on dark, got a blank picture")]
    Blank,
    /// The number of pixels is no multiple of `width`.
    #[error("expected rows of one width, got {pixels} pixels for rows of {width}")]
    Shape {
        /// Pixels of a row.
        width: usize,
        /// Pixels in all.
        pixels: usize,
    },
}

/// The network's input for a picture: 8 rows of 8 pixels, each the share of ink in 0..=1.
///
/// # Errors
/// A blank picture; pixels that are no rectangle.
pub fn seen(source: Source) -> Result<[f32; PIXELS], PictureError> {
    let (ink, strongest) = Ink::new(source)?;
    if (ink.width, ink.height()) == (SIDE, SIDE) {
        return Ok(std::array::from_fn(|at| ink.values[at] * strongest));
    }
    let bounds = ink.bounds();
    let (width, height) = (bounds.right - bounds.left, bounds.bottom - bounds.top);
    let natural = SIDE as f32 * width as f32 / height as f32;
    let shown = natural.max(NARROWEST.min(MOST_STRETCH * natural)).min(WIDEST);
    let middle = SIDE as f32 / 2.0;
    let left = middle - shown / 2.0 - TOWARDS_MASS * shown * (ink.centre_of_mass(&bounds) - 0.5);
    let columns = shares(bounds.left, width, left, shown);
    let rows = shares(bounds.top, height, 0.0, SIDE as f32);
    let mut pixels = [0.0; PIXELS];
    for (row, shares) in rows.iter().enumerate() {
        for (column, across) in columns.iter().enumerate() {
            pixels[row * SIDE + column] = ink.mean(shares, across).clamp(0.0, 1.0);
        }
    }
    strengthen(&mut pixels);
    Ok(pixels)
}

/// The ink of every point, 0 for paper and 1 for the strongest.
struct Ink {
    width: usize,
    values: Vec<f32>,
}

/// A rectangle of points; right and bottom are outside.
struct Bounds {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
}

impl Ink {
    /// The ink of a picture, and the strength of its strongest, where 1 is as far from the paper as a colour can be.
    fn new(Source { width, pixels }: Source) -> Result<(Ink, f32), PictureError> {
        if width == 0 || pixels.is_empty() || !pixels.len().is_multiple_of(width) {
            return Err(PictureError::Shape { width, pixels: pixels.len() });
        }
        let mut ink = Ink { width, values: pixels.iter().map(luminance_on_white).collect() };
        let paper = ink.paper();
        let (mut lighter, mut darker) = (0.0f32, 0.0f32);
        for value in &ink.values {
            lighter = lighter.max(value - paper);
            darker = darker.max(paper - value);
        }
        let (strongest, sign, limit) = match darker >= lighter {
            true => (darker, -1.0, paper),
            false => (lighter, 1.0, 1.0 - paper),
        };
        if strongest < BLANK {
            return Err(PictureError::Blank);
        }
        for value in &mut ink.values {
            *value = (sign * (*value - paper) / strongest).max(0.0);
        }
        Ok((ink, strongest / limit))
    }

    fn height(&self) -> usize {
        self.values.len() / self.width
    }

    /// The luminance of the paper: the median of the border. (Not its mean: ink may touch the border, as it does above
    /// and below in the data.)
    fn paper(&self) -> f32 {
        let (width, height) = (self.width, self.height());
        let on_border = |at: &usize| {
            let (row, column) = (at / width, at % width);
            row == 0 || row + 1 == height || column == 0 || column + 1 == width
        };
        let mut border: Vec<f32> = (0..self.values.len()).filter(on_border).map(|at| self.values[at]).collect();
        let middle = border.len() / 2;
        *border.select_nth_unstable_by(middle, f32::total_cmp).1
    }

    /// The smallest box around all ink that is not faint.
    fn bounds(&self) -> Bounds {
        let mut bounds = Bounds { left: self.width, right: 0, top: self.height(), bottom: 0 };
        for (at, _) in self.values.iter().enumerate().filter(|(_, ink)| **ink > FAINT) {
            let (row, column) = (at / self.width, at % self.width);
            bounds.left = bounds.left.min(column);
            bounds.right = bounds.right.max(column + 1);
            bounds.top = bounds.top.min(row);
            bounds.bottom = bounds.bottom.max(row + 1);
        }
        bounds
    }

    /// The horizontal place of the ink's centre of mass in the box, 0 at its left and 1 at its right side.
    fn centre_of_mass(&self, bounds: &Bounds) -> f32 {
        let (mut mass, mut moment) = (0.0f64, 0.0f64);
        for row in bounds.top..bounds.bottom {
            let line = &self.values[row * self.width..][bounds.left..bounds.right];
            for (column, &ink) in line.iter().enumerate() {
                mass += f64::from(ink);
                moment += f64::from(ink) * (column as f64 + 0.5);
            }
        }
        (moment / mass / (bounds.right - bounds.left) as f64) as f32
    }

    /// The mean ink of an area, given by the rows and columns of points beneath it and their shares.
    fn mean(&self, rows: &[(usize, f32)], columns: &[(usize, f32)]) -> f32 {
        let line = |&(row, share): &(usize, f32)| {
            let values = &self.values[row * self.width..][..self.width];
            share * columns.iter().map(|&(column, share)| share * values[column]).sum::<f32>()
        };
        rows.iter().map(line).sum()
    }
}

/// For each of the 8 pixels of a side, the points beneath it and the share of the pixel that each covers, where `count`
/// points from `first` on are laid over the pixels from `start` to `start + length`.
fn shares(first: usize, count: usize, start: f32, length: f32) -> [Vec<(usize, f32)>; SIDE] {
    let points = count as f32 / length;
    std::array::from_fn(|pixel| {
        let from = ((pixel as f32 - start) * points).clamp(0.0, count as f32);
        let to = ((pixel as f32 + 1.0 - start) * points).clamp(0.0, count as f32);
        let beneath = from.floor() as usize..to.ceil() as usize;
        let share = |point: usize| (to.min(point as f32 + 1.0) - from.max(point as f32)).max(0.0) / points;
        beneath.map(|point| (first + point, share(point))).collect()
    })
}

/// Multiplies thin ink until it is as much as usual; full pixels stay full, so it takes a few rounds.
fn strengthen(pixels: &mut [f32; PIXELS]) {
    for _ in 0..6 {
        let ink: f32 = pixels.iter().sum();
        if ink >= USUAL_INK {
            return;
        }
        *pixels = pixels.map(|pixel| (pixel * USUAL_INK / ink).min(1.0));
    }
}
