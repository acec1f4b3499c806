//! The verdict on another program's gradients: as a table with sentences, and as JSON.

use crate::text;
use batchnorm_gradcheck::{Diagnosis, Finding, Mistake, Nearest, Precision, Verdict};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// The layer and the input that gradients were judged by.
pub struct Subject<'a> {
    pub input: &'a Path,
    pub layer: String,
    pub shape: &'a [usize],
    pub number: String,
    pub channel_axis: usize,
    pub epsilon: f64,
}

/// The verdict as a word.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Right => "right",
        Verdict::Inexact => "right, but inexact",
        Verdict::Hidden => "cannot be judged",
        Verdict::Undecided(_) => "cannot be told apart",
        Verdict::Wrong(_) | Verdict::Unexplained { .. } => "wrong",
        Verdict::NotFinite(_) => "not finite",
        Verdict::ByChannel(verdicts) if verdicts.iter().any(|(verdict, _)| verdict.is_wrong()) => "wrong",
        _ => "channels differ",
    }
}

/// Whether rounding hides a gradient, or some of its channels, from judgement.
fn hides(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::ByChannel(verdicts) => verdicts.iter().any(|(verdict, _)| hides(verdict)),
        other => *other == Verdict::Hidden,
    }
}

fn precision(precision: Precision) -> &'static str {
    match precision {
        Precision::Bfloat => "bfloat16",
        Precision::Half => "float16",
        Precision::Single => "float32",
        Precision::Double => "float64",
    }
}

fn names(mistakes: &[&Mistake]) -> String {
    mistakes.iter().map(|mistake| mistake.name).collect::<Vec<&str>>().join("; ")
}

/// The verdict in sentences, one a line.
fn sentences(verdict: &Verdict, precision: &str) -> Vec<String> {
    match verdict {
        Verdict::Right => Vec::new(),
        Verdict::Inexact => {
            vec![format!("the right formula; the error is one of plain arithmetic in {precision} on this input")]
        }
        Verdict::Undecided(mistakes) => vec![format!(
            "cannot be told apart on this input: right, or {}; plain arithmetic in {precision} may be off by as much",
            names(mistakes)
        )],
        Verdict::Hidden => vec![format!(
            "cannot be judged on this input: it is far from the right gradient, but plain arithmetic in {precision} may be as \
             far; take fewer values a channel, values nearer to 0, or a wider type"
        )],
        Verdict::Wrong(mistakes) => {
            let mut lines = Vec::new();
            if mistakes.len() > 1 {
                lines.push(format!("one of these, which cannot be told apart on this input: {}", names(mistakes)));
            }
            for mistake in mistakes {
                lines.push(format!("{}: {}", mistake.name, mistake.missing));
                lines.push(format!("  mend: {}", mistake.mend));
            }
            lines
        }
        Verdict::Unexplained { nearest, distance, terms } => {
            let mut lines = vec![match nearest_name(nearest) {
                Some(name) => format!("no known mistake explains it; the nearest is {name}, {distance:.1e} away"),
                None => "no known mistake explains it, and none comes near: is it the gradient of these arrays at all?"
                    .into(),
            }];
            if let Some([dy, mean_dy, mean_dy_xhat]) = terms {
                lines.push(format!(
                    "  its terms, as parts of the right ones: dy {dy:.6}, mean(dy) {mean_dy:.6}, xhat mean(dy xhat) {mean_dy_xhat:.6}"
                ));
            }
            lines
        }
        Verdict::NotFinite(count) => vec![format!("NaN or infinity in {count} places")],
        Verdict::ByChannel(verdicts) => verdicts
            .iter()
            .flat_map(|(verdict, channels)| {
                let head = format!("{}: {}", of_channels(channels), word(verdict));
                let details = sentences(verdict, precision).into_iter().map(|line| format!("  {line}"));
                [head].into_iter().chain(details).collect::<Vec<String>>()
            })
            .collect(),
        other => vec![format!("{other:?}")],
    }
}

/// What comes nearest, in words; `None` where nothing does.
fn nearest_name(nearest: &Nearest) -> Option<&'static str> {
    match nearest {
        Nearest::Truth => Some("the right gradient"),
        Nearest::Mistake(mistake) => Some(mistake.name),
        Nearest::Nothing => None,
    }
}

