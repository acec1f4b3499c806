//! Mistakes of arrangement: the right formulas, on values that stand elsewhere or on axes that mean something else.
//!
//! Such a mistake makes dx, dgamma and dbeta wrong together, so all that was given is judged at once: what is right of a
//! problem that is arranged otherwise has that arrangement for its mistake.

use crate::decision::Fit;
use crate::error::ProblemError;
use crate::given::Given;
use crate::judge::Judge;
use crate::mistakes::Mistake;
use crate::parameter_sums::Which;
use crate::precision::Precision;
use crate::rearranged::{Layout, RESHAPE, Rearranged, SAMPLES, candidates, layouts};
use crate::row::Row;
use crate::sample_order;
use crate::verdict::{Diagnosis, Finding, Verdict};
use crate::wrong_order::ORDER;
use batchnorm_reference::whole::{Rows, Together, transposed};

/// How many times nearer than to the truth a gradient must be to that of an arrangement.
const NEARER: f64 = 4.0;
/// A distance from a right gradient, by its measure, above which no rounding is looked at.
const FAR: f64 = 0.1;

/// Names the arrangement that explains all that was given, if something is wrong that no mistake in a formula explains.
pub(crate) fn explain(given: &Given, diagnosis: &mut Diagnosis) -> Result<(), ProblemError> {
    let wrong: Vec<&Finding> =
        diagnosis.all().map(|(_, found)| found).filter(|found| found.verdict.is_wrong()).collect();
    let common = wrong.iter().map(|found| found.verdict.mistakes()).reduce(|mut common, mistakes| {
        common.retain(|mistake| mistakes.contains(mistake));
        common
    });
    let in_a_formula = common.is_some_and(|common| !common.is_empty())
        && wrong.iter().all(|found| matches!(found.verdict, Verdict::Wrong(_)))
        && wrong.iter().all(|found| !found.verdict.mistakes().contains(&&ORDER));
    // In half precision what is allowed is wide enough for many a formula: an arrangement that fits much better is asked for too.
    let narrow = wrong.iter().any(|found| found.precision < Precision::Single);
    if wrong.is_empty()
        || in_a_formula && !narrow
        || wrong.iter().any(|found| matches!(found.verdict, Verdict::NotFinite(_)))
    {
        return Ok(());
    }
    let named = match arrangement_of(given, diagnosis)? {
        Some(mistake) => [Some(mistake); 2],
        None if in_a_formula => return Ok(()),
        // The arrays may have been put back wrongly one by one.
        None => {
            let dx_is_wrong = diagnosis.dx.as_ref().is_some_and(|found| found.verdict.is_wrong());
            [if dx_is_wrong { misplaced_input(given)? } else { None }, misplaced_sums(given, diagnosis)?]
        }
    };
    let [dx, sums] = named;
    for (finding, mistake) in [(&mut diagnosis.dx, dx), (&mut diagnosis.dgamma, sums), (&mut diagnosis.dbeta, sums)] {
        if let (Some(finding), Some(mistake)) = (finding, mistake)
            && finding.verdict.is_wrong()
        {
            finding.verdict = Verdict::Wrong(vec![mistake]);
        }
    }
    Ok(())
}

/// The arrangement of which all that was given is right.
fn arrangement_of(given: &Given, diagnosis: &Diagnosis) -> Result<Option<&'static Mistake>, ProblemError> {
    for rearranged in candidates(given.problem) {
        if explains(&rearranged, given, diagnosis)? {
            return Ok(Some(rearranged.mistake));
        }
    }
    for rearranged in sample_order::candidates(given)? {
        if explains(&rearranged, given, diagnosis)? {
            return Ok(Some(rearranged.mistake));
        }
    }
    Ok(None)
}

