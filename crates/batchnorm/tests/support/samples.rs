//! Norms that do not look at the batch: a step on an array given in NCHW order, lying anywhere, and its truth row by row.

use super::double_double::{DoubleDouble, widened};
use super::measure::ulp;
use super::place::{Place, bits};
use super::run::Sizes;
use super::{Random, pool};
use batchnorm::reference::rows;
use batchnorm::reference::whole::{Role, Rows, Together};
use batchnorm::{
    Axes, ConstantChannel, Element, ParameterDirection, ParameterGradients, Parameters, SampleConfig, Tier, View,
    ViewMut,
};

type D = DoubleDouble;
pub const EPSILON: f64 = 1e-5;

/// Of arrays (samples, channels, plane).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Over the plane, or channels and plane, or all.
    Layer(usize),
    Rms(usize),
    Group(usize),
    Instance,
}

impl Kind {
    pub fn config(self) -> SampleConfig {
        match self {
            Kind::Layer(axes) => SampleConfig::layer(axes),
            Kind::Rms(axes) => SampleConfig::rms(axes),
            Kind::Group(groups) => SampleConfig::group(groups),
            Kind::Instance => SampleConfig::instance(),
        }
    }

    pub fn by_shape(self) -> bool {
        matches!(self, Kind::Layer(_) | Kind::Rms(_))
    }

    /// How many values gamma and beta have.
    pub fn parameters(self, Sizes { n, c, plane }: Sizes) -> usize {
        match self {
            Kind::Layer(1) | Kind::Rms(1) => plane,
            Kind::Layer(2) | Kind::Rms(2) => c * plane,
            Kind::Layer(_) | Kind::Rms(_) => n * c * plane,
            Kind::Group(_) | Kind::Instance => c,
        }
    }

    /// Which values are a row.
    fn arrangement(self, Sizes { n, c, plane }: Sizes) -> Rows {
        let together = match self {
            Kind::Layer(axes) | Kind::Rms(axes) => Together::LastAxes(axes),
            Kind::Group(groups) => Together::Groups(groups),
            Kind::Instance => Together::Instance,
        };
        Rows::new(&[n, c, plane], &[Role::Sample, Role::Channel, Role::Space], together)
    }

