//! Batch renormalisation: right gradients are never accused, and what is done wrong with r and d is named.

use crate::Random;
use crate::right_gradients_are_never_called_wrong::{Channel, channel};
use batchnorm::{Axes, Config, Element, Renormalization, RenormalizationLimits, RunningStatistics, View};
use batchnorm_gradcheck::{Problem, ProblemError, Verdict};
use batchnorm_reference::Real;
use batchnorm_reference::renormalized::{Correction, backward};
use half::f16;

/// A channel beside running statistics and limits.
struct Case {
    channel: Channel,
    running: [f64; 2],
    limits: [f64; 2],
}

type Three = (Vec<f64>, f64, f64);

const LIMITS: [[f64; 2]; 5] = [[3.0, 5.0], [1.0, 0.0], [1.3, 0.2], [f64::INFINITY, f64::INFINITY], [1.0, 2.0]];

impl Case {
    fn new(number: usize, random: &mut Random) -> Case {
        let mut channel = channel(number, random);
        let single = |value: f64| f64::from(value as f32);
        let n = channel.x.len() as f64;
        let mean = channel.x.iter().sum::<f64>() / n;
        let variance = channel.x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        // From as good as the batch's own statistics to far away.
        let far = [1e-3, 0.3, 3.0][random.below(3)];
        let deviation = variance.sqrt() * (far * random.normal()).exp();
        let mut running = [single(mean + far * variance.sqrt() * random.normal()), single(deviation * deviation)];
        let limits = LIMITS[random.below(LIMITS.len())];
        // No eps, and nothing to divide by: r and d are at their limits, if there are some.
        if number.is_multiple_of(7) {
            channel.epsilon = 0.0;
            running[1] = if limits[0].is_finite() && number.is_multiple_of(2) { 0.0 } else { running[1] };
        }
        Case { channel, running, limits }
    }

    /// The same of numbers that f16 holds, unless some are too large for it.
    fn in_halves(&self) -> Option<Case> {
        let of = |values: &[f64]| values.iter().map(|&value| f16::from_f64(value).to_f64()).collect::<Vec<f64>>();
        let Channel { x, dy, gamma, epsilon } = &self.channel;
        let (x, dy) = (of(x), of(dy));
        let fit = x.iter().chain(&dy).all(|value| value.is_finite());
        fit.then_some(Case { channel: Channel { x, dy, gamma: *gamma, epsilon: *epsilon }, ..*self })
    }

    /// By the formula in R, with r and d by R too.
    fn plain<R: Real + PartialOrd + Into<f64>>(&self, reversed: bool) -> Three {
        let of = |values: &[f64]| {
            let mut values: Vec<R> = values.iter().map(|&value| R::constant(value)).collect();
            if reversed {
                values.reverse();
            }
            values
        };
        let (x, dy) = (of(&self.channel.x), of(&self.channel.dy));
        let (gamma, epsilon) = (R::constant(self.channel.gamma), R::constant(self.channel.epsilon));
        let correction = Correction::of(&x, epsilon, self.running.map(R::constant), self.limits);
        let own = backward(&x, gamma, epsilon, correction, &dy);
        let mut dx: Vec<f64> = own.dx.into_iter().map(Into::into).collect();
        if reversed {
            dx.reverse();
        }
        (dx, own.dgamma.into(), own.dbeta.into())
    }

    /// By the layer.
    fn kernel<F: Element>(&self) -> Three {
        let Channel { x, dy, gamma, epsilon } = &self.channel;
        let shape = [x.len(), 1];
        let of = |values: &[f64]| values.iter().map(|&value| F::from_f64(value)).collect::<Vec<F>>();
        let (x, dy) = (of(x), of(dy));
        let [x, dy] = [&x, &dy].map(|values| View::new(values, &shape, Axes::NCHW).unwrap());
        let limits = Renormalization::new(self.limits[0], self.limits[1]).unwrap();
        let mut layer = Config::pytorch().epsilon(*epsilon).renormalization(limits).channels(1).build().unwrap();
        layer.set_gamma(&[*gamma]).unwrap();
        let [mean, variance] = self.running;
        layer.set_running(RunningStatistics::from_parts(&[mean], &[variance], 1).unwrap()).unwrap();
        let saved = layer.forward_train(&x).unwrap().saved;
        let own = layer.backward(&x, &dy, &saved).unwrap();
        let wide = |values: Vec<F::Param>| batchnorm::Number::to_f64(values[0]);
        let dx = own.dx.data().iter().map(|&value| value.to_f64()).collect();
        (dx, wide(own.dgamma.unwrap()), wide(own.dbeta.unwrap()))
    }

