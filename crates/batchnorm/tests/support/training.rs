//! A plain training step by any normalizer, on arrays given in NCHW order that lie in any layout. Outputs are poisoned
//! beforehand, and what lies between and around their values must stay poisoned.
//!
//! `step` takes every pass through every call that does the same, with policies, eps and parameters of its own. Here one pass
//! is taken, once, on borrowed arrays: millions of values in many layouts, over many pools, by many eps.

use super::layout::{Order, Sizes};
use super::step::Stepped;
use super::{channel_of, measure};
use batchnorm::{Config, ConstantChannel, Element, Normalizer, Parameters, Policies, SingleValue, Tier};

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
    pub fn train(&self, rule: &Normalizer, gamma: &[f64], beta: &[f64]) -> Stepped<T> {
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
        let moments = batch.channels().to_vec();
        Stepped { y, dx, dgamma: gradients.dgamma, dbeta: gradients.dbeta, moments, ..Stepped::default() }
    }

    /// The same with y and dx in NCHW order.
    pub fn back(&self, stepped: Stepped<T>) -> Stepped<T> {
        let back = |data| self.order.back(data, self.sizes);
        Stepped { y: back(stepped.y), dx: back(stepped.dx), ..stepped }
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
) -> Stepped<T> {
    let arranged = Arranged::new(order, sizes, x, dy);
    arranged.back(arranged.train(rule, gamma, beta))
}

/// The rule of the tests: the derivative of the formula wherever it exists.
pub fn rule(epsilon: f64) -> Normalizer {
    rule_on(Tier::best(), epsilon)
}

/// The same on an instruction set.
pub fn rule_on(tier: Tier, epsilon: f64) -> Normalizer {
    rule_of(Config::pytorch().tier(tier), epsilon)
}

/// The same of another configuration.
pub fn rule_of(config: Config, epsilon: f64) -> Normalizer {
    let policies = Policies {
        single_value: SingleValue::Population,
        constant_channel: ConstantChannel::Derivative,
        ..Policies::default()
    };
    config.epsilon(epsilon).policies(policies).normalizer().expect("a right configuration")
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
    let stepped = train(&rule(epsilon), order, sizes, x, dy, gamma, beta);
    let mut worst = measure::Worst::default();
    for channel in 0..sizes.c {
        let of = |data: &[T]| channel_of(data, sizes.c, sizes.plane, channel);
        let checked = measure::Channel {
            x: &of(x),
            dy: &of(dy),
            gamma: gamma[channel],
            beta: beta[channel],
            epsilon,
            moments: stepped.moments[channel],
            y: &of(&stepped.y),
            dx: &of(&stepped.dx),
            dgamma: stepped.dgamma[channel],
            dbeta: stepped.dbeta[channel],
        };
        worst.join(checked.errors());
    }
    worst
}
