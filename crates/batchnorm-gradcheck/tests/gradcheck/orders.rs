//! An array given in NCHW order, lying in memory in other orders.

use batchnorm::{Axes, Element, View};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    Nchw,
    Nhwc,
    /// NCHW with no two values adjacent, rows padded, walked from the end.
    Strided,
    /// Channels first: (C, N, plane).
    ChannelsFirst,
}

pub const ORDERS: [Order; 4] = [Order::Nchw, Order::Nhwc, Order::Strided, Order::ChannelsFirst];

/// Lengths of the axes; the positions of a sample are one.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub n: usize,
    pub c: usize,
    pub plane: usize,
}

/// Elements before the lowest and behind the highest that belong to the array.
const MARGIN: usize = 5;

impl Order {
    /// Strides of samples, channels and positions; and in which order a view names these axes.
    fn strides(self, Sizes { n, c, plane }: Sizes) -> ([isize; 3], [usize; 3]) {
        let [samples, channels, values] = [n, c, plane].map(|length| length as isize);
        // One row of padding after each plane.
        let step = 2 * values + 3;
        match self {
            Order::Nchw => ([channels * values, values, 1], [0, 1, 2]),
            Order::Nhwc => ([channels * values, 1, channels], [0, 2, 1]),
            Order::Strided => ([-step * channels, -step, -2], [0, 1, 2]),
            Order::ChannelsFirst => ([values, samples * values, 1], [1, 0, 2]),
        }
    }

    /// How far the last value of all axes lies from the first.
    fn reach(self, sizes: Sizes) -> isize {
        let last = [sizes.n, sizes.c, sizes.plane].map(|length| length as isize - 1);
        self.strides(sizes).0.iter().zip(last).map(|(stride, last)| stride * last).sum()
    }

    /// Where the first value lies.
    fn first(self, sizes: Sizes) -> usize {
        MARGIN + self.reach(sizes).min(0).unsigned_abs()
    }

    /// A buffer with an array's values, given in NCHW order, in their places; between and around them NaN.
    pub fn arranged<T: Element>(self, values: &[T], sizes: Sizes) -> Vec<T> {
        let mut buffer = vec![T::from_f64(f64::NAN); 2 * MARGIN + 1 + self.reach(sizes).unsigned_abs()];
        let ([by_sample, by_channel, by_position], _) = self.strides(sizes);
        for (i, &value) in values.iter().enumerate() {
            let [sample, channel, position] =
                [i / sizes.plane / sizes.c, i / sizes.plane % sizes.c, i % sizes.plane].map(|at| at as isize);
            let place = sample * by_sample + channel * by_channel + position * by_position;
            buffer[self.first(sizes).strict_add_signed(place)] = value;
        }
        buffer
    }

    pub fn view<T: Element>(self, buffer: &[T], sizes: Sizes) -> View<'_, T> {
        let (strides, named) = self.strides(sizes);
        let lengths = [sizes.n, sizes.c, sizes.plane];
        let channel_axis = named.iter().position(|&axis| axis == 1).expect("the channels");
        let [shape, strides] = [named.map(|axis| lengths[axis] as isize), named.map(|axis| strides[axis])];
        let shape = shape.map(|length| length as usize);
        View::with_strides(buffer, &shape, &strides, self.first(sizes), Axes::Channel(channel_axis as isize))
            .expect("the buffer holds it")
    }
}

/// The values of one channel of an NCHW array, in logical order.
pub fn channel_of<T: Copy>(data: &[T], channels: usize, plane: usize, channel: usize) -> Vec<T> {
    data.chunks(channels * plane)
        .flat_map(|sample| sample[channel * plane..(channel + 1) * plane].iter().copied())
        .collect()
}

#[test]
fn every_order_holds_the_same_array() {
    let sizes = Sizes { n: 3, c: 2, plane: 4 };
    let values: Vec<f64> = (0..24).map(f64::from).collect();
    for order in ORDERS {
        let buffer = order.arranged(&values, sizes);
        assert_eq!(buffer.iter().filter(|value| value.is_finite()).count(), 24, "{order:?}");
        let view = order.view(&buffer, sizes);
        let expected: Vec<f64> = match order {
            Order::Nchw | Order::Strided => values.clone(),
            Order::Nhwc => (0..24).map(|i| values[(i / 8 * 2 + i % 2) * 4 + i / 2 % 4]).collect(),
            Order::ChannelsFirst => (0..24).map(|i| values[(i / 4 % 3 * 2 + i / 12) * 4 + i % 4]).collect(),
        };
        assert_eq!(view.to_vec(), expected, "{order:?}");
    }
}
