//! Which values of an array are normalised together.

/// What an axis of an array means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Samples of the batch.
    Sample,
    /// Channels (features).
    Channel,
    /// Positions within a sample, such as height, width or time.
    Space,
}

impl Role {
    /// Roles of so many axes, of which one holds the channels: the first other one holds the samples.
    ///
    /// ```
    /// use batchnorm_reference::whole::Role::{self, Channel, Sample, Space};
    /// assert_eq!(Role::around(1, 4), [Sample, Channel, Space, Space]);
    /// assert_eq!(Role::around(0, 3), [Channel, Sample, Space]);
    /// ```
    pub fn around(channel_axis: usize, rank: usize) -> Vec<Role> {
        let first = usize::from(channel_axis == 0);
        let role = |axis: usize| match axis {
            axis if axis == channel_axis => Role::Channel,
            axis if axis == first => Role::Sample,
            _ => Role::Space,
        };
        (0..rank).map(role).collect()
    }
}

/// What is normalised together: a *row*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// A channel, over all samples and positions: batch norm.
    Channel,
    /// A channel over so many neighbouring samples of the first sample axis, and all positions: ghost batch norm. The last
    /// group of samples may be smaller.
    Ghost(usize),
    /// A channel of one sample, at all positions: instance norm.
    Instance,
    /// So many groups of neighbouring channels, each in one sample, at all positions: group norm.
    Groups(usize),
    /// So many of the last axes of the shape, whatever their roles: layer and RMS norm.
    LastAxes(usize),
}

/// Rows of an array: of each the places of its values, numbered through the array in row-major (C) order.
///
/// The values of a row stand in logical order: channel by channel, and in each the samples and then the positions, each axis
/// in the order of the shape, the last one fastest. Of [`Together::LastAxes`] that is the order of the array.
///
/// ```
/// use batchnorm_reference::whole::{Role, Rows, Together};
/// // Two samples of two channels at two positions, channels last.
/// let rows = |together| Rows::new(&[2, 2, 2], &Role::around(2, 3), together);
/// assert_eq!(rows(Together::Channel).all(), [[0, 2, 4, 6], [1, 3, 5, 7]]);
/// assert_eq!(rows(Together::Groups(1)).all(), [[0, 2, 1, 3], [4, 6, 5, 7]]);
/// assert_eq!(rows(Together::LastAxes(1)).all(), [[0, 1], [2, 3], [4, 5], [6, 7]]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    shape: Vec<usize>,
    channel_axes: Vec<usize>,
    parameter_shape: Vec<usize>,
    sample_axes: Vec<usize>,
    space_axes: Vec<usize>,
    together: Together,
    sorted: bool,
}

impl Rows {
    /// Rows of an array of this shape, each axis with its role. Of several axes of channels each combination of their indices is a
    /// channel, numbered in the order of the shape, the last axis fastest.
    ///
    /// # Panics
    /// Unless there is one role for each axis and an axis of channels, with as many channels as groups divide evenly.
    pub fn new(shape: &[usize], roles: &[Role], together: Together) -> Rows {
        assert_eq!(shape.len(), roles.len(), "a role for each axis");
        let with = |role: Role| (0..roles.len()).filter(|&axis| roles[axis] == role).collect::<Vec<usize>>();
        let (channel_axes, sample_axes, space_axes) = (with(Role::Channel), with(Role::Sample), with(Role::Space));
        assert!(!channel_axes.is_empty(), "an axis of channels, not {roles:?}");
        let parameter_shape = match together {
            Together::LastAxes(axes) => {
                assert!(axes <= shape.len(), "{axes} of the axes {shape:?}");
                shape[shape.len() - axes..].to_vec()
            }
            _ => channel_axes.iter().map(|&axis| shape[axis]).collect(),
        };
        let shape = shape.to_vec();
        let rows = Rows { shape, channel_axes, parameter_shape, sample_axes, space_axes, together, sorted: false };
        match together {
            Together::Groups(groups) => assert!(rows.channels().is_multiple_of(groups), "{groups} groups of one size"),
            Together::Ghost(samples) => assert!(samples > 0, "a sample at least in each group"),
            Together::Channel | Together::Instance | Together::LastAxes(_) => (),
        }
        rows
    }

