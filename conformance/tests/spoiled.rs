//! The judge is judged: a plain implementation passes, and every usual mistake planted in it is found.

use std::collections::BTreeMap;

use batchnorm_conformance::case::{
    Activation, Case, Estimator, Level, Norm, Operation, Problem, Refusal, Renormalization,
};
use batchnorm_conformance::judge::{Answer, Outcome, Outputs, Verdict, judge};
use batchnorm_conformance::kinds::Element;
use batchnorm_conformance::store;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    /// E[x^2] - E[x]^2, in f32 where the array is.
    MeanOfSquares,
    EpsilonOutsideTheRoot,
    EpsilonForgotten,
    NormalisesBySampleVariance,
    NanSpreads,
    NanIntoRunning,
    NoMeanTerm,
    NoVarianceTerm,
    StatisticsAsConstants,
    MeansForSums,
    GammaForgottenInDx,
    AbsoluteGamma,
    BetaForgotten,
    /// y = x * a + b, with b = beta - mean * a, in f32.
    OneMultiplication,
    WeightOfTheOldValue,
    PopulationVarianceKept,
    BatchStatisticsInEvaluation,
    ChannelsAlwaysSecond,
    StridesIgnored,
    SubnormalToZero,
    AnswersEverything,
    RefusesEverything,
    TooFewValues,
    RectifierForgottenGoingBack,
    RectifierOpenAtZero,
    RectifierForgotten,
    /// r and d of batch renormalisation forgotten.
    CorrectionForgotten,
    CorrectionForgottenInDgamma,
    /// r and d without limits.
    NoLimits,
    /// d that counts as a function of x.
    GradientThroughD,
}

/// Batch norm in f64 as it is written down, with a mistake.
struct Plain(Mistake);

impl batchnorm_conformance::judge::Implementation for Plain {
    fn solve(&self, problem: &Problem) -> Answer {
        let Plain(mistake) = *self;
        if mistake == Mistake::RefusesEverything {
            return Answer::Refused("no".to_string());
        }
        let beyond = ["weights", "direction"].iter().any(|name| problem.inputs.contains_key(*name));
        let one_batch = matches!(problem.operation, Operation::Train | Operation::Eval);
        if problem.norm != Norm::Batch || !one_batch || beyond {
            return Answer::Unsupported("batch norm of one batch alone".to_string());
        }
        if mistake != Mistake::AnswersEverything
            && let Err(reason) = sensible(problem)
        {
            return Answer::Refused(reason);
        }
        Answer::Outputs(step(problem, mistake, problem.operation == Operation::Train))
    }
}

fn sensible(problem: &Problem) -> Result<(), String> {
    let channels = problem.inputs["x"].shape[problem.channel_axis()];
    for name in ["gamma", "beta", "running_mean", "running_variance"] {
        let Some(values) = problem.inputs.get(name).map(|input| input.to_f64()) else { continue };
        let negative = name == "running_variance" && values.iter().any(|&value| value < 0.0);
        if values.len() != channels || negative || values.iter().any(|value| !value.is_finite()) {
            return Err(name.to_string());
        }
    }
    let weight = problem.update.map_or(0.0, |update| update.weight_of_new);
    let other_shape = problem.inputs.get("dy").is_some_and(|dy| dy.shape != problem.inputs["x"].shape);
    if problem.epsilon < 0.0 || !(0.0..=1.0).contains(&weight) || other_shape {
        return Err("a parameter".to_string());
    }
    Ok(())
}