/// Whether all that was given is right of a rearranged problem, and what is wrong much nearer to it than to the truth.
fn explains(rearranged: &Rearranged, given: &Given, diagnosis: &Diagnosis) -> Result<bool, ProblemError> {
    let Rearranged { problem, from, .. } = rearranged;
    let nearer = |fit: &Fit, finding: &Option<Finding>| {
        let wrong = finding.as_ref().filter(|found| found.verdict.is_wrong());
        fit.is_plain() && wrong.is_none_or(|found| fit.error * NEARER <= found.error)
    };
    if let Some((dx, held)) = &given.dx {
        let lying = given.problem.in_memory(dx);
        let moved: Vec<f64> = from.iter().map(|&place| lying[place]).collect();
        let judge = Judge::new(problem, &[], *held);
        let mut all: Option<Fit> = None;
        for number in 0..problem.rows.count() {
            let row = Row::new(problem, number)?;
            let dx = problem.rows.gather(number, &moved);
            let right = row.right();
            let far = |(i, dx): (usize, &f64)| (dx - row.at(&right, i)).abs() > FAR * row.measure();
            if dx.iter().enumerate().any(far) {
                return Ok(false);
            }
            let fit = row.score(&dx, &judge.allowances(&row), &[]).fits.right;
            all = Some(all.take().map_or(fit.clone(), |mut all| {
                all.join(&fit);
                all
            }));
        }
        if !all.is_some_and(|fit| nearer(&fit, &diagnosis.dx)) {
            return Ok(false);
        }
    }
    let sums = [(Which::Gamma, &given.dgamma, &diagnosis.dgamma), (Which::Beta, &given.dbeta, &diagnosis.dbeta)];
    for (which, values, finding) in sums {
        let Some((values, held)) = values else { continue };
        if values.len() != problem.rows.parameters() {
            return Ok(false);
        }
        let sums = Judge::new(problem, &[], *held).sums(which, values)?;
        let largest = sums.largest();
        let fits = values.iter().enumerate().map(|(parameter, &value)| sums.score(parameter, value, largest).right);
        let all = fits.reduce(|mut all, fit| {
            all.join(&fit);
            all
        });
        if !all.is_some_and(|fit| nearer(&fit, finding)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The mistake by which the right values of dx stand elsewhere: put back by a reshape alone, or by samples.
fn misplaced_input(given: &Given) -> Result<Option<&'static Mistake>, ProblemError> {
    let (problem, Some((dx, held))) = (given.problem, &given.dx) else { return Ok(None) };
    let judge = Judge::new(problem, &[], *held);
    let (mut right, mut bounds) = (Vec::with_capacity(dx.len()), Vec::with_capacity(dx.len()));
    for number in 0..problem.rows.count() {
        let row = Row::new(problem, number)?;
        let allowed = judge.allowances(&row)[0].plain.dx(1.0).min(FAR * row.measure());
        right.extend(row.right_values());
        bounds.extend(std::iter::repeat_n(allowed, row.x.len()));
    }
    let [given, right, bounds] = [dx, &right, &bounds].map(|values| problem.in_memory(values));
    let shape = &problem.axes.shape;
    let lies_as = |order: &[usize]| {
        let from = transposed(&(0..given.len()).collect::<Vec<usize>>(), shape, order);
        given.iter().zip(from).all(|(given, place)| (given - right[place]).abs() <= bounds[place])
    };
    if orders(shape.len()).iter().any(|order| lies_as(order)) {
        return Ok(Some(RESHAPE));
    }
    Ok(sample_order::of_slices(problem, &given, &right, &bounds).then_some(SAMPLES))
}

/// The orders in which axes stand when a transposition is forgotten: all of up to four; of more those that move one axis.
fn orders(rank: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    if rank <= 4 {
        for _ in 0..rank {
            let longer = |order: Vec<usize>| {
                let free = (0..rank).filter(|axis| !order.contains(axis)).collect::<Vec<usize>>();
                free.into_iter().map(move |axis| order.iter().copied().chain([axis]).collect::<Vec<usize>>())
            };
            all = all.into_iter().flat_map(longer).collect();
        }
        return all;
    }
    all.clear();
    all.push((0..rank).rev().collect());
    for (axis, to) in (0..rank).flat_map(|axis| (0..rank).map(move |to| (axis, to))) {
        let mut order: Vec<usize> = (0..rank).filter(|&other| other != axis).collect();
        order.insert(to, axis);
        all.push(order);
    }
    all
}

/// The mistake by which dgamma and dbeta are sums of the right terms over other places: of batch norm.
fn misplaced_sums(given: &Given, diagnosis: &Diagnosis) -> Result<Option<&'static Mistake>, ProblemError> {
    let problem = given.problem;
    if problem.rows.together() != Together::Channel {
        return Ok(None);
    }
    let mut xhat = Vec::with_capacity(problem.x.len());
    for number in 0..problem.rows.count() {
        let row = Row::new(problem, number)?;
        xhat.extend(row.centered.iter().map(|c| c * row.inverse));
    }
    let terms = |which: Which| -> Vec<f64> {
        match which {
            Which::Gamma => problem.dy.iter().zip(&xhat).map(|(dy, xhat)| dy * xhat).collect(),
            Which::Beta => problem.dy.clone(),
        }
    };
    let mut wrong = Vec::new();
    for (which, values, finding) in
        [(Which::Gamma, &given.dgamma, &diagnosis.dgamma), (Which::Beta, &given.dbeta, &diagnosis.dbeta)]
    {
        let (Some((values, held)), Some(finding)) = (values, finding) else { continue };
        if finding.verdict.is_wrong() {
            let sums = Judge::new(problem, &[], *held).sums(which, values)?;
            let allowed = (0..values.len()).map(|parameter| sums.plain(parameter)).fold(0.0, f64::max);
            let size = (0..values.len()).map(|parameter| sums.terms[parameter]).fold(0.0, f64::max);
            wrong.push((values, problem.in_memory(&terms(which)), allowed.min(FAR / NEARER * size)));
        }
    }
    let fits = |(_, shape, roles, from): &Layout| {
        let rows = Rows::new(shape, roles, Together::Channel);
        !wrong.is_empty()
            && wrong.iter().all(|(values, terms, allowed)| {
                let mut sums = vec![0.0; rows.parameters()];
                from.iter().enumerate().for_each(|(place, &old)| sums[rows.parameter(place)] += terms[old]);
                sums.len() == values.len()
                    && sums.iter().zip(*values).all(|(sum, value)| (sum - value).abs() <= *allowed)
            })
    };
    Ok(layouts(problem).iter().find(|layout| fits(layout)).map(|layout| layout.0))
}
