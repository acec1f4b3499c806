//! What was measured and what it did, as tables and as JSON.

use std::fmt::Write;
use std::path::Path;

use batchnorm_model::file::Measurable;
use batchnorm_model::recalibrate::{Answers, Outcome, Recalibrated, Sign, Verdict};
use batchnorm_model::recipe::Recipe;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

use super::Arguments;
use crate::fits::Fits;
use crate::text::{self, of_layers};

pub fn shown(
    arguments: &Arguments,
    all: &[Measurable],
    outcome: &Outcome,
    fits: Option<&Fits>,
    recipe: Option<&Recipe>,
    output: Option<&Path>,
) -> String {
    if arguments.json {
        return json(arguments, all, outcome, fits, recipe, output);
    }
    let file = text::one_line(&arguments.input.display().to_string());
    let Outcome { layers, samples, answers, engine, .. } = outcome;
    let mut text =
        format!("{file}: {} of {} batch norms measured on {samples} samples by {engine}", layers.len(), all.len());
    match (arguments.one_pass, outcome.batch) {
        (true, batch) => {
            let _ = writeln!(text, ", in one pass by batches of {batch}: right for that size.");
        }
        (false, batch) if batch < arguments.resources.batch.min(*samples) => {
            let _ = writeln!(text, ", layer by layer (together no more than {batch} run through this model).");
        }
        (false, _) => text.push_str(", layer by layer.\n"),
    }
    if arguments.cut {
        text.push_str(
            "Measured on pictures cut at random out of black borders; the answers are of the pictures as they are.\n",
        );
    }
    let _ = writeln!(text, "{}", table(layers));
    text.push_str(
        "Mean moved: in old standard deviations, the median of the channels and the largest. Deviation: new by old, least, median, largest. \
         Error: the standard error of the mean, median.\n",
    );
    if let Some(needed) = layers.iter().filter_map(|layer| layer.errors?.samples_needed).max() {
        let _ = writeln!(
            text,
            "More data are needed: with about {needed} samples every median error would be below a twentieth of a deviation."
        );
    } else if layers.iter().all(|layer| layer.errors.is_none()) {
        text.push_str("How well they are known cannot be told from one sample.\n");
    }
    text.push('\n');
    text.push_str(&of_answers(answers));
    let stays = all.iter().filter_map(|norm| Some((&*norm.name, norm.node.err()?.to_owned())));
    text.push_str(&of_layers::reasons("Not measured", stays));
    text
}

fn table(layers: &[Recalibrated]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["batch norm", "values a channel", "mean moved", "deviation", "error"]);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    for layer in layers {
        let [median, largest] = layer.drift.mean;
        let [least, middle, most] = layer.drift.deviation;
        table.add_row(vec![
            Cell::new(of_layers::short_name(&layer.name)),
            right(layer.values.to_string()),
            right(format!("{median:.3}, {largest:.3}")),
            right(format!("{least:.3}, {middle:.3}, {most:.3}")),
            right(layer.errors.map_or_else(|| String::from("-"), |errors| format!("{:.4}", errors.mean[0]))),
        ]);
    }
    table
}

/// What became of the answers.
fn of_answers(answers: &Answers) -> String {
    let mut text =
        format!("The outputs change by {:.2} % of how they vary (roots of squares).\n", 100.0 * answers.change);
    let (Some(before), Some(after), Some(same)) = (&answers.before, &answers.after, answers.same) else { return text };
    let share = |count: usize| 100.0 * count as f64 / answers.samples as f64;
    if let (Some(right), Some(now)) = (before.right, after.right) {
        let _ = writeln!(
            text,
            "Right answers: {:.1} % before ({right}), {:.1} % after ({now}), of {}{}.",
            share(right),
            share(now),
            answers.samples,
            match answers.verdict() {
                Some(Verdict::WithinChance) => ": no more of a difference than chance explains",
                _ => "",
            }
        );
    }
    let _ = writeln!(
        text,
        "The same answer: {:.1} %. Mean confidence: {:.3} before, {:.3} after. Share of the class most often answered: {:.3} before, {:.3} after.",
        share(same),
        before.confidence,
        after.confidence,
        before.largest_class,
        after.largest_class
    );
    // (Where there are labels, they have told.)
    if before.right.is_none() {
        for sign in answers.signs() {
            let _ = writeln!(text, "A sign of harm: {}. Only labels can tell (--labels).", words(sign));
        }
        if answers.signs().is_empty() {
            text.push_str("No sign of harm in these; only labels can tell (--labels).\n");
        }
    }
    text
}

