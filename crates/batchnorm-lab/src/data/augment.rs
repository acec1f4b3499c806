//! Pictures changed at random, so that a network sees none twice alike.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::examples::{Examples, Shape};

/// The changes that are made to pictures of a training batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Half of the pictures are mirrored, left to right.
    pub flip: bool,
    /// So many black pixels are laid around a picture, and its size is cut out at a random place.
    pub crop: usize,
    /// A picture is moved by up to so many pixels in each direction; its edges are repeated where it leaves a gap.
    pub shift: usize,
}

impl Augmentation {
    /// Tells whether nothing is changed.
    pub fn is_none(self) -> bool {
        self == Augmentation::default()
    }

    /// Changes each picture. The same generator changes the same pictures in the same way.
    pub fn apply(self, examples: &mut Examples, shape: Shape, generator: &mut impl Rng) {
        let offset = |most: usize, generator: &mut _| RngExt::random_range(generator, -(most as i64)..=most as i64);
        for example in examples.values.chunks_exact_mut(shape.values()) {
            if self.flip && generator.random::<bool>() {
                example.chunks_exact_mut(shape.columns).for_each(<[f32]>::reverse);
            }
            if self.crop > 0 {
                let by = (offset(self.crop, generator), offset(self.crop, generator));
                moved(example, shape, by, false);
            }
            if self.shift > 0 {
                let by = (offset(self.shift, generator), offset(self.shift, generator));
                moved(example, shape, by, true);
            }
        }
    }
}

/// Moves a picture down and to the right. What comes in is the edge's pixels, or black.
fn moved(example: &mut [f32], shape: Shape, (down, right): (i64, i64), edges: bool) {
    let (rows, columns) = (shape.rows as i64, shape.columns as i64);
    for plane in example.chunks_exact_mut(shape.plane()) {
        let before = plane.to_vec();
        for (at, pixel) in plane.iter_mut().enumerate() {
            let (row, column) = (at as i64 / columns - down, at as i64 % columns - right);
            let inside = (0..rows).contains(&row) && (0..columns).contains(&column);
            let from = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1);
            *pixel = if inside || edges { before[from as usize] } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    const SHAPE: Shape = Shape { channels: 2, rows: 2, columns: 3 };

    #[test]
    fn pictures_are_moved_whole_with_black_or_their_edges_behind_them() {
        let picture: Vec<f32> = (1..=12).map(|at| at as f32).collect();
        let mut cropped = picture.clone();
        moved(&mut cropped, SHAPE, (1, -1), false);
        assert_eq!(cropped, [0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 8.0, 9.0, 0.0]);
        let mut shifted = picture;
        moved(&mut shifted, SHAPE, (1, -1), true);
        assert_eq!(shifted, [2.0, 3.0, 3.0, 2.0, 3.0, 3.0, 8.0, 9.0, 9.0, 8.0, 9.0, 9.0]);
    }

    #[test]
    fn a_generator_changes_pictures_in_one_way_and_about_half_are_mirrored() {
        let values: Vec<f32> = (0..12 * 400).map(|at| (at % 12) as f32).collect();
        let examples = Examples { values, classes: vec![0; 400] };
        let changed = |augmentation: Augmentation, step| {
            let mut changed = examples.clone();
            augmentation.apply(&mut changed, SHAPE, &mut generator(1, Purpose::Augmentation(step)));
            changed
        };
        let flip = Augmentation { flip: true, ..Augmentation::default() };
        let mirrored = changed(flip, 3).values.chunks(12).filter(|picture| picture[0] == 2.0).count();
        assert!((160..240).contains(&mirrored), "{mirrored}");
        let all = Augmentation { flip: true, crop: 2, shift: 1 };
        assert_eq!(changed(all, 3), changed(all, 3));
        assert_ne!(changed(all, 3), changed(all, 4));
        assert_eq!(changed(Augmentation::default(), 3), examples);
    }
}
