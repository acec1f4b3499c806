//! The invertible form, channel by channel, against its documented bound.

use crate::support::layout::{Order, Sizes};
use crate::support::training::train;
use crate::support::wide::{DoubleDouble, widened};
use crate::support::{Random, channel_of};
use batchnorm::reference::compact;
use batchnorm::{
    Activation, Config, Element, Invertible, Normalizer, Parameter, ParameterGradients, Parameters, Policies,
    RunningStatistics, SingleValue, Tier,
};

type D = DoubleDouble;
pub const EPSILON: f64 = 1e-5;
/// The u of the documented bound.
const U: f64 = f64::EPSILON;

/// What the bound knows of a type.
pub trait Type: Element + Parameter {
    const EPS: f64;
    const SMALLEST: f64;
    /// The c of the documented bound.
    const C: f64;
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }
}

impl Type for f32 {
    const EPS: f64 = f32::EPSILON as f64;
    const SMALLEST: f64 = 1.401_298_464_324_817e-45;
    const C: f64 = 1.0;
}

impl Type for f64 {
    const EPS: f64 = f64::EPSILON;
    const SMALLEST: f64 = 5e-324;
    const C: f64 = 8.0;
}

pub fn rule_with(activation: Activation, tier: Tier, policies: Policies) -> Normalizer {
    Config::pytorch().policies(policies).activation(activation).tier(tier).normalizer().expect("a right configuration")
}

pub fn rule(activation: Activation) -> Normalizer {
    let policies = Policies { single_value: SingleValue::Population, ..Policies::default() };
    rule_with(activation, Tier::best(), policies)
}

/// Values of a channel, and what it is to do with them.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    pub gamma: f64,
    pub beta: f64,
    pub fill: Fill,
    pub kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Normal about a mean.
    Normal(f64),
    Constant(f64),
    /// Normal with one value of its own.
    With(f64),
}

pub fn channel(gamma: f64, beta: f64, fill: Fill, kept: bool) -> Channel {
    Channel { gamma, beta, fill, kept }
}

pub struct Case<T> {
    pub sizes: Sizes,
    pub channels: Vec<Channel>,
    pub x: Vec<T>,
    pub dy: Vec<T>,
}

/// What a step gives, in NCHW order.
pub struct Step<T> {
    pub y: Vec<T>,
    pub dx: Vec<T>,
    pub parameters: ParameterGradients,
    pub kept: Vec<usize>,
}

impl<T: Type> Case<T> {
    pub fn new(n: usize, plane: usize, channels: Vec<Channel>, random: &mut Random) -> Self {
        let sizes = Sizes { n, c: channels.len(), plane };
        let len = n * plane * sizes.c;
        let mut x: Vec<T> = Vec::with_capacity(len);
        for i in 0..len {
            let (at, place) = (i / plane % sizes.c, i / (plane * sizes.c) * plane + i % plane);
            x.push(T::of(match channels[at].fill {
                Fill::Normal(mean) => mean + random.normal(),
                Fill::Constant(value) => value,
                Fill::With(value) if place == n * plane / 2 => value,
                Fill::With(_) => random.normal(),
            }));
        }
        let dy = random.normals(len, 0.3, 1.0).into_iter().map(T::of).collect();
        Case { sizes, channels, x, dy }
    }

    pub fn parameters(&self) -> [Vec<f64>; 2] {
        [self.channels.iter().map(|c| c.gamma).collect(), self.channels.iter().map(|c| c.beta).collect()]
    }

    pub fn ordinary(&self, rule: &Normalizer) -> Step<T> {
        let [gamma, beta] = self.parameters();
        let outcome = train(rule, Order::Nchw, self.sizes, &self.x, &self.dy, &gamma, &beta);
        let parameters = ParameterGradients { dgamma: outcome.dgamma, dbeta: outcome.dbeta };
        Step { y: outcome.y, dx: outcome.dx, parameters, kept: Vec::new() }
    }

    pub fn forward(
        &self,
        rule: &Normalizer,
        order: Order,
        running: Option<&RunningStatistics>,
    ) -> (Vec<T>, Invertible<T>) {
        let [gamma, beta] = self.parameters();
        let mut own = order.arranged(&self.x, self.sizes);
        let mut x = order.view_mut(&mut own, self.sizes);
        let parameters = Parameters { gamma: Some(&gamma[..]), beta: Some(&beta[..]) };
        let (saved, _) = rule.train_invertible(&mut x, parameters, running).expect("a right call");
        (own, saved)
    }

    /// y in one order, dy and dx in another.
    pub fn invertible(&self, rule: &Normalizer, [order, second]: [Order; 2]) -> Step<T> {
        let (y, saved) = self.forward(rule, order, None);
        let mut own = second.arranged(&self.dy, self.sizes);
        let mut dy = second.view_mut(&mut own, self.sizes);
        let parameters = saved.backward(&order.view(&y, self.sizes), &mut dy).expect("a right call");
        let kept = saved.kept_channels().to_vec();
        Step { y: order.back(y, self.sizes), dx: second.back(own, self.sizes), parameters, kept }
    }

