//! A comparison as one page of HTML that needs nothing else: no network, no script, no second file.
//!
//! [`html`] and [`picture`] are pure: the same comparison gives the same bytes, and a compare.json read again gives the
//! page again (`examples/render.rs`). A comparison with runs missing has a page too, which says so. Whatever comes
//! from outside (the command line, the machine's name, names of arms) is escaped where it enters the page.
//!
//! The sections in the page's order: `finding`, `curves`, `unit`, `gradients`, `answers`, `asked`. Below them are
//! `chart` with `axis` and `labels`, tables and figures in `markup`, and `averages`.
//!
//! Lines differ by dash pattern and carry their names; colours come from `style.css`, in light, dark and print.

mod answers;
mod asked;
mod averages;
mod axis;
mod chart;
mod curves;
mod finding;
mod gradients;
mod labels;
mod logs;
mod markup;
mod unit;

use crate::comparison::Comparison;
use crate::words::percent;
use chart::Chart;
use markup::escape;

const STYLE: &str = include_str!("report/style.css");
/// Colours, lines and text of charts: the part of the style that a picture alone needs.
const CHART_STYLE: &str = include_str!("report/chart.css");

/// The whole page.
pub fn html(comparison: &Comparison) -> String {
    let title = "Batch norm on handwritten digits";
    let sections = [
        finding::section(comparison),
        curves::section(comparison),
        unit::section(comparison),
        gradients::section(comparison),
        answers::section(comparison),
        asked::section(comparison),
        asked::published(),
    ];
    // The policy makes browsers refuse any request, should one ever slip in.
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{CHART_STYLE}{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<h1>{title}</h1>\n{}{}</header>\n{}</main>\n</body>\n</html>\n",
        markup::paragraph(&question(comparison)),
        incomplete(comparison),
        sections.concat()
    )
}

/// Accuracy against steps, as an SVG file of its own.
pub fn picture(comparison: &Comparison) -> String {
    alone(&curves::accuracy_by_steps(comparison))
}

/// Accuracy against epochs of some trainings, each with its name and the text of its log (`train --log`), as an SVG file of its own.
pub fn picture_of_logs(trainings: &[(String, String)]) -> String {
    alone(&logs::chart(trainings))
}

/// A chart as a file of its own.
fn alone(chart: &Chart) -> String {
    let (title, text) = (escape(&chart.title), escape(&chart.description));
    let (width, height) = (chart.width, chart.height);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {width} {height}\" \
         width=\"{}\" height=\"{}\" role=\"img\" aria-labelledby=\"title text\">\n\
         <title id=\"title\">{title}</title>\n<desc id=\"text\">{text}</desc>\n<style>\n{CHART_STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
        1.6 * width,
        1.6 * height,
        chart.content()
    )
}

fn question(comparison: &Comparison) -> String {
    let settings = &comparison.settings;
    let names: Vec<String> = settings.arms.iter().map(|arm| format!("\u{201c}{}\u{201d}", arm.name)).collect();
    format!(
        "Does batch normalisation make a sigmoid network learn faster, and end better? One network is trained from \
         the same start weights on the same batches as {}, once for each of {}. Accuracy is that on {} digits never \
         trained on; the mark to reach is {}.",
        names.join(", "),
        crate::words::seeds(settings.seeds.len()),
        answers::TEST_IMAGES,
        percent(settings.target_accuracy)
    )
}

fn incomplete(comparison: &Comparison) -> String {
    if comparison.complete {
        return String::new();
    }
    let (done, total) = (comparison.runs.len(), comparison.settings.arms.len() * comparison.settings.seeds.len());
    format!(
        "<p class=\"incomplete\" role=\"note\"><strong>Incomplete:</strong> {done} of {total} runs are finished. All \
         below speaks of those alone; the same command goes on with the rest.</p>\n"
    )
}