    fn problem<F: Element>(&self) -> Result<Problem, ProblemError> {
        let Channel { x, dy, gamma, epsilon } = &self.channel;
        let shape = [x.len(), 1];
        let of = |values: &[f64]| values.iter().map(|&value| F::from_f64(value)).collect::<Vec<F>>();
        let (x, dy) = (of(x), of(dy));
        let [x, dy] = [&x, &dy].map(|values| View::new(values, &shape, Axes::NCHW).unwrap());
        let [r_max, d_max] = self.limits;
        let limits = RenormalizationLimits { r_max, d_max };
        let [mean, variance] = self.running;
        Problem::renormalized(&x, &dy, &[*gamma], *epsilon, &[mean], &[variance], limits)
    }

    fn judged<F: Element, G: Element>(&self, (dx, dgamma, dbeta): &Three) -> [Verdict; 3] {
        let problem = self.problem::<F>().unwrap();
        let dx: Vec<G> = dx.iter().map(|&value| G::from_f64(value)).collect();
        let given = problem.given().dx(&View::new(&dx, &[dx.len(), 1], Axes::NCHW).unwrap()).unwrap();
        let given = given.dgamma(&[G::from_f64(*dgamma)]).unwrap().dbeta(&[G::from_f64(*dbeta)]).unwrap();
        let all = given.diagnose().unwrap();
        [all.dx, all.dgamma, all.dbeta].map(|finding| finding.unwrap().verdict)
    }
}

#[test]
fn right_gradients_are_never_called_wrong() {
    let mut random = Random::new(641);
    let (mut judged, mut right, mut inexact) = (0, 0, 0);
    for number in 0..400 {
        let case = Case::new(number, &mut random);
        let mut check = |what: &str, verdicts: [Verdict; 3]| {
            for (verdict, which) in verdicts.iter().zip(["dx", "dgamma", "dbeta"]) {
                let Channel { x, gamma, epsilon, .. } = &case.channel;
                assert!(
                    !verdict.is_wrong(),
                    "case {number} {what}, n {}, gamma {gamma}, eps {epsilon}, running {:?}, limits {:?}: {which} {verdict:?}",
                    x.len(),
                    case.running,
                    case.limits
                );
                judged += 1;
                right += usize::from(*verdict == Verdict::Right);
                inexact += usize::from(*verdict == Verdict::Inexact);
            }
        };
        for reversed in [false, true] {
            let (single, double) = (case.plain::<f32>(reversed), case.plain::<f64>(reversed));
            let finite = |(dx, dgamma, dbeta): &Three| dx.iter().chain([dgamma, dbeta]).all(|value| value.is_finite());
            if finite(&double) {
                check("f64", case.judged::<f64, f64>(&double));
                check("f64 in f32 files", case.judged::<f32, f32>(&double));
            }
            if finite(&single) {
                check("f32", case.judged::<f32, f32>(&single));
                check("f32 saved as f64", case.judged::<f32, f64>(&single));
            }
        }
        // In half precision no twin is run: what is derived must do.
        if let Some(halves) = case.in_halves() {
            for (what, own) in
                [("f64 in f16 files", halves.plain::<f64>(false)), ("f32 in f16 files", halves.plain::<f32>(true))]
            {
                if own.0.iter().chain([&own.1, &own.2]).all(|value| value.abs() < 6e4) {
                    check(what, halves.judged::<f16, f16>(&own));
                }
            }
        }
        check("the layer in f64", case.judged::<f64, f64>(&case.kernel::<f64>()));
        check("the layer in f32", case.judged::<f32, f32>(&case.kernel::<f32>()));
    }
    println!("{judged} gradients, {right} right, {inexact} inexact");
    // (Most of the rest cannot be judged: all values alike, gamma 0, a variance that plain sums lose.)
    assert!(judged > 10_000 && 2 * right > judged && 20 * inexact < right);
}