    /// Asserts the documented bound on every gradient of every channel; gives the worst share of it that was used.
    pub fn within_the_bound(&self, activation: Activation) -> f64 {
        let (ordinary, own) = (self.ordinary(&rule(activation)), self.invertible(&rule(activation), [Order::Nchw; 2]));
        let expected: Vec<usize> = (0..self.sizes.c).filter(|&c| self.channels[c].kept).collect();
        assert_eq!(own.kept, expected, "{:?}", self.channels);
        assert_eq!(bits(&own.y), bits(&ordinary.y), "the forward pass is the ordinary one");
        assert_eq!(bits(&own.parameters.dbeta), bits(&ordinary.parameters.dbeta), "dbeta does not need xhat");
        let mut worst: f64 = 0.0;
        for c in 0..self.sizes.c {
            let of = |data: &[T]| channel_of(data, self.sizes.c, self.sizes.plane, c);
            let (channel, dgamma) = (self.channels[c], own.parameters.dgamma[c]);
            let exact = channel.kept || matches!(channel.fill, Fill::Constant(_));
            let finite = !matches!(channel.fill, Fill::With(value) if !value.is_finite());
            if exact || !finite {
                // Kept, constant and NaN channels: the ordinary gradients, but for the sign of zeros.
                let unsigned = |dx: &[T]| bits(&dx.iter().map(|dx| dx.to_f64() + 0.0).collect::<Vec<f64>>());
                assert_eq!(unsigned(&of(&own.dx)), unsigned(&of(&ordinary.dx)), "{channel:?}");
                assert_eq!(bits(&[dgamma]), bits(&[ordinary.parameters.dgamma[c]]), "{channel:?}");
                assert!(finite || of(&own.dx).iter().all(|dx| dx.to_f64().is_nan()));
                continue;
            }
            let truth = Truth::new(&of(&self.x), &of(&own.y), &of(&self.dy), channel, activation);
            let ordinary = (of(&ordinary.dx), ordinary.parameters.dgamma[c]);
            worst = worst.max(truth.check((&of(&own.dx), dgamma), (&ordinary.0, ordinary.1), channel));
        }
        worst
    }
}

/// One channel in double-double arithmetic, from the input that the layer no longer has.
pub struct Truth {
    pub normalized: Vec<f64>,
    dz: Vec<f64>,
    scale: f64,
    gradients: compact::Gradients<D>,
    /// The bound on each xhat.
    pub bound: Vec<f64>,
}

impl Truth {
    pub fn new<T: Type>(x: &[T], y: &[T], dy: &[T], channel: Channel, activation: Activation) -> Self {
        let Channel { gamma, beta, .. } = channel;
        let slope = activation.slope();
        let forward = compact::forward(&widened(x), D::from(gamma), D::from(beta), D::from(EPSILON));
        // The side of the kink is told from y, as in the ordinary form.
        let behind = |(dy, y): (&T, &T)| if y.to_f64() > 0.0 { 1.0 } else { slope } * dy.to_f64();
        let dz: Vec<f64> = dy.iter().zip(y).map(behind).collect();
        let wide: Vec<D> = dz.iter().map(|&dz| D::from(dz)).collect();
        let tiny = T::SMALLEST * (1.0 / slope).max(1.0);
        let bound = |z: &D| T::C * (T::EPS * (beta.abs() + z.to_f64().abs()) + tiny) / gamma.abs();
        Truth {
            normalized: forward.normalized.iter().map(|xhat| xhat.to_f64()).collect(),
            dz,
            scale: gamma.abs() * forward.inverse_deviation.to_f64(),
            gradients: compact::backward(&widened(x), D::from(gamma), D::from(EPSILON), &wide),
            bound: forward.y.iter().map(bound).collect(),
        }
    }

    /// The worst share of the bound on what dx and dgamma differ from the ordinary form's, at most 1.
    fn check<T: Type>(&self, (dx, dgamma): (&[T], f64), ordinary: (&[T], f64), channel: Channel) -> f64 {
        let Truth { normalized, dz, scale, gradients, bound, .. } = self;
        let n = dz.len() as f64;
        let sum = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>();
        let noise = sum(&mut dz.iter().zip(bound).map(|(dz, e)| dz.abs() * e));
        let products = sum(&mut dz.iter().zip(normalized).map(|(dz, xhat)| (dz * xhat).abs()));
        let of_gamma = noise + 100.0 * U * products;
        let error = (dgamma - ordinary.1).abs();
        assert!(error <= of_gamma, "dgamma {channel:?}: {error:e} of {of_gamma:e}");
        let mut worst = error / of_gamma;
        let (mean, mean_dz) = ((gradients.dgamma.to_f64() / n).abs(), (gradients.dbeta.to_f64() / n).abs());
        for (i, (dx, ordinary)) in dx.iter().zip(ordinary.0).enumerate() {
            let (xhat, e) = (normalized[i].abs(), bound[i]);
            let arithmetic = 8.0 * U * (dz[i].abs() + mean_dz + xhat * mean);
            let inverted = scale * (e * mean + (xhat + e) * of_gamma / n + arithmetic);
            let (dx, ordinary) = (dx.to_f64(), ordinary.to_f64());
            // Both are rounded, each by half a unit at most.
            let rounding = T::EPS * dx.abs().max(ordinary.abs()) + T::SMALLEST;
            let error = (dx - ordinary).abs();
            assert!(error <= inverted + rounding, "dx {channel:?}: {error:e} of {inverted:e} and {rounding:e}");
            worst = worst.max(error / (inverted + rounding));
        }
        worst
    }
}

pub fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    values.iter().map(|value| bits(value.to_f64())).collect()
}
