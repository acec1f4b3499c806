//! The findings of the runs in plain words, and how certain they are.

use batchnorm_page::markup::{self, escape};

use crate::comparison::Comparison;
use crate::run::Run;
use crate::settings::{Arm, Settings};
use crate::summary::{Factor, Spread};
use crate::words::{self, percent, range, seeds, short};

/// One item for each arm against the first, and what the figures rest on.
pub fn section(comparison: &Comparison) -> String {
    let settings = &comparison.settings;
    let heading = "What this run found";
    if comparison.runs.is_empty() {
        return markup::section("finding", heading, &markup::paragraph("Nothing yet: no run is finished."));
    }
    let mut out = String::from("<ul class=\"finding\">\n");
    for factor in &comparison.summary.factors {
        let mut text = words::factor(factor, settings.target_accuracy, settings.steps);
        text += &one_side(factor);
        text += &at_the_end(comparison, factor);
        text += &time_of_a_step(comparison, factor);
        out += &format!("<li>{}</li>\n", escape(&text));
    }
    for arm in comparison.summary.arms.iter().filter(|arm| arm.diverged > 0) {
        let text = format!("\"{}\" diverged on {} of {} seeds.", arm.arm, arm.diverged, arm.runs);
        out += &format!("<li>{}</li>\n", escape(&text));
    }
    if settings.arms.len() < 2 {
        out += "<li>There is one arm: nothing to compare it with.</li>\n";
    }
    out += "</ul>\n";
    out += &table(comparison);
    out += &markup::paragraph(&format!(
        "How sure is that? A factor is the geometric mean over seeds of the steps (seconds) of the first arm over \
         those of the other; what stands in brackets is the least and the greatest of them, not a confidence \
         interval. Steps to the mark are the first evaluation at or above it, so they are known to {} steps, and one \
         lucky evaluation counts. Seeds vary the start weights and the order of the batches. The {} test images, the \
         split, the network and the machine are the same throughout: another choice of these can give other factors. \
         One test image is {:.2} points of accuracy.",
        settings.evaluate_every,
        super::answers::TEST_IMAGES,
        100.0 / super::answers::TEST_IMAGES as f64
    ));
    out += &rates(comparison);
    markup::section("finding", heading, &out)
}

/// Each arm's figures.
fn table(comparison: &Comparison) -> String {
    let settings = &comparison.settings;
    let target = percent(settings.target_accuracy);
    let (steps, seconds) = (format!("Steps to {target}"), format!("Seconds to {target}"));
    let columns = ["Arm", "Runs", &steps, &seconds, "Accuracy at the end", "Milliseconds a step"];
    let mut table = markup::Table::new("Each arm over its finished runs: mean (range over seeds)", columns);
    for arm in &comparison.summary.arms {
        table.row([
            arm.arm.as_str(),
            &format!("{} of {}", arm.runs, settings.seeds.len()),
            &words::reached(arm, arm.steps_to_target, settings.steps, |steps| format!("{steps:.0}")),
            &words::reached(arm, arm.seconds_to_target, settings.steps, |seconds| format!("{seconds:.2}")),
            &words::final_accuracy(arm),
            &arm.milliseconds_a_step.map_or(String::from("-"), |spread| words::ranged(spread, |ms| format!("{ms:.2}"))),
        ]);
    }
    table.html()
}

/// A sentence on the agreement of all seeds, with the probability of that by chance.
fn one_side(factor: &Factor) -> String {
    let Some(steps) = factor.steps else { return String::new() };
    // A seed without a factor is one that does not agree.
    let complete = factor.measured == factor.pairs && factor.pairs > 1;
    if !complete || (steps.least <= 1.0 && steps.greatest >= 1.0) {
        return String::new();
    }
    format!(
        " All {} point the same way; were the two alike, that would happen in 1 of {} such comparisons.",
        seeds(factor.pairs),
        2f64.powi(factor.pairs as i32 - 1)
    )
}

/// A sentence on the difference of accuracy at the end, paired by seed.
fn at_the_end(comparison: &Comparison, factor: &Factor) -> String {
    let Some(points) = paired(comparison, factor, |run| run.final_accuracy.map(|share| 100.0 * share), |a, b| b - a)
    else {
        return String::new();
    };
    let signed = |points: f64| format!("{points:+.1}");
    let (count, spread) = points;
    let steps = comparison.settings.steps;
    let over = match count {
        1 => String::from("one seed"),
        _ => format!("{} over {}", range(spread, signed), seeds(count)),
    };
    let verdict = match count {
        1 => "",
        _ if spread.least <= 0.0 && spread.greatest >= 0.0 => ": the range includes 0, no difference is shown",
        _ => "",
    };
    format!(" After {steps} steps its accuracy differs by {} points ({over}){verdict}.", signed(spread.mean))
}

/// A sentence on the time of a step.
fn time_of_a_step(comparison: &Comparison, factor: &Factor) -> String {
    let a_step = |run: &Run| {
        let last = run.curve.last().filter(|point| point.step > 0)?;
        Some(last.seconds / last.step as f64).filter(|seconds| *seconds > 0.0)
    };
    let Some((count, spread)) = paired(comparison, factor, a_step, |a, b| b / a) else { return String::new() };
    let over = if count == 1 { String::new() } else { format!(" ({})", range(spread, short)) };
    format!(" A step of it took {} times as long{over}.", short(spread.mean))
}

/// The spread, over the seeds that both arms finished, of a figure of the first arm's run combined with that of this
/// arm's.
fn paired(
    comparison: &Comparison,
    factor: &Factor,
    figure: impl Fn(&Run) -> Option<f64>,
    combine: impl Fn(f64, f64) -> f64,
) -> Option<(usize, Spread)> {
    let find = |arm: &str, seed| comparison.runs.iter().find(|run| run.arm == arm && run.seed == seed);
    let values = comparison.settings.seeds.iter().filter_map(|&seed| {
        let (first, other) = (find(&factor.against, seed)?, find(&factor.arm, seed)?);
        Some(combine(figure(first)?, figure(other)?))
    });
    let values: Vec<f64> = values.collect();
    Some((values.len(), Spread::of(&values)?))
}

/// A paragraph on the role of the learning rate, and on the source of the rates.
fn rates(comparison: &Comparison) -> String {
    let arms = &comparison.settings.arms;
    let defaults = Settings::default();
    let text = if *arms == defaults.arms && comparison.settings.network == defaults.network {
        format!(
            "The learning rates were set before this run, by a sweep from 0.01 to 30 over three other seeds in which \
             each arm was trained for 6,000 steps: 3 brought the network without batch norm soonest to {}, 0.5 the \
             one with it. So the first arm is at its best rate, and batch norm is shown both at that rate and at its \
             own. (The sweep's table is in the source, in the documentation of Settings.)",
            percent(defaults.target_accuracy)
        )
    } else if arms.iter().all(|arm: &Arm| arm.learning_rate == arms[0].learning_rate) {
        String::from(
            "All arms have the learning rate that was asked for. At a rate that suits one of them less, the factor \
             says as much about the rate as about batch norm; without --learning-rate each is shown at its best.",
        )
    } else {
        String::from("The arms' learning rates are those asked for; nothing is said of others.")
    };
    markup::paragraph(&text)
}