    /// The same rows with the values of each in the order of the array, whatever its axes mean.
    pub fn in_order_of_the_array(self) -> Rows {
        Rows { sorted: true, ..self }
    }

    /// Lengths of the array's axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What is normalised together.
    pub fn together(&self) -> Together {
        self.together
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        match self.together {
            Together::Channel => self.channels(),
            Together::Ghost(samples) => self.first_samples().div_ceil(samples) * self.channels(),
            Together::Instance => self.samples() * self.channels(),
            Together::Groups(groups) => self.samples() * groups,
            Together::LastAxes(axes) => self.shape[..self.shape.len() - axes].iter().product(),
        }
    }

    /// Number of values of a row: of all but the last ones of [`Together::Ghost`].
    pub fn values(&self) -> usize {
        match self.together {
            Together::Channel => self.samples() * self.positions(),
            Together::Ghost(samples) => {
                let first = self.first_samples();
                samples.min(first) * (self.samples() / first.max(1)) * self.positions()
            }
            Together::Instance => self.positions(),
            Together::Groups(groups) => self.channels() / groups * self.positions(),
            Together::LastAxes(axes) => self.shape[self.shape.len() - axes..].iter().product(),
        }
    }

    /// Places of a row's values.
    pub fn places(&self, row: usize) -> Vec<usize> {
        let (samples, channels) = (self.samples(), self.channels());
        let mut places = match self.together {
            Together::Channel => self.block(0..samples, row..row + 1),
            Together::Ghost(size) => {
                let inner = samples / self.first_samples().max(1);
                let (first, channel) = (row / channels * size * inner, row % channels);
                self.block(first..(first + size * inner).min(samples), channel..channel + 1)
            }
            Together::Instance => self.block(row / channels..row / channels + 1, row % channels..row % channels + 1),
            Together::Groups(groups) => {
                let (sample, group, size) = (row / groups, row % groups, channels / groups);
                self.block(sample..sample + 1, group * size..(group + 1) * size)
            }
            Together::LastAxes(_) => (row * self.values()..(row + 1) * self.values()).collect(),
        };
        if self.sorted {
            places.sort_unstable();
        }
        places
    }

    /// Places of all rows, row after row.
    pub fn all(&self) -> Vec<Vec<usize>> {
        (0..self.count()).map(|row| self.places(row)).collect()
    }

    /// Values of one row of an array.
    pub fn gather<T: Copy>(&self, row: usize, values: &[T]) -> Vec<T> {
        self.places(row).into_iter().map(|place| values[place]).collect()
    }

    /// Channel of a row; of a group the first one, of [`Together::LastAxes`] that of the row's first value.
    pub fn channel(&self, row: usize) -> usize {
        match self.together {
            Together::Channel => row,
            Together::Ghost(_) | Together::Instance => row % self.channels(),
            Together::Groups(groups) => row % groups * (self.channels() / groups),
            Together::LastAxes(_) => self.channel_of(row * self.values()),
        }
    }

    /// Lengths of the axes whose elements have a gamma and a beta each.
    pub fn parameter_shape(&self) -> &[usize] {
        &self.parameter_shape
    }

    /// Number of gammas, and of betas.
    pub fn parameters(&self) -> usize {
        self.parameter_shape().iter().product()
    }

    /// Number of the gamma and beta of a value: its channel, or of [`Together::LastAxes`] its place among the last axes.
    pub fn parameter(&self, place: usize) -> usize {
        match self.together {
            Together::LastAxes(_) => place % self.values(),
            _ => self.channel_of(place),
        }
    }

    /// How many neighbouring values of a row share gamma and beta, in logical order.
    pub fn sharing(&self) -> usize {
        match self.together {
            Together::LastAxes(_) => 1,
            Together::Groups(_) => self.positions(),
            Together::Channel | Together::Ghost(_) | Together::Instance => self.values(),
        }
    }

