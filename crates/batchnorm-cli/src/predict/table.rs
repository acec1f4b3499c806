//! The network's answers, as a table and as JSON.

use std::path::Path;

use batchnorm_lab::digits::{CLASSES, PIXELS};
use batchnorm_lab::model::Model;
use batchnorm_lab::probe::Answer;
use batchnorm_lab::words::percent;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

use super::inputs::{Asked, Inputs};
use crate::failure::Failure;
use crate::terminal::put;
use crate::text;

/// Mistakes that are shown.
const MISTAKES: usize = 10;
/// Shades of ink, from paper to full.
const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];

/// An answer with what is drawn from it.
struct Said<'a> {
    asked: &'a Asked,
    /// The digit, and its probability.
    first: Option<(usize, f64)>,
    /// The next likely one.
    second: Option<(usize, f64)>,
}

impl<'a> Said<'a> {
    fn new(asked: &'a Asked, answer: &Answer) -> Said<'a> {
        let share = |class: usize| f64::from(answer.thousandths[class]) / 1000.0;
        let first = answer.class.map(usize::from);
        let others = (0..CLASSES).filter(|&class| Some(class) != first);
        let second = others.max_by_key(|&class| (answer.thousandths[class], CLASSES - class));
        let known = |class: usize| (class, share(class));
        Said { asked, first: first.map(known), second: first.and(second).map(known) }
    }

    fn right(&self) -> Option<bool> {
        self.asked.label.map(|label| self.first.map(|(class, _)| class) == Some(usize::from(label)))
    }

    fn probability(&self) -> f64 {
        self.first.map_or(0.0, |(_, share)| share)
    }
}

/// Counts over a labelled set, and its mistakes.
struct Verdict<'s, 'a> {
    labelled: usize,
    right: usize,
    /// By label, then by answer; the last column counts those without an answer.
    confusion: [[usize; CLASSES + 1]; CLASSES],
    /// The most certain first.
    mistakes: Vec<&'s Said<'a>>,
}

impl<'s, 'a> Verdict<'s, 'a> {
    /// None where nothing has a label.
    fn of(all: &'s [Said<'a>]) -> Option<Self> {
        let mut verdict =
            Verdict { labelled: 0, right: 0, confusion: [[0; CLASSES + 1]; CLASSES], mistakes: Vec::new() };
        for said in all {
            let (Some(label), Some(right)) = (said.asked.label, said.right()) else { continue };
            verdict.labelled += 1;
            verdict.right += usize::from(right);
            verdict.confusion[usize::from(label)][said.first.map_or(CLASSES, |(class, _)| class)] += 1;
            if !right {
                verdict.mistakes.push(said);
            }
        }
        verdict.mistakes.sort_by(|a, b| b.probability().total_cmp(&a.probability()));
        (verdict.labelled > 0).then_some(verdict)
    }

    fn accuracy(&self) -> f64 {
        self.right as f64 / self.labelled as f64
    }
}

/// A table of all answers, and what a labelled set shows; of labelled sets the mistakes alone, for what is right is
/// counted.
pub fn print(model: &Model, inputs: &Inputs, answers: &[Answer]) -> Result<(), Failure> {
    let all: Vec<Said> = inputs.asked.iter().zip(answers).map(|(asked, answer)| Said::new(asked, answer)).collect();
    let mut shown = String::new();
    let description = &model.description;
    if description.steps_done < description.plan.steps {
        shown += &format!(
            "The network is not trained to the end: {} of {} steps.\n",
            description.steps_done, description.plan.steps
        );
    }
    if let [asked] = &inputs.asked[..] {
        shown += &format!("What the network sees of {}:\n{}", text::one_line(&asked.name), picture(&asked.seen));
    }
    let unlabelled: Vec<&Said> = all.iter().filter(|said| said.asked.label.is_none()).collect();
    if !unlabelled.is_empty() {
        shown += &format!("{}\n", answers_table(&unlabelled));
    }
    if let Some(verdict) = Verdict::of(&all) {
        let Verdict { labelled, right, .. } = verdict;
        shown +=
            &format!("Accuracy: {} ({right} of {labelled})\n{}\n", percent(verdict.accuracy()), confusions(&verdict));
        if verdict.mistakes.is_empty() {
            shown += "No mistakes.\n";
        } else {
            let worst = &verdict.mistakes[..verdict.mistakes.len().min(MISTAKES)];
            shown += &format!("Worst mistakes, {} of {}:\n{}\n", worst.len(), labelled - right, answers_table(worst));
        }
    }
    put(&shown)
}