fn of_channels(channels: &[usize]) -> String {
    let listed: Vec<String> = channels.iter().take(12).map(usize::to_string).collect();
    let more = if channels.len() > 12 { format!(", ... ({} in all)", channels.len()) } else { String::new() };
    format!("channel{} {}{more}", if channels.len() == 1 { "" } else { "s" }, listed.join(", "))
}

pub fn as_table(subject: &Subject, diagnosis: &Diagnosis) -> String {
    let Subject { input, layer, shape, number, channel_axis, epsilon } = subject;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "gradient",
        "verdict",
        "worst error",
        "plain rounding",
        "where",
        "got",
        "expected",
        "judged as",
    ]);
    let mut text = String::new();
    for (name, found) in diagnosis.all() {
        let Finding { verdict, error, index, got, expected, allowed, .. } = found;
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(name),
            Cell::new(word(verdict)),
            right(format!("{error:.1e}")),
            right(format!("{allowed:.1e}")),
            Cell::new(format!("{index:?}")),
            right(format!("{got:.9e}")),
            right(format!("{expected:.9e}")),
            Cell::new(precision(found.precision)),
        ]);
        for line in sentences(verdict, precision(found.precision)) {
            let _ = writeln!(text, "{name}: {line}");
        }
    }
    let unjudged: Vec<&str> =
        diagnosis.all().filter(|(_, found)| hides(&found.verdict)).map(|(name, _)| name).collect();
    let what = match (diagnosis.is_wrong(), unjudged.is_empty()) {
        (true, _) => String::from("Wrong."),
        (false, true) => String::from("No gradient is wrong."),
        (false, false) => format!("Nothing is known to be wrong, but {} cannot be judged.", unjudged.join(", ")),
    };
    let input = text::one_line(&input.to_string_lossy());
    format!(
        "{input} {shape:?} {number}, {layer}, channel axis {channel_axis}, eps {epsilon:e}\n{table}\n{text}{what}\n\
         Errors: dx by max|gamma| max|dy| / deviation of what is normalised together, dgamma by sum|dy xhat|, dbeta by sum|dy|.\n"
    )
}

fn mistakes(mistakes: &[&Mistake]) -> Value {
    mistakes
        .iter()
        .map(|mistake| json!({"name": mistake.name, "missing": mistake.missing, "mend": mistake.mend}))
        .collect()
}

fn verdict_json(verdict: &Verdict) -> Value {
    let mut value = json!({
        "verdict": word(verdict),
        "wrong": verdict.is_wrong(),
        "mistakes": mistakes(&verdict.mistakes()),
    });
    match verdict {
        Verdict::Undecided(_) => value["right_is_possible"] = json!(true),
        Verdict::Wrong(mistakes) => value["told_apart"] = json!(mistakes.len() == 1),
        Verdict::Unexplained { nearest, distance, terms } => {
            value["nearest"] = json!(nearest_name(nearest));
            value["distance"] = json!(distance);
            value["terms"] = json!(terms.map(|[dy, mean_dy, mean_dy_xhat]| json!({
                "dy": dy, "mean_dy": mean_dy, "xhat_mean_dy_xhat": mean_dy_xhat,
            })));
        }
        Verdict::NotFinite(count) => value["not_finite"] = json!(count),
        Verdict::ByChannel(verdicts) => {
            let channels = verdicts.iter().map(|(verdict, channels)| {
                let mut value = verdict_json(verdict);
                value["channels"] = json!(channels);
                value
            });
            value["channels"] = channels.collect();
        }
        _ => {}
    }
    value
}

pub fn as_json(subject: &Subject, diagnosis: &Diagnosis) -> String {
    let mut gradients = serde_json::Map::new();
    for (name, found) in diagnosis.all() {
        let mut value = verdict_json(&found.verdict);
        value["error"] = json!(found.error);
        value["plain_rounding"] = json!(found.allowed);
        value["channel"] = json!(found.channel);
        value["index"] = json!(found.index);
        value["got"] = json!(found.got);
        value["expected"] = json!(found.expected);
        value["judged_as"] = json!(precision(found.precision));
        gradients.insert(name.to_owned(), value);
    }
    let summary = json!({
        "command": "gradcheck",
        "version": env!("CARGO_PKG_VERSION"),
        "against": true,
        "input": text::path(subject.input),
        "layer": subject.layer,
        "shape": subject.shape,
        "type": subject.number,
        "channel_axis": subject.channel_axis,
        "epsilon": subject.epsilon,
        "gradients": gradients,
        "wrong": diagnosis.is_wrong(),
    });
    format!("{summary:#}\n")
}
