//! Norms that do not look at the batch: a step on an array given in NCHW order, lying anywhere, and its truth: the twin of
//! whole arrays.

use super::layout::Sizes;
use super::measure::ulp;
use super::place::{Place, bits};
use super::wide::{DoubleDouble, largest, largest_wide, wide, widened};
use super::{Random, pool};
use batchnorm::reference::Real;
use batchnorm::reference::whole::{By, Norm, Role, Rows, Together};
use batchnorm::{
    Activation, Axes, ConstantChannel, Element, Input, ParameterDirection, ParameterGradients, Parameters, Policies,
    SampleConfig, SingleValue, Tier, View, ViewMut, Weights,
};

pub const EPSILON: f64 = 1e-5;

/// The same with the derivative of the formula where all values are alike.
pub fn steep(config: SampleConfig) -> SampleConfig {
    let policies = Policies { constant_channel: ConstantChannel::Derivative, ..config.policies };
    config.policies(policies)
}

/// Of arrays (samples, channels, plane).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Over the plane, or channels and plane, or all.
    Layer(usize),
    Rms(usize),
    Group(usize),
    GroupRms(usize),
    Instance,
}

impl Kind {
    pub fn config(self) -> SampleConfig {
        match self {
            Kind::Layer(axes) => SampleConfig::layer(axes),
            Kind::Rms(axes) => SampleConfig::rms(axes),
            Kind::Group(groups) => SampleConfig::group(groups),
            Kind::GroupRms(groups) => SampleConfig::group_rms(groups),
            Kind::Instance => SampleConfig::instance(),
        }
    }

    pub fn by_shape(self) -> bool {
        matches!(self, Kind::Layer(_) | Kind::Rms(_))
    }

    /// Whether the mean is taken off.
    pub fn centred(self) -> bool {
        !matches!(self, Kind::Rms(_) | Kind::GroupRms(_))
    }

    /// What is normalised together.
    pub fn rows(self, Sizes { n, c, plane }: Sizes) -> Rows {
        let together = match self {
            Kind::Layer(axes) | Kind::Rms(axes) => Together::LastAxes(axes),
            Kind::Group(groups) | Kind::GroupRms(groups) => Together::Groups(groups),
            Kind::Instance => Together::Instance,
        };
        Rows::new(&[n, c, plane], &Role::around(1, 3), together)
    }

    /// 1 / sqrt(variance + eps) of a row, or of its mean square, by weights; 0 where all is masked.
    pub fn inverse(self, row: &[DoubleDouble], weights: &[f64]) -> f64 {
        let total: f64 = weights.iter().sum();
        let counting = || row.iter().zip(weights).filter(|(_, w)| **w > 0.0);
        let mean = |values: &mut dyn Iterator<Item = DoubleDouble>| {
            values.fold(wide(0.0), |sum, value| sum + value) / wide(total)
        };
        let center = if self.centred() { mean(&mut counting().map(|(&x, &w)| x * wide(w))) } else { wide(0.0) };
        let square = mean(&mut counting().map(|(&x, &w)| (x - center) * (x - center) * wide(w)));
        if total == 0.0 { 0.0 } else { 1.0 / (square.to_f64() + EPSILON).sqrt() }
    }
}

/// Ways to lie in memory. Those by shape keep the order in which the axes are named.
pub fn places(kind: Kind, sizes: Sizes) -> Vec<Place> {
    places_within(kind, sizes, [1 + sizes.n % 7, 1 + sizes.plane % 5])
}

/// The same without margins: the memory ends where the arrays do.
pub fn tight_places(kind: Kind, sizes: Sizes) -> Vec<Place> {
    places_within(kind, sizes, [0; 2])
}

fn places_within(kind: Kind, Sizes { n, c, plane }: Sizes, margins: [usize; 2]) -> Vec<Place> {
    let [samples, channels, values] = [n, c, plane].map(|length| length as isize);
    let step = 2 * values + 3;
    let lengths = [n, c, plane];
    let place = |strides: [isize; 3], named: &[usize]| {
        let own = Place::new(&lengths, &strides, &[1], margins);
        if kind.by_shape() { own } else { own.named(named) }
    };
    vec![
        place([channels * values, values, 1], &[0, 1, 2]),
        place([channels * values, 1, channels], &[0, 2, 1]),
        place([-step * channels, -step, -2], &[0, 1, 2]),
        place([values, samples * values, 1], &[0, 1, 2]),
        // Rows side by side, what is normalised far apart.
        place([1, samples, channels * samples], &[0, 1, 2]),
    ]
}

