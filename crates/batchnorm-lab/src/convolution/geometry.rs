//! The lengths of a convolution, and the patches of an image that its kernels meet.

use std::ops::{AddAssign, Range};

/// The lengths of a convolution; pairs are of rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pub channels: usize,
    pub image: [usize; 2],
    pub outputs: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

/// A line of patches: what one weight meets along a row of outputs.
struct Line {
    /// Its place in the patches.
    whole: Range<usize>,
    /// The part that lies in the image; the rest is padding.
    inside: Range<usize>,
    /// The place in the image of the first value inside.
    first: usize,
}

impl Geometry {
    /// Rows and columns of the output.
    pub fn output(&self) -> [usize; 2] {
        let length = |axis: usize| {
            let padded = self.image[axis] + 2 * self.padding[axis];
            padded.checked_sub(self.kernel[axis]).map_or(0, |room| room / self.stride[axis] + 1)
        };
        [length(0), length(1)]
    }

    /// Values of an image, all channels.
    pub fn input_values(&self) -> usize {
        self.channels * self.image[0] * self.image[1]
    }

    /// Values of an output's channel.
    pub fn output_plane(&self) -> usize {
        self.output()[0] * self.output()[1]
    }

    /// Weights of one output: the values of a patch.
    pub fn patch(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    /// Places along an axis of the output at which the weight at `at` of the kernel meets the image.
    fn meets(&self, axis: usize, at: usize) -> Range<usize> {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let end = (self.image[axis] + padding).saturating_sub(at).div_ceil(stride).min(self.output()[axis]);
        padding.saturating_sub(at).div_ceil(stride).min(end)..end
    }

    /// Calls with each line of the patches of some rows of the output, in the order of [`columns`](Self::columns).
    fn lines(&self, rows: Range<usize>, mut with: impl FnMut(Line)) {
        let Geometry { channels, image, kernel, stride, padding, .. } = *self;
        let width = self.output()[1];
        let across: Vec<Range<usize>> = (0..kernel[1]).map(|at| self.meets(1, at)).collect();
        let mut start = 0;
        for channel in 0..channels {
            for down in 0..kernel[0] {
                let meeting = self.meets(0, down);
                for (right, across) in across.iter().enumerate() {
                    for row in rows.clone() {
                        let whole = start..start + width;
                        let (inside, first) = match meeting.contains(&row) && !across.is_empty() {
                            true => {
                                let row = channel * image[0] + row * stride[0] + down - padding[0];
                                let column = across.start * stride[1] + right - padding[1];
                                (start + across.start..start + across.end, row * image[1] + column)
                            }
                            false => (start..start, 0),
                        };
                        with(Line { whole, inside, first });
                        start += width;
                    }
                }
            }
        }
    }

    /// The patches of some rows of the output as columns: a row for each weight (channel, row and column of the kernel), a column for
    /// each output.
    pub fn columns<T: Copy + Default>(&self, image: &[T], rows: Range<usize>, patches: &mut [T]) {
        let stride = self.stride[1];
        self.lines(rows, |Line { whole, inside, first }| {
            patches[whole.start..inside.start].fill(T::default());
            patches[inside.end..whole.end].fill(T::default());
            let line = &mut patches[inside];
            match stride {
                1 => line.copy_from_slice(&image[first..first + line.len()]),
                _ => line.iter_mut().zip(image[first..].iter().step_by(stride)).for_each(|(to, from)| *to = *from),
            }
        });
    }

    /// Adds each value of patches that are columns to the value of the image that it is of.
    pub fn add_columns<T: Copy + AddAssign>(&self, patches: &[T], rows: Range<usize>, image: &mut [T]) {
        let stride = self.stride[1];
        self.lines(rows, |Line { inside, first, .. }| {
            let line = &patches[inside];
            match stride {
                1 => image[first..first + line.len()].iter_mut().zip(line).for_each(|(to, from)| *to += *from),
                _ => image[first..].iter_mut().step_by(stride).zip(line).for_each(|(to, from)| *to += *from),
            }
        });
    }

    /// Values of an image with its padding.
    pub fn padded_values(&self) -> usize {
        self.channels * (self.image[0] + 2 * self.padding[0]) * (self.image[1] + 2 * self.padding[1])
    }

    /// The image with the channels of a pixel beside each other. The padding around it stays as it is in `padded`.
    pub fn interleave<T: Copy>(&self, image: &[T], padded: &mut [T]) {
        let (channels, [rows, columns]) = (self.channels, self.image);
        let width = columns + 2 * self.padding[1];
        for row in 0..rows {
            let start = ((row + self.padding[0]) * width + self.padding[1]) * channels;
            let pixels = &mut padded[start..start + columns * channels];
            for channel in 0..channels {
                let values = &image[(channel * rows + row) * columns..][..columns];
                pixels[channel..].iter_mut().step_by(channels).zip(values).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// The patches of some rows of the output as rows, from an [interleaved](Self::interleave) image: a row for each output, a column
    /// for each weight, by row and column of the kernel, then channel.
    pub fn rows<T: Copy>(&self, padded: &[T], rows: Range<usize>, patches: &mut [T]) {
        let Geometry { channels, kernel, stride, .. } = *self;
        let width = self.image[1] + 2 * self.padding[1];
        let run = kernel[1] * channels;
        let mut to = patches.chunks_exact_mut(run);
        for row in rows {
            for column in 0..self.output()[1] {
                for (down, to) in (0..kernel[0]).zip(&mut to) {
                    let from = ((row * stride[0] + down) * width + column * stride[1]) * channels;
                    to.copy_from_slice(&padded[from..from + run]);
                }
            }
        }
    }

    /// A weight's place in the order of [`rows`](Self::rows), for its place in that of [`columns`](Self::columns).
    pub fn interleaved(&self, weight: usize) -> usize {
        let area = self.kernel[0] * self.kernel[1];
        weight % area * self.channels + weight / area
    }
}