/// What is done wrong, and its name.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    NoR,
    NoRInDgamma,
    NoDInDgamma,
    ThroughR,
    ThroughD,
    ThroughBoth,
    NoVariancePath,
    NoMeanPath,
    NoGamma,
    Mean,
    Negative,
}

const FLAWS: [(Flaw, &str, [bool; 3]); 11] = {
    use Flaw::*;
    [
        (NoR, "r or d left out", [true, false, false]),
        (NoRInDgamma, "r or d left out", [false, true, false]),
        (NoDInDgamma, "r or d left out", [false, true, false]),
        (ThroughR, "gradient through r and d", [true, false, false]),
        (ThroughD, "gradient through r and d", [true, false, false]),
        (ThroughBoth, "gradient through r and d", [true, false, false]),
        (NoVariancePath, "variance term dropped", [true, false, false]),
        (NoMeanPath, "mean term dropped", [true, false, false]),
        (NoGamma, "gamma missing", [true, false, false]),
        (Mean, "mean instead of sum", [false, true, true]),
        (Negative, "wrong sign", [true, true, true]),
    ]
};

/// Node by node, as an autodiff goes, with one flaw.
fn planted(case: &Case, flaw: Flaw) -> Three {
    let Channel { x, dy, gamma, epsilon } = &case.channel;
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let deviation = (x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n + epsilon).sqrt();
    let xhat: Vec<f64> = x.iter().map(|x| (x - mean) / deviation).collect();
    let of_running = (case.running[1] + epsilon).sqrt();
    let (ratio, distance) = (deviation / of_running, (mean - case.running[0]) / of_running);
    let [r_max, d_max] = case.limits;
    let (r, d) = (ratio.clamp(1.0 / r_max, r_max), distance.clamp(-d_max, d_max));

    let upstream: Vec<f64> = dy.iter().map(|dy| if flaw == Flaw::NoGamma { *dy } else { gamma * dy }).collect();
    let dot = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
    let (sum_g, sum_gx) = (upstream.iter().sum::<f64>(), dot(&upstream, &xhat));
    // d xhat = r g, and from there to x through the numerator, the mean and the deviation.
    let r_of_dx = if flaw == Flaw::NoR { 1.0 } else { r };
    let (mean_path, variance_path) =
        (f64::from(u8::from(flaw != Flaw::NoMeanPath)), f64::from(u8::from(flaw != Flaw::NoVariancePath)));
    let mut dx: Vec<f64> = (0..x.len())
        .map(|i| r_of_dx / deviation * (upstream[i] - mean_path * sum_g / n - variance_path * xhat[i] * sum_gx / n))
        .collect();
    // dr / dx_i = xhat_i / (n S), dd / dx_i = 1 / (n S), unless they are clipped.
    let flows = |wanted: bool, free: bool| f64::from(u8::from(wanted && free));
    let through_r = flows(matches!(flaw, Flaw::ThroughR | Flaw::ThroughBoth), r == ratio);
    let through_d = flows(matches!(flaw, Flaw::ThroughD | Flaw::ThroughBoth), d == distance);
    for (dx, xhat) in dx.iter_mut().zip(&xhat) {
        *dx += through_r * sum_gx * xhat / (n * of_running) + through_d * sum_g / (n * of_running);
    }
    let r_of_dgamma = if flaw == Flaw::NoRInDgamma { 1.0 } else { r };
    let d_of_dgamma = if flaw == Flaw::NoDInDgamma { 0.0 } else { d };
    let sum_dy = dy.iter().sum::<f64>();
    let factor = match flaw {
        Flaw::Mean => 1.0 / n,
        Flaw::Negative => -1.0,
        _ => 1.0,
    };
    if flaw == Flaw::Negative {
        dx.iter_mut().for_each(|dx| *dx = -*dx);
    }
    (dx, factor * (r_of_dgamma * dot(dy, &xhat) + d_of_dgamma * sum_dy), factor * sum_dy)
}

