//! Any pass, fused or not, of training or of evaluation: run on arrays anywhere, and checked against the twin.

use super::layout::{Order, Sizes};
use super::measure::ulp;
use super::place::{Place, bits};
use super::wide::{DoubleDouble, largest};
use super::{Random, channel_of};
use batchnorm::reference::{Real, compact};
use batchnorm::{
    Activation, Config, ConstantChannel, Element, GradientBuffers, Input, Moments, Normalizer, Parameter,
    ParameterGradients, Parameters, Policies, RunningStatistics, SingleValue, Tier,
};

pub const EPSILON: f64 = 1e-5;

/// Which statistics, and what is fused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    pub training: bool,
    pub activation: Activation,
    pub adding: bool,
}

const fn pass(training: bool, activation: Activation, adding: bool) -> Pass {
    Pass { training, activation, adding }
}

/// Every kernel is run by one of these.
pub const PASSES: [Pass; 8] = [
    pass(true, Activation::Identity, false),
    pass(true, Activation::Relu, true),
    pass(false, Activation::LeakyRelu(0.25), false),
    pass(true, Activation::LeakyRelu(0.25), false),
    pass(false, Activation::Identity, false),
    pass(true, Activation::Relu, false),
    pass(false, Activation::Relu, true),
    pass(true, Activation::Identity, true),
];

/// Orders of the arrays that are read and of those that are written: alike, and different.
pub const ARRANGEMENTS: [[Order; 2]; 9] = [
    [Order::Nchw, Order::Nchw],
    [Order::Nhwc, Order::Nhwc],
    [Order::Strided, Order::Strided],
    [Order::ChannelsFirst, Order::ChannelsFirst],
    [Order::Nchw, Order::Nhwc],
    [Order::Nhwc, Order::Nchw],
    [Order::Nhwc, Order::Strided],
    [Order::TwoAxes, Order::TwoAxes],
    [Order::TwoAxesLast, Order::TwoAxes],
];

impl Pass {
    pub fn rule(self, tier: Tier) -> Normalizer {
        self.config().tier(tier).normalizer().expect("an available tier")
    }

    pub fn config(self) -> Config {
        let policies = Policies {
            single_value: SingleValue::Population,
            constant_channel: ConstantChannel::Derivative,
            ..Policies::default()
        };
        Config::pytorch().epsilon(EPSILON).policies(policies).activation(self.activation)
    }
}

/// The arrays of a call, in NCHW order.
pub struct Case<T> {
    pub sizes: Sizes,
    pub x: Vec<T>,
    pub residual: Vec<T>,
    pub dy: Vec<T>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub running: RunningStatistics,
}

/// Where the arrays of a call lie.
#[derive(Debug)]
pub struct Places {
    pub x: Place,
    pub residual: Place,
    pub dy: Place,
    pub y: Place,
    pub dx: Place,
    pub dresidual: Place,
}

impl Places {
    /// All with margins.
    pub fn arranged([inputs, outputs]: [Order; 2], sizes: Sizes) -> Places {
        Places::each(|read| if read { inputs.place(sizes) } else { outputs.place(sizes) })
    }

    /// All without margins: the memory ends where the arrays do.
    pub fn tight([inputs, outputs]: [Order; 2], sizes: Sizes) -> Places {
        Places::each(|read| if read { inputs } else { outputs }.place_within(sizes, [0; 2]))
    }

    /// From a function that is told whether the array is read only.
    pub fn each(mut place: impl FnMut(bool) -> Place) -> Places {
        let (x, residual, dy) = (place(true), place(true), place(true));
        Places { x, residual, dy, y: place(false), dx: place(false), dresidual: place(false) }
    }
}

/// Everything a step gives, in NCHW order.
#[derive(Debug, Clone)]
pub struct Stepped<T> {
    pub y: Vec<T>,
    pub dx: Vec<T>,
    /// Empty without a residual.
    pub dresidual: Vec<T>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
    /// Of each channel's batch; empty in evaluation.
    pub moments: Vec<Moments>,
    /// dx and dgamma of the invertible form; empty where a pass or a type has none.
    pub inverted: (Vec<T>, Vec<f64>),
}

impl<T> Default for Stepped<T> {
    fn default() -> Self {
        let (y, dx, dresidual, inverted) = Default::default();
        Stepped { y, dx, dresidual, dgamma: Vec::new(), dbeta: Vec::new(), moments: Vec::new(), inverted }
    }
}

