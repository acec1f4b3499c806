//! What the figures of a grid say, in plain words: the same on the terminal and in the reports. Nothing is called found that the cells did not find.

use super::figures::{ArmFigures, Beside, BesideReading, Taken};
use super::question::{self, Arm, Question};
use super::study::Study;
use crate::statistics::{Paired, Verdict};
use crate::words::{count, figure, percent};

/// Arms that a sentence lists one by one.
const MOST_LISTED: usize = 6;

/// The findings, one sentence or two each.
pub fn findings(study: &Study) -> Vec<String> {
    let Study { question, figures, .. } = study;
    let mut found = Vec::new();
    if figures.arms.iter().all(|arm| arm.cells == 0) {
        return vec![String::from("Nothing yet: no training is finished.")];
    }
    found.extend(reached(study));
    for beside in grouped(question, &figures.beside) {
        match beside[..] {
            [one] => found.extend(sentences(one)),
            _ => found.extend(of_group(question, &beside)),
        }
    }
    found.extend(changes(study));
    found.extend(vanishing(study));
    found.extend(
        ["weight norm", "effective learning rate", "running over real variance"]
            .into_iter()
            .filter_map(|what| over_layers(study, what)),
    );
    let misses = figures.near.iter().filter(|near| near.found.is_some() && !near.inside).count();
    if !figures.near.is_empty() {
        let compared = figures.near.iter().filter(|near| near.found.is_some()).count();
        found.push(format!(
            "Of {} published figures {} lie in the range found here widened by a point{}.",
            compared,
            compared - misses,
            if misses > 0 { ", the others are in the table with how far they are off" } else { "" }
        ));
    }
    let diverged = figures.arms.iter().filter(|arm| arm.diverged > 0);
    let diverged: Vec<String> =
        diverged.map(|arm| format!("{} ({} of {})", arm.arm, arm.diverged, arm.cells)).collect();
    match diverged.len() {
        0 => {}
        1..=MOST_LISTED => found.push(format!("Diverged: {}.", diverged.join(" / "))),
        arms => {
            let trainings: usize = figures.arms.iter().map(|arm| arm.diverged).sum();
            found.push(format!("{trainings} trainings of {arms} arms diverged; the table has them."));
        }
    }
    found
}

/// Comparisons of the same two values of the setting along which arms are compared.
fn grouped<'b>(question: &Question, all: &'b [Beside]) -> Vec<Vec<&'b Beside>> {
    let label = |beside: &Beside| values_compared(question, beside);
    let mut groups: Vec<Vec<&Beside>> = Vec::new();
    for beside in all {
        let same = groups.iter_mut().find(|group| !question.beside.is_empty() && label(group[0]) == label(beside));
        match same {
            Some(group) => group.push(beside),
            None => groups.push(vec![beside]),
        }
    }
    groups
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
fn of_group(question: &Question, group: &[&Beside]) -> Vec<String> {
    let Some((value, against)) = values_compared(question, group[0]) else { return Vec::new() };
    let place = |beside: &Beside| {
        arm(question, &beside.arm).map_or(String::new(), |arm| arm.without(&[setting_compared(question, beside)]))
    };
    let entries = |figure: &dyn Fn(&Beside) -> Option<(Paired, Verdict)>| -> Vec<(String, f64, Verdict)> {
        let all = group
            .iter()
            .filter_map(|beside| figure(beside).map(|(paired, verdict)| (place(beside), paired.mean, verdict)));
        all.collect()
    };
    let mut said = Vec::new();
    let accuracy = entries(&|beside| beside.accuracy.clone().map(|paired| (paired, beside.verdict)));
    said.extend(listed(&format!("{value} beside {against}: test accuracy"), &accuracy));
    let mut kinds: Vec<&str> = Vec::new();
    for reading in group.iter().flat_map(|beside| &beside.readings) {
        if !kinds.contains(&reading.what.as_str()) {
            kinds.push(&reading.what);
        }
    }
    for what in kinds {
        let of_kind = entries(&|beside| {
            let reading = beside.readings.iter().find(|reading| reading.what == what)?;
            Some((reading.difference.clone(), reading.verdict))
        });
        said.extend(listed(&format!("{value} beside {against}: {what}"), &of_kind));
    }
    let timed: Vec<String> = group
        .iter()
        .filter_map(|beside| {
            let (steps, seconds) = (beside.doublings.as_ref()?, beside.doublings_of_seconds.as_ref()?);
            Some(format!("{} {} and {}", place(beside), sooner(steps, "steps"), sooner(seconds, "seconds")))
        })
        .collect();
    if (1..=MOST_LISTED).contains(&timed.len()) {
        said.push(format!("{value} beside {against}: the target at {}.", timed.join(" / ")));
    }
    let lost = group.iter().filter(|beside| beside.accuracy.is_none()).map(|beside| place(beside)).collect::<Vec<_>>();
    if !lost.is_empty() {
        let at = if lost.len() > MOST_LISTED { format!("{} places", lost.len()) } else { lost.join(" / ") };
        said.push(format!("{value} beside {against}: nothing to compare at {at}, where one of the two diverged."));
    }
    said
}