/// The arrays of a step, in NCHW order, and what is in it beside the norm.
#[derive(Clone)]
pub struct Case<T> {
    pub kind: Kind,
    pub sizes: Sizes,
    pub x: Vec<T>,
    pub dy: Vec<T>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub activation: Activation,
    /// Of each value.
    pub weights: Option<Vec<T>>,
}

/// What a step gives, in NCHW order.
#[derive(Debug, Clone)]
pub struct Outcome<T> {
    pub y: Vec<T>,
    pub dx: Vec<T>,
    pub moved: Vec<T>,
    /// dx' along [`Case::direction`], gamma' = beta.
    pub curved: Vec<T>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
    /// dgamma' along the same.
    pub curved_gamma: Vec<f64>,
}

impl<T: Element> Outcome<T> {
    /// The bits, NaN canonical.
    pub fn bits(&self) -> Vec<u64> {
        let arrays = self.y.iter().chain(&self.dx).chain(&self.moved).chain(&self.curved).map(|&value| bits(value));
        let parameters = self.dgamma.iter().chain(&self.dbeta).chain(&self.curved_gamma);
        arrays.chain(parameters.map(|&value| bits(value))).collect()
    }
}

/// Worst errors, each by the measure of the contract.
#[derive(Debug, Clone, Copy, Default)]
pub struct Worst {
    pub y_ulps: f64,
    pub y: f64,
    pub dx: f64,
    pub dgamma: f64,
    pub dbeta: f64,
}

impl Worst {
    pub fn join(&mut self, other: Worst) {
        let Worst { y_ulps, y, dx, dgamma, dbeta } = self;
        let others = [other.y_ulps, other.y, other.dx, other.dgamma, other.dbeta];
        for (own, other) in [y_ulps, y, dx, dgamma, dbeta].into_iter().zip(others) {
            // NaN counts as worst.
            if other.is_nan() || other > *own {
                *own = other;
            }
        }
    }
}

impl<T: Element> Case<T> {
    pub fn new(kind: Kind, sizes: Sizes, mean: f64, random: &mut Random) -> Self {
        let len = sizes.n * sizes.c * sizes.plane;
        let mut array = |mean: f64| (0..len).map(|_| T::from_f64(mean + random.normal())).collect();
        let (x, dy) = (array(mean), array(0.2));
        let each = kind.rows(sizes).parameters();
        let gamma = (0..each).map(|at| 0.7 - (at % 11) as f64 * 0.3).collect();
        // None near 0: where gamma xhat is 0 too, an ulp of y would be next to nothing.
        let beta = (0..each).map(|at| 0.1 * (at % 13) as f64 - 0.35).collect();
        Case { kind, sizes, x, dy, gamma, beta, activation: Activation::Identity, weights: None }
    }

    /// The same with an activation behind the norm.
    pub fn behind(self, activation: Activation) -> Self {
        Case { activation, ..self }
    }

    /// The same with weights from 0 to 3, of which a quarter are 0.
    pub fn weighted(self, random: &mut Random) -> Self {
        // Exact in every number type.
        let weight = |_| if random.below(4) == 0 { 0.0 } else { (1 + random.below(24)) as f64 / 8.0 };
        let weights = (0..self.x.len()).map(weight).map(T::from_f64).collect();
        Case { weights: Some(weights), ..self }
    }

    /// The weight of each value.
    pub fn each_weight(&self) -> Vec<f64> {
        let ones = || vec![1.0; self.x.len()];
        self.weights.as_ref().map_or_else(ones, |weights| weights.iter().map(|w| w.to_f64()).collect())
    }

    /// dz of each value, by the side of the kink that an output is on; 0 where a value is masked.
    pub fn dz(&self, y: &[T]) -> Vec<f64> {
        let (slope, weights) = (self.activation.slope(), self.each_weight());
        let of = |i: usize| {
            let dy = self.dy[i].to_f64();
            let side = if y[i].to_f64() > 0.0 || y[i].to_f64().is_nan() { dy } else { slope * dy };
            if weights[i] > 0.0 { side } else { 0.0 }
        };
        (0..y.len()).map(of).collect()
    }