fn step(problem: &Problem, mistake: Mistake, training: bool) -> Outputs {
    let element = problem.element;
    let input = &problem.inputs["x"];
    let x = match mistake {
        Mistake::StridesIgnored => input.numbers.to_f64().into_iter().take(input.shape.iter().product()).collect(),
        _ => input.to_f64(),
    };
    let count = x.len();
    let channels = input.shape[problem.channel_axis()];
    let axis = if mistake == Mistake::ChannelsAlwaysSecond { 1 } else { problem.channel_axis() };
    let inner: usize = input.shape[axis + 1..].iter().product();
    let channel_of: Vec<usize> = (0..count).map(|i| i / inner % input.shape[axis] % channels).collect();
    let dy = problem.inputs.get("dy").map(|input| {
        let mut dy = input.to_f64();
        dy.resize(count, 0.0);
        dy
    });
    let given = |name: &str, absent: f64| {
        let values = problem.inputs.get(name).map(|input| input.to_f64());
        let mut values = values.unwrap_or_else(|| vec![absent; channels]);
        values.resize(channels, absent);
        values
    };
    let (gamma, beta) = (given("gamma", 1.0), given("beta", 0.0));
    let [mean_before, variance_before] = [given("running_mean", 0.0), given("running_variance", 1.0)];
    let mut outputs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let vectors = ["mean", "variance", "running_mean", "running_variance", "dgamma", "dbeta"];
    outputs.extend(vectors.map(|name| (name, vec![0.0; channels])));
    outputs.extend(["y", "dx"].map(|name| (name, vec![0.0; count])));
    let rectifies = problem.activation == Some(Activation::Relu) && mistake != Mistake::RectifierForgotten;
    let mut open = vec![true; count];
    for c in 0..channels {
        let places: Vec<usize> = (0..count).filter(|&i| channel_of[i] == c).collect();
        let n = places.len() as f64;
        let sum = |term: &dyn Fn(usize) -> f64| places.iter().map(|&i| term(i)).sum::<f64>();
        let (mut mean, mut variance) = (sum(&|i| x[i]) / n, 0.0);
        if places.iter().all(|&i| x[i] == x[places[0]]) && !places.is_empty() {
            mean = x[places[0]];
        } else {
            variance = sum(&|i| (x[i] - mean) * (x[i] - mean)) / n;
        }
        if mistake == Mistake::MeanOfSquares {
            variance = match element {
                Element::F64 => sum(&|i| x[i] * x[i]) / n - mean * mean,
                _ => {
                    let squares: f32 = places.iter().map(|&i| x[i] as f32 * x[i] as f32).sum();
                    f64::from(squares / n as f32 - mean as f32 * mean as f32)
                }
            };
        }
        let batch = [mean, variance];
        if mistake == Mistake::NormalisesBySampleVariance {
            variance *= n / (n - 1.0);
        }
        if !training && mistake != Mistake::BatchStatisticsInEvaluation {
            (mean, variance) = (mean_before[c], variance_before[c]);
        }
        let inverse = match mistake {
            Mistake::EpsilonOutsideTheRoot => 1.0 / (variance.sqrt() + problem.epsilon),
            Mistake::EpsilonForgotten => 1.0 / variance.sqrt(),
            _ if variance + problem.epsilon == 0.0 => 0.0,
            _ => 1.0 / (variance + problem.epsilon).sqrt(),
        };
        let scale = if mistake == Mistake::AbsoluteGamma { gamma[c].abs() } else { gamma[c] };
        let shift = if mistake == Mistake::BetaForgotten { 0.0 } else { beta[c] };
        let (mut r, mut d, mut moves) = (1.0, 0.0, false);
        if let Some(Renormalization { r_max, d_max }) = problem.renormalization.filter(|_| training)
            && mistake != Mistake::CorrectionForgotten
        {
            let [r_max, d_max] = if mistake == Mistake::NoLimits { [f64::INFINITY; 2] } else { [r_max, d_max] };
            let deviation = (variance_before[c] + problem.epsilon).sqrt();
            (r, d) = ((variance + problem.epsilon).sqrt() / deviation, (mean - mean_before[c]) / deviation);
            moves = d.abs() <= d_max;
            (r, d) = (r.clamp(1.0 / r_max, r_max), d.clamp(-d_max, d_max));
        }
        let by_batch = |i: usize| (x[i] - mean) * inverse;
        let xhat = |i: usize| r * by_batch(i) + d;
        for &i in &places {
            let y = match mistake {
                Mistake::OneMultiplication => {
                    let a = (scale * inverse) as f32;
                    f64::from(x[i] as f32 * a + (shift as f32 - mean as f32 * a))
                }
                _ => scale * xhat(i) + shift,
            };
            open[i] = !rectifies || y > 0.0;
            outputs.get_mut("y").expect("there")[i] = if open[i] { element.round(y) } else { 0.0 };
            open[i] |=
                mistake == Mistake::RectifierForgottenGoingBack || mistake == Mistake::RectifierOpenAtZero && y == 0.0;
        }
        let mut put = |name: &str, value: f64| outputs.get_mut(name).expect("there")[c] = value;
        put("mean", batch[0]);
        put("variance", batch[1]);
        if let Some(update) = problem.update.filter(|_| training) {
            let sample = update.variance == Estimator::Sample && mistake != Mistake::PopulationVarianceKept;
            let batch_variance = if sample { batch[1] * n / (n - 1.0) } else { batch[1] };
            let weight = match mistake {
                Mistake::WeightOfTheOldValue => 1.0 - update.weight_of_new,
                _ => update.weight_of_new,
            };
            let healthy = places.iter().all(|&i| x[i].is_finite()) && !places.is_empty();
            let weight = if healthy || mistake == Mistake::NanIntoRunning { weight } else { 0.0 };
            let moved = |old: f64, new: f64| if weight == 0.0 { old } else { (1.0 - weight) * old + weight * new };
            put("running_mean", moved(mean_before[c], batch[0]));
            put("running_variance", moved(variance_before[c], batch_variance));
        }
        let Some(dy) = &dy else { continue };
        let dy: Vec<f64> = (0..count).map(|i| if open[i] { dy[i] } else { 0.0 }).collect();
        let (dbeta, products) = (sum(&|i| dy[i]), sum(&|i| dy[i] * by_batch(i)));
        let dgamma = match mistake {
            Mistake::CorrectionForgottenInDgamma => products,
            _ => sum(&|i| dy[i] * xhat(i)),
        };
        let divisor = if mistake == Mistake::MeansForSums { n } else { 1.0 };
        put("dbeta", dbeta / divisor);
        put("dgamma", dgamma / divisor);
        let flows = training && mistake != Mistake::StatisticsAsConstants;
        let mean_term = if flows && mistake != Mistake::NoMeanTerm { dbeta / n } else { 0.0 };
        let mean_term = if mistake == Mistake::GradientThroughD && moves { 0.0 } else { mean_term };
        let variance_term = if flows && mistake != Mistake::NoVarianceTerm { products / n } else { 0.0 };
        let outer = if mistake == Mistake::GammaForgottenInDx { inverse } else { gamma[c] * inverse };
        for &i in &places {
            let dx = r * outer * (dy[i] - mean_term - by_batch(i) * variance_term);
            outputs.get_mut("dx").expect("there")[i] = element.round(dx);
        }
    }
    if mistake == Mistake::NanSpreads && x.iter().any(|x| !x.is_finite()) {
        outputs.get_mut("y").expect("there").fill(f64::NAN);
    }
    if mistake == Mistake::SubnormalToZero && element == Element::F32 {
        let y = outputs.get_mut("y").expect("there");
        y.iter_mut().filter(|y| y.abs() < f64::from(f32::MIN_POSITIVE)).for_each(|y| *y = 0.0);
    }
    if mistake == Mistake::TooFewValues {
        outputs.get_mut("dgamma").expect("there").pop();
    }
    outputs.into_iter().map(|(name, values)| (name.to_string(), values)).collect()
}

