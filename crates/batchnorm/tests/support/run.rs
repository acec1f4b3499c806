//! The whole layer on an array given in NCHW order, in any layout, with everything back in NCHW order. Outputs are
//! poisoned beforehand, and what lies between and around their values must stay poisoned.

use super::place::{Place, bits};
use super::{channel_of, measure};
use batchnorm::{Config, Element, Moments, Normalizer, Parameters, Policies, View, ViewMut};

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

#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub n: usize,
    pub c: usize,
    pub plane: usize,
}

#[derive(Debug, Clone)]
pub struct Outcome<T> {
    pub y: Vec<T>,
    pub dx: Vec<T>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
    pub moments: Vec<Moments>,
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

/// The arrays of a training step, in their places.
pub struct Arranged<T> {
    order: Order,
    sizes: Sizes,
    x: Vec<T>,
    dy: Vec<T>,
}

impl<T: Element> Arranged<T> {
    /// From values in NCHW order.
    pub fn new(order: Order, sizes: Sizes, x: &[T], dy: &[T]) -> Self {
        Arranged { order, sizes, x: order.arranged(x, sizes), dy: order.arranged(dy, sizes) }
    }

    /// Forward in training and backward; y and dx as they lie in memory.
    pub fn train(&self, rule: &Normalizer, gamma: &[f64], beta: &[f64]) -> Outcome<T> {
        let Arranged { order, sizes, .. } = *self;
        let (mut y, mut dx) = (order.blank(sizes), order.blank(sizes));
        let (x, dy) = (order.view(&self.x, sizes), order.view(&self.dy, sizes));
        let parameters = Parameters { gamma: Some(gamma), beta: Some(beta) };
        let (saved, batch) =
            rule.train(&x, parameters, None, &mut order.view_mut(&mut y, sizes)).expect("a right forward call");
        let gradients = saved.backward(&x, &dy, &mut order.view_mut(&mut dx, sizes)).expect("a right backward call");
        let alone = saved.parameter_gradients(&x, &dy).expect("a right call");
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&alone.dgamma), bits(&gradients.dgamma), "dx asked for or not");
        assert_eq!(bits(&alone.dbeta), bits(&gradients.dbeta), "dx asked for or not");
        Outcome { y, dx, dgamma: gradients.dgamma, dbeta: gradients.dbeta, moments: batch.channels().to_vec() }
    }

    /// The outcome with y and dx in NCHW order.
    pub fn back(&self, outcome: Outcome<T>) -> Outcome<T> {
        let back = |data| self.order.back(data, self.sizes);
        Outcome { y: back(outcome.y), dx: back(outcome.dx), ..outcome }
    }
}

impl<T: Element> Outcome<T> {
    pub fn same_bits(&self, other: &Outcome<T>) -> bool {
        let alike = |one: &[T], other: &[T]| one.iter().zip(other).all(|(one, other)| bits(*one) == bits(*other));
        let numbers = |outcome: &Outcome<T>| -> Vec<u64> {
            let moments = outcome.moments.iter().flat_map(|m| [m.mean(), m.m2(), m.population_variance()]);
            outcome.dgamma.iter().chain(&outcome.dbeta).copied().chain(moments).map(f64::to_bits).collect()
        };
        (self.y.len(), self.dx.len()) == (other.y.len(), other.dx.len())
            && alike(&self.y, &other.y)
            && alike(&self.dx, &other.dx)
            && numbers(self) == numbers(other)
    }
}

/// Forward in training and backward, everything in NCHW order.
pub fn train<T: Element>(
    rule: &Normalizer,
    order: Order,
    sizes: Sizes,
    x: &[T],
    dy: &[T],
    gamma: &[f64],
    beta: &[f64],
) -> Outcome<T> {
    let arranged = Arranged::new(order, sizes, x, dy);
    arranged.back(arranged.train(rule, gamma, beta))
}

/// The rule of the tests: the derivative of the formula wherever it exists.
pub fn rule(epsilon: f64) -> Normalizer {
    let policies = Policies {
        single_value: batchnorm::SingleValue::Population,
        constant_channel: batchnorm::ConstantChannel::Derivative,
        ..Policies::default()
    };
    Config::pytorch().epsilon(epsilon).policies(policies).normalizer().expect("a right configuration")
}

/// Errors of `train`, worst over all channels.
pub fn errors<T: Element>(
    order: Order,
    sizes: Sizes,
    x: &[T],
    dy: &[T],
    gamma: &[f64],
    beta: &[f64],
    epsilon: f64,
) -> measure::Worst {
    let outcome = train(&rule(epsilon), order, sizes, x, dy, gamma, beta);
    let mut worst = measure::Worst::default();
    for channel in 0..sizes.c {
        let of = |data: &[T]| channel_of(data, sizes.c, sizes.plane, channel);
        let checked = measure::Channel {
            x: &of(x),
            dy: &of(dy),
            gamma: gamma[channel],
            beta: beta[channel],
            epsilon,
            moments: outcome.moments[channel],
            y: &of(&outcome.y),
            dx: &of(&outcome.dx),
            dgamma: outcome.dgamma[channel],
            dbeta: outcome.dbeta[channel],
        };
        worst.join(checked.errors());
    }
    worst
}
