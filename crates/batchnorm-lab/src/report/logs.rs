//! Accuracy against epochs, out of the logs of `train --log`.

use batchnorm_page::{Axis, Chart, Line, WIDE};
use serde_json::Value;

use crate::words::percent;

/// The chart of some trainings, each with its name and its log: a line of JSON for each event, of which those with test scores count.
pub fn chart(trainings: &[(String, String)]) -> Chart {
    let lines: Vec<Line> = trainings
        .iter()
        .enumerate()
        .map(|(number, (name, log))| Line {
            name: name.clone(),
            colour: number + 1,
            dash: number,
            points: points(log),
            range: Vec::new(),
            dots: true,
        })
        .collect();
    let ends: Vec<String> = lines.iter().filter_map(ending).collect();
    let (epochs, accuracies): (Vec<f64>, Vec<f64>) = lines.iter().flat_map(|line| line.points.iter().copied()).unzip();
    Chart {
        id: String::from("epochs"),
        title: String::from("Accuracy on the test set against epochs"),
        description: ends.join(" "),
        x: Axis::between("epochs", 0.0, epochs.iter().copied().fold(1.0, f64::max)),
        y: Axis::linear("accuracy", accuracies),
        x_marks: None,
        y_mark: |value| format!("{:.0} %", 100.0 * value),
        width: WIDE,
        height: 300.0,
        ribbons: Vec::new(),
        lines,
        rule: None,
    }
}

fn points(log: &str) -> Vec<(f64, f64)> {
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter_map(|event| event["epoch"].as_f64().zip(event["test"]["accuracy"].as_f64())).collect()
}

fn ending(line: &Line) -> Option<String> {
    let (first, last) = (line.points.first()?, line.points.last()?);
    Some(format!(
        "{}: from {} after epoch {} to {} after epoch {}.",
        line.name,
        percent(first.1),
        first.0,
        percent(last.1),
        last.0
    ))
}