/// A type whose passes are tested, with the invertible form where it has that.
pub trait Stepping: Element {
    /// y, dx and the parameters' gradients of the invertible form.
    fn invertible(
        _: &Case<Self>,
        _: (Normalizer, Option<&RunningStatistics>),
        _: Parameters<f64>,
        _: &Places,
    ) -> Option<(Vec<Self>, Vec<Self>, ParameterGradients)> {
        None
    }
}

fn over_itself<T: Element + Parameter>(
    case: &Case<T>,
    (rule, running): (Normalizer, Option<&RunningStatistics>),
    parameters: Parameters<f64>,
    places: &Places,
) -> Option<(Vec<T>, Vec<T>, ParameterGradients)> {
    let (mut x, mut dy) = (places.y.filled(&case.x), places.dx.filled(&case.dy));
    let trained = rule.train_invertible(&mut places.y.view_mut(&mut x), parameters, running);
    let (saved, _) = trained.expect("a right call");
    let gradients = saved.backward(&places.y.view(&x), &mut places.dx.view_mut(&mut dy)).expect("a right call");
    Some((places.y.taken(x), places.dx.taken(dy), gradients))
}

macro_rules! stepping {
    ($($type:ty),*) => {
        $(impl Stepping for $type {
            fn invertible(
                case: &Case<Self>,
                rule: (Normalizer, Option<&RunningStatistics>),
                parameters: Parameters<f64>,
                places: &Places,
            ) -> Option<(Vec<Self>, Vec<Self>, ParameterGradients)> {
                over_itself(case, rule, parameters, places)
            }
        })*
    };
}
stepping!(f32, f64);
#[cfg(feature = "half")]
impl Stepping for half::f16 {}
#[cfg(feature = "half")]
impl Stepping for half::bf16 {}

fn alike<T: Element>(one: &[T], other: &[T]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| bits(*one) == bits(*other))
}

impl<T: Element> Stepped<T> {
    pub fn same_bits(&self, other: &Stepped<T>) -> bool {
        let numbers = |stepped: &Stepped<T>| -> Vec<u64> {
            let moments = stepped.moments.iter().flat_map(|m| [m.mean(), m.m2(), m.population_variance()]);
            let gradients = stepped.dgamma.iter().chain(&stepped.dbeta).chain(&stepped.inverted.1);
            gradients.copied().chain(moments).map(f64::to_bits).collect()
        };
        alike(&self.y, &other.y)
            && alike(&self.dx, &other.dx)
            && alike(&self.dresidual, &other.dresidual)
            && alike(&self.inverted.0, &other.inverted.0)
            && numbers(self) == numbers(other)
    }
}

impl<T: Stepping> Case<T> {
    pub fn new(sizes: Sizes, random: &mut Random) -> Self {
        let len = sizes.n * sizes.c * sizes.plane;
        let mut array = |mean: &dyn Fn(usize) -> f64| -> Vec<T> {
            (0..len).map(|at| T::from_f64(mean(at / sizes.plane % sizes.c) + random.normal())).collect()
        };
        // Means of channels whose plain sums tell the variance, do not tell it, and are near the limit between.
        let x = array(&|c| [3.0, 0.2, 40.0, 4.0, -1.0][c % 5]);
        let (residual, dy) = (array(&|_| 0.1), array(&|_| 0.2));
        // Signs of both kinds, and a channel that the rectifier closes altogether.
        let gamma = (0..sizes.c).map(|c| 0.7 - (c % 11) as f64 * 0.3).collect();
        let beta = (0..sizes.c).map(|c| if c == 2 { -50.0 } else { 0.1 * (c % 13) as f64 - 0.3 }).collect();
        let mean: Vec<f64> = (0..sizes.c).map(|c| 2.5 + 0.1 * (c % 7) as f64).collect();
        let variance: Vec<f64> = (0..sizes.c).map(|c| 0.25 + 0.5 * (c % 5) as f64).collect();
        let running = RunningStatistics::from_parts(&mean, &variance, 1).expect("right statistics");
        Case { sizes, x, residual, dy, gamma, beta, running }
    }

    /// Forward and backward, on arrays in those places, in poisoned buffers.
    pub fn step(&self, pass: Pass, tier: Tier, places: &Places) -> Stepped<T> {
        self.step_by(pass, pass.rule(tier), places)
    }

    /// The same by a rule for the pass.
    pub fn step_by(&self, pass: Pass, rule: Normalizer, places: &Places) -> Stepped<T> {
        self.step_with(pass, rule, places, None)
    }

