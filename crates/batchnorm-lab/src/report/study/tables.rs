//! The tables of a grid, as text: on the terminal, in HTML and in Markdown they are the same.

use crate::grid::{ArmFigures, Near, Study, Sweep, Taken, intervals, points};
use crate::look::is_share;
use crate::report::markup::Table;
use crate::run::Ending;
use crate::statistics::Verdict;
use crate::summary::Spread;
use crate::words::{figure, percent, ranged};

/// Names of columns, and rows.
pub type Rows = (Vec<String>, Vec<Vec<String>>);

/// Rows as a table of HTML under a caption.
pub fn html_table(caption: &str, (head, rows): &Rows) -> String {
    let mut table = Table::new(caption, head.iter().map(String::as_str));
    for row in rows {
        table.row(row.iter().map(String::as_str));
    }
    table.html()
}

fn dash() -> String {
    String::from("-")
}

/// Each arm's figures.
pub fn arms_table(study: &Study) -> Rows {
    let target = study.question.target.map(percent);
    let mut head = vec![String::from("arm"), String::from("test accuracy"), String::from("ms a step")];
    if let Some(target) = &target {
        head.extend([format!("steps to {target}"), format!("seconds to {target}")]);
    }
    let row = |arm: &ArmFigures| {
        let mut row = vec![
            arm.arm.clone(),
            accuracy(arm),
            arm.milliseconds_a_step.map_or(dash(), |ms| ranged(ms, |ms| format!("{ms:.2}"))),
        ];
        if target.is_some() {
            row.extend([reached(arm, arm.steps_to_target, 0), reached(arm, arm.seconds_to_target, 2)]);
        }
        row
    };
    (head, study.figures.arms.iter().map(row).collect())
}

fn reached(arm: &ArmFigures, spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => format!("reached in 0 of {}", arm.cells),
        Some(spread) => {
            let of =
                if arm.reached < arm.cells { format!("; {} of {}", arm.reached, arm.cells) } else { String::new() };
            ranged(spread, |value| format!("{value:.digits$}")) + &of
        }
    }
}

fn accuracy(arm: &ArmFigures) -> String {
    let spread = arm.accuracy.map(|spread| ranged(spread, percent));
    match (spread, arm.diverged) {
        (Some(spread), 0) => spread,
        (Some(spread), diverged) => format!("{spread}; {diverged} of {} diverged", arm.cells),
        (None, diverged) if diverged > 0 => format!("{diverged} of {} diverged", arm.cells),
        (None, _) => dash(),
    }
}

/// Shares that were read at the end, and what they change.
pub fn readings_table(study: &Study) -> Rows {
    let head = ["arm", "what", "found", "change", "is it?"].map(str::to_owned).to_vec();
    let rows = study.figures.arms.iter().flat_map(|arm| {
        let shares = arm.readings.iter().filter(|taken| is_share(&taken.what) && taken.layer.is_none());
        shares.map(|taken| {
            let (change, verdict) = match &taken.change {
                Some(change) => {
                    let from = if change.what == "accuracy" { "running statistics" } else { &change.what };
                    (format!("{} from {from}", intervals(&change.difference)), said(change.verdict))
                }
                None => (dash(), dash()),
            };
            vec![arm.arm.clone(), taken.what.clone(), share(taken), change, verdict]
        })
    });
    (head, rows.collect())
}

fn share(taken: &Taken) -> String {
    match taken.what.contains(" less ") {
        true => ranged(taken.spread, points),
        false => ranged(taken.spread, percent),
    }
}

/// A verdict in a word or two.
fn said(verdict: Verdict) -> String {
    String::from(match verdict {
        Verdict::Greater => "higher",
        Verdict::Less => "lower",
        Verdict::NoDifferenceShown => "no difference shown",
        Verdict::TooFewPairs => "too few pairs",
    })
}

