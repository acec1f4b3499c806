//! What was read off each layer: gradient norms, weight norms, effective learning rates, running over real variance.

use batchnorm_page::{Axis, Chart, Line, STYLES, WIDE, figures, mark, markup};
use indexmap::IndexSet;

use super::charts::{self, beside_name};
use super::tables::html_table;
use crate::grid::{Arm, Study, Taken};
use crate::look::ON_THE_WAY;
use crate::summary::Spread;
use crate::words::{self, capitalised, figure, ranged};

const HEIGHT: f64 = 280.0;
/// Columns of a table of layers.
const MOST_COLUMNS: usize = 8;

pub fn section(study: &Study) -> String {
    let all = || study.figures.arms.iter().flat_map(|arm| &arm.readings).filter(|taken| taken.layer.is_some());
    let mut out = String::new();
    for what in all().map(|taken| taken.what.as_str()).collect::<IndexSet<&str>>() {
        let mut steps: Vec<usize> = all().filter(|taken| taken.what == what).map(|taken| taken.step).collect();
        steps.sort_unstable();
        steps.dedup();
        out += &format!("<h3>{}</h3>\n", markup::escape(&capitalised(what)));
        out += &figures(&charts(study, what, &steps));
        out += &table(study, what, &steps);
    }
    if out.is_empty() {
        return out;
    }
    let intro = markup::paragraph(
        "Layer 1 is next to the input. Means over seeds; the steps are the first one, one on the way, and the last; grid.json has the others.",
    );
    markup::section("layers", "Layer by layer", &(intro + &out))
}

/// The steps of an arm that are shown.
fn shown(steps: &[usize]) -> Vec<usize> {
    let on_the_way = steps.iter().copied().find(|&step| step >= ON_THE_WAY);
    let mut shown: Vec<usize> =
        steps.first().copied().into_iter().chain(on_the_way).chain(steps.last().copied()).collect();
    shown.dedup();
    shown
}

fn of_arm<'s>(study: &'s Study, arm: &Arm, what: &str, step: usize) -> Vec<&'s Taken> {
    let readings = study.figures.of_arm(&arm.name).into_iter().flat_map(|figures| &figures.readings);
    readings.filter(|taken| taken.what == what && taken.step == step && taken.layer.is_some()).collect()
}

fn charts(study: &Study, what: &str, steps: &[usize]) -> Vec<(Chart, String)> {
    let beside = study.question.along();
    let mut charts = Vec::new();
    let kind = what.replace(' ', "-");
    for (group, arms) in study.question.sharing_a_chart() {
        for step in shown(steps) {
            for part in arms.chunks(STYLES) {
                let lines: Vec<Line> = part
                    .iter()
                    .enumerate()
                    .map(|(number, arm)| line(number, beside_name(arm, beside), &of_arm(study, arm, what, step)))
                    .collect();
                if lines.iter().all(|line| line.points.is_empty()) {
                    continue;
                }
                let layers = lines.iter().map(|line| line.points.len()).max().unwrap_or(1);
                let title = format!("{}{what} by layer, after {step} steps", words::prefix(&group));
                let chart = Chart {
                    id: format!("{kind}-{}", charts.len() + 1),
                    title: title.clone(),
                    description: String::from("The table below has the figures."),
                    x: Axis::between("layer, from the input on", 0.7, layers as f64 + 0.3),
                    y: Axis::logarithmic(what, lines.iter().flat_map(|line| &line.points).map(|point| point.1)),
                    x_marks: Some(marks(layers)),
                    y_mark: mark,
                    width: WIDE,
                    height: HEIGHT,
                    ribbons: Vec::new(),
                    lines,
                    rule: None,
                };
                charts.push((chart, format!("{title}.")));
            }
        }
    }
    charts
}

fn marks(layers: usize) -> Vec<(f64, String)> {
    let each = layers.div_ceil(10);
    (1..=layers)
        .filter(|layer| (layer - 1) % each == 0 || *layer == layers)
        .map(|layer| (layer as f64, layer.to_string()))
        .collect()
}

fn line(number: usize, name: String, taken: &[&Taken]) -> Line {
    let columns: Vec<(f64, Spread)> =
        taken.iter().enumerate().map(|(at, taken)| ((at + 1) as f64, taken.spread)).collect();
    let dots = columns.len() < 12;
    Line { colour: number, dash: number, ..charts::line(name, columns, dots) }
}

fn table(study: &Study, what: &str, steps: &[usize]) -> String {
    let arms = || study.question.arms.iter();
    let layers =
        arms().flat_map(|arm| steps.iter().map(|&step| of_arm(study, arm, what, step).len())).max().unwrap_or(0);
    let columns: Vec<usize> = match layers <= MOST_COLUMNS {
        true => (0..layers).collect(),
        false => (0..MOST_COLUMNS).map(|at| at * (layers - 1) / (MOST_COLUMNS - 1)).collect(),
    };
    let head = [String::from("arm and step")]
        .into_iter()
        .chain(columns.iter().map(|at| format!("layer {}", at + 1)))
        .collect();
    let mut rows = Vec::new();
    for arm in arms() {
        for step in shown(steps) {
            let taken = of_arm(study, arm, what, step);
            if !taken.is_empty() {
                let cell = |at: &usize| taken.get(*at).map_or(String::from("-"), |taken| ranged(taken.spread, figure));
                rows.push([format!("{}; step {step}", arm.name)].into_iter().chain(columns.iter().map(cell)).collect());
            }
        }
    }
    html_table(&format!("{what}, layer by layer: mean (range over seeds)"), &(head, rows))
}
