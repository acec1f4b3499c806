//! Arrays of a case: where they lie, and their values.

use batchnorm::{Axes, Element, View, ViewMut};

/// Where the values of an array lie: (samples, channels, plane) in the order of memory, and the step between rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    pub name: &'static str,
    pub samples: usize,
    pub channels: usize,
    pub plane: usize,
    /// Channels a row of memory has, where channels stand last; `None` where the plane does.
    pub pitch: Option<usize>,
}

impl Layout {
    pub const fn nchw(name: &'static str, samples: usize, channels: usize, plane: usize) -> Layout {
        Layout { name, samples, channels, plane, pitch: None }
    }

    pub const fn nhwc(name: &'static str, samples: usize, channels: usize, plane: usize, pitch: usize) -> Layout {
        Layout { name, samples, channels, plane, pitch: Some(pitch) }
    }

    /// Values of an array.
    pub fn values(&self) -> usize {
        self.samples * self.channels * self.plane
    }

    /// Elements of memory that an array stands in.
    pub fn memory(&self) -> usize {
        self.samples * self.plane * self.pitch.unwrap_or(self.channels)
    }

    fn shape(&self) -> [usize; 3] {
        match self.pitch {
            None => [self.samples, self.channels, self.plane],
            Some(_) => [self.samples, self.plane, self.channels],
        }
    }

    fn strides(&self) -> [isize; 3] {
        let strides = match self.pitch {
            None => [self.channels * self.plane, self.plane, 1],
            Some(pitch) => [self.plane * pitch, pitch, 1],
        };
        strides.map(|stride| stride as isize)
    }

    fn axes(&self) -> Axes<'static> {
        if self.pitch.is_none() { Axes::NCHW } else { Axes::NHWC }
    }

    /// Places of a channel's values.
    pub fn places(&self, channel: usize) -> Vec<usize> {
        let place = |sample: usize, at: usize| match self.pitch {
            None => (sample * self.channels + channel) * self.plane + at,
            Some(pitch) => (sample * self.plane + at) * pitch + channel,
        };
        (0..self.samples).flat_map(|sample| (0..self.plane).map(move |at| place(sample, at))).collect()
    }
}

/// Bytes of a page of memory.
const PAGE: usize = 4096;

/// An array that begins with a page. How many instructions a loop takes depends on where its arrays begin, and the
/// allocator would decide that by what was allocated before.
pub struct Array<T> {
    memory: Vec<T>,
    start: usize,
    layout: Layout,
}

impl<T: Element> Array<T> {
    /// Values around `mean`, the same in every run. They come again after a prime number of them: the random ones would
    /// take longer to make than the call that is counted, and no channel is like another.
    pub fn new(layout: Layout, mean: f64, spread: f64, seed: u64) -> Array<T> {
        const PERIOD: usize = 8191;
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        };
        let values: Vec<T> = (0..PERIOD).map(|_| T::from_f64(random() * spread + mean)).collect();
        let mut array = Array::filled(layout, T::default());
        for part in array.elements_mut().chunks_mut(PERIOD) {
            part.copy_from_slice(&values[..part.len()]);
        }
        array
    }

    /// The same value everywhere.
    pub fn filled(layout: Layout, value: T) -> Array<T> {
        let memory = vec![value; layout.memory() + PAGE / size_of::<T>()];
        let start = memory.as_ptr().align_offset(PAGE);
        Array { memory, start, layout }
    }

    pub fn elements(&self) -> &[T] {
        &self.memory[self.start..][..self.layout.memory()]
    }

    pub fn elements_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..][..self.layout.memory()]
    }

    pub fn view(&self) -> View<'_, T> {
        let layout = self.layout;
        View::with_strides(self.elements(), &layout.shape(), &layout.strides(), 0, layout.axes()).expect("it fits")
    }

    pub fn view_mut(&mut self) -> ViewMut<'_, T> {
        let layout = self.layout;
        ViewMut::with_strides(self.elements_mut(), &layout.shape(), &layout.strides(), 0, layout.axes())
            .expect("it fits")
    }

    /// A channel's values.
    pub fn channel(&self, channel: usize) -> Vec<f64> {
        self.layout.places(channel).into_iter().map(|place| self.elements()[place].to_f64()).collect()
    }
}
