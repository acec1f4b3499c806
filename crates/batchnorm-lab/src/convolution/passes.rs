//! The three passes of a convolution, image by image on all threads.

use std::ops::Range;

use rayon::prelude::*;

use super::geometry::Geometry;
use super::product::{Matrix, Real, multiply};

/// Values of the patches that are laid out at a time, about: what a core's second cache holds.
const TOGETHER: usize = 1 << 17;
/// Sums of the kernels' gradient are made of so many parts, whatever the number of threads.
const PARTS: usize = 16;

/// Rows of the output whose patches are laid out together.
struct Strip {
    rows: Range<usize>,
    /// The place in the output's plane of their first value.
    first: usize,
    /// Their values.
    width: usize,
}

impl Geometry {
    /// The output, as many rows at a time as may be laid out together.
    fn strips(&self) -> impl Iterator<Item = Strip> + use<> {
        let ([rows, columns], patch) = (self.output(), self.patch());
        let height = (TOGETHER / (columns * patch).max(1)).clamp(1, rows.max(1));
        let strip = move |rows: Range<usize>| Strip { first: rows.start * columns, width: rows.len() * columns, rows };
        (0..rows).step_by(height).map(move |first| strip(first..rows.min(first + height)))
    }

    /// Room for the patches of a strip.
    fn room<T: Real>(&self) -> Vec<T> {
        vec![T::default(); self.strips().next().map_or(0, |strip| strip.width * self.patch())]
    }
}

/// y of x, for kernels `[outputs, channels, rows, columns]`; `bias` has a value an output, or none.
pub fn forward<T: Real>(geometry: &Geometry, x: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
    let (plane, patch, outputs) = (geometry.output_plane(), geometry.patch(), geometry.outputs);
    let mut y = vec![T::default(); x.len() / geometry.input_values() * outputs * plane];
    let images = y.par_chunks_mut(outputs * plane).zip(x.par_chunks(geometry.input_values()));
    images.for_each_init(
        || geometry.room(),
        |patches, (y, x)| {
            y.chunks_mut(plane).zip(bias).for_each(|(plane, &bias)| plane.fill(bias));
            for Strip { rows, first, width } in geometry.strips() {
                geometry.columns(x, rows, patches);
                let patches = Matrix::new(patches, [patch, width]);
                multiply(Matrix::new(weight, [outputs, patch]), patches, &mut y[first..], plane, !bias.is_empty());
            }
        },
    );
    y
}

/// The gradient of x.
pub fn input_gradient<T: Real>(geometry: &Geometry, dy: &[T], weight: &[T]) -> Vec<T> {
    let (plane, patch, outputs) = (geometry.output_plane(), geometry.patch(), geometry.outputs);
    let mut dx = vec![T::default(); dy.len() / (outputs * plane) * geometry.input_values()];
    let images = dx.par_chunks_mut(geometry.input_values()).zip(dy.par_chunks(outputs * plane));
    images.for_each_init(
        || geometry.room(),
        |patches, (dx, dy)| {
            for Strip { rows, first, width } in geometry.strips() {
                let weight = Matrix::new(weight, [outputs, patch]).transposed();
                let dy = Matrix::with_rows_apart(&dy[first..], [outputs, width], plane);
                multiply(weight, dy, patches, width, false);
                geometry.add_columns(patches, rows, dx);
            }
        },
    );
    dx
}

/// The gradient of the kernels.
pub fn weight_gradient<T: Real>(geometry: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let (plane, patch, outputs) = (geometry.output_plane(), geometry.patch(), geometry.outputs);
    let examples = x.len() / geometry.input_values();
    let part = examples.div_ceil(PARTS).max(1);
    let parts = x.par_chunks(part * geometry.input_values()).zip(dy.par_chunks(part * outputs * plane));
    let parts: Vec<Vec<T>> = parts
        .map_init(
            || (geometry.room(), vec![T::default(); geometry.padded_values()]),
            |(patches, padded), (x, dy)| {
                let mut sum = vec![T::default(); outputs * patch];
                for (x, dy) in x.chunks(geometry.input_values()).zip(dy.chunks(outputs * plane)) {
                    geometry.interleave(x, padded);
                    for Strip { rows, first, width } in geometry.strips() {
                        geometry.rows(padded, rows, &mut patches[..width * patch]);
                        let dy = Matrix::with_rows_apart(&dy[first..], [outputs, width], plane);
                        multiply(dy, Matrix::new(patches, [width, patch]), &mut sum, patch, true);
                    }
                }
                sum
            },
        )
        .collect();
    let mut gradient = vec![T::default(); outputs * patch];
    for part in parts {
        for (sums, part) in gradient.chunks_mut(patch).zip(part.chunks(patch)) {
            sums.iter_mut().enumerate().for_each(|(weight, sum)| *sum += part[geometry.interleaved(weight)]);
        }
    }
    gradient
}

/// The gradient of the biases.
pub fn bias_gradient<T: Real>(geometry: &Geometry, dy: &[T]) -> Vec<T> {
    let (plane, outputs) = (geometry.output_plane(), geometry.outputs);
    let sum = |output| {
        let mut sum = T::default();
        for image in dy.chunks(outputs * plane) {
            let mut of_image = T::default();
            image[output * plane..][..plane].iter().for_each(|&value| of_image += value);
            sum += of_image;
        }
        sum
    };
    (0..outputs).into_par_iter().map(sum).collect()
}