fn verdicts(cases: &[Case], mistake: Mistake) -> Vec<Verdict> {
    // The huge cases ask for nothing new, at a thousand times the cost.
    cases.iter().filter(|case| !case.name.starts_with("huge")).map(|case| judge(case, &Plain(mistake))).collect()
}

fn failed(verdicts: &[Verdict]) -> Vec<&str> {
    let failed = verdicts.iter().filter(|verdict| matches!(verdict.outcome, Outcome::Failed(_)));
    failed.map(|verdict| verdict.name.as_str()).collect()
}

#[test]
fn the_formula_as_it_is_written_down_passes_what_f64_can_do() {
    let cases = store::read(store::folder()).expect("the committed cases");
    let verdicts = verdicts(&cases, Mistake::None);
    let passed = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Passed).count();
    println!("{passed} passed, failed: {:?}", failed(&verdicts));
    assert!(passed > 150, "{passed}");
    // Only cases that are beyond plain sums in f64 may fail.
    for name in failed(&verdicts) {
        let case = cases.iter().find(|case| case.name == name).expect("it was judged");
        assert_eq!(case.level, Level::Cruel, "{name}");
    }
}

#[test]
fn every_planted_mistake_is_found() {
    let cases = store::read(store::folder()).expect("the committed cases");
    let right = verdicts(&cases, Mistake::None);
    let right = failed(&right);
    for (mistake, expected) in [
        (Mistake::MeanOfSquares, &["mean-1e3", "mean-1e9-f64", "outlier-at-mean-1e4", "deviation-1e30"][..]),
        (Mistake::EpsilonOutsideTheRoot, &["cs231n-4x5", "eps-1", "conv-8x4x6x6"]),
        (Mistake::EpsilonForgotten, &["cs231n-4x5", "eps-1", "eval-variance-0"]),
        (Mistake::NormalisesBySampleVariance, &["by-hand-two-values", "cs231n-4x5", "size-1025-f64"]),
        (Mistake::NanSpreads, &["nan-beside-healthy", "nan-channels-last", "infinity-beside-healthy"]),
        (Mistake::NanIntoRunning, &["nan-running-statistics", "infinity-running-statistics"]),
        (Mistake::NoMeanTerm, &["cs231n-4x5", "upstream-ones"]),
        (Mistake::NoVarianceTerm, &["cs231n-4x5", "upstream-like-x"]),
        (Mistake::StatisticsAsConstants, &["cs231n-4x5", "upstream-ones", "two-values-gradient"]),
        (Mistake::MeansForSums, &["cs231n-4x5"]),
        (Mistake::GammaForgottenInDx, &["cs231n-4x5", "gamma-0"]),
        (Mistake::AbsoluteGamma, &["gamma-negative", "gamma-1e30"]),
        (Mistake::BetaForgotten, &["cs231n-forward-200x3", "beta-1e4"]),
        (Mistake::OneMultiplication, &["mean-1e4", "eval-mean-1e4", "eval-mean-1e6"]),
        (Mistake::WeightOfTheOldValue, &["running-pytorch", "running-keras", "running-replaced"]),
        (Mistake::PopulationVarianceKept, &["running-pytorch", "running-two-values"]),
        (Mistake::BatchStatisticsInEvaluation, &["eval", "eval-channels-last"]),
        (Mistake::ChannelsAlwaysSecond, &["channels-last", "matlab-order"]),
        (Mistake::StridesIgnored, &["strided-transposed", "strided-every-second", "strided-reversed"]),
        (Mistake::SubnormalToZero, &["gamma-1e-39", "denormal"]),
        (Mistake::AnswersEverything, &["refuse-negative-variance", "refuse-nan-gamma", "refuse-negative-eps"]),
        (Mistake::RefusesEverything, &["cs231n-4x5", "eval-empty"]),
        (Mistake::TooFewValues, &["cs231n-4x5"]),
        (Mistake::RectifierForgotten, &["whole-0-to-10-relu", "pixels-eval-relu", "denormal-relu"]),
        (Mistake::RectifierForgottenGoingBack, &["whole-0-to-10-relu", "pixels-eval-relu", "one-element-relu"]),
        (Mistake::CorrectionForgotten, &["renorm-within-limits", "renorm-two-samples", "renorm-constant-channel"]),
        (Mistake::CorrectionForgottenInDgamma, &["renorm-within-limits", "renorm-r-at-its-limits"]),
        (Mistake::NoLimits, &["renorm-closed", "renorm-r-at-its-limits", "renorm-d-at-its-limits", "renorm-r-alone"]),
        (Mistake::GradientThroughD, &["renorm-within-limits", "renorm-running"]),
        (Mistake::RectifierOpenAtZero, &["whole-0-to-10-relu", "one-hot-eval-relu", "whole-at-1e6-relu"]),
    ] {
        let spoilt = verdicts(&cases, mistake);
        let spoilt = failed(&spoilt);
        let more = spoilt.iter().filter(|name| !right.contains(name)).count();
        println!("{mistake:?}: {more} more cases fail");
        assert!(more > 0);
        for name in expected {
            assert!(spoilt.contains(name), "{mistake:?} passes {name}");
        }
    }
}

