//! Accuracy and loss during the training, against steps and against seconds.

use batchnorm_page::{
    Axis, Chart, Line, WIDE, key, mark,
    markup::{self, Table},
};

use super::averages::{by_step, of_arm, some_steps, spreads};
use crate::comparison::Comparison;
use crate::probe::Probe;
use crate::run::Point;
use crate::settings::Arm;
use crate::summary::Spread;
use crate::words::{figure, percent, ranged, seeds};

const HEIGHT: f64 = 300.0;

/// The curves with their tables.
pub fn section(comparison: &Comparison) -> String {
    let mut out = markup::paragraph(
        "Lines are means over seeds, shaded areas the range from the least to the greatest. The axes across are \
         logarithmic, with the untrained network at their left edge: the distance between two lines is the factor \
         between them. Seconds are those of training alone; a point stands at the mean of the seeds' seconds.",
    );
    out += &key(comparison.settings.arms.iter().enumerate().map(|(index, arm)| (&arm.name, index, index)));
    out += "<div class=\"charts\">\n";
    let target = percent(comparison.settings.target_accuracy);
    let captions = [
        format!("Accuracy against steps; the horizontal line is the mark of {target}."),
        String::from("The same against seconds of training."),
        String::from("Mean cross-entropy on the test images against steps."),
        String::from("The same against seconds of training."),
    ];
    let charts = [
        accuracy_by_steps(comparison),
        accuracy(comparison, "accuracy-seconds", Across::Seconds),
        loss(comparison, "loss-steps", Across::Steps),
        loss(comparison, "loss-seconds", Across::Seconds),
    ];
    for (chart, caption) in charts.iter().zip(&captions) {
        out += &markup::figure(&chart.svg(), caption);
    }
    out += "</div>\n";
    out +=
        &table(comparison, "Accuracy after some steps: mean (range over seeds)", |point| Some(point.accuracy), percent);
    out += &table(
        comparison,
        "Test loss in nats after some steps: mean (range over seeds)",
        |point| point.test_loss,
        figure,
    );
    out += &table(
        comparison,
        "Training loss in nats, the mean of the batches since the last evaluation: mean (range over seeds)",
        |point| point.training_loss,
        figure,
    );
    markup::section("curves", "Accuracy and loss on the way", &out)
}

/// The first chart, which also stands alone.
pub fn accuracy_by_steps(comparison: &Comparison) -> Chart {
    accuracy(comparison, "accuracy-steps", Across::Steps)
}

/// The quantity across a chart.
#[derive(Clone, Copy, PartialEq)]
enum Across {
    Steps,
    Seconds,
}

impl Across {
    fn axis(self, lines: &[Line]) -> Axis {
        let name = match self {
            Across::Steps => "steps",
            Across::Seconds => "seconds of training",
        };
        Axis::from_zero(name, lines.iter().flat_map(|line| &line.points).map(|point| point.0))
    }
}

fn accuracy(comparison: &Comparison, id: &str, across: Across) -> Chart {
    let lines = lines(comparison, across, |point| Some(point.accuracy));
    Chart {
        id: id.to_owned(),
        title: format!("Accuracy on the test images against {}", across.axis(&[]).name),
        description: description(comparison, &lines, percent),
        x: across.axis(&lines),
        y: Axis::between("accuracy on 360 test images", 0.0, 1.0),
        x_marks: None,
        y_mark: |share| format!("{:.0} %", 100.0 * share),
        width: WIDE,
        height: HEIGHT,
        ribbons: Vec::new(),
        rule: Some((
            comparison.settings.target_accuracy,
            format!("mark: {}", percent(comparison.settings.target_accuracy)),
        )),
        lines,
    }
}

fn loss(comparison: &Comparison, id: &str, across: Across) -> Chart {
    let lines = lines(comparison, across, |point| point.test_loss);
    let values = lines.iter().flat_map(|line| &line.range).flat_map(|&(_, least, greatest)| [least, greatest]);
    Chart {
        id: id.to_owned(),
        title: format!("Loss on the test images against {}", across.axis(&[]).name),
        description: description(comparison, &lines, figure),
        x: across.axis(&lines),
        y: Axis::logarithmic("test loss (nats)", values),
        x_marks: None,
        y_mark: mark,
        width: WIDE,
        height: HEIGHT,
        ribbons: Vec::new(),
        lines,
        rule: None,
    }
}

fn lines(comparison: &Comparison, across: Across, figure: impl Fn(&Point) -> Option<f64>) -> Vec<Line> {
    let arms = comparison.settings.arms.iter().enumerate();
    let line = |(index, arm): (usize, &Arm)| {
        let runs = of_arm(&comparison.runs, &arm.name);
        let means = by_step(&runs, &figure);
        // Seconds of the runs that have the figure, so that both means are over the same runs.
        let seconds = by_step(&runs, |point| figure(point).map(|_| point.seconds));
        let place = |step: usize, seconds: Spread| match across {
            Across::Steps => step as f64,
            Across::Seconds => seconds.mean,
        };
        let places = means.into_iter().zip(seconds);
        let columns: Vec<(f64, Spread)> = places.map(|((step, mean), (_, at))| (place(step, at), mean)).collect();
        Line {
            name: arm.name.clone(),
            colour: index,
            dash: index,
            points: columns.iter().map(|(x, spread)| (*x, spread.mean)).collect(),
            range: columns.iter().map(|(x, spread)| (*x, spread.least, spread.greatest)).collect(),
            dots: false,
        }
    };
    arms.map(line).collect()
}

/// The description of a chart, for those who do not see it.
fn description(comparison: &Comparison, lines: &[Line], show: impl Fn(f64) -> String) -> String {
    let line = |line: &Line| match (line.points.first(), line.points.last()) {
        (Some(first), Some(last)) => format!(
            "{}: from {} at 0 to {} at {}.",
            line.name,
            show(first.1),
            show(last.1),
            if last.0.fract() == 0.0 { format!("{}", last.0) } else { figure(last.0) }
        ),
        _ => format!("{}: no run yet.", line.name),
    };
    let texts: Vec<String> = lines.iter().map(line).collect();
    format!(
        "Means over up to {}. {} The numbers are in the tables below.",
        seeds(comparison.settings.seeds.len()),
        texts.join(" ")
    )
}

fn table(
    comparison: &Comparison,
    caption: &str,
    figure: impl Fn(&Point) -> Option<f64>,
    show: impl Fn(f64) -> String,
) -> String {
    let arms: Vec<Vec<(usize, Spread)>> =
        comparison.settings.arms.iter().map(|arm| by_step(&of_arm(&comparison.runs, &arm.name), &figure)).collect();
    let names = comparison.settings.arms.iter().map(|arm| arm.name.as_str());
    let mut table = Table::new(caption, ["Step"].into_iter().chain(names));
    for step in some_steps(arms.iter().flatten().map(|(step, _)| *step)) {
        let cells = arms.iter().map(|arm| {
            let found = arm.binary_search_by_key(&step, |(at, _)| *at).ok();
            found.map_or(String::from("-"), |index| ranged(arm[index].1, &show))
        });
        let cells: Vec<String> = [step.to_string()].into_iter().chain(cells).collect();
        table.row(cells.iter().map(String::as_str));
    }
    table.html()
}

/// A figure of the probes, over all runs of an arm.
pub fn probed(comparison: &Comparison, arm: &str, figure: impl Fn(&Probe) -> Option<f64>) -> Vec<(usize, Spread)> {
    let runs = of_arm(&comparison.runs, arm);
    spreads(runs.iter().flat_map(|run| &run.probes).filter_map(|probe| Some((probe.step, figure(probe)?))))
}
