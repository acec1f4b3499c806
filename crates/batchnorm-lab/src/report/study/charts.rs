//! Charts of a grid: accuracy over a setting, or on the way; readings over the examples that they were taken on; the inputs of one unit.

use std::collections::BTreeMap;

use batchnorm_page::{Axis, Chart, Line, STYLES, WIDE, figures, mark, markup};
use indexmap::{IndexMap, IndexSet};

use crate::grid::{Arm, Study};
use crate::look::{Kind, PERCENTILES, Series};
use crate::report::averages::spreads;
use crate::summary::Spread;
use crate::words::{self, percent};

/// Points with their ranges, by the names of their lines.
type Lines = IndexMap<String, Vec<(f64, Spread)>>;
/// An arm's name, with the points of three percentiles.
type Percentiles = (String, [Vec<(f64, f64)>; 3]);

const HEIGHT: f64 = 300.0;
/// Arms of which the inputs of a unit are drawn, at most.
const MOST_UNITS: usize = 12;

pub fn section(study: &Study) -> String {
    let mut out = markup::paragraph(
        "Lines are means over seeds, shaded areas the range from the least to the greatest. What diverged is missing.",
    );
    let charts = all(study);
    if charts.is_empty() {
        return String::new();
    }
    let captioned: Vec<(Chart, String)> = charts
        .into_iter()
        .map(|chart| {
            let caption = chart.title.clone() + ".";
            (chart, caption)
        })
        .collect();
    out += &figures(&captioned);
    let units = units(study);
    if !units.is_empty() {
        out += &markup::paragraph(&format!(
            "What the first unit of the last hidden layer feeds its activation, behind the norm where one stands there: the 15th, 50th and 85th \
             percentiles over test examples, in evaluation, for seed {}. The unit was fixed before any run. At step 0 running statistics are still 0 \
             and 1, so that batch norm does nothing yet in evaluation. The plot is that of figure 1 in Ioffe and Szegedy (2015).",
            study.question.seeds.first().copied().unwrap_or_default()
        ));
        out += &figures(&units);
    }
    markup::section("charts", "In pictures", &out)
}

/// All charts of accuracies.
pub fn all(study: &Study) -> Vec<Chart> {
    let mut charts = Vec::new();
    match &study.question.over {
        Some(over) => {
            charts.extend(over_setting(study, over, "test accuracy", &|arm| study.figures.of_arm(&arm.name)?.accuracy));
            for what in share_readings(study) {
                let found = |arm: &Arm| {
                    let mut readings = study.figures.of_arm(&arm.name)?.readings.iter();
                    readings.find(|taken| taken.what == what && taken.layer.is_none()).map(|taken| taken.spread)
                };
                charts.extend(over_setting(study, over, what, &found));
            }
        }
        None => {
            charts.extend(over_examples(study));
            charts.extend(on_the_way(study));
        }
    }
    for (number, chart) in charts.iter_mut().enumerate() {
        chart.id = format!("chart-{}", number + 1);
    }
    charts
}

/// A chart of nothing.
pub fn empty(study: &Study) -> Chart {
    chart(study.question.title.clone(), Axis::between("steps", 0.0, 1.0), Vec::new())
}

fn share_readings(study: &Study) -> IndexSet<&str> {
    let readings = study.figures.arms.iter().flat_map(|arm| &arm.readings);
    readings.filter(|taken| taken.kind == Kind::Share).map(|taken| taken.what.as_str()).collect()
}

fn chart(title: String, x: Axis, lines: Vec<Line>) -> Chart {
    let values = lines.iter().flat_map(|line| {
        let range = line.range.iter().flat_map(|&(_, least, greatest)| [least, greatest]);
        line.points.iter().map(|point| point.1).chain(range)
    });
    let (least, greatest) =
        values.fold((1.0f64, 0.0f64), |(least, greatest), value| (least.min(value), greatest.max(value)));
    let description: Vec<String> = lines.iter().filter_map(described).collect();
    Chart {
        id: String::new(),
        title,
        description: description.join(" "),
        x,
        y: if least < 0.0 || greatest > 1.0 {
            Axis::linear("share", [least, greatest])
        } else {
            zoomed(least, greatest)
        },
        x_marks: None,
        y_mark: |share| format!("{} %", mark(100.0 * share)),
        width: WIDE,
        height: HEIGHT,
        ribbons: Vec::new(),
        lines,
        rule: None,
    }
}

