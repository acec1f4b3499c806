//! A picture becomes an input.

use batchnorm_io::picture::Picture;

use crate::recipe::{Colours, Layout, Recipe, RecipeError, Resize};

/// A picture's colours, each of 0 to 255.
type Levels = [u8; 3];

/// Appends what a recipe makes of a picture, and gives height and width of that.
pub fn prepare(picture: Picture, recipe: &Recipe, into: &mut Vec<f32>) -> Result<[usize; 2], RecipeError> {
    let [height, width] = recipe.size_of(picture.height, picture.width)?;
    let frame = recipe.resized_size(picture.height, picture.width)?;
    let (picture, border) = resized(in_levels(picture, recipe.colours), recipe, frame);
    // Where the picture begins in its frame, and the middle.
    let borders = [(frame[0] - picture.height) / 2, (frame[1] - picture.width) / 2];
    let cut = [middle(frame[0] - height), middle(frame[1] - width)];
    let levels = |row: usize, column: usize| -> Levels {
        let (row, column) = ((row + cut[0]).checked_sub(borders[0]), (column + cut[1]).checked_sub(borders[1]));
        match (row.filter(|&row| row < picture.height), column.filter(|&column| column < picture.width)) {
            (Some(row), Some(column)) => {
                let [red, green, blue, _] = picture.pixels[row * picture.width + column];
                [red, green, blue].map(level)
            }
            _ => border,
        }
    };
    let (order, values) = (recipe.colours.order(), recipe.values());
    let value = |row, column, channel: usize| values[channel][usize::from(levels(row, column)[order[channel]])];
    put(recipe.layout, [height, width, order.len()], value, into);
    Ok([height, width])
}

/// Appends a picture's values in the order of the layout's axes, of each row, column and channel what is given.
pub fn put(
    layout: Layout,
    [rows, columns, channels]: [usize; 3],
    value: impl Fn(usize, usize, usize) -> f32,
    into: &mut Vec<f32>,
) {
    let pixels = || (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    match layout {
        Layout::Nchw => {
            for channel in 0..channels {
                into.extend(pixels().map(|(row, column)| value(row, column, channel)));
            }
        }
        Layout::Nhwc => {
            for (row, column) in pixels() {
                into.extend((0..channels).map(|channel| value(row, column, channel)));
            }
        }
    }
}

/// Half of what is cut off, as Python rounds it for torchvision.
fn middle(rest: usize) -> usize {
    (rest as f64 / 2.0).round_ties_even() as usize
}

/// A depth of 16 bits as one of 8: the nearest.
fn level(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

/// Luminance as Pillow has it.
fn luminance([red, green, blue]: Levels) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u32::from);
    ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
}

/// The colours as a recipe has them.
fn coloured(levels: Levels, colours: Colours) -> Levels {
    match colours {
        Colours::Rgb | Colours::Bgr => levels,
        Colours::Grey => [luminance(levels); 3],
    }
}

/// The picture in steps of 8 bits, opaque, grey where the recipe wants it.
fn in_levels(mut picture: Picture, colours: Colours) -> Picture {
    for pixel in &mut picture.pixels {
        let [red, green, blue, _] = *pixel;
        let [red, green, blue] = coloured([red, green, blue].map(level), colours).map(|level| u16::from(level) * 257);
        *pixel = [red, green, blue, u16::MAX];
    }
    picture
}

/// The picture in its new size, without borders, and their colour.
fn resized(picture: Picture, recipe: &Recipe, frame: [usize; 2]) -> (Picture, Levels) {
    let Some(resize) = recipe.resize else { return (picture, Levels::default()) };
    let ([height, width], border, filter) = match resize {
        Resize::Shortest { filter, .. } | Resize::Exact { filter, .. } => (frame, Levels::default(), filter),
        Resize::Letterbox { colour, filter, .. } => {
            let (rows, columns) = (picture.height as f64, picture.width as f64);
            let ratio = (frame[0] as f64 / rows).min(frame[1] as f64 / columns);
            let side = |length: f64, most: usize| ((length * ratio).round_ties_even() as usize).clamp(1, most);
            ([side(rows, frame[0]), side(columns, frame[1])], coloured(colour, recipe.colours), filter)
        }
    };
    (picture.resized_by(width, height, filter.into()), border)
}
