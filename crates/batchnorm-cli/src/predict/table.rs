//! The network's answers, as a table and as JSON.

use std::path::Path;

use batchnorm_lab::data::{DataSummary, Shape};
use batchnorm_lab::model::Model;
use batchnorm_lab::words::percent;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

use super::answer::{Said, Told};
use super::inputs::is_of_digits;
use super::verdict::Verdict;
use crate::failure::Failure;
use crate::terminal::put;
use crate::text;

/// Mistakes that are shown.
const MISTAKES: usize = 10;
/// Classes of the largest table of confusions; of more, the pairs that are confused most are shown.
const MOST_IN_TABLE: usize = 20;
/// Columns of the largest picture that is drawn.
const MOST_DRAWN: usize = 64;
/// Shades of ink, from paper to full.
const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];

/// A table of all answers, and what a labelled set shows; of labelled sets the mistakes alone, for what is right is
/// counted.
pub fn print(model: &Model, told: &Told) -> Result<(), Failure> {
    let data = &model.description.data;
    let mut shown = String::new();
    let description = &model.description;
    let has_given_up =
        description.watch.zip(description.plan.patience).is_some_and(|(watch, patience)| watch.waited >= patience);
    if description.steps_done < description.plan.steps && !has_given_up {
        shown += &format!(
            "The network is not trained to the end: {} of {} steps.\n",
            description.steps_done, description.plan.steps
        );
    }
    if let ([said], Some(seen)) = (&told.said[..], &told.seen)
        && data.input.is_picture()
        && data.input.columns <= MOST_DRAWN
    {
        shown += &format!("What the network sees of {}:\n{}", text::one_line(&said.name), picture(seen, data.input));
    }
    let unlabelled: Vec<&Said> = told.said.iter().filter(|said| said.label.is_none()).collect();
    if !unlabelled.is_empty() {
        shown += &format!("{}\n", answers_table(&unlabelled, data));
    }
    if let Some(verdict) = Verdict::of(&told.said, data.classes.len()) {
        let Verdict { labelled, right, .. } = verdict;
        shown += &format!(
            "Accuracy: {} ({right} of {labelled})\n{}\n",
            percent(verdict.accuracy()),
            if data.classes.len() <= MOST_IN_TABLE {
                confusions(&verdict, data)
            } else {
                most_confused(&verdict, data)
            }
        );
        if verdict.mistakes.is_empty() {
            shown += "No mistakes.\n";
        } else {
            let worst = &verdict.mistakes[..verdict.mistakes.len().min(MISTAKES)];
            let count = labelled - right;
            shown += &format!("Worst mistakes, {} of {count}:\n{}\n", worst.len(), answers_table(worst, data));
        }
    }
    put(&shown)
}

/// Everything as JSON: every answer, and what a labelled set shows.
pub fn print_json(file: &Path, model: &Model, told: &Told) -> Result<(), Failure> {
    let data = &model.description.data;
    let of_digits = is_of_digits(data);
    let one = |said: &Said| {
        // The digits are their numbers, other classes their names.
        let class = |class: Option<usize>| match (class, of_digits) {
            (None, _) => Value::Null,
            (Some(class), true) => class.into(),
            (Some(class), false) => data.classes[class].as_str().into(),
        };
        let shares: Vec<f64> = (0..data.classes.len()).map(|class| said.answer.share(class)).collect();
        json!({
            "file": said.name,
            "label": class(said.label),
            (if of_digits { "digit" } else { "class" }): class(said.first.map(|(class, _)| class)),
            "probability": said.first.map(|(_, share)| share),
            "runner_up": class(said.second.map(|(class, _)| class)),
            "probabilities": shares,
        })
    };
    let classes = data.classes.len();
    let verdict = Verdict::of(&told.said, classes).map_or(Value::Null, |verdict| {
        json!({
            "labelled": verdict.labelled,
            "right": verdict.right,
            "accuracy": verdict.accuracy(),
            "confusion": verdict.confusion.iter().map(|row| &row[..classes]).collect::<Vec<_>>(),
            "without_answer": verdict.confusion.iter().map(|row| row[classes]).sum::<usize>(),
        })
    });
    let summary = json!({
        "model": text::path(file),
        "classes": data.classes,
        "steps_done": model.description.steps_done,
        "steps": model.description.plan.steps,
        "answers": told.said.iter().map(one).collect::<Vec<_>>(),
        "labelled_set": verdict,
        "failed": told.failed,
    });
    put(&format!("{summary:#}\n"))
}