/// Everything as JSON: every answer, and what a labelled set shows.
pub fn print_json(file: &Path, model: &Model, inputs: &Inputs, answers: &[Answer]) -> Result<(), Failure> {
    let all: Vec<Said> = inputs.asked.iter().zip(answers).map(|(asked, answer)| Said::new(asked, answer)).collect();
    let one = |(said, answer): (&Said, &Answer)| {
        let shares: Vec<f64> = answer.thousandths.iter().map(|&share| f64::from(share) / 1000.0).collect();
        json!({
            "file": said.asked.name,
            "label": said.asked.label,
            "digit": said.first.map(|(class, _)| class),
            "probability": said.first.map(|(_, share)| share),
            "runner_up": said.second.map(|(class, _)| class),
            "probabilities": shares,
        })
    };
    let verdict = Verdict::of(&all).map_or(Value::Null, |verdict| {
        json!({
            "labelled": verdict.labelled,
            "right": verdict.right,
            "accuracy": verdict.accuracy(),
            "confusion": verdict.confusion.map(|row| row[..CLASSES].to_vec()),
            "without_answer": verdict.confusion.iter().map(|row| row[CLASSES]).sum::<usize>(),
        })
    });
    let summary = json!({
        "model": text::path(file),
        "steps_done": model.description.steps_done,
        "steps": model.description.plan.steps,
        "answers": all.iter().zip(answers).map(one).collect::<Vec<_>>(),
        "labelled_set": verdict,
        "failed": inputs.failed,
    });
    put(&format!("{summary:#}\n"))
}

fn answers_table(all: &[&Said]) -> Table {
    let labelled = all.iter().any(|said| said.asked.label.is_some());
    let mut table = Table::new();
    let mut header = vec!["picture", "digit", "probability", "runner-up"];
    if labelled {
        header.insert(1, "is");
    }
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    let digit = |of: Option<(usize, f64)>| of.map_or(String::from("none"), |(class, _)| class.to_string());
    for said in all {
        let mut row = vec![Cell::new(text::one_line(&said.asked.name))];
        let mut right = |text: String| row.push(Cell::new(text).set_alignment(CellAlignment::Right));
        if labelled {
            right(said.asked.label.map_or(String::new(), |label| label.to_string()));
        }
        right(digit(said.first));
        right(said.first.map_or(String::from("-"), |(_, share)| percent(share)));
        right(said.second.map_or(String::from("-"), |(class, share)| format!("{class} ({})", percent(share))));
        table.add_row(row);
    }
    table
}

/// Rows are what the digits are, columns what the network says.
fn confusions(verdict: &Verdict) -> Table {
    let mut table = Table::new();
    let columns = if verdict.confusion.iter().any(|row| row[CLASSES] > 0) { CLASSES + 1 } else { CLASSES };
    let heads = (0..columns).map(|class| if class < CLASSES { format!("{class}") } else { String::from("none") });
    table.load_style(UTF8_FULL_CONDENSED).set_header([String::from("is \\ said")].into_iter().chain(heads));
    for (label, row) in verdict.confusion.iter().enumerate() {
        let count = |&count: &usize| if count == 0 { String::from("·") } else { count.to_string() };
        let cells = row[..columns].iter().map(|of| Cell::new(count(of)).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(label).set_alignment(CellAlignment::Right)].into_iter().chain(cells));
    }
    table
}

fn picture(seen: &[f32; PIXELS]) -> String {
    let shade = |ink: &f32| SHADES[(ink * (SHADES.len() - 1) as f32).round() as usize];
    let line = |row: &[f32]| format!("  │{}│\n", row.iter().map(shade).collect::<String>());
    format!("  ┌{0}┐\n{1}  └{0}┘\n", "─".repeat(16), seen.chunks(8).map(line).collect::<String>())
}
