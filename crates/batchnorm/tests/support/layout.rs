//! Where arrays given in NCHW order lie in memory.

use super::place::Place;
use batchnorm::reference::whole::transposed;
use batchnorm::{Element, View, ViewMut};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    Nchw,
    Nhwc,
    /// NCHW with no two values adjacent, rows padded, walked from the end.
    Strided,
    /// Channels first: (C, N, plane).
    ChannelsFirst,
    /// Two channel axes around the samples: (C1, N, C2, plane).
    TwoAxes,
    /// Two channel axes around the plane: (N, C1, plane, C2).
    TwoAxesLast,
}

pub const ORDERS: [Order; 6] =
    [Order::Nchw, Order::Nhwc, Order::Strided, Order::ChannelsFirst, Order::TwoAxes, Order::TwoAxesLast];
/// Those of one channel axis.
const OF_ONE_AXIS: usize = 4;

/// Two factors of a number, as near to each other as can be; the smaller one first.
pub fn factors(number: usize) -> (usize, usize) {
    let smaller = (1..=number.isqrt()).rev().find(|&factor| number.is_multiple_of(factor)).expect("1 is a factor");
    (smaller, number / smaller)
}

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
    /// The order `turn` places further on, of arrays that may be in the same call as those of this one: they have as many channel
    /// axes.
    pub fn beside(self, turn: usize) -> Order {
        let at = ORDERS.iter().position(|&order| order == self).expect("all orders are listed");
        let alike = if at < OF_ONE_AXIS { &ORDERS[..OF_ONE_AXIS] } else { &ORDERS[OF_ONE_AXIS..] };
        alike[(at + turn) % alike.len()]
    }

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
        let of_one =
            |strides: [isize; 3], named: [usize; 3]| Place::new(&[n, c, plane], &strides, &[1], margins).named(&named);
        let (outer, inner) = factors(c);
        let lengths = [n, outer, inner, plane];
        let near = inner as isize;
        let of_two =
            |strides: [isize; 4], named: [usize; 4]| Place::new(&lengths, &strides, &[1, 2], margins).named(&named);
        match self {
            Order::Nchw => of_one([channels * values, values, 1], [0, 1, 2]),
            Order::Nhwc => of_one([channels * values, 1, channels], [0, 2, 1]),
            Order::Strided => of_one([-step * channels, -step, -2], [0, 1, 2]),
            Order::ChannelsFirst => of_one([values, samples * values, 1], [1, 0, 2]),
            Order::TwoAxes => of_two([near * values, samples * near * values, values, 1], [1, 0, 2, 3]),
            Order::TwoAxesLast => of_two([channels * values, values * near, 1, near], [0, 1, 3, 2]),
        }
    }

    /// Values of lengths `[samples, channels, plane]`, of which those may be 1 that are repeated, dense and with the axes in the order
    /// in which a view of this arrangement names them; and their lengths.
    pub fn named<T: Copy>(self, values: &[T], [n, c, p]: [usize; 3]) -> (Vec<T>, Vec<usize>) {
        let (outer, inner) = factors(c);
        let (shape, named): (&[usize], &[usize]) = match self {
            Order::Nchw | Order::Strided => (&[n, c, p], &[0, 1, 2]),
            Order::Nhwc => (&[n, c, p], &[0, 2, 1]),
            Order::ChannelsFirst => (&[n, c, p], &[1, 0, 2]),
            Order::TwoAxes => (&[n, outer, inner, p], &[1, 0, 2, 3]),
            Order::TwoAxesLast => (&[n, outer, inner, p], &[0, 1, 3, 2]),
        };
        (transposed(values, shape, named), named.iter().map(|&axis| shape[axis]).collect())
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