/// Every comparison of two arms.
pub fn comparisons(study: &Study) -> Rows {
    let head = ["arm", "beside", "what", "difference", "is it?"].map(str::to_owned).to_vec();
    let rows = study.figures.beside.iter().flat_map(|beside| {
        let accuracy =
            beside.accuracy.iter().map(|paired| (String::from("test accuracy"), intervals(paired), beside.verdict));
        let readings = beside.readings.iter().map(|of| (of.what.clone(), intervals(&of.difference), of.verdict));
        let all: Vec<Vec<String>> = accuracy
            .chain(readings)
            .map(|(what, difference, verdict)| {
                vec![beside.arm.clone(), beside.against.clone(), what, difference, said(verdict)]
            })
            .collect();
        match all.is_empty() {
            true => vec![vec![
                beside.arm.clone(),
                beside.against.clone(),
                String::from("test accuracy"),
                dash(),
                String::from("no pair: diverged"),
            ]],
            false => all,
        }
    });
    (head, rows.collect())
}

/// Published figures beside those found, with the caption of the table; none where there are none.
pub fn published(study: &Study) -> Option<(String, Rows)> {
    let head = ["arm", "what", "published", "found", "how near", "source"].map(str::to_owned).to_vec();
    let row = |near: &Near| {
        let Near { published, found, inside, .. } = near;
        let step = published.step.map_or(String::new(), |step| format!(" after {step} steps"));
        let what = format!("{}{step}", published.what.as_deref().unwrap_or("test accuracy"));
        let how = match (found, inside) {
            (None, _) => String::from("not found: no training came to it"),
            (Some(_), true) => String::from("in our range widened by a point"),
            (Some(found), false) => format!("{} from our mean", points(published.value - found.mean)),
        };
        let found = found.map_or(dash(), |found| ranged(found, percent));
        vec![published.arm.clone(), what, percent(published.value), found, how, published.source.clone()]
    };
    let rows: Vec<Vec<String>> = study.figures.near.iter().map(row).collect();
    let caption = String::from("Published figures of the same settings beside those found: mean (range over seeds)");
    (!rows.is_empty()).then_some((caption, (head, rows)))
}

/// How a setting was chosen. (An arm whose best value was at an end has further ones.)
pub fn sweeps(study: &Study) -> Rows {
    let Some(first) = study.sweeps.first() else { return (Vec::new(), Vec::new()) };
    let mut values: Vec<&str> = Vec::new();
    for (value, _) in study.sweeps.iter().flat_map(|sweep| &sweep.accuracies) {
        if !values.contains(&value.as_str()) {
            values.push(value);
        }
    }
    let number = |value: &&str| value.parse::<f64>().unwrap_or(0.0);
    values.sort_by(|one, other| number(one).total_cmp(&number(other)));
    let head = [String::from("arm"), String::from("chosen")];
    let head = head.into_iter().chain(values.iter().map(|value| format!("{} {value}", first.setting))).collect();
    let row = |sweep: &Sweep| {
        let accuracy = |value: &&str| match sweep.accuracies.iter().find(|(known, _)| known == value) {
            None => dash(),
            Some((_, accuracy)) => accuracy.map_or(String::from("diverged"), percent),
        };
        [sweep.arm.clone(), sweep.chosen.clone()].into_iter().chain(values.iter().map(accuracy)).collect()
    };
    (head, study.sweeps.iter().map(row).collect())
}

/// Every training.
pub fn cells(study: &Study) -> Rows {
    let target = study.question.target;
    let mut head =
        ["seed and arm", "ended", "test accuracy", "seconds of training", "seconds in all"].map(str::to_owned).to_vec();
    head.extend(target.map(|target| format!("steps to {}", percent(target))));
    let rows = study.cells.iter().map(|cell| {
        let trial = &cell.trial;
        let mut row = vec![
            format!("seed {}: {}", cell.seed, cell.arm),
            match trial.ending {
                Ending::Finished => format!("after {} steps", trial.steps),
                Ending::Diverged { step } => format!("diverged at step {step}"),
            },
            trial.accuracy.map_or(dash(), percent),
            figure(trial.seconds),
            figure(trial.wall_seconds),
        ];
        row.extend(
            target.map(|target| trial.reached(target).map_or(String::from("not reached"), |at| at.step.to_string())),
        );
        row
    });
    (head, rows.collect())
}
