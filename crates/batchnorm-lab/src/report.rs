//! A comparison as one page of HTML that needs nothing else: no network, no script, no second file.
//!
//! [`html`] and [`picture`] are pure: the same comparison gives the same bytes, and a compare.json read again gives the
//! page again (`examples/render.rs`). A comparison with runs missing has a page too, which says so. Whatever comes
//! from outside (the command line, the machine's name, names of arms) is escaped where it enters the page.
//!
//! The sections in the page's order: `finding`, `curves`, `unit`, `gradients`, `answers`, `asked`. Below them are
//! `averages` and `page`; charts, tables and the page around them are `batchnorm-page`'s.
//!
//! A [grid](crate::grid) has its own pages in `study`, of the same charts and tables.
//!
//! Lines differ by dash pattern and carry their names; colours are the page's, in light, dark and print.

mod answers;
mod asked;
mod averages;
mod curves;
mod finding;
mod gradients;
mod logs;
mod page;
mod study;
mod unit;

use batchnorm_page::markup;

use crate::comparison::Comparison;
use crate::words::percent;
use page::page;
pub use study::{Rows, arms_table, readings_table, study_html, study_markdown, study_picture};

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
    let head = markup::paragraph(&question(comparison)) + &incomplete(comparison);
    page(title, &head, &sections.concat())
}

/// Accuracy against steps, as an SVG file of its own.
pub fn picture(comparison: &Comparison) -> String {
    curves::accuracy_by_steps(comparison).file()
}

/// Accuracy against epochs of some trainings, each with its name and the text of its log (`train --log`), as an SVG file of its own.
pub fn picture_of_logs(trainings: &[(String, String)]) -> String {
    logs::chart(trainings).file()
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