fn answers_table(all: &[&Said], data: &DataSummary) -> Table {
    let labelled = all.iter().any(|said| said.label.is_some());
    let mut table = Table::new();
    let what = if data.input.is_picture() { "picture" } else { "example" };
    let mut header = vec![what, if is_of_digits(data) { "digit" } else { "class" }, "probability", "runner-up"];
    if labelled {
        header.insert(1, "is");
    }
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    let name = |class: usize| text::one_line(&data.classes[class]);
    for said in all {
        let mut row = vec![Cell::new(text::one_line(&said.name))];
        let mut right = |text: String| row.push(Cell::new(text).set_alignment(CellAlignment::Right));
        if labelled {
            right(said.label.map_or(String::new(), name));
        }
        right(said.first.map_or(String::from("none"), |(class, _)| name(class)));
        right(said.first.map_or(String::from("-"), |(_, share)| percent(share)));
        right(said.second.map_or(String::from("-"), |(class, share)| format!("{} ({})", name(class), percent(share))));
        table.add_row(row);
    }
    table
}

/// Rows are what the examples are, columns what the network says.
fn confusions(verdict: &Verdict, data: &DataSummary) -> Table {
    let classes = data.classes.len();
    let mut table = Table::new();
    let columns = if verdict.confusion.iter().any(|row| row[classes] > 0) { classes + 1 } else { classes };
    // Long names in rows alone, with the number that stands for them in a column.
    let short = data.classes.iter().all(|class| class.chars().count() <= 2);
    let head = |class: usize| match class {
        class if class == classes => String::from("none"),
        class if short => text::one_line(&data.classes[class]),
        class => class.to_string(),
    };
    let row_head = |class: usize| match short {
        true => head(class),
        false => format!("{} {class}", text::one_line(&data.classes[class])),
    };
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header([String::from("is \\ said")].into_iter().chain((0..columns).map(head)));
    for (label, row) in verdict.confusion.iter().enumerate() {
        let count = |&count: &usize| if count == 0 { String::from("·") } else { count.to_string() };
        let cells = row[..columns].iter().map(|of| Cell::new(count(of)).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(row_head(label)).set_alignment(CellAlignment::Right)].into_iter().chain(cells));
    }
    table
}

fn most_confused(verdict: &Verdict, data: &DataSummary) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["is", "said", "times"]);
    for (label, answer, count) in verdict.most_confused(MISTAKES) {
        let name = |class: usize| Cell::new(text::one_line(&data.classes[class]));
        table.add_row([name(label), name(answer), Cell::new(count).set_alignment(CellAlignment::Right)]);
    }
    table
}

/// A picture in shades, the mean of its channels.
fn picture(seen: &[f32], shape: Shape) -> String {
    let of_plane = |at: usize| (0..shape.channels).map(|channel| seen[channel * shape.plane() + at]).sum::<f32>();
    let ink: Vec<f32> = (0..shape.plane()).map(|at| of_plane(at) / shape.channels as f32).collect();
    let shade = |ink: &f32| SHADES[(ink * (SHADES.len() - 1) as f32).round() as usize];
    let line = |row: &[f32]| format!("  │{}│\n", row.iter().map(shade).collect::<String>());
    let edge = "─".repeat(2 * shape.columns);
    format!("  ┌{edge}┐\n{}  └{edge}┘\n", ink.chunks(shape.columns).map(line).collect::<String>())
}
