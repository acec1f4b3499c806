//! The diagnosis of somebody's gradients.

use crate::decision::Fits;
use crate::error::ProblemError;
use crate::given::Given;
use crate::judge::Judge;
use crate::mistakes::{CONSTANTS, possible};
use crate::parameter_sums::Which;
use crate::precision::Precision;
use crate::problem::Problem;
use crate::row::Row;
use crate::score::part;
use crate::verdict::{Diagnosis, Finding, Verdict};
use crate::{arrangement, wrong_axis, wrong_order};

impl Given<'_> {
    /// Judges them: for each whether it is right, what is missing if not, and the worst error and where it is.
    ///
    /// Rounding is taken into account: a gradient is measured by the precision of its numbers (`f64` that are all `f32`
    /// count as `f32`), by what careful arithmetic at that precision may be off by, and what a plain running sum may. A
    /// right gradient is never called wrong; a mistake is named only where the truth is excluded.
    ///
    /// # Errors
    /// Nothing given; a variance out of range.
    pub fn diagnose(&self) -> Result<Diagnosis, ProblemError> {
        if [self.dx.is_some(), self.dgamma.is_some(), self.dbeta.is_some()] == [false; 3] {
            return Err(ProblemError::NothingGiven);
        }
        let mistakes = possible(self.problem);
        let mut diagnosis = Diagnosis { dx: None, dgamma: None, dbeta: None };
        if let Some((values, held)) = &self.dx {
            diagnosis.dx = Some(Judge::new(self.problem, &mistakes, *held).input(values)?);
        }
        for (which, given) in [(Which::Gamma, &self.dgamma), (Which::Beta, &self.dbeta)] {
            let Some((values, held)) = given else { continue };
            // If dx was computed in half precision, so were these, as long as they are held to no more than f32.
            let halves = self.dx.as_ref().map(|dx| dx.1).filter(|of_dx| of_dx.precision < Precision::Single);
            let halves = halves.filter(|of_dx| (of_dx.precision..=Precision::Single).contains(&held.precision));
            let finding = Judge::new(self.problem, &mistakes, halves.unwrap_or(*held)).parameters(which, values)?;
            match which {
                Which::Gamma => diagnosis.dgamma = Some(finding),
                Which::Beta => diagnosis.dbeta = Some(finding),
            }
        }
        diagnosis.narrow();
        arrangement::explain(self, &mut diagnosis)?;
        Ok(diagnosis)
    }
}

/// The greatest number of channels that are told apart.
const MAX_CHANNELS: usize = 1 << 16;

