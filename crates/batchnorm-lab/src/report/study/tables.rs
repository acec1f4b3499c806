//! The tables of a grid, as text: on the terminal, in HTML and in Markdown they are the same.

use batchnorm_page::markup::Table;
use indexmap::IndexSet;

use crate::grid::{ArmFigures, Beside, Near, Scale, Study, Sweep, Taken, difference, points, sooner};
use crate::look::Kind;
use crate::run::Ending;
use crate::statistics::Verdict;
use crate::summary::Spread;
use crate::words::{count, figure, percent, ranged};

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

/// Shares and sizes that were read at the end, and what the shares change.
pub fn readings_table(study: &Study) -> Rows {
    let head = ["arm", "what", "found", "change", "is it?"].map(str::to_owned).to_vec();
    let rows = study.figures.arms.iter().flat_map(|arm| {
        let shares = arm.readings.iter().filter(|taken| taken.kind != Kind::Number);
        shares.map(|taken| {
            let (change, verdict) = match &taken.change {
                Some(change) => {
                    let size = difference(Scale::Points, &change.difference);
                    (format!("{size}, beside {}", change.from.said()), said(change.verdict))
                }
                None => (dash(), dash()),
            };
            vec![arm.arm.clone(), taken.what.clone(), share(taken), change, verdict]
        })
    });
    (head, rows.collect())
}

fn share(taken: &Taken) -> String {
    match taken.kind {
        Kind::Points => ranged(taken.spread, points),
        Kind::Size => ranged(taken.spread, figure),
        _ => ranged(taken.spread, percent),
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
    (head, study.figures.beside.iter().flat_map(compared).collect())
}

fn compared(beside: &Beside) -> Vec<Vec<String>> {
    let row = |what: &str, difference: String, verdict: String| {
        vec![beside.arm.clone(), beside.against.clone(), what.to_owned(), difference, verdict]
    };
    let lost =
        if beside.lost > 0 { format!("; {} lost to divergence", count(beside.lost, "pair")) } else { String::new() };
    let mut rows = vec![match &beside.accuracy {
        Some(paired) => row("test accuracy", difference(Scale::Points, paired) + &lost, said(beside.verdict)),
        None => row("test accuracy", dash(), format!("no pair to compare{lost}")),
    }];
    let not_reached = if beside.censored > 0 {
        format!("; {} in which one or both did not get there", count(beside.censored, "pair"))
    } else {
        String::new()
    };
    for (doublings, of) in [(&beside.doublings, "steps"), (&beside.doublings_of_seconds, "seconds")] {
        let what = format!("{of} to the target");
        match doublings {
            Some(doublings) => {
                rows.push(row(&what, sooner(doublings, of) + &not_reached, sooner_said(doublings.verdict())))
            }
            None if beside.censored > 0 => rows.push(row(&what, dash(), format!("no pair to compare{not_reached}"))),
            None => {}
        }
    }
    let readings = beside.readings.iter();
    rows.extend(readings.map(|of| row(&of.what, difference(of.scale, &of.difference), said(of.verdict))));
    rows
}

/// A verdict on doublings.
fn sooner_said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Greater => String::from("sooner"),
        Verdict::Less => String::from("later"),
        other => said(other),
    }
}

/// Published figures beside those found, with the caption of the table; none where there are none.
pub fn published(study: &Study) -> Option<(String, Rows)> {
    let head = ["arm", "what", "published", "found", "how near", "source"].map(str::to_owned).to_vec();
    let row = |near: &Near| {
        let Near { published, found, cells, of, inside } = near;
        let step = published.step.map_or(String::new(), |step| format!(" after {step} steps"));
        let what = format!("{}{step}", published.what.as_deref().unwrap_or("test accuracy"));
        let note = published.note.as_ref().map_or(String::new(), |note| format!(" ({note})"));
        let how = match (found, inside) {
            (None, _) => String::from("not found: it was not read, or no training got there"),
            (Some(_), true) => format!("in our range widened by a point{note}"),
            (Some(found), false) => format!("{} from our mean{note}", points(published.value - found.mean)),
        };
        let some = if cells < of { format!("; {cells} of {of} seeds") } else { String::new() };
        let found = found.map_or(dash(), |found| ranged(found, percent) + &some);
        vec![published.arm.clone(), what, percent(published.value), found, how, published.source.clone()]
    };
    let rows: Vec<Vec<String>> = study.figures.near.iter().map(row).collect();
    let caption = String::from(
        "Published figures beside those found, in the same settings as far as those are known: mean (range over seeds)",
    );
    (!rows.is_empty()).then_some((caption, (head, rows)))
}

/// The settings in which the arms' trainings differ.
pub fn plans(study: &Study) -> Rows {
    let flat: Vec<(&str, Vec<(String, String)>)> = study
        .plans
        .iter()
        .map(|(arm, plan)| {
            let mut settings = Vec::new();
            flatten("", &serde_json::to_value(plan).unwrap_or_default(), &mut settings);
            (arm.as_str(), settings)
        })
        .collect();
    let value = |settings: &[(String, String)], name: &str| {
        settings.iter().find(|(of, _)| of == name).map_or(dash(), |(_, value)| value.clone())
    };
    let all: IndexSet<&str> = flat.iter().flat_map(|(_, settings)| settings).map(|(name, _)| name.as_str()).collect();
    let differ = |name: &&str| flat.iter().any(|(_, settings)| value(settings, name) != value(&flat[0].1, name));
    let names: Vec<&str> = all.into_iter().filter(differ).collect();
    let head = [String::from("arm")].into_iter().chain(names.iter().map(|name| name.replace('_', " "))).collect();
    let row = |(arm, settings): &(&str, Vec<(String, String)>)| {
        [(*arm).to_owned()].into_iter().chain(names.iter().map(|name| value(settings, name))).collect()
    };
    (head, if names.is_empty() { Vec::new() } else { flat.iter().map(row).collect() })
}

/// The settings of a plan by their paths; lists are one setting.
fn flatten(path: &str, value: &serde_json::Value, into: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, into);
            }
        }
        serde_json::Value::Array(items) if items.len() > 4 => {
            into.push((path.to_owned(), format!("{} of them", items.len())))
        }
        other => into.push((path.to_owned(), other.to_string().replace('"', ""))),
    }
}

/// How a setting was chosen. (An arm whose best value was at an end has further ones.)
pub fn sweeps(study: &Study) -> Rows {
    let Some(first) = study.sweeps.first() else { return (Vec::new(), Vec::new()) };
    let values = study.sweeps.iter().flat_map(|sweep| &sweep.accuracies).map(|(value, _)| value.as_str());
    let mut values: IndexSet<&str> = values.collect();
    let number = |value: &&str| value.parse::<f64>().unwrap_or(0.0);
    values.sort_by(|one, other| number(one).total_cmp(&number(other)));
    let head = [String::from("arm"), String::from("chosen")];
    let head = head.into_iter().chain(values.iter().map(|value| format!("{} {value}", first.setting))).collect();
    let row = |sweep: &Sweep| {
        let accuracy = |value: &&str| match sweep.accuracies.iter().find(|(known, _)| known == value) {
            None => dash(),
            Some((_, accuracy)) => accuracy.map_or(String::from("diverged"), percent),
        };
        [sweep.arm.clone(), sweep.chosen.clone() + if sweep.at_an_end { " (at an end)" } else { "" }]
            .into_iter()
            .chain(values.iter().map(accuracy))
            .collect()
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