    /// The rows: of each the numbers of its values, and for each value that of its parameters.
    pub fn rows(self, sizes: Sizes) -> Vec<Vec<(usize, usize)>> {
        let rows = self.arrangement(sizes);
        let with_parameter = |row: Vec<usize>| row.into_iter().map(|i| (i, rows.parameter(i))).collect();
        rows.all().into_iter().map(with_parameter).collect()
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
        let own = Place::new(&lengths, &strides, 1, margins);
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

/// The arrays of a step, in NCHW order.
pub struct Case<T> {
    pub kind: Kind,
    pub sizes: Sizes,
    pub x: Vec<T>,
    pub dy: Vec<T>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
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
        let each = kind.parameters(sizes);
        let gamma = (0..each).map(|at| 0.7 - (at % 11) as f64 * 0.3).collect();
        // None near 0: where gamma xhat is 0 too, an ulp of y would be next to nothing.
        let beta = (0..each).map(|at| 0.1 * (at % 13) as f64 - 0.35).collect();
        Case { kind, sizes, x, dy, gamma, beta }
    }

    /// What second derivatives are taken along.
    pub fn direction(&self) -> Vec<T> {
        (0..self.x.len()).map(|i| T::from_f64((0.7 * i as f64).sin() + 0.2)).collect()
    }

    /// Forward, backward, the directional derivative (along dy and the parameters) and the second one, in those places.
    pub fn step(&self, config: SampleConfig, [inputs, outputs]: [&Place; 2]) -> Outcome<T> {
        let rule = config.rule().expect("a right configuration");
        let (x, dy) = (inputs.filled(&self.x), inputs.filled(&self.dy));
        let (x, dy) = (inputs.view(&x), inputs.view(&dy));
        let [mut y, mut dx, mut moved] = [outputs.blank(), outputs.blank(), outputs.blank()];
        let parameters = Parameters { gamma: Some(&self.gamma[..]), beta: Some(&self.beta[..]) };
        let saved = rule.forward(&x, parameters, &mut outputs.view_mut(&mut y)).expect("a right call");
        assert_eq!(saved.rows(), self.kind.arrangement(self.sizes).count());
        let gradients = saved.backward(&x, &dy, &mut outputs.view_mut(&mut dx)).expect("a right call");
        let direction = ParameterDirection { gamma: Some(&self.beta), beta: Some(&self.gamma) };
        saved.jvp(&x, &dy, direction, &mut outputs.view_mut(&mut moved)).expect("a right call");
        let (t, mut curved) = (inputs.filled(&self.direction()), outputs.blank());
        let out = &mut outputs.view_mut(&mut curved);
        let curved_gamma = saved.hvp(&x, &dy, &inputs.view(&t), direction, out).expect("a right call").dgamma;
        let [y, dx, moved, curved] = [y, dx, moved, curved].map(|array| outputs.taken(array));
        let ParameterGradients { dgamma, dbeta } = gradients;
        Outcome { y, dx, moved, curved, dgamma, dbeta, curved_gamma }
    }

    pub fn dense(&self) -> Outcome<T> {
        let place = &places(self.kind, self.sizes)[0];
        self.step(self.kind.config().constant_group(ConstantChannel::Derivative).epsilon(EPSILON), [place; 2])
    }

    /// The worst errors against the twin in double-double arithmetic.
    pub fn errors(&self, got: &Outcome<T>) -> Worst {
        let mut worst = Worst::default();
        let each = self.gamma.len();
        let zero = D::from(0.0);
        let (mut dgamma, mut dbeta) = (vec![zero; each], vec![zero; each]);
        let (mut products, mut sums) = (vec![0.0; each], vec![0.0; each]);
        for row in self.kind.rows(self.sizes) {
            let of = |data: &[T]| widened(&row.iter().map(|&(i, _)| data[i]).collect::<Vec<T>>());
            let own = |values: &[f64]| row.iter().map(|&(_, at)| D::from(values[at])).collect::<Vec<D>>();
            let (x, dy, gamma, beta) = (of(&self.x), of(&self.dy), own(&self.gamma), own(&self.beta));
            let epsilon = D::from(EPSILON);
            let (forward, backward) = if matches!(self.kind, Kind::Rms(_)) {
                (rows::rms_forward(&x, &gamma, &beta, epsilon), rows::rms_backward(&x, &gamma, epsilon, &dy))
            } else {
                (rows::forward(&x, &gamma, &beta, epsilon), rows::backward(&x, &gamma, epsilon, &dy))
            };
            let distance = |got: f64, truth: D| (D::from(got) - truth).to_f64().abs();
            let relative = |error: f64, scale: f64| if error == 0.0 { 0.0 } else { error / scale };
            for (at, &(i, parameter)) in row.iter().enumerate() {
                let truth = forward.y[at];
                let scale = truth.to_f64().abs().max(self.beta[parameter].abs());
                let error = distance(got.y[i].to_f64(), truth);
                // Rounding goes by the result, what comes before it by its terms.
                let terms =
                    scale.max((gamma[at] * forward.normalized[at]).to_f64().abs()).max(gamma[at].to_f64().abs());
                let y = relative(error, terms);
                worst.join(Worst { y_ulps: error / ulp::<T>(scale), y, ..Worst::default() });
                dgamma[parameter] = dgamma[parameter] + backward.dgamma[at];
                dbeta[parameter] = dbeta[parameter] + backward.dbeta[at];
                products[parameter] += backward.dgamma[at].to_f64().abs();
                sums[parameter] += backward.dbeta[at].to_f64().abs();
            }
            let largest = |values: &[D]| values.iter().fold(0.0f64, |most, value| most.max(value.to_f64().abs()));
            let deviation = inverse(&x, self.kind);
            let scale = largest(&gamma) * deviation * largest(&dy);
            for (at, &(i, _)) in row.iter().enumerate() {
                let error = distance(got.dx[i].to_f64(), backward.dx[at]);
                worst.join(Worst { dx: relative(error, scale), ..Worst::default() });
            }
        }
        for at in 0..each {
            let distance = |got: f64, truth: D| (D::from(got) - truth).to_f64().abs();
            let of_gamma = distance(got.dgamma[at], dgamma[at]) / products[at].max(f64::MIN_POSITIVE);
            let of_beta = distance(got.dbeta[at], dbeta[at]) / sums[at].max(f64::MIN_POSITIVE);
            worst.join(Worst { dgamma: of_gamma, dbeta: of_beta, ..Worst::default() });
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

/// 1 / sqrt(variance + eps), or of the mean square.
fn inverse(x: &[D], kind: Kind) -> f64 {
    let n = D::from(x.len() as f64);
    let sum = |values: &mut dyn Iterator<Item = D>| values.fold(D::from(0.0), |sum, value| sum + value) / n;
    let mean = if matches!(kind, Kind::Rms(_)) { D::from(0.0) } else { sum(&mut x.iter().copied()) };
    let variance = sum(&mut x.iter().map(|&x| (x - mean) * (x - mean))).to_f64();
    1.0 / (variance + EPSILON).sqrt()
}

/// A view of a dense array (samples, channels, plane).
pub fn view<T: Element>(data: &[T], Sizes { n, c, plane }: Sizes) -> View<'_, T> {
    View::new(data, &[n, c, plane], Axes::NCHW).expect("an array of the shape")
}

pub fn view_mut<T: Element>(data: &mut [T], Sizes { n, c, plane }: Sizes) -> ViewMut<'_, T> {
    ViewMut::new(data, &[n, c, plane], Axes::NCHW).expect("an array of the shape")
}
