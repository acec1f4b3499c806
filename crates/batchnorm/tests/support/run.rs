//! The whole layer on an array given in NCHW order, in any layout, with everything back in NCHW order.

use super::{channel_of, measure, to_nchw, to_nhwc};
use batchnorm::{Axes, Config, Element, Moments, Parameters, Policies, Rule, View, ViewMut};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    Nchw,
    Nhwc,
    /// NCHW inside a larger buffer: no two values adjacent, rows padded, walked from the end.
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

pub struct Outcome<T> {
    pub y: Vec<T>,
    pub dx: Vec<T>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
    pub moments: Vec<Moments>,
}

impl Order {
    pub fn arranged<T: Element>(self, data: &[T], Sizes { n, c, plane }: Sizes) -> Vec<T> {
        match self {
            Order::Nchw => data.to_vec(),
            Order::Nhwc => to_nhwc(data, c, plane),
            Order::Strided => {
                let mut buffer = vec![T::default(); strided_len(Sizes { n, c, plane })];
                for (i, &value) in data.iter().enumerate() {
                    buffer[strided_offset(i, Sizes { n, c, plane })] = value;
                }
                buffer
            }
            Order::ChannelsFirst => (0..c).flat_map(|channel| channel_of(data, c, plane, channel)).collect(),
        }
    }

    pub fn back<T: Element>(self, data: Vec<T>, Sizes { n, c, plane }: Sizes) -> Vec<T> {
        match self {
            Order::Nchw => data,
            Order::Nhwc => to_nchw(&data, c, plane),
            Order::Strided => (0..n * c * plane).map(|i| data[strided_offset(i, Sizes { n, c, plane })]).collect(),
            Order::ChannelsFirst => to_channels_second(&data, Sizes { n, c, plane }),
        }
    }

    pub fn view<T: Element>(self, data: &[T], Sizes { n, c, plane }: Sizes) -> View<'_, T> {
        match self {
            Order::Nchw => View::new(data, &[n, c, plane], Axes::NCHW),
            Order::Nhwc => View::new(data, &[n, plane, c], Axes::NHWC),
            Order::Strided => {
                let (strides, offset) = strided(Sizes { n, c, plane });
                View::with_strides(data, &[n, c, plane], &strides, offset, Axes::NCHW)
            }
            Order::ChannelsFirst => View::new(data, &[c, n, plane], Axes::Channel(0)),
        }
        .expect("a right view")
    }

    pub fn view_mut<T: Element>(self, data: &mut [T], Sizes { n, c, plane }: Sizes) -> ViewMut<'_, T> {
        match self {
            Order::Nchw => ViewMut::new(data, &[n, c, plane], Axes::NCHW),
            Order::Nhwc => ViewMut::new(data, &[n, plane, c], Axes::NHWC),
            Order::Strided => {
                let (strides, offset) = strided(Sizes { n, c, plane });
                ViewMut::with_strides(data, &[n, c, plane], &strides, offset, Axes::NCHW)
            }
            Order::ChannelsFirst => ViewMut::new(data, &[c, n, plane], Axes::Channel(0)),
        }
        .expect("a right view")
    }
}

/// Every second place, one row of padding after each plane, the whole reversed.
fn strided(Sizes { n, c, plane }: Sizes) -> (Vec<isize>, usize) {
    let step = 2 * plane as isize + 3;
    (vec![-step * c as isize, -step, -2], strided_len(Sizes { n, c, plane }) - 1)
}

fn strided_len(Sizes { n, c, plane }: Sizes) -> usize {
    (n * c * (2 * plane + 3)).max(1)
}

fn strided_offset(i: usize, sizes: Sizes) -> usize {
    let (strides, offset) = strided(sizes);
    let (c, plane) = (sizes.c, sizes.plane);
    let at = [i / plane / c, i / plane % c, i % plane];
    (offset as isize + at.iter().zip(strides).map(|(&i, stride)| i as isize * stride).sum::<isize>()) as usize
}

fn to_channels_second<T: Copy>(data: &[T], Sizes { n, c, plane }: Sizes) -> Vec<T> {
    (0..n * c * plane).map(|i| data[i / plane % c * n * plane + i / plane / c * plane + i % plane]).collect()
}

/// Forward in training and backward. Outputs are poisoned beforehand; gaps in them must stay as they were.
pub fn train<T: Element>(
    rule: &Rule,
    order: Order,
    sizes: Sizes,
    x: &[T],
    dy: &[T],
    gamma: &[f64],
    beta: &[f64],
) -> Outcome<T> {
    let poison = T::from_f64(-77.25);
    let (x, dy) = (order.arranged(x, sizes), order.arranged(dy, sizes));
    let (mut y, mut dx) = (vec![poison; x.len()], vec![poison; x.len()]);
    let (x, dy) = (order.view(&x, sizes), order.view(&dy, sizes));
    let parameters = Parameters { gamma: Some(gamma), beta: Some(beta) };
    let (saved, batch) =
        rule.train(&x, parameters, None, &mut order.view_mut(&mut y, sizes)).expect("a right forward call");
    let gradients = saved.backward(&x, &dy, &mut order.view_mut(&mut dx, sizes)).expect("a right backward call");
    let alone = saved.parameter_gradients(&x, &dy).expect("a right call");
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&alone.dgamma), bits(&gradients.dgamma), "dx asked for or not");
    assert_eq!(bits(&alone.dbeta), bits(&gradients.dbeta), "dx asked for or not");
    if order == Order::Strided {
        let gaps = |buffer: &[T]| buffer.iter().filter(|value| value.to_f64() == poison.to_f64()).count();
        assert!(gaps(&y) >= y.len() - sizes.n * sizes.c * sizes.plane, "a gap was written");
    }
    Outcome {
        y: order.back(y, sizes),
        dx: order.back(dx, sizes),
        dgamma: gradients.dgamma,
        dbeta: gradients.dbeta,
        moments: batch.channels().to_vec(),
    }
}

/// The rule of the tests: the derivative of the formula wherever it exists.
pub fn rule(epsilon: f64) -> Rule {
    let policies = Policies {
        single_value: batchnorm::SingleValue::Population,
        constant_channel: batchnorm::ConstantChannel::Derivative,
        ..Policies::default()
    };
    Config::pytorch().epsilon(epsilon).policies(policies).rule().expect("a right configuration")
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