fn words(sign: Sign) -> &'static str {
    match sign {
        Sign::Confidence => "the mean confidence fell by more than 0.02",
        Sign::OneClass => "one class is answered 1.4 times as often as before",
    }
}

fn json(
    arguments: &Arguments,
    all: &[Measurable],
    outcome: &Outcome,
    fits: Option<&Fits>,
    recipe: Option<&Recipe>,
    output: Option<&Path>,
) -> String {
    let layer = |layer: &Recalibrated| {
        json!({
            "name": layer.name,
            "values": layer.values,
            "mean_moved": { "median": layer.drift.mean[0], "largest": layer.drift.mean[1] },
            "deviation": { "least": layer.drift.deviation[0], "median": layer.drift.deviation[1], "largest": layer.drift.deviation[2] },
            "standard_error": layer.errors.map(|errors| json!({
                "mean": { "median": errors.mean[0], "largest": errors.mean[1] },
                "variance": { "median": errors.variance[0], "largest": errors.variance[1] },
                "samples_needed": errors.samples_needed,
            })),
        })
    };
    let answers = &outcome.answers;
    let side = |side: &Option<batchnorm_model::recalibrate::Side>| {
        side.as_ref().map(|side| {
            json!({
                "right": side.right,
                "confidence": side.confidence,
                "largest_class": side.largest_class,
            })
        })
    };
    let signs = answers.signs().into_iter().map(|sign| match sign {
        Sign::Confidence => "confidence",
        Sign::OneClass => "one class",
    });
    let kept = all.iter().filter_map(|norm| Some(json!({ "name": norm.name, "reason": norm.node.err()? })));
    let object = json!({
        "command": "recalibrate",
        "version": env!("CARGO_PKG_VERSION"),
        "format": "batchnorm-recalibrate 1",
        "file": text::path(&arguments.input),
        "output": output.map(text::path),
        "data": arguments.data.data.as_deref().map(text::path),
        "recipe": recipe.map(Recipe::to_toml),
        "engine": outcome.engine,
        "samples": outcome.samples,
        "one_pass": arguments.one_pass,
        "cut": arguments.cut,
        "batch": outcome.batch,
        "batch_norms": all.len(),
        "layers": outcome.layers.iter().map(layer).collect::<Vec<Value>>(),
        "not_measured": kept.collect::<Vec<Value>>(),
        "change": answers.change,
        "same_answer": answers.same,
        "before": side(&answers.before),
        "after": side(&answers.after),
        "worse": answers.verdict().map(|verdict| verdict == Verdict::Worse),
        "lost": answers.changed.map(|[lost, _]| lost),
        "gained": answers.changed.map(|[_, gained]| gained),
        "verdict": answers.verdict(),
        "signs": signs.collect::<Vec<&str>>(),
        "fits": fits.map(Fits::json),
        "seconds": outcome.seconds,
        "announced": outcome.announced,
        "engine_share": outcome.engine_share,
    });
    text::json(&object)
}

pub fn rolled_back(path: &Path, output: Option<&Path>, norms: usize, json: bool) -> String {
    if json {
        let object = json!({
            "command": "recalibrate",
            "version": env!("CARGO_PKG_VERSION"),
            "format": "batchnorm-recalibrate 1",
            "file": text::path(path),
            "output": output.map(text::path),
            "rolled_back": norms,
        });
        return text::json(&object);
    }
    format!(
        "{}: {norms} batch norms have the statistics again that they had before.\n",
        text::one_line(&path.display().to_string())
    )
}