#[test]
fn planted_mistakes_are_named() {
    let mut random = Random::new(642);
    for (flaw, name, seen) in FLAWS {
        let (mut alone, mut among, mut drawn) = (0, 0, 0);
        while alone + among < 100 * seen.iter().filter(|&&seen| seen).count() {
            drawn += 1;
            assert!(drawn < 3000, "{flaw:?}: seen in {} of {drawn}", alone + among);
            let mut case = Case::new(drawn, &mut random);
            case.channel.epsilon = 1e-3;
            let ordinary = case.channel.x.len() > 3 && case.running[1] > 0.0 && case.channel.gamma != 0.0;
            let spread = |values: &[f64]| {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
                values.iter().any(|value| (value - mean).abs() > 1e-3 * largest)
            };
            if !ordinary || !spread(&case.channel.x) || !spread(&case.channel.dy) {
                continue;
            }
            let (theirs, right) = (planted(&case, flaw), case.plain::<f64>(false));
            let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
            let error = theirs.0.iter().zip(&right.0).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
            let far = |one: f64, other: f64| (one - other).abs() / other.abs().max(one.abs()).max(1e-3);
            let differences = [error / largest(&right.0), far(theirs.1, right.1), far(theirs.2, right.2)];
            if differences
                .iter()
                .zip(seen)
                .any(|(&difference, seen)| seen && (difference.is_nan() || difference < 1e-3))
            {
                continue;
            }
            for (verdict, seen) in case.judged::<f64, f64>(&theirs).into_iter().zip(seen) {
                let what = || format!("{flaw:?} number {drawn}, limits {:?}: {verdict:?}", case.limits);
                if !seen {
                    assert!(!verdict.is_wrong(), "{}", what());
                    continue;
                }
                let Verdict::Wrong(mistakes) = &verdict else { panic!("{}", what()) };
                assert!(mistakes.iter().any(|mistake| mistake.name == name), "{}", what());
                if mistakes.len() == 1 { alone += 1 } else { among += 1 }
            }
        }
        println!("{flaw:?}: alone {alone}, among others {among}; {drawn} inputs drawn");
    }
}

/// Where r and d are at their limits, or change nothing, there is no mistake that a right gradient could be taken for.
#[test]
fn right_gradients_at_the_limits_are_simply_right() {
    let mut random = Random::new(644);
    for limits in [[1.0, 0.0], [1.05, 0.1], [1.0, 0.1], [1.05, 0.0]] {
        let x = random.normals(40, 3.0, 2.0);
        let channel = Channel { x, dy: random.normals(40, 0.3, 1.0), gamma: 1.5, epsilon: 1e-5 };
        let case = Case { channel, running: [0.0, 0.7], limits };
        let verdicts = case.judged::<f64, f64>(&case.plain::<f64>(false));
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Right), "{limits:?}: {verdicts:?}");
    }
}

#[test]
fn limits_and_statistics_that_cannot_be_are_refused() {
    let mut case = Case::new(1, &mut Random::new(643));
    let mut refusal = |running: [f64; 2], limits: [f64; 2]| {
        (case.running, case.limits) = (running, limits);
        case.problem::<f64>().unwrap_err().to_string()
    };
    assert!(refusal([0.0, 1.0], [0.5, 1.0]).starts_with("r_max: expected 1 or more, got 0.5"));
    assert!(refusal([0.0, 1.0], [2.0, f64::NAN]).starts_with("d_max: expected 0 or more, got NaN"));
    assert!(refusal([0.0, -1.0], [2.0, 1.0]).starts_with("variance: expected variances >= 0"));
    assert!(refusal([f64::NAN, 1.0], [2.0, 1.0]).starts_with("mean: expected finite values"));
}
