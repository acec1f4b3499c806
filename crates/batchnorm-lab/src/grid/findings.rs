//! What the figures of a grid say, in plain words: the same on the terminal and in the reports. Nothing is called found that the cells did not find.

use indexmap::{IndexMap, IndexSet};

use super::figures::{ArmFigures, Beside, BesideReading, Scale, Taken};
use super::question::{self, Arm, Question};
use super::study::Study;
use crate::look::ON_THE_WAY;
use crate::statistics::{Paired, Verdict};
use crate::words::{self, capitalised, count, figure, percent};

/// Arms that a sentence lists one by one.
const MOST_LISTED: usize = 6;

/// The findings, one sentence or two each.
pub fn findings(study: &Study) -> Vec<String> {
    let Study { question, figures, .. } = study;
    let mut found = Vec::new();
    if figures.arms.iter().all(|arm| arm.cells == 0) {
        return vec![String::from("Nothing yet: no training is finished.")];
    }
    found.extend(study.unasked.iter().cloned());
    found.extend(reached(study));
    for beside in grouped(question, &figures.beside) {
        match beside[..] {
            [one] => found.extend(sentences(one)),
            _ => found.extend(of_group(question, &beside)),
        }
    }
    found.extend(changes(study));
    found.extend(vanishing(study));
    let compared = figures.near.iter().filter(|near| near.found.is_some()).count();
    if compared > 0 {
        let inside = figures.near.iter().filter(|near| near.inside).count();
        let others = if inside < compared { "; how far off the others are is in the table" } else { "" };
        found.push(format!(
            "Of {} {inside} in the range found here widened by a point{others}.",
            count(compared, "published figure")
        ));
    }
    let ends: Vec<&str> = study.sweeps.iter().filter(|sweep| sweep.at_an_end).map(|sweep| sweep.arm.as_str()).collect();
    if !ends.is_empty() {
        found.push(format!(
            "Chosen at an end of the values that were tried, so that better ones may lie beyond: {}.",
            few(&ends)
        ));
    }
    let diverged = figures.arms.iter().filter(|arm| arm.diverged > 0);
    let diverged: Vec<String> =
        diverged.map(|arm| format!("{} ({} of {})", arm.arm, arm.diverged, arm.cells)).collect();
    if !diverged.is_empty() {
        found.push(format!("Diverged: {}.", few(&diverged)));
    }
    found
}

/// Some names, or how many.
fn few(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.len() > MOST_LISTED {
        true => format!("{} arms, which are in the table", names.len()),
        false => names.join(" / "),
    }
}

/// Comparisons of the same two values of the setting along which arms are compared.
fn grouped<'b>(question: &Question, all: &'b [Beside]) -> Vec<Vec<&'b Beside>> {
    if question.beside.is_empty() {
        return all.iter().map(|beside| vec![beside]).collect();
    }
    let mut groups: IndexMap<_, Vec<&Beside>> = IndexMap::new();
    for beside in all {
        groups.entry(values_compared(question, beside)).or_default().push(beside);
    }
    groups.into_values().collect()
}

fn arm<'q>(question: &'q Question, name: &str) -> Option<&'q Arm> {
    question.arms.iter().find(|arm| arm.name == name)
}

/// The setting along which two arms are compared.
fn setting_compared<'q>(question: &'q Question, beside: &Beside) -> Option<&'q str> {
    let (one, other) = (arm(question, &beside.arm)?, arm(question, &beside.against)?);
    question.beside.iter().map(String::as_str).find(|setting| one.value(setting) != other.value(setting))
}

/// Its values in the two.
fn values_compared(question: &Question, beside: &Beside) -> Option<(String, String)> {
    let setting = setting_compared(question, beside)?;
    let value = |name: &str| {
        Some(question::name([(setting.to_owned(), arm(question, name)?.value(setting)?.to_owned())].iter()))
    };
    Some((value(&beside.arm)?, value(&beside.against)?))
}

