//! Rows of all channels, turned into a row for each channel.

/// `height` rows of `width` channels, from channel `left` on, to the places from `corner` on, `pitch` apart.
#[allow(clippy::too_many_arguments)] // two corners and their pitches
#[inline(always)]
pub(crate) fn transpose<T: Copy>(
    rows: &[T],
    row_pitch: usize,
    left: usize,
    height: usize,
    width: usize,
    tile: &mut [T],
    corner: usize,
    pitch: usize,
) {
    for column in 0..width {
        let line = &mut tile[corner + column * pitch..][..height];
        for (row, value) in line.iter_mut().enumerate() {
            *value = rows[row * row_pitch + left + column];
        }
    }
}
