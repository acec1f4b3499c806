//! Where arrays given in NCHW order lie in memory.

use super::place::Place;
use batchnorm::{Element, View, ViewMut};

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

/// Lengths of the axes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub n: usize,
    pub c: usize,
    pub plane: usize,
}

pub const fn sizes(n: usize, c: usize, plane: usize) -> Sizes {
    Sizes { n, c, plane }
}

impl Order {
    /// Where an array of this order lies, with margins of many lengths, so that arrays begin at many alignments.
    pub fn place(self, sizes: Sizes) -> Place {
        let mix = 31 * sizes.n + 7 * sizes.c + sizes.plane;
        self.place_within(sizes, [1 + mix % 29, 1 + mix % 13])
    }

    /// With margins of so many elements.
    pub fn place_within(self, Sizes { n, c, plane }: Sizes, margins: [usize; 2]) -> Place {
        let [samples, channels, values] = [n, c, plane].map(|length| length as isize);
        // One row of padding after each plane.
        let step = 2 * values + 3;
        let (strides, named) = match self {
            Order::Nchw => ([channels * values, values, 1], [0, 1, 2]),
            Order::Nhwc => ([channels * values, 1, channels], [0, 2, 1]),
            Order::Strided => ([-step * channels, -step, -2], [0, 1, 2]),
            Order::ChannelsFirst => ([values, samples * values, 1], [1, 0, 2]),
        };
        Place::new(&[n, c, plane], &strides, 1, margins).named(&named)
    }

    /// A buffer with an array's values, given in NCHW order, in their places.
    pub fn arranged<T: Element>(self, data: &[T], sizes: Sizes) -> Vec<T> {
        self.place(sizes).filled(data)
    }

    /// A buffer for an output, poisoned.
    pub fn blank<T: Element>(self, sizes: Sizes) -> Vec<T> {
        self.place(sizes).blank()
    }

    /// An output's values in NCHW order, after a look at what surrounds them.
    pub fn back<T: Element>(self, data: Vec<T>, sizes: Sizes) -> Vec<T> {
        self.place(sizes).taken(data)
    }

    pub fn view<T: Element>(self, data: &[T], sizes: Sizes) -> View<'_, T> {
        self.place(sizes).view(data)
    }

    pub fn view_mut<T: Element>(self, data: &mut [T], sizes: Sizes) -> ViewMut<'_, T> {
        self.place(sizes).view_mut(data)
    }
}
