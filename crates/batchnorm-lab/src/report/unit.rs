//! The inputs of one unit of the last hidden layer during the training: Ioffe and Szegedy's figure 1.

use batchnorm_page::{
    Axis, Chart, Line, NARROW, mark,
    markup::{self, Table},
};

use super::averages::some_steps;
use super::curves::probed;
use crate::comparison::Comparison;
use crate::probe::{Probe, UNIT};
use crate::run::Run;
use crate::settings::Arm;
use crate::summary::Spread;
use crate::words::{figure, ranged};

const HEIGHT: f64 = 260.0;
/// Beyond this on either side a sigmoid's slope is below 2 %.
const FLAT: f64 = 4.0;

/// One panel for each arm, on the same axes.
pub fn section(comparison: &Comparison) -> String {
    let Some(&seed) = comparison.settings.seeds.first() else { return String::new() };
    let mut out = markup::paragraph(&format!(
        "What unit {} of the last hidden layer feeds its sigmoid, after batch norm where there is one: the 15th, 50th \
         and 85th percentiles over the 360 test images, in evaluation, for seed {seed}. The unit was fixed before any \
         run. The panels share their axes. A sigmoid is nearly flat beyond {FLAT} on either side, where little \
         gradient passes. The plot is the one of figure 1 in Ioffe and Szegedy (2015), on other \
         data. At step 0 the running statistics are still 0 and 1, so that batch norm does nothing yet in evaluation.",
        UNIT + 1
    ));
    let arms = comparison.settings.arms.iter().enumerate();
    let shown: Vec<(usize, &Arm, &Run)> = arms
        .filter_map(|(index, arm)| {
            let run = comparison.runs.iter().find(|run| run.arm == arm.name && run.seed == seed)?;
            run.probes.iter().any(|probe| probe.inputs.is_some()).then_some((index, arm, run))
        })
        .collect();
    if shown.is_empty() {
        out += &markup::paragraph(&format!("No run of seed {seed} has recorded any yet."));
        return markup::section("unit", "The inputs of one unit", &out);
    }
    let probes = || shown.iter().flat_map(|(_, _, run)| &run.probes);
    let (x, y) = (
        Axis::from_zero("steps", probes().map(|probe| probe.step as f64)),
        Axis::linear("input of the unit", probes().filter_map(|probe| probe.inputs).flatten().map(f64::from)),
    );
    out += "<div class=\"charts small\">\n";
    for &(index, arm, run) in &shown {
        out += &markup::figure(&panel(index, arm, run, &x, &y).svg(), &format!("{}.", arm.name));
    }
    out += "</div>\n";
    out += &step_table(&shown, seed);
    out += &spread_table(comparison);
    markup::section("unit", "The inputs of one unit", &out)
}

fn panel(index: usize, arm: &Arm, run: &Run, x: &Axis, y: &Axis) -> Chart {
    let line = |place: usize, name: &str, dash: usize| Line {
        name: name.to_owned(),
        colour: index,
        dash,
        points: points(run, |inputs| f64::from(inputs[place])),
        range: match place {
            1 => run.probes.iter().filter_map(outer).collect(),
            _ => Vec::new(),
        },
        dots: false,
    };
    let described = |probe: &Probe| probe.inputs.map_or(String::from("none"), shown);
    let (first, last) = (run.probes.first().map(described), run.probes.last().map(described));
    Chart {
        id: format!("unit-{}", index + 1),
        title: format!("{}: percentiles of one unit's inputs against steps", arm.name),
        description: format!(
            "15th, 50th and 85th percentile at the start: {}; at the end: {}.",
            first.unwrap_or_default(),
            last.unwrap_or_default()
        ),
        x: x.clone(),
        y: y.clone(),
        x_marks: None,
        y_mark: mark,
        width: NARROW,
        height: HEIGHT,
        ribbons: Vec::new(),
        lines: vec![line(1, "median", 0), line(2, "85th", 1), line(0, "15th", 2)],
        rule: None,
    }
}

fn points(run: &Run, figure: impl Fn([f32; 3]) -> f64) -> Vec<(f64, f64)> {
    run.probes.iter().filter_map(|probe| Some((probe.step as f64, figure(probe.inputs?)))).collect()
}

/// The step of a probe, with the outer percentiles there.
fn outer(probe: &Probe) -> Option<(f64, f64, f64)> {
    let [low, _, high] = probe.inputs?.map(f64::from);
    Some((probe.step as f64, low, high))
}

fn shown(inputs: [f32; 3]) -> String {
    inputs.map(|input| format!("{input:.2}")).join(" / ")
}

/// The percentiles at some steps, for one seed.
fn step_table(arms: &[(usize, &Arm, &Run)], seed: u64) -> String {
    let names = arms.iter().map(|(_, arm, _)| arm.name.as_str());
    let caption = format!("15th / 50th / 85th percentile after some steps, seed {seed}");
    let mut table = Table::new(&caption, ["Step"].into_iter().chain(names));
    for step in some_steps(arms.iter().flat_map(|(_, _, run)| &run.probes).map(|probe| probe.step)) {
        let cells = arms.iter().map(|(_, _, run)| {
            let probe = run.probes.iter().find(|probe| probe.step == step);
            probe.and_then(|probe| probe.inputs).map_or(String::from("-"), shown)
        });
        let cells: Vec<String> = [step.to_string()].into_iter().chain(cells).collect();
        table.row(cells.iter().map(String::as_str));
    }
    table.html()
}

/// The percentiles over all seeds. (Each seed's network has a unit of its own under that number.)
fn spread_table(comparison: &Comparison) -> String {
    let columns =
        ["Arm", "Median at the start", "Median at the end", "85th less 15th at the start", "85th less 15th at the end"];
    let mut table = Table::new("The same unit over all finished seeds: mean (range over seeds)", columns);
    for arm in &comparison.settings.arms {
        let median = probed(comparison, &arm.name, |probe| probe.inputs.map(|inputs| f64::from(inputs[1])));
        let width = probed(comparison, &arm.name, |probe| {
            probe.inputs.map(|inputs| f64::from(inputs[2]) - f64::from(inputs[0]))
        });
        let cell = |end: Option<&(usize, Spread)>| end.map_or(String::from("-"), |(_, spread)| ranged(*spread, figure));
        table.row([
            arm.name.as_str(),
            &cell(median.first()),
            &cell(median.last()),
            &cell(width.first()),
            &cell(width.last()),
        ]);
    }
    table.html()
}
