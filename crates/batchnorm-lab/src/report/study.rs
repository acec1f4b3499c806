//! A grid as one page of HTML, as a page of Markdown, and as a picture: each made of the same findings and tables.

mod charts;
mod layers;
mod tables;

use batchnorm_page::markup::{self, escape};

use super::page::page;
use crate::grid::{Made, Study, findings};
use crate::words::count;
use tables::html_table;
pub use tables::{Rows, arms_table, readings_table};

/// The whole page.
pub fn study_html(study: &Study) -> String {
    let question = &study.question;
    let sections =
        [found(study), published(study), charts::section(study), layers::section(study), compared(study), asked(study)];
    let head: String = asked_in_words(study).iter().map(|text| markup::paragraph(text)).collect();
    page(&format!("Batch norm: {}", question.title), &head, &sections.concat())
}

/// The compact report.
pub fn study_markdown(study: &Study) -> String {
    let question = &study.question;
    let mut out = format!("# {}\n\n", question.title);
    for text in asked_in_words(study) {
        out += &format!("{text}\n\n");
    }
    out += &format!("`{}`\n\n", study.command);
    for finding in findings(study) {
        out += &format!("- {}\n", finding.replace('|', ";"));
    }
    if !charts::all(study).is_empty() {
        out += "\n![The first chart of the report](grid.svg)\n";
    }
    for (_, rows) in tables::published(study).into_iter().chain([
        (String::new(), tables::arms_table(study)),
        (String::new(), tables::readings_table(study)),
        (String::new(), tables::comparisons(study)),
        (String::new(), tables::sweeps(study)),
    ]) {
        out += &markdown_table(&rows);
    }
    for before in &question.before {
        out += &format!("\nBefore: {} ({})\n", before.text, before.source);
    }
    out + &format!("\n{}\n", ran(study))
}

/// The first chart, as an SVG file of its own.
pub fn study_picture(study: &Study) -> String {
    let first = charts::all(study).into_iter().next();
    first.unwrap_or_else(|| charts::empty(study)).file()
}

/// The question, and where it comes from.
fn asked_in_words(study: &Study) -> Vec<String> {
    let numbers = study.question.claims.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ");
    let claims = match study.question.claims.len() {
        0 => None,
        1 => Some(format!("It is about claim {numbers} of docs/claims.md.")),
        _ => Some(format!("It is about the claims {numbers} of docs/claims.md.")),
    };
    study.question.text.iter().cloned().chain(claims).collect()
}

fn markdown_table((head, rows): &Rows) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| {
        format!("| {} |\n", cells.iter().map(|cell| cell.replace('|', "/")).collect::<Vec<_>>().join(" | "))
    };
    let lines: String = rows.iter().map(|row| line(row)).collect();
    format!("\n{}|{}\n{lines}", line(head), "---|".repeat(head.len()))
}

fn found(study: &Study) -> String {
    let items: String = findings(study).iter().map(|finding| format!("<li>{}</li>\n", escape(finding))).collect();
    let mut out = format!("<ul class=\"finding\">\n{items}</ul>\n");
    out += &html_table("Each arm over its trainings: mean (range over seeds)", &tables::arms_table(study));
    out += &html_table(
        "What else was read off the networks at the end: mean (range over seeds), and what it changes, pair by pair",
        &tables::readings_table(study),
    );
    out += &markup::paragraph(&format!(
        "How sure is that? The arms of a seed start from the same weights and see the same batches, and are compared pair by pair. An interval is \
         Student's t over the pairs, and the bootstrap's; something is called higher or lower where both leave 0 out, and nothing is below three \
         pairs. An interval of 95 % does that in one of twenty comparisons of like with like: of the {} on this page, expect {:.1} by chance. A target \
         was reached between two evaluations, and the intervals of its factors are wider by what that leaves open. One test example is {:.3} points.",
        study.figures.verdicts(),
        study.figures.verdicts() as f64 / 20.0,
        100.0 * study.question.resolution
    ));
    markup::section("finding", "What this run found", &out)
}

fn published(study: &Study) -> String {
    let mut out = String::new();
    if let Some((caption, rows)) = tables::published(study) {
        out += &html_table(&caption, &rows);
    }
    let items: Vec<String> = study
        .question
        .before
        .iter()
        .map(|before| format!("<li>{} <em>{}</em></li>\n", escape(&before.text), escape(&before.source)))
        .collect();
    if !items.is_empty() {
        out += &markup::paragraph(
            "Said before on other networks or data, or by other means. Nothing of it was measured by this run, and none of it is confirmed or refuted by it.",
        );
        out += &format!("<ul>\n{}</ul>\n", items.concat());
    }
    if out.is_empty() { out } else { markup::section("published", "Published before", &out) }
}

fn compared(study: &Study) -> String {
    let rows = tables::comparisons(study);
    if rows.1.is_empty() {
        return String::new();
    }
    let table = html_table("Differences, pair by pair, with intervals of 95 %", &rows);
    markup::section("compared", "Every comparison", &table)
}

fn asked(study: &Study) -> String {
    let Study { question, command, flags, source, data, .. } = study;
    let words = |words: &[String]| if words.is_empty() { String::from("none") } else { words.join(" ") };
    let made = |made: &Made| {
        let Made { version, machine, workers } = made;
        format!(
            "batchnorm {version}, on {}, {} hardware threads, {}, {workers} at a time, each on one thread",
            machine.processor, machine.cores, machine.platform
        )
    };
    let mut facts = vec![
        ("Flags of all arms", words(flags)),
        ("Arms", question.arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>().join("; ")),
        ("Seeds", question.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
        ("Data", data.join("; ")),
        ("Made by", study.makers().into_iter().map(made).collect::<Vec<_>>().join("; ")),
        ("Time", ran(study)),
    ];
    if !source.is_empty() {
        facts.insert(1, ("Flags of the training that they start from", words(source)));
    }
    let mut out = format!("<dl>\n<dt>Command</dt><dd><code>{}</code></dd>\n", escape(command));
    for (name, value) in facts {
        out += &format!("<dt>{name}</dt><dd>{}</dd>\n", escape(&value));
    }
    out += "</dl>\n";
    out += &html_table("What the arms' trainings differ in", &tables::plans(study));
    out += &html_table(
        "How a setting was chosen for each arm: accuracy, by its values, on a tenth of the training set that was kept out of training, one seed",
        &tables::sweeps(study),
    );
    out += &html_table("Every training", &tables::cells(study));
    markup::section("asked", "What was asked and run", &out)
}

/// What a grid took.
fn ran(study: &Study) -> String {
    let sweeps: usize = study.sweeps.iter().map(|sweep| sweep.accuracies.len()).sum();
    let chosen = if sweeps > 0 { format!(" and {sweeps} to choose settings by") } else { String::new() };
    format!(
        "{}{chosen}: {:.0} seconds of one core, {:.0} as many at a time as there were, on {}",
        count(study.cells.len(), "training"),
        study.seconds,
        study.elapsed,
        study.cells.first().map_or("no machine", |cell| &cell.made.machine.processor)
    )
}