/// The places, in the other settings, of comparisons of a group, by what may be said of them.
fn of_group<'b>(question: &Question, group: &[&'b Beside]) -> Vec<String> {
    let Some((value, against)) = values_compared(question, group[0]) else { return Vec::new() };
    let place = |beside: &Beside| {
        arm(question, &beside.arm).map_or(String::new(), |arm| arm.without(&[setting_compared(question, beside)]))
    };
    let entries = |of: &dyn Fn(&'b Beside) -> Option<(Scale, &'b Paired)>| -> Vec<Entry> {
        let entry = |beside: &&'b Beside| of(beside).map(|(scale, paired)| Entry::at(place(beside), scale, paired));
        group.iter().filter_map(entry).collect()
    };
    let mut said = Vec::new();
    let accuracy = entries(&|beside| Some((Scale::Points, beside.accuracy.as_ref()?)));
    let lost: usize = group.iter().map(|beside| beside.lost).sum();
    let without =
        if lost > 0 { format!(" (without {} lost to divergence)", count(lost, "pair")) } else { String::new() };
    said.extend(listed(&format!("{value} beside {against}: test accuracy{without}"), &accuracy));
    let kinds = group.iter().flat_map(|beside| &beside.readings).map(|reading| reading.what.as_str());
    for what in kinds.collect::<IndexSet<&str>>() {
        let of_kind = entries(&|beside| {
            let reading = beside.readings.iter().find(|reading| reading.what == what)?;
            Some((reading.scale, &reading.difference))
        });
        said.extend(listed(&format!("{value} beside {against}: {what}"), &of_kind));
    }
    let timed = group.iter().filter_map(|beside| {
        let (steps, seconds) = (beside.doublings.as_ref()?, beside.doublings_of_seconds.as_ref()?);
        let censored = if beside.censored > 0 {
            format!(", without {} that did not both reach it", count(beside.censored, "pair"))
        } else {
            String::new()
        };
        Some(format!("{} {} and {}{censored}", place(beside), sooner(steps, "steps"), sooner(seconds, "seconds")))
    });
    let timed: Vec<String> = timed.collect();
    match timed.len() {
        0 => {}
        1..=MOST_LISTED => said.push(format!("{value} beside {against}: the target at {}.", timed.join(" / "))),
        places => said.push(format!("{value} beside {against}: how much sooner the target was reached at {places} places is in the table of comparisons.")),
    }
    let none: Vec<String> =
        group.iter().filter(|beside| beside.accuracy.is_none()).map(|beside| place(beside)).collect();
    if !none.is_empty() {
        let at = if none.len() > MOST_LISTED { format!("{} places", none.len()) } else { none.join(" / ") };
        said.push(format!("{value} beside {against}: nothing to compare at {at}, where one of the two diverged."));
    }
    said
}

/// A difference at a place.
struct Entry {
    place: String,
    scale: Scale,
    mean: f64,
    verdict: Verdict,
}

impl Entry {
    fn at(place: String, scale: Scale, paired: &Paired) -> Entry {
        Entry { place, scale, mean: paired.mean, verdict: paired.verdict() }
    }
}

/// `higher at A (+1.2 points), B (+0.8 points); lower at C (-2.0 points); no difference shown at D`.
fn listed(of: &str, entries: &[Entry]) -> Option<String> {
    // (Places have commas of their own where several settings vary.)
    let sign = if entries.iter().any(|entry| entry.place.contains(", ")) { " / " } else { ", " };
    let part = |word: &str, verdict: Verdict| {
        let shown = |entry: &Entry| match (entry.place.is_empty(), verdict) {
            (true, _) => size(entry.scale, entry.mean),
            (false, Verdict::Greater | Verdict::Less) => format!("{} ({})", entry.place, size(entry.scale, entry.mean)),
            (false, _) => entry.place.clone(),
        };
        let at: Vec<String> = entries.iter().filter(|entry| entry.verdict == verdict).map(shown).collect();
        (!at.is_empty()).then(|| format!("{word} {}", at.join(sign)))
    };
    let parts = [
        part("higher at", Verdict::Greater),
        part("lower at", Verdict::Less),
        part("no difference shown at", Verdict::NoDifferenceShown),
        part("too few pairs at", Verdict::TooFewPairs),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("{of} {}.", parts.join("; ")))
}