    /// What second derivatives are taken along; NaN where x is NaN and masked.
    pub fn direction(&self) -> Vec<T> {
        let masked = |i: usize| self.weights.as_ref().is_some_and(|weights| weights[i].to_f64() == 0.0);
        let spoiled = |i: usize| masked(i) && self.x[i].to_f64().is_nan();
        let of = |i: usize| if spoiled(i) { f64::NAN } else { (0.7 * i as f64).sin() + 0.2 };
        (0..self.x.len()).map(|i| T::from_f64(of(i))).collect()
    }

    /// Forward, backward, the directional derivative (along dy and the parameters) and the second one, in those places.
    pub fn step(&self, config: SampleConfig, [inputs, outputs]: [&Place; 2]) -> Outcome<T> {
        // (Weights may leave a row a single value.)
        let policies = match self.weights {
            Some(_) => Policies { single_value: SingleValue::Population, ..config.policies },
            None => config.policies,
        };
        let config = config.policies(policies).activation(self.activation);
        let rule = config.normalizer().expect("a right configuration");
        let (x, dy) = (inputs.filled(&self.x), inputs.filled(&self.dy));
        let (x, dy) = (&inputs.view(&x), inputs.view(&dy));
        let weights = self.weights.as_ref().map(|weights| inputs.as_named(weights));
        let weights = weights.as_ref().map(|(values, shape)| Weights::new(values, shape).expect("right weights"));
        let input = || weights.as_ref().map_or(Input::from(x), |weights| Input::weighted(x, weights));
        let [mut y, mut dx, mut moved] = [outputs.blank(), outputs.blank(), outputs.blank()];
        let parameters = Parameters { gamma: Some(&self.gamma[..]), beta: Some(&self.beta[..]) };
        let saved = rule.forward(input(), parameters, &mut outputs.view_mut(&mut y)).expect("a right call");
        assert_eq!(saved.rows(), self.kind.rows(self.sizes).count());
        let gradients = saved.backward(input(), &dy, &mut outputs.view_mut(&mut dx)).expect("a right call");
        let direction = ParameterDirection { gamma: Some(&self.beta), beta: Some(&self.gamma) };
        saved.jvp(input(), &dy, direction, &mut outputs.view_mut(&mut moved)).expect("a right call");
        let (t, mut curved) = (inputs.filled(&self.direction()), outputs.blank());
        let out = &mut outputs.view_mut(&mut curved);
        let curved_gamma = saved.hvp(input(), &dy, &inputs.view(&t), direction, out).expect("a right call").dgamma;
        let [y, dx, moved, curved] = [y, dx, moved, curved].map(|array| outputs.taken(array));
        let ParameterGradients { dgamma, dbeta } = gradients;
        Outcome { y, dx, moved, curved, dgamma, dbeta, curved_gamma }
    }

    pub fn dense(&self) -> Outcome<T> {
        let place = &places(self.kind, self.sizes)[0];
        self.step(steep(self.kind.config()).epsilon(EPSILON), [place; 2])
    }

    /// The twin of these rows, by these [weights](Self::each_weight) where values have some, over any number type.
    pub fn twin<'a, R: Real>(&self, rows: &'a Rows, weights: &'a [f64]) -> Norm<'a, R> {
        let by = match (self.kind.centred(), self.weights.is_some()) {
            (true, false) => By::Row,
            (true, true) => By::Weights(weights),
            (false, false) => By::MeanSquare,
            (false, true) => By::WeightedMeanSquare(weights),
        };
        Norm { rows, by, epsilon: R::constant(EPSILON) }
    }

