//! What a grid says, as a table with a sentence for each arm, and as JSON.

use batchnorm_lab::grid::{ArmFigures, Beside, Figures};
use batchnorm_lab::statistics::{Paired, Verdict};
use batchnorm_lab::words::{count, percent, ranged};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::json;

use super::asked::Grid;
use super::store::Store;
use crate::failure::Failure;
use crate::terminal::put;
use crate::text;

pub fn print(grid: &Grid, figures: &Figures, store: &Store) -> Result<(), Failure> {
    let target = grid.target.map(percent);
    let mut head = vec![String::from("arm"), String::from("test accuracy"), String::from("ms a step")];
    if let Some(target) = &target {
        head.extend([format!("steps to {target}"), format!("seconds to {target}")]);
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(head);
    for arm in &figures.arms {
        let mut row =
            vec![accuracy(arm), arm.milliseconds_a_step.map_or(dash(), |ms| ranged(ms, |ms| format!("{ms:.2}")))];
        if target.is_some() {
            let reached = |spread: Option<_>, digits: usize| match spread {
                None => format!("reached in 0 of {}", arm.cells),
                Some(spread) => {
                    let of = if arm.reached < arm.cells {
                        format!("; {} of {}", arm.reached, arm.cells)
                    } else {
                        String::new()
                    };
                    ranged(spread, |value| format!("{value:.digits$}")) + &of
                }
            };
            row.extend([reached(arm.steps_to_target, 0), reached(arm.seconds_to_target, 2)]);
        }
        let cells = row.into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(&arm.arm)].into_iter().chain(cells));
    }
    let seeds = grid.cells.len() / grid.arms.len().max(1);
    let mut shown = format!(
        "Mean (least to greatest) over {}, on {} examples not trained on.\n{table}\n",
        count(seeds, "seed"),
        grid.test
    );
    for of_arm in &figures.beside {
        shown += &sentence(of_arm);
        shown.push('\n');
    }
    let [json, csv] = store.summaries();
    put(&format!("{shown}Curves, settings and machine: {}; a line for each cell: {}\n", json.display(), csv.display()))
}

fn dash() -> String {
    String::from("-")
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

/// What may be said of an arm beside the first one.
fn sentence(of_arm: &Beside) -> String {
    let Beside { arm, against, lost, accuracy, verdict, doublings, censored } = of_arm;
    let lost = if *lost > 0 { format!(" ({} lost to divergence)", count(*lost, "seed")) } else { String::new() };
    let Some(paired) = accuracy else { return format!("{arm} beside {against}: no pair to compare{lost}.") };
    let pairs = count(paired.pairs, "pair");
    let shown = match verdict {
        Verdict::TooFewPairs => format!("{} in {pairs}: too few for a finding", points(paired.mean)),
        Verdict::NoDifferenceShown => format!("no difference shown: {}", intervals(paired)),
        Verdict::Greater | Verdict::Less => intervals(paired),
    };
    let mut text = format!("{arm} beside {against}: test accuracy {shown}{lost}.");
    if let Some(doublings) = doublings {
        text += &format!(" The target {}", sooner(doublings));
        if *censored > 0 {
            text += &format!(", without {} in which one or both did not reach it", count(*censored, "pair"));
        }
        text.push('.');
    }
    text
}

/// By what factor an arm needs fewer steps or more, as far as that is shown.
fn sooner(doublings: &Paired) -> String {
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
    format!("in {found}{} times {word} steps ({interval}{})", shown(doublings.mean), count(doublings.pairs, "pair"))
}

fn points(difference: f64) -> String {
    format!("{:+.2} points", 100.0 * difference)
}

/// The mean with its interval, or both where they disagree about 0.
fn intervals(paired: &Paired) -> String {
    let shown = |interval: Option<[f64; 2]>| {
        interval.map_or(dash(), |[least, greatest]| format!("{:+.2} to {:+.2}", 100.0 * least, 100.0 * greatest))
    };
    let (t, bootstrap) = (shown(paired.by_t), shown(paired.by_bootstrap));
    let intervals = match paired.intervals_agree() {
        true => format!("95 % interval {t}"),
        false => format!("95 % interval {t} by t, {bootstrap} by the bootstrap"),
    };
    format!("{} ({intervals}, {})", points(paired.mean), count(paired.pairs, "pair"))
}

pub fn print_json(grid: &Grid, figures: &Figures, store: &Store) -> Result<(), Failure> {
    let [json, csv] = store.summaries();
    let whole = json!({
        "file": text::path(&json),
        "table": text::path(&csv),
        "flags": grid.base,
        "target": grid.target,
        "figures": figures,
    });
    put(&format!("{whole:#}\n"))
}