/// `higher at A (+1.2 points), B (+0.8); lower at C (-2.0); no difference shown at D`.
fn listed(of: &str, entries: &[(String, f64, Verdict)]) -> Option<String> {
    // (Places have commas of their own where several settings vary.)
    let sign = if entries.iter().any(|(place, ..)| place.contains(", ")) { " / " } else { ", " };
    let part = |word: &str, verdict: Verdict| {
        let shown = |(place, mean, _): &(String, f64, Verdict)| match (place.is_empty(), verdict) {
            (true, _) => points(*mean),
            (false, Verdict::Greater | Verdict::Less) => format!("{place} ({})", points(*mean)),
            (false, _) => place.clone(),
        };
        let at: Vec<String> = entries.iter().filter(|(.., of)| *of == verdict).map(shown).collect();
        (!at.is_empty()).then(|| format!("{word} {}", at.join(sign)))
    };
    let parts: Vec<String> = [
        part("higher at", Verdict::Greater),
        part("lower at", Verdict::Less),
        part("no difference shown at", Verdict::NoDifferenceShown),
        part("too few pairs at", Verdict::TooFewPairs),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| format!("{of} {}.", parts.join("; ")))
}

/// What may be said of an arm beside another one, figure by figure.
fn sentences(of_arm: &Beside) -> Vec<String> {
    let Beside { arm, against, lost, accuracy, verdict, doublings, doublings_of_seconds, censored, reached, readings } =
        of_arm;
    let lost = if *lost > 0 { format!(" ({} lost to divergence)", count(*lost, "seed")) } else { String::new() };
    let Some(paired) = accuracy else {
        return vec![format!("{arm} beside {against}: no pair to compare{lost}.")];
    };
    let mut text = format!("{arm} beside {against}: test accuracy {}{lost}.", difference(paired, *verdict));
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
        format!("{arm} beside {against}: {}: {}.", reading.what, difference(&reading.difference, reading.verdict))
    };
    [text].into_iter().chain(readings.iter().map(of_reading)).collect()
}

/// A difference with what may be said of it.
fn difference(paired: &Paired, verdict: Verdict) -> String {
    match verdict {
        Verdict::TooFewPairs => {
            format!("{} in {}: too few for a finding", points(paired.mean), count(paired.pairs, "pair"))
        }
        Verdict::NoDifferenceShown => format!("no difference shown: {}", intervals(paired)),
        Verdict::Greater | Verdict::Less => intervals(paired),
    }
}

/// By what factor an arm needs fewer steps (or seconds) or more, as far as that is shown.
fn sooner(doublings: &Paired, of: &str) -> String {
    let (fewer, more) = (|doublings: f64| doublings.exp2(), |doublings: f64| (-doublings).exp2());
    let (factor, word): (fn(f64) -> f64, _) = if doublings.mean >= 0.0 { (fewer, "fewer") } else { (more, "more") };
    let shown = |doublings: f64| format!("{:.2}", factor(doublings));
    let interval = doublings.by_t.map_or(String::new(), |ends| {
        let mut ends = ends.map(factor);
        ends.sort_by(f64::total_cmp);
        format!("95 % interval {:.2} to {:.2}, ", ends[0], ends[1])
    });
    let found = match doublings.verdict() {
        Verdict::Greater | Verdict::Less => "",
        Verdict::NoDifferenceShown => "no difference shown: ",
        Verdict::TooFewPairs => "too few pairs for a finding: ",
    };
    format!("in {found}{} times {word} {of} ({interval}{})", shown(doublings.mean), count(doublings.pairs, "pair"))
}