/// What may be said of an arm beside another one, figure by figure.
fn sentences(of_arm: &Beside) -> Vec<String> {
    let Beside { arm, against, lost, accuracy, doublings, doublings_of_seconds, censored, reached, readings, .. } =
        of_arm;
    let lost = if *lost > 0 { format!(" ({} lost to divergence)", count(*lost, "seed")) } else { String::new() };
    let Some(paired) = accuracy else {
        return vec![format!("{arm} beside {against}: no pair to compare{lost}.")];
    };
    let mut text = format!("{arm} beside {against}: test accuracy {}{lost}.", difference(Scale::Points, paired));
    if let Some(doublings) = doublings {
        text += &format!(" The target {}", sooner(doublings, "steps"));
        if let Some(seconds) = doublings_of_seconds {
            text += &format!(" and {}", sooner(seconds, "seconds"));
        }
        if *censored > 0 {
            text += &format!(", without {} in which one or both did not reach it", count(*censored, "pair"));
        }
        text.push('.');
    } else if *censored > 0 {
        let [it, other] = reached;
        text += &format!(
            " The target: reached by {it} of {censored} of its trainings and by {other} of the other's, so no factor."
        );
    }
    let of_reading = |reading: &BesideReading| {
        format!("{arm} beside {against}: {}: {}.", reading.what, difference(reading.scale, &reading.difference))
    };
    [text].into_iter().chain(readings.iter().map(of_reading)).collect()
}

/// A difference with what may be said of it.
pub fn difference(scale: Scale, paired: &Paired) -> String {
    match paired.verdict() {
        Verdict::TooFewPairs => {
            format!("{} in {}: too few for a finding", size(scale, paired.mean), count(paired.pairs, "pair"))
        }
        Verdict::NoDifferenceShown => format!("no difference shown: {}", intervals(scale, paired)),
        Verdict::Greater | Verdict::Less => intervals(scale, paired),
    }
}

/// By what factor an arm needs fewer steps (or seconds) or more, as far as that is shown.
pub fn sooner(doublings: &Paired, of: &str) -> String {
    let (fewer, more) = (|doublings: f64| doublings.exp2(), |doublings: f64| (-doublings).exp2());
    let (factor, word): (fn(f64) -> f64, _) = if doublings.mean >= 0.0 { (fewer, "fewer") } else { (more, "more") };
    let shown = |doublings: f64| format!("{:.2}", factor(doublings));
    let interval = doublings.by_t.map_or(String::new(), |ends| {
        let mut ends = ends.map(factor);
        ends.sort_by(f64::total_cmp);
        format!("95 % interval {:.2} to {:.2}, ", ends[0], ends[1])
    });
    let (factor, pairs) = (shown(doublings.mean), count(doublings.pairs, "pair"));
    match doublings.verdict() {
        Verdict::Greater | Verdict::Less => format!("in {factor} times {word} {of} ({interval}{pairs})"),
        Verdict::NoDifferenceShown => {
            format!("with no difference in {of} shown ({factor} times {word}, {interval}{pairs})")
        }
        Verdict::TooFewPairs => format!("in {factor} times {word} {of} ({pairs}: too few for a finding)"),
    }
}

/// Where the target was reached, over the values of a setting.
fn reached(study: &Study) -> Vec<String> {
    let Question { target: Some(target), over: Some(over), .. } = &study.question else { return Vec::new() };
    let of_group = |(group, arms): (String, Vec<&Arm>)| {
        let at = |which: &dyn Fn(usize, usize) -> bool| {
            let figures = |arm: &Arm| study.figures.of_arm(&arm.name);
            let chosen =
                arms.iter().filter(|arm| figures(arm).is_some_and(|of| of.cells > 0 && which(of.reached, of.cells)));
            chosen.filter_map(|arm| arm.value(over)).collect::<Vec<_>>().join(", ")
        };
        let (all, some) = (at(&|reached, of| reached == of), at(&|reached, of| reached > 0 && reached < of));
        let name = words::prefix(&group);
        let target = percent(*target);
        match (all.is_empty(), some.is_empty()) {
            (true, true) => format!("{name}{target} not reached at any {over}."),
            (true, false) => format!("{name}{target} reached by some seeds, not by all, at {over} {some}."),
            (false, true) => format!("{name}{target} reached by all seeds at {over} {all}."),
            (false, false) => format!("{name}{target} reached by all seeds at {over} {all}; by some at {some}."),
        }
    };
    study.question.grouped(&[Some(over)]).into_iter().map(of_group).collect()
}