    /// The worst errors against the twin in double-double arithmetic.
    pub fn errors(&self, got: &Outcome<T>) -> Worst {
        let rows = self.kind.rows(self.sizes);
        let (weights, slope) = (self.each_weight(), self.activation.slope());
        let twin = self.twin(&rows, &weights);
        let (x, gamma, beta) = (widened(&self.x), widened(&self.gamma), widened(&self.beta));
        let dy: Vec<DoubleDouble> = self.dz(&got.y).into_iter().map(wide).collect();
        let behind = |z: DoubleDouble| if z.to_f64() > 0.0 { z } else { z * wide(slope) };
        let y: Vec<DoubleDouble> = twin.forward(&x, &gamma, &beta).into_iter().map(behind).collect();
        let normalized = twin.normalized(&x);
        let truth = twin.backward(&x, &gamma, &dy);
        let distance = |got: f64, truth: DoubleDouble| (wide(got) - truth).to_f64().abs();
        let relative = |error: f64, scale: f64| if error == 0.0 { 0.0 } else { error / scale };
        let mut worst = Worst::default();
        let (mut products, mut sums) = (vec![0.0; gamma.len()], vec![0.0; gamma.len()]);
        for i in 0..x.len() {
            if weights[i] == 0.0 {
                let masked = [got.y[i], got.dx[i], got.moved[i], got.curved[i]].map(|value| value.to_f64());
                assert_eq!(masked, [0.0; 4], "masked");
                continue;
            }
            let parameter = rows.parameter(i);
            let scale = y[i].to_f64().abs().max(self.beta[parameter].abs());
            let error = distance(got.y[i].to_f64(), y[i]);
            // Rounding goes by the result, what comes before it by its terms.
            let scaled = (gamma[parameter] * normalized[i]).to_f64().abs();
            let terms = scale.max(scaled).max(self.gamma[parameter].abs());
            worst.join(Worst { y_ulps: error / ulp::<T>(scale), y: relative(error, terms), ..Worst::default() });
            products[parameter] += (dy[i] * normalized[i]).to_f64().abs();
            sums[parameter] += dy[i].to_f64().abs();
        }
        for row in 0..rows.count() {
            let places = rows.places(row);
            let most = largest(places.iter().map(|&i| self.gamma[rows.parameter(i)]));
            let inverse = self.kind.inverse(&rows.gather(row, &x), &rows.gather(row, &weights));
            let scale = most * inverse * largest_wide(&rows.gather(row, &dy));
            for i in places {
                let error = distance(got.dx[i].to_f64(), truth.dx[i]);
                worst.join(Worst { dx: relative(error, scale), ..Worst::default() });
            }
        }
        for parameter in 0..gamma.len() {
            let of_gamma = distance(got.dgamma[parameter], truth.dgamma[parameter]);
            let of_beta = distance(got.dbeta[parameter], truth.dbeta[parameter]);
            let dgamma = of_gamma / products[parameter].max(f64::MIN_POSITIVE);
            let dbeta = of_beta / sums[parameter].max(f64::MIN_POSITIVE);
            worst.join(Worst { dgamma, dbeta, ..Worst::default() });
        }
        worst
    }

    /// Panics unless every way to lie in memory gives the bits of the first one, on every instruction set and over so many
    /// threads: each combination, or for large arrays one instruction set after the other.
    pub fn same_bits_everywhere(&self, threads: &[usize]) {
        let (places, tiers) = (places(self.kind, self.sizes), Tier::available());
        let mut expected: Option<Vec<u64>> = None;
        let mut turn = 0;
        for (number, inputs) in places.iter().enumerate() {
            for &threads in threads {
                let taken = if threads > 1 { &tiers[turn % tiers.len()..][..1] } else { &tiers[..] };
                for &tier in taken {
                    // Outputs lie like the inputs, and otherwise.
                    let outputs = &places[if turn % 3 == 2 { turn % places.len() } else { number }];
                    turn += 1;
                    let config = self.kind.config().tier(tier);
                    let got = pool(threads).install(|| self.step(config, [inputs, outputs])).bits();
                    let what = format!("{:?} {:?} place {number} {tier:?} {threads} threads", self.kind, self.sizes);
                    let first = expected.get_or_insert_with(|| got.clone());
                    assert!(*first == got, "other bits: {what}");
                }
            }
        }
    }
}

/// A view of a dense array (samples, channels, plane).
pub fn view<T: Element>(data: &[T], Sizes { n, c, plane }: Sizes) -> View<'_, T> {
    View::new(data, &[n, c, plane], Axes::NCHW).expect("an array of the shape")
}

pub fn view_mut<T: Element>(data: &mut [T], Sizes { n, c, plane }: Sizes) -> ViewMut<'_, T> {
    ViewMut::new(data, &[n, c, plane], Axes::NCHW).expect("an array of the shape")
}