    /// The same where training too goes by running statistics.
    pub fn step_with(
        &self,
        pass: Pass,
        rule: Normalizer,
        places: &Places,
        running: Option<&RunningStatistics>,
    ) -> Stepped<T> {
        let (x, residual) = (places.x.filled(&self.x), places.residual.filled(&self.residual));
        let dy = places.dy.filled(&self.dy);
        let (x, residual, dy) = (places.x.view(&x), places.residual.view(&residual), places.dy.view(&dy));
        let (mut y, mut dx, mut dresidual) = (places.y.blank(), places.dx.blank(), places.dresidual.blank());
        let parameters = Parameters { gamma: Some(&self.gamma[..]), beta: Some(&self.beta[..]) };
        let input = if pass.adding { Input::adding(&x, &residual) } else { Input::from(&x) };
        let mut out = places.y.view_mut(&mut y);
        let (saved, moments) = if pass.training {
            let (saved, batch) = rule.train(input, parameters, running, &mut out).expect("a right call");
            (saved, batch.channels().to_vec())
        } else {
            let saved = rule.eval(input, parameters, Some(&self.running), &mut out).expect("a right call");
            let (mut own, residual) = (places.y.filled(&self.x), pass.adding.then_some(&residual));
            let mut over = places.y.view_mut(&mut own);
            rule.eval_in_place(&mut over, residual, parameters, Some(&self.running)).expect("a right call");
            assert!(alike(&own, &y), "evaluated in place or not");
            (saved, Vec::new())
        };
        let mut out = places.dx.view_mut(&mut dx);
        let gradients = if pass.adding {
            let y = places.y.view(&y);
            let mut second = places.dresidual.view_mut(&mut dresidual);
            let all = saved
                .backward(Input::with_output(&x, &y), &dy, GradientBuffers::with_residual(&mut out, &mut second))
                .expect("a right call");
            assert_eq!(
                saved.parameter_gradients(Input::with_output(&x, &y), &dy).expect("a right call"),
                all,
                "dx asked for or not"
            );
            let mut alone = places.dresidual.blank::<T>();
            saved.residual_gradient(&y, &dy, &mut places.dresidual.view_mut(&mut alone)).expect("a right call");
            assert!(alike(&alone, &dresidual), "the residual's gradient, alone or not");
            all
        } else {
            let alone = saved.parameter_gradients(&x, &dy).expect("a right call");
            let all = saved.backward(&x, &dy, &mut out).expect("a right call");
            assert_eq!(alone, all, "dx asked for or not");
            let mut own = places.dx.filled(&self.dy);
            let over = saved.backward_in_place(&x, &mut places.dx.view_mut(&mut own)).expect("a right call");
            assert!(over == all && alike(&own, &dx), "dx over dy or not");
            all
        };
        let y = places.y.taken(y);
        let invertible = pass.training && !pass.adding && pass.activation.slope() > 0.0;
        let inverted = invertible.then(|| T::invertible(self, (rule, running), parameters, places)).flatten();
        let inverted = inverted.map(|(own, dx, of)| {
            assert!(alike(&own, &y) && of.dbeta == gradients.dbeta, "the invertible form has the ordinary y and dbeta");
            (dx, of.dgamma)
        });
        Stepped {
            y,
            dx: places.dx.taken(dx),
            dresidual: if pass.adding { places.dresidual.taken(dresidual) } else { Vec::new() },
            dgamma: gradients.dgamma,
            dbeta: gradients.dbeta,
            moments,
            inverted: inverted.unwrap_or_default(),
        }
    }

    /// Panics unless what came is right by the twin: in f64 for the narrower types, in double-double for f64.
    pub fn check(&self, pass: Pass, got: &Stepped<T>, what: &str) {
        if T::SQUARES_FIT {
            self.check_in::<f64>(pass, got, what);
        } else {
            self.check_in::<DoubleDouble>(pass, got, what);
        }
    }