    /// Indices of a value along the axes.
    pub fn index(&self, mut place: usize) -> Vec<usize> {
        let mut index = vec![0; self.shape.len()];
        for (at, &length) in index.iter_mut().zip(&self.shape).rev() {
            (*at, place) = (place % length, place / length);
        }
        index
    }

    /// Number of samples: the product of their axes.
    pub fn samples(&self) -> usize {
        self.sample_axes.iter().map(|&axis| self.shape[axis]).product()
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channel_axes.iter().map(|&axis| self.shape[axis]).product()
    }

    /// Number of positions of a sample: the product of the axes of space.
    pub fn positions(&self) -> usize {
        self.space_axes.iter().map(|&axis| self.shape[axis]).product()
    }

    fn first_samples(&self) -> usize {
        self.sample_axes.first().map_or(1, |&axis| self.shape[axis])
    }

    fn channel_of(&self, place: usize) -> usize {
        let index = |axis: usize| place / self.stride(axis) % self.shape[axis];
        self.channel_axes.iter().fold(0, |channel, &axis| channel * self.shape[axis] + index(axis))
    }

    /// How far apart neighbours along an axis stand.
    fn stride(&self, axis: usize) -> usize {
        self.shape[axis + 1..].iter().product()
    }

    /// Places of some channels in some samples at all positions, channel by channel.
    fn block(&self, samples: std::ops::Range<usize>, channels: std::ops::Range<usize>) -> Vec<usize> {
        let positions: Vec<usize> = (0..self.positions()).map(|at| self.first_place(&self.space_axes, at)).collect();
        let samples: Vec<usize> = samples.map(|at| self.first_place(&self.sample_axes, at)).collect();
        let mut places = Vec::with_capacity(channels.len() * samples.len() * positions.len());
        for channel in channels.map(|at| self.first_place(&self.channel_axes, at)) {
            for sample in &samples {
                places.extend(positions.iter().map(|position| channel + sample + position));
            }
        }
        places
    }

    /// Place of the value that is numbered `at` through some axes, in front on all others.
    fn first_place(&self, axes: &[usize], mut at: usize) -> usize {
        let mut place = 0;
        for &axis in axes.iter().rev() {
            place += at % self.shape[axis] * self.stride(axis);
            at /= self.shape[axis];
        }
        place
    }
}

/// Values of an array with its axes in another order: axis `k` of the result is axis `axes[k]` of the array.
///
/// ```
/// use batchnorm_reference::whole::transposed;
/// assert_eq!(transposed(&[1, 2, 3, 4, 5, 6], &[2, 3], &[1, 0]), [1, 4, 2, 5, 3, 6]);
/// ```
///
/// # Panics
/// Unless `axes` names every axis of the shape, and there is a value for each of its elements.
pub fn transposed<T: Copy>(values: &[T], shape: &[usize], axes: &[usize]) -> Vec<T> {
    let strides = axes.iter().map(|&axis| (shape[axis], shape[axis + 1..].iter().product()));
    picked(values, strides)
}

/// Values repeated along the axes on which their own shape has length 1.
///
/// ```
/// use batchnorm_reference::whole::repeated;
/// assert_eq!(repeated(&[1, 2], &[2, 1], &[2, 3]), [1, 1, 1, 2, 2, 2]);
/// ```
///
/// # Panics
/// Unless every axis of their own shape has the length of the other's, or 1, and there is a value for each of its elements.
pub fn repeated<T: Copy>(values: &[T], own: &[usize], shape: &[usize]) -> Vec<T> {
    let strides = shape.iter().enumerate().map(|(axis, &length)| match own[axis] {
        1 => (length, 0),
        own_length => {
            assert_eq!(own_length, length, "{own:?} repeated to {shape:?}");
            (length, own[axis + 1..].iter().product())
        }
    });
    picked(values, strides)
}

/// Values by the lengths of axes and the steps along them, the last axis fastest.
fn picked<T: Copy>(values: &[T], axes: impl Iterator<Item = (usize, usize)>) -> Vec<T> {
    let mut places = vec![0];
    for (length, stride) in axes {
        places = places.iter().flat_map(|&place| (0..length).map(move |at| place + at * stride)).collect();
    }
    places.into_iter().map(|place| values[place]).collect()
}