/// An axis of shares from nought to one, or around those that there are where these are close together.
fn zoomed(least: f64, greatest: f64) -> Axis {
    match least > 0.5 && greatest > least {
        true => {
            Axis::between("accuracy", least - 0.1 * (greatest - least), (greatest + 0.1 * (greatest - least)).min(1.0))
        }
        false => Axis::between("accuracy", 0.0, 1.0),
    }
}

fn described(line: &Line) -> Option<String> {
    let (first, last) = (line.points.first()?, line.points.last()?);
    Some(format!(
        "{}: from {} at {} to {} at {}.",
        line.name,
        percent(first.1),
        mark(first.0),
        percent(last.1),
        mark(last.0)
    ))
}

/// An axis of numbers, logarithmic where they lie far apart.
fn axis(name: &str, values: &[f64]) -> Axis {
    let (least, greatest) = values
        .iter()
        .fold((f64::INFINITY, 0.0f64), |(least, greatest), &value| (least.min(value), greatest.max(value)));
    match least > 0.0 && greatest > 8.0 * least {
        true => Axis::logarithmic(name, values.iter().copied()),
        false => Axis::linear(name, values.iter().copied()),
    }
}

/// Lines of so many that styles tell them apart, each part a chart.
fn parts(title: &str, x: impl Fn(&[Line]) -> Axis, lines: Vec<Line>, marks: Option<&[(f64, String)]>) -> Vec<Chart> {
    let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
    let styled = |part: &[Line]| -> Vec<Line> {
        part.iter().enumerate().map(|(number, line)| Line { colour: number, dash: number, ..line.clone() }).collect()
    };
    let of_part =
        |part: &[Line]| Chart { x_marks: marks.map(<[_]>::to_vec), ..chart(title.to_owned(), x(part), styled(part)) };
    lines.chunks(STYLES).map(of_part).collect()
}

/// A line of means with their ranges, in the first style.
pub fn line(name: String, columns: Vec<(f64, Spread)>, dots: bool) -> Line {
    Line {
        name,
        colour: 0,
        dash: 0,
        points: columns.iter().map(|(x, spread)| (*x, spread.mean)).collect(),
        range: columns.iter().map(|(x, spread)| (*x, spread.least, spread.greatest)).collect(),
        dots,
    }
}

/// The name of an arm among those that it is compared with along a setting: its value of it.
pub fn beside_name(arm: &Arm, beside: Option<&str>) -> String {
    let value = beside.and_then(|setting| arm.at.iter().find(|(of, _)| of == setting));
    value.map_or_else(|| arm.name.clone(), |value| crate::grid::name([value].into_iter()))
}

/// A figure across the values of a setting: a chart for each group of arms, a line for each of those that are compared.
fn over_setting(study: &Study, over: &str, what: &str, figure: &dyn Fn(&Arm) -> Option<Spread>) -> Vec<Chart> {
    let values: IndexSet<&str> = study.question.arms.iter().filter_map(|arm| arm.value(over)).collect();
    let numbers: Option<Vec<f64>> = values.iter().map(|value| value.parse().ok()).collect();
    let place = |value: &str| match &numbers {
        Some(_) => value.parse::<f64>().ok(),
        None => values.get_index_of(value).map(|at| at as f64),
    };
    let marks: Vec<(f64, String)> =
        values.iter().filter_map(|value| Some((place(value)?, (*value).to_owned()))).collect();
    let beside = study.question.along();
    let charts = study.question.grouped(&[beside, Some(over)]).into_iter().flat_map(|(group, arms)| {
        let mut lines = Lines::new();
        for arm in arms {
            let Some(at) = arm.value(over).and_then(place) else { continue };
            let name = match beside {
                Some(_) => beside_name(arm, beside),
                None => arm.without(&[Some(over)]),
            };
            lines.entry(name).or_default().extend(figure(arm).map(|spread| (at, spread)));
        }
        let title = format!("{}{what} against {over}", words::prefix(&group));
        let x = |_: &[Line]| match &numbers {
            Some(numbers) => axis(over, numbers),
            None => Axis::linear(over, marks.iter().map(|(at, _)| *at)),
        };
        let lines = lines.into_iter().map(|(name, columns)| line(name, columns, true)).collect();
        parts(&title, x, lines, numbers.is_none().then_some(&marks[..]))
    });
    charts.collect()
}