    fn check_in<R: Wide>(&self, pass: Pass, got: &Stepped<T>, what: &str) {
        let Sizes { c: channels, plane, .. } = self.sizes;
        let slope = pass.activation.slope();
        // What f64 arithmetic may add to the rounding of the result, in units of the scales below: that of the loops,
        // and for the narrower types that of the twin.
        let noise = if T::SQUARES_FIT { 1e-11 } else { 1e-13 };
        // Half a unit in the last place (and a hair: halves are rounded by way of f32), at most.
        let (unit, smallest) = (ulp::<T>(1.0), ulp::<T>(0.0));
        let rounding = |truth: f64| 0.5001 * (unit * truth.abs()).max(smallest);
        let check = |of: &str, c: usize, got: f64, truth: R, scale: f64, rounded: f64| {
            let error = (R::constant(got) - truth).to_f64().abs();
            let most = noise * scale + rounded;
            assert!(error <= most, "{what}, {pass:?}: {of} of channel {c} is {got:e}, wrong by {error:e} > {most:e}");
        };
        for c in 0..channels {
            let of =
                |data: &[T]| -> Vec<f64> { channel_of(data, channels, plane, c).into_iter().map(T::to_f64).collect() };
            let wide = |data: &[f64]| -> Vec<R> { data.iter().map(|&value| R::constant(value)).collect() };
            let (x, dy, residual) = (of(&self.x), of(&self.dy), of(&self.residual));
            let (gamma, beta, epsilon) = (R::constant(self.gamma[c]), R::constant(self.beta[c]), R::constant(EPSILON));
            let forward = compact::forward(&wide(&x), gamma, beta, epsilon);
            let (mean, variance) = if pass.training {
                (forward.mean, forward.variance)
            } else {
                (R::constant(self.running.mean()[c]), R::constant(self.running.variance()[c]))
            };
            let deviation = (variance + epsilon).sqrt().to_f64();
            // mean/std, as in the contract's bound for f64.
            let ratio = 1.0 + mean.to_f64().abs() / deviation;
            let normal = if pass.training {
                let (got_mean, got_variance) = (got.moments[c].mean(), got.moments[c].population_variance());
                check("mean", c, got_mean, mean, ratio * deviation, 0.0);
                check("variance", c, got_variance, variance, ratio * variance.to_f64(), 0.0);
                forward.y
            } else {
                compact::forward_eval(&wide(&x), gamma, beta, mean, variance, epsilon)
            };
            let y = of(&got.y);
            let farthest = largest(x.iter().map(|x| (x - mean.to_f64()) / deviation)).max(1.0);
            for (i, &z) in normal.iter().enumerate() {
                let (z, part) = if pass.adding { (z + R::constant(residual[i]), residual[i].abs()) } else { (z, 0.0) };
                let truth = if z.to_f64() > 0.0 { z } else { R::constant(slope) * z };
                let scale = self.gamma[c].abs() * farthest + self.beta[c].abs() + part;
                check("y", c, y[i], truth, ratio * scale, rounding(truth.to_f64()));
            }
            // The side of the kink is that of the output as stored.
            let dz: Vec<f64> = if pass.adding {
                let dresidual = of(&got.dresidual);
                for (i, &dz) in dresidual.iter().enumerate() {
                    let truth = if y[i] > 0.0 { dy[i] } else { slope * dy[i] };
                    check("dresidual", c, dz, R::constant(truth), 0.0, rounding(truth));
                }
                dresidual
            } else {
                dy.iter().zip(&y).map(|(dy, y)| if *y > 0.0 { *dy } else { slope * dy }).collect()
            };
            let backward = if pass.training {
                compact::backward(&wide(&x), gamma, epsilon, &wide(&dz))
            } else {
                compact::backward_eval(&wide(&x), gamma, mean, variance, epsilon, &wide(&dz))
            };
            let most = largest(&dy);
            let scale = ratio * farthest * self.gamma[c].abs() / deviation * most;
            let dx = of(&got.dx);
            for (&dx, &truth) in dx.iter().zip(&backward.dx) {
                check("dx", c, dx, truth, scale, rounding(truth.to_f64()));
            }
            let normalized = x.iter().map(|x| (x - mean.to_f64()).abs() / deviation);
            let products: f64 = normalized.zip(&dz).map(|(x, dz)| x * dz.abs()).sum();
            let sums: f64 = dz.iter().map(|dz| dz.abs()).sum();
            check("dgamma", c, got.dgamma[c], backward.dgamma, ratio * (products + sums), 0.0);
            check("dbeta", c, got.dbeta[c], backward.dbeta, sums, 0.0);
        }
    }
}

/// Arithmetic that is wider than an element.
trait Wide: Real {
    fn to_f64(self) -> f64;
}

impl Wide for f64 {
    fn to_f64(self) -> f64 {
        self
    }
}

impl Wide for DoubleDouble {
    fn to_f64(self) -> f64 {
        DoubleDouble::to_f64(self)
    }
}