#[test]
fn a_square_hides_a_wrong_axis_from_shapes_but_not_from_values() {
    let cases = store::read(store::folder()).expect("the committed cases");
    let case = cases.iter().find(|case| case.name == "square").expect("it is there");
    let turned = |problem: &Problem| {
        let mut problem = problem.clone();
        problem.roles.swap(0, 1);
        Answer::Outputs(step(&problem, Mistake::None, true))
    };
    assert!(matches!(judge(case, &turned).outcome, Outcome::Failed(_)));
}

#[test]
fn nothing_is_green_that_was_not_judged() {
    let cases = store::read(store::folder()).expect("the committed cases");
    for case in cases.iter().filter(|case| case.refusal == Refusal::No) {
        let nothing = |_: &Problem| Answer::Outputs(Outputs::new());
        assert!(matches!(judge(case, &nothing).outcome, Outcome::Skipped(_)), "{}", case.name);
        let unsupported = |_: &Problem| Answer::Unsupported("no".to_string());
        assert!(matches!(judge(case, &unsupported).outcome, Outcome::Skipped(_)), "{}", case.name);
    }
}

#[test]
fn an_ulp_more_than_allowed_is_one_too_many() {
    // Every number of y moved by three neighbours, or of dx by 2e-6 of the scale: either is found, in every f32 case.
    let cases = store::read(store::folder()).expect("the committed cases");
    let mut moved = 0;
    for case in &cases {
        let Some(expected) = case.expected.get("y") else { continue };
        if case.problem.element != Element::F32 || expected.probes.is_some() || expected.high.is_empty() {
            continue;
        }
        let right = expected.high.clone();
        let answer = |by: f32| {
            let y = right.iter().map(|&y| match y as f32 {
                y if y.is_finite() => f64::from(y) + f64::from(by) * Element::F32.ulp(f64::from(y.abs().max(1e-42))),
                y => f64::from(y),
            });
            Answer::Outputs(Outputs::from([("y".to_string(), y.collect())]))
        };
        let exact = judge(&Case { twin: None, ..case.clone() }, &|_: &Problem| answer(0.0));
        assert_eq!(exact.outcome, Outcome::Passed, "{}", case.name);
        let beta = case
            .problem
            .inputs
            .get("beta")
            .map_or(0.0, |beta| beta.to_f64().iter().fold(0.0f64, |m, b| m.max(b.abs())));
        if right.iter().any(|y| y.is_finite() && y.abs() > 4.0 * beta.max(1e-30)) {
            let off = judge(&Case { twin: None, ..case.clone() }, &|_: &Problem| answer(3.0));
            assert!(matches!(off.outcome, Outcome::Failed(_)), "{}", case.name);
            moved += 1;
        }
    }
    assert!(moved > 80, "{moved}");
}
