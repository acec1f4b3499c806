//! Judging: an implementation's answer against the expected values, and its errors as multiples of their bounds.

use std::collections::BTreeMap;

use crate::case::{Case, Expected, Level, Problem, Refusal, Unit};
use crate::kinds::Element;

/// Outputs by name, in C order, exactly as they came.
pub type Outputs = BTreeMap<String, Vec<f64>>;

/// The answer of an implementation to a problem.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The outputs that it computed; those it does not have are absent.
    Outputs(Outputs),
    /// It refuses the problem, with a reason.
    Refused(String),
    /// It is not made for such problems.
    Unsupported(String),
}

/// An implementation that can be judged.
pub trait Implementation {
    /// Solves a problem.
    fn solve(&self, problem: &Problem) -> Answer;
}

impl<F: Fn(&Problem) -> Answer> Implementation for F {
    fn solve(&self, problem: &Problem) -> Answer {
        self(problem)
    }
}

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All that came is within its bound.
    Passed,
    /// Something is not, in a line.
    Failed(String),
    /// Nothing came that can be judged.
    Skipped(String),
}

/// The judgement of a case.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The case's name.
    pub name: String,
    /// The case's level.
    pub level: Level,
    /// Its outcome.
    pub outcome: Outcome,
    /// The error of each output that came, as a multiple of its bound.
    pub errors: BTreeMap<String, f64>,
    /// Expected outputs that did not come.
    pub left_out: Vec<String>,
}

impl Verdict {
    /// The largest error, as a multiple of its bound, and which output it is in.
    pub fn worst(&self) -> Option<(&str, f64)> {
        let larger = |one: &(&str, f64), other: &(&str, f64)| one.1.total_cmp(&other.1);
        self.errors.iter().map(|(name, &error)| (name.as_str(), error)).max_by(larger)
    }
}

/// Has a case solved, and judges what comes.
pub fn judge(case: &Case, implementation: &dyn Implementation) -> Verdict {
    let mut verdict = Verdict {
        name: case.name.clone(),
        level: case.level,
        outcome: Outcome::Passed,
        errors: BTreeMap::new(),
        left_out: Vec::new(),
    };
    let outputs = match (implementation.solve(&case.problem), case.refusal) {
        (Answer::Unsupported(reason), _) => {
            verdict.outcome = Outcome::Skipped(reason);
            return verdict;
        }
        (Answer::Refused(_), Refusal::Allowed | Refusal::Required) => return verdict,
        (Answer::Refused(reason), Refusal::No) => {
            verdict.outcome = Outcome::Failed(format!("refused: {reason}"));
            return verdict;
        }
        (Answer::Outputs(_), Refusal::Required) => {
            verdict.outcome = Outcome::Failed("answered what makes no sense, expected a refusal".to_string());
            return verdict;
        }
        (Answer::Outputs(outputs), _) => outputs,
    };
    let mut failures = Vec::new();
    for (name, expected) in &case.expected {
        let Some(got) = outputs.get(name) else {
            verdict.left_out.push(name.clone());
            continue;
        };
        match error(expected, got, case.problem.element) {
            Ok(error) => {
                if error.is_nan() || error > 1.0 {
                    failures.push(format!("{name} {error:.3e} times its bound"));
                }
                verdict.errors.insert(name.clone(), error);
            }
            Err(reason) => failures.push(format!("{name}: {reason}")),
        }
    }
    if verdict.errors.is_empty() && failures.is_empty() {
        verdict.outcome = Outcome::Skipped("none of the expected outputs came".to_string());
        return verdict;
    }
    failures.extend(other_bits(case, &outputs, implementation));
    if !failures.is_empty() {
        verdict.outcome = Outcome::Failed(failures.join("; "));
    }
    verdict
}

/// The largest error of an output, as a multiple of its bound.
fn error(expected: &Expected, got: &[f64], element: Element) -> Result<f64, String> {
    let picked: Vec<f64> = match &expected.probes {
        Some(places) if places.last().is_some_and(|&last| last >= got.len()) => {
            return Err(format!("{} values, expected more", got.len()));
        }
        Some(places) => places.iter().map(|&place| got[place]).collect(),
        None => got.to_vec(),
    };
    if picked.len() != expected.high.len() {
        return Err(format!("{} values, expected {}", got.len(), expected.high.len()));
    }
    let scales = spread(&expected.scale, &expected.scale_shape, &expected.shape);
    let mut worst = 0.0f64;
    for (i, &got) in picked.iter().enumerate() {
        let scale = expected.scale[scales[i]];
        let low = expected.low.as_ref().map_or(0.0, |low| low[i]);
        let mut error = multiple(expected, got, [expected.high[i], low], scale, element);
        if let Some(alternative) = &expected.alternative {
            error = error.min(multiple(expected, got, [alternative[i], 0.0], scale, element));
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

/// The error of one number, as a multiple of its bound; infinite where there should be none.
fn multiple(expected: &Expected, got: f64, [high, low]: [f64; 2], scale: f64, element: Element) -> f64 {
    if high.is_nan() || got.is_nan() || high.is_infinite() || got.is_infinite() {
        let same = high.is_nan() && got.is_nan() || high == got;
        return if same || scale.is_infinite() { 0.0 } else { f64::INFINITY };
    }
    let error = ((got - high) - low).abs();
    if error == 0.0 {
        return 0.0;
    }
    let unit = match expected.bound.unit {
        Unit::Scale => scale,
        Unit::Relative => scale.max(high.abs()),
        Unit::Ulp => element.ulp(scale.max(high.abs())),
        Unit::Equal => 0.0,
    };
    let bound = expected.bound.at_most * unit;
    if bound == 0.0 { f64::INFINITY } else { error / bound }
}

/// For each element of an array, where its scale stands.
fn spread(scale: &[f64], scale_shape: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    for (axis, (&length, &own)) in shape.iter().zip(scale_shape).enumerate() {
        let step = if own == 1 { 0 } else { scale_shape[axis + 1..].iter().product() };
        places = places.iter().flat_map(|&place| (0..length).map(move |i| place + i * step)).collect();
    }
    debug_assert!(places.iter().all(|&place| place < scale.len()));
    places
}

/// The first difference from the outputs for the twin of x, in words.
fn other_bits(case: &Case, outputs: &Outputs, implementation: &dyn Implementation) -> Option<String> {
    let (twin, problem) = (case.twin.as_ref()?, case.twin_problem()?);
    let (shape, axis) = (problem.inputs["x"].shape.clone(), problem.channel_axis());
    let Answer::Outputs(others) = implementation.solve(&problem) else {
        return Some("no outputs for the twin of x".to_string());
    };
    let (channels, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    for (name, got) in outputs {
        let Some(other) = others.get(name) else { return Some(format!("{name} missing for the twin of x")) };
        if other.len() != got.len() {
            return Some(format!("{name} of another length for the twin of x"));
        }
        let channel = |i: usize| if got.len() == channels { i } else { i / inner % channels };
        let differs = |i: &usize| {
            twin.channels.contains(&channel(*i))
                && got[*i].to_bits() != other[*i].to_bits()
                && !(got[*i].is_nan() && other[*i].is_nan())
        };
        let count = (0..got.len()).filter(differs).count();
        if count > 0 {
            return Some(format!("{name} has other bits than for the twin of x in {count} places"));
        }
    }
    None
}