/// Where the target was reached, over the values of a setting.
fn reached(study: &Study) -> Vec<String> {
    let Question { target: Some(target), over: Some(over), arms, .. } = &study.question else { return Vec::new() };
    let over = over.as_str();
    let mut groups: Vec<String> = Vec::new();
    for arm in arms {
        let group = arm.without(&[Some(over)]);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let of_group = |group: &String| {
        let members = || arms.iter().filter(|arm| arm.without(&[Some(over)]) == *group);
        let at = |which: &dyn Fn(usize, usize) -> bool| {
            let figures = |arm: &Arm| study.figures.arms.iter().find(|figures| figures.arm == arm.name).cloned();
            let chosen =
                members().filter(|arm| figures(arm).is_some_and(|of| of.cells > 0 && which(of.reached, of.cells)));
            chosen.filter_map(|arm| arm.value(over)).collect::<Vec<_>>().join(", ")
        };
        let (all, some) = (at(&|reached, of| reached == of), at(&|reached, of| reached > 0 && reached < of));
        let name = if group.is_empty() { String::new() } else { format!("{group}: ") };
        let target = percent(*target);
        match (all.is_empty(), some.is_empty()) {
            (true, true) => format!("{name}{target} not reached at any {over}."),
            (true, false) => format!("{name}{target} reached by some seeds, not by all, at {over} {some}."),
            (false, true) => format!("{name}{target} reached by all seeds at {over} {all}."),
            (false, false) => format!("{name}{target} reached by all seeds at {over} {all}; by some at {some}."),
        }
    };
    groups.iter().map(of_group).collect()
}

/// What readings change within their own arms, reading by reading.
fn changes(study: &Study) -> Vec<String> {
    let mut kinds: Vec<&str> = Vec::new();
    let all = || study.figures.arms.iter().flat_map(|arm| arm.readings.iter().map(move |taken| (arm, taken)));
    for (_, Taken { what, change, .. }) in all() {
        if change.is_some() && !kinds.contains(&what.as_str()) {
            kinds.push(what);
        }
    }
    let of_kind = |what: &&str| {
        let of_arms = all().filter(|(_, taken)| taken.what == **what).filter_map(|(arm, taken)| {
            let change = taken.change.as_ref()?;
            Some((arm.arm.clone(), change.difference.mean, change.verdict, change.what.clone()))
        });
        let of_arms: Vec<(String, f64, Verdict, String)> = of_arms.collect();
        let from =
            if of_arms[0].3 == "accuracy" { String::from("that by running statistics") } else { of_arms[0].3.clone() };
        let entries: Vec<_> = of_arms.into_iter().map(|(arm, mean, verdict, _)| (arm, mean, verdict)).collect();
        listed(&format!("{}{}, beside {from}:", what[..1].to_uppercase(), &what[1..]), &entries)
    };
    kinds.iter().filter_map(of_kind).collect()
}

/// How gradients change from the last layer to the first before the first step.
fn vanishing(study: &Study) -> Option<String> {
    let of_arm = |arm: &ArmFigures| {
        let at_start = arm.readings.iter().filter(|taken| taken.what == "gradient norm" && taken.step == 0);
        let norms: Vec<f64> = at_start.map(|taken| taken.spread.mean).collect();
        let (first, last) = (norms.first()?, norms.last()?);
        (norms.len() > 1 && *last > 0.0).then(|| format!("{} ({})", figure(first / last), arm.arm))
    };
    let ratios: Vec<String> = study.figures.arms.iter().filter_map(of_arm).collect();
    (!ratios.is_empty()).then(|| {
        format!("Gradient in the first layer over that in the last, before the first step: {}.", ratios.join(", "))
    })
}

/// A reading of layers at the end, over those of each arm.
fn over_layers(study: &Study, what: &str) -> Option<String> {
    let of_arm = |arm: &ArmFigures| {
        let of_layers = arm.readings.iter().filter(|taken| taken.what == what && taken.layer.is_some());
        let last = of_layers.clone().map(|taken| taken.step).max()?;
        let means: Vec<f64> =
            of_layers.filter(|taken| taken.step == last).map(|taken| taken.spread.mean.ln()).collect();
        Some(format!("{} ({})", figure((means.iter().sum::<f64>() / means.len() as f64).exp()), arm.arm))
    };
    let arms: Vec<String> = study.figures.arms.iter().filter_map(of_arm).collect();
    let name = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
    (!arms.is_empty()).then(|| format!("{name} at the end, the geometric mean over layers: {}.", arms.join(", ")))
}

/// A difference of shares in points.
pub fn points(difference: f64) -> String {
    format!("{:+.2} points", 100.0 * difference)
}

/// The mean with its interval, or both where they disagree about 0.
pub fn intervals(paired: &Paired) -> String {
    let shown = |interval: Option<[f64; 2]>| {
        interval
            .map_or(String::from("-"), |[least, greatest]| format!("{:+.2} to {:+.2}", 100.0 * least, 100.0 * greatest))
    };
    let (t, bootstrap) = (shown(paired.by_t), shown(paired.by_bootstrap));
    let intervals = match paired.intervals_agree() {
        true => format!("95 % interval {t}"),
        false => format!("95 % interval {t} by t, {bootstrap} by the bootstrap"),
    };
    format!("{} ({intervals}, {})", points(paired.mean), count(paired.pairs, "pair"))
}