/// What readings change within their own arms, reading by reading.
fn changes(study: &Study) -> Vec<String> {
    let all = || study.figures.arms.iter().flat_map(|arm| arm.readings.iter().map(move |taken| (arm, taken)));
    let kinds = all().filter(|(_, taken)| taken.change.is_some()).map(|(_, taken)| taken.what.as_str());
    let of_kind = |what: &str| {
        let of_arms = || {
            all().filter(|(_, taken)| taken.what == what).filter_map(|(arm, taken)| Some((arm, taken.change.as_ref()?)))
        };
        let entries: Vec<Entry> =
            of_arms().map(|(arm, change)| Entry::at(arm.arm.clone(), Scale::Points, &change.difference)).collect();
        let (_, change) = of_arms().next()?;
        listed(&format!("{}, beside {}:", capitalised(what), change.from.said()), &entries)
    };
    kinds.collect::<IndexSet<&str>>().into_iter().filter_map(of_kind).collect()
}

/// How gradients change from the last layer to the first: before the first step, and on the way.
fn vanishing(study: &Study) -> Vec<String> {
    let of = |taken: &&Taken| taken.what == "gradient norm";
    let steps = study.figures.arms.iter().flat_map(|arm| &arm.readings).filter(of).map(|taken| taken.step);
    let on_the_way = steps.filter(|step| *step >= ON_THE_WAY).min();
    let at = |step: usize, when: String| {
        let of_arm = |arm: &ArmFigures| {
            let norms: Vec<f64> = arm
                .readings
                .iter()
                .filter(of)
                .filter(|taken| taken.step == step)
                .map(|taken| taken.spread.mean)
                .collect();
            let (first, last) = (norms.first()?, norms.last()?);
            (norms.len() > 1 && *last > 0.0).then(|| format!("{} ({})", figure(first / last), arm.arm))
        };
        let ratios: Vec<String> = study.figures.arms.iter().filter_map(of_arm).collect();
        (!ratios.is_empty())
            .then(|| format!("Gradient in the first layer over that in the last, {when}: {}.", ratios.join(", ")))
    };
    let start = at(0, String::from("before the first step"));
    let later = on_the_way.and_then(|step| at(step, format!("after {step} steps")));
    start.into_iter().chain(later).collect()
}

/// A difference of shares in points.
pub fn points(difference: f64) -> String {
    format!("{:+.2} points", 100.0 * difference)
}

/// A difference on its scale.
fn size(scale: Scale, difference: f64) -> String {
    match scale {
        Scale::Points => points(difference),
        Scale::Logarithms => format!("{} times", figure(difference.exp())),
    }
}

/// The mean with its interval, or both where they disagree about 0.
fn intervals(scale: Scale, paired: &Paired) -> String {
    let end = |end: f64| match scale {
        Scale::Points => format!("{:+.2}", 100.0 * end),
        Scale::Logarithms => figure(end.exp()),
    };
    let shown = |interval: Option<[f64; 2]>| {
        interval.map_or(String::from("-"), |[least, greatest]| format!("{} to {}", end(least), end(greatest)))
    };
    let (t, bootstrap) = (shown(paired.by_t), shown(paired.by_bootstrap));
    let intervals = match paired.intervals_agree() {
        true => format!("95 % interval {t}"),
        false => format!("95 % interval {t} by t, {bootstrap} by the bootstrap"),
    };
    format!("{} ({intervals}, {})", size(scale, paired.mean), count(paired.pairs, "pair"))
}