/// Accuracy against steps, and against seconds where a target is to be reached: a chart for each group of arms that are compared.
fn on_the_way(study: &Study) -> Vec<Chart> {
    let beside = study.question.along();
    let mut charts = Vec::new();
    for (group, arms) in study.question.sharing_a_chart() {
        let prefix = words::prefix(&group);
        let lines = |by_seconds: bool| -> Vec<Line> {
            arms.iter()
                .map(|arm| {
                    let of_arm =
                        || study.cells.iter().filter(|cell| cell.arm == arm.name).flat_map(|cell| &cell.trial.curve);
                    let accuracy = spreads(of_arm().map(|point| (point.step, point.accuracy)));
                    let seconds: BTreeMap<usize, Spread> =
                        spreads(of_arm().map(|point| (point.step, point.seconds))).into_iter().collect();
                    let place = |step: usize| if by_seconds { seconds[&step].mean } else { step as f64 };
                    let columns = accuracy.into_iter().map(|(step, spread)| (place(step), spread)).collect();
                    line(beside_name(arm, beside), columns, false)
                })
                .collect()
        };
        let across = |name: &'static str| {
            move |lines: &[Line]| Axis::from_zero(name, lines.iter().flat_map(|line| &line.points).map(|point| point.0))
        };
        charts.extend(parts(
            &format!("{prefix}accuracy on test examples against steps"),
            across("steps"),
            lines(false),
            None,
        ));
        if study.question.target.is_some() {
            charts.extend(parts(
                &format!("{prefix}accuracy on test examples against seconds of training"),
                across("seconds of training"),
                lines(true),
                None,
            ));
        }
    }
    charts
}

/// Readings that differ in a number of examples alone, against it.
fn over_examples(study: &Study) -> Vec<Chart> {
    let mut families: IndexMap<String, Lines> = IndexMap::new();
    for arm in &study.figures.arms {
        for taken in &arm.readings {
            let Some(Series { across, line, at }) = taken.series.clone() else { continue };
            let name = if study.figures.arms.len() > 1 { format!("{}, {line}", arm.arm) } else { line };
            families.entry(across).or_default().entry(name).or_default().push((at as f64, taken.spread));
        }
    }
    let charts = families.into_iter().flat_map(|(across, lines)| {
        let lines = lines
            .into_iter()
            .filter(|(_, columns)| columns.len() > 1)
            .map(|(name, columns)| line(name, columns, true))
            .collect();
        let x = |lines: &[Line]| {
            axis(&across, &lines.iter().flat_map(|line| &line.points).map(|point| point.0).collect::<Vec<_>>())
        };
        parts(&format!("accuracy against {across}"), x, lines, None)
    });
    charts.collect()
}

/// The percentiles of one unit's inputs, a panel for each arm.
fn units(study: &Study) -> Vec<(Chart, String)> {
    let seed = study.question.seeds.first();
    let of_arm = |arm: &Arm| study.cells.iter().find(|cell| cell.arm == arm.name && Some(&cell.seed) == seed);
    let panels: Vec<Percentiles> = study
        .question
        .arms
        .iter()
        .filter_map(|arm| {
            let cell = of_arm(arm)?;
            let points = PERCENTILES.map(|name| {
                let found = cell.trial.readings.iter().filter(|reading| reading.what == name);
                found.map(|reading| (reading.step as f64, reading.value)).collect::<Vec<_>>()
            });
            (!points[1].is_empty()).then(|| (arm.name.clone(), points))
        })
        .take(MOST_UNITS)
        .collect();
    let steps = || panels.iter().flat_map(|(_, lines)| lines.iter().flatten()).map(|point| point.0);
    let panel = |(number, (name, points)): (usize, &Percentiles)| {
        let label = ["15th", "median", "85th"];
        let lines = points.iter().zip(label).enumerate().map(|(at, (points, label))| Line {
            name: label.to_owned(),
            colour: number,
            dash: [2, 0, 1][at],
            points: points.clone(),
            range: Vec::new(),
            dots: false,
        });
        let chart = Chart {
            id: format!("unit-{}", number + 1),
            title: format!("{name}: percentiles of one unit's inputs against steps"),
            description: String::from("grid.json has each of them."),
            x: Axis::from_zero("steps", steps()),
            y: Axis::linear("input of the unit", points.iter().flatten().map(|point| point.1)),
            x_marks: None,
            y_mark: mark,
            width: WIDE,
            height: HEIGHT,
            ribbons: Vec::new(),
            lines: lines.collect(),
            rule: None,
        };
        (chart, format!("{name}."))
    };
    panels.iter().enumerate().map(panel).collect()
}