impl Judge<'_> {
    /// Judges dx, its values row after row.
    fn input(&self, dx: &[f64]) -> Result<Finding, ProblemError> {
        let count = self.problem.rows.values();
        let place = |i: usize| (i / count, self.problem.index(i / count, i % count));
        if let Some(finding) = self.not_finite(dx, place) {
            return Ok(finding);
        }
        let mut all: Option<Fits> = None;
        let mut worst = None;
        let mistakes = self.mistakes_of(dx);
        for (number, dx) in dx.chunks(count).enumerate() {
            let row = Row::new(self.problem, number)?;
            let allowances = self.allowances(&row);
            let score = row.score(dx, &allowances, &mistakes);
            let excess = score.fits.right.ratios[0].plain;
            let error = score.fits.right.error;
            if worst.as_ref().is_none_or(|(other, finding): &(f64, Finding)| (error, excess) > (finding.error, *other))
            {
                let finding = Finding {
                    verdict: Verdict::Right,
                    error,
                    channel: number,
                    index: self.problem.index(number, score.worst),
                    got: dx[score.worst],
                    expected: score.expected,
                    allowed: part(allowances[0].plain.dx(1.0), row.measure()),
                    precision: self.precisions[0].precision,
                };
                worst = Some((excess, finding));
            }
            match &mut all {
                None => all = Some(score.fits),
                Some(all) => all.join(&score.fits),
            }
        }
        let (Some(all), Some((_, mut finding))) = (all, worst) else { return Err(ProblemError::NothingGiven) };
        match all.decide() {
            Some((verdict, by)) => (finding.verdict, finding.precision) = (verdict, self.precisions[by].precision),
            None => finding.verdict = self.other_explanations(&all, dx, finding.channel)?,
        }
        Ok(finding)
    }

    /// The verdict where no mistake explains all rows: other axes, another order; or each channel by itself.
    fn other_explanations(&self, all: &Fits, dx: &[f64], worst: usize) -> Result<Verdict, ProblemError> {
        let allowed = |row: &Row| row.allowance(self.precisions[0]).plain.dx(1.0);
        let wrong_axis = wrong_axis::explaining(self.problem, dx, &allowed)?;
        if !wrong_axis.is_empty() {
            return Ok(Verdict::Wrong(wrong_axis));
        }
        if let Some(mistake) = wrong_order::explaining(self.problem, dx, &allowed)? {
            return Ok(Verdict::Wrong(vec![mistake]));
        }
        let count = self.problem.rows.values();
        let of_row = |number: usize| -> Result<Verdict, ProblemError> {
            let row = Row::new(self.problem, number)?;
            let dx = &dx[number * count..][..count];
            let fits = row.score(dx, &self.allowances(&row), self.mistakes).fits;
            let by_terms = || named_by_terms(self.problem, fits.unexplained(row.terms(dx, allowed(&row))));
            Ok(fits.decide().map_or_else(by_terms, |(verdict, _)| verdict))
        };
        if self.problem.row_name() == "channel" && (2..=MAX_CHANNELS).contains(&self.problem.rows.count()) {
            let each = (0..self.problem.rows.count()).map(of_row).collect::<Result<Vec<Verdict>, _>>()?;
            return Ok(by_channel(each, || all.unexplained(None)));
        }
        match of_row(worst)? {
            Verdict::Unexplained { terms, .. } => Ok(all.unexplained(terms)),
            named @ Verdict::Wrong(_) if self.problem.rows.count() == 1 => Ok(named),
            _ => Ok(all.unexplained(None)),
        }
    }

    /// Judges dgamma or dbeta.
    fn parameters(&self, which: Which, given: &[f64]) -> Result<Finding, ProblemError> {
        if let Some(finding) = self.not_finite(given, |parameter| (parameter, vec![parameter])) {
            return Ok(finding);
        }
        let sums = self.sums(which, given)?;
        let largest = sums.largest();
        let mut all = sums.score(0, given[0], largest);
        let mut worst = (all.right.clone(), 0);
        for (parameter, &value) in given.iter().enumerate().skip(1) {
            let fits = sums.score(parameter, value, largest);
            if fits.right.error > worst.0.error {
                worst = (fits.right.clone(), parameter);
            }
            all.join(&fits);
        }
        let (verdict, by) = all.decide().map_or_else(
            || {
                let wrong_axis =
                    wrong_axis::explaining_sums(self.problem, which, given, &|parameter| sums.plain(parameter))?;
                if !wrong_axis.is_empty() {
                    return Ok((Verdict::Wrong(wrong_axis), 0));
                }
                if sums.are_permuted(given, largest) {
                    return Ok((Verdict::Wrong(vec![&wrong_order::ORDER_OF_PARAMETERS]), 0));
                }
                if self.problem.row_name() == "channel" && (2..=MAX_CHANNELS).contains(&given.len()) {
                    let decide = |(parameter, &value): (usize, &f64)| {
                        let fits = sums.score(parameter, value, largest);
                        fits.decide().map_or_else(|| fits.unexplained(None), |(verdict, _)| verdict)
                    };
                    let each = without_chances(given.iter().enumerate().map(decide).collect());
                    return Ok((by_channel(each, || all.unexplained(None)), 0));
                }
                Ok::<_, ProblemError>((all.unexplained(None), 0))
            },
            Ok,
        )?;
        let (fit, parameter) = worst;
        Ok(Finding {
            verdict,
            error: fit.error,
            channel: parameter,
            index: vec![parameter],
            got: given[parameter],
            expected: sums.right(parameter),
            allowed: part(sums.plain(parameter), sums.terms[parameter]),
            precision: self.precisions[by].precision,
        })
    }

    /// The finding where values are NaN or infinite, at the first of them. `place` gives its channel and its index.
    fn not_finite(&self, given: &[f64], place: impl Fn(usize) -> (usize, Vec<usize>)) -> Option<Finding> {
        let wrong = || given.iter().enumerate().filter(|(_, value)| !value.is_finite());
        let (first, &got) = wrong().next()?;
        let (channel, index) = place(first);
        Some(Finding {
            verdict: Verdict::NotFinite(wrong().count()),
            error: f64::INFINITY,
            channel,
            index,
            got,
            expected: f64::NAN,
            allowed: 0.0,
            precision: self.precisions[0].precision,
        })
    }
}

/// Names the formula of evaluation where dx is dy alone times a number, whatever the statistics.
fn named_by_terms(problem: &Problem, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Unexplained { terms: Some([_, level, slope]), .. }
            if level.abs().max(slope.abs()) < 1e-3 && (CONSTANTS.applies)(problem) =>
        {
            Verdict::Wrong(vec![&CONSTANTS])
        }
        _ => verdict,
    }
}

/// Takes back the mistakes of a few parameters where most have no explanation: one number is near some mistake by chance now
/// and then.
fn without_chances(mut each: Vec<Verdict>) -> Vec<Verdict> {
    let is_named = |verdict: &&Verdict| matches!(verdict, Verdict::Wrong(_));
    let is_unexplained = |verdict: &&Verdict| matches!(verdict, Verdict::Unexplained { .. });
    let few = 10 * each.iter().filter(is_named).count() < each.iter().filter(is_unexplained).count();
    if let Some(unexplained) = each.iter().find(is_unexplained).cloned()
        && few
    {
        each.iter_mut().filter(|verdict| is_named(&&**verdict)).for_each(|verdict| *verdict = unexplained.clone());
    }
    each
}

/// Puts channels with the same verdict together; `whole` is the verdict where none is explained, by the errors of all.
fn by_channel(each: Vec<Verdict>, whole: impl Fn() -> Verdict) -> Verdict {
    // (The distances of what is unexplained differ in any case.)
    let alike = |one: &Verdict, other: &Verdict| match (one, other) {
        (Verdict::Unexplained { .. }, Verdict::Unexplained { .. }) => true,
        _ => one == other,
    };
    let mut all: Vec<(Verdict, Vec<usize>)> = Vec::new();
    for (channel, verdict) in each.into_iter().enumerate() {
        match all.iter_mut().find(|(other, _)| alike(other, &verdict)) {
            Some((_, channels)) => channels.push(channel),
            None => all.push((verdict, vec![channel])),
        }
    }
    // What is wrong comes first.
    all.sort_by_key(|(verdict, _)| !verdict.is_wrong());
    match &all[..] {
        [(Verdict::Unexplained { terms, .. }, _)] => match whole() {
            Verdict::Unexplained { nearest, distance, .. } => Verdict::Unexplained { nearest, distance, terms: *terms },
            other => other,
        },
        [(verdict, _)] => verdict.clone(),
        _ => Verdict::ByChannel(all),
    }
}
