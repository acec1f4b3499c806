//! The size of the gradients in each layer, at the start and during the training.

use std::collections::BTreeMap;

use batchnorm_page::{
    Axis, Chart, Line, WIDE, key, mark,
    markup::{self, Table},
};

use super::averages::{of_arm, some_steps};
use crate::comparison::Comparison;
use crate::settings::Arm;
use crate::summary::Spread;
use crate::words::{figure, range, ranged, seeds};

const HEIGHT: f64 = 280.0;

/// The start layer by layer, then each arm on its way.
pub fn section(comparison: &Comparison) -> String {
    let layers = comparison.settings.network.hidden.len() + 1;
    let arms: Vec<Norms> =
        comparison.settings.arms.iter().enumerate().map(|arm| Norms::new(comparison, arm, layers)).collect();
    let heading = "Gradients layer by layer";
    let mut out = markup::paragraph(&format!(
        "The size (Frobenius norm) of the loss's gradient in each layer's weights, layer 1 next to the pixels, on one \
         fixed batch: the first {} training images. Batch norm goes by that batch, as in training. It was taken on \
         copies of the network, which does not change the training by a bit. Means over seeds are geometric.",
        comparison.settings.batch_size
    ));
    if arms.iter().all(Norms::is_empty) {
        out += &markup::paragraph("No run has recorded any yet.");
        return markup::section("gradients", heading, &out);
    }
    out += "<ul>\n";
    for arm in &arms {
        out += &arm.vanishing(comparison);
    }
    out += "</ul>\n";
    let values = || arms.iter().flat_map(|arm| &arm.layers).flatten();
    let steps = Axis::from_zero("steps", values().map(|(step, _)| *step as f64));
    let norms = Axis::logarithmic("gradient norm", values().map(|(_, spread)| spread.mean));
    out += "<div class=\"charts\">\n";
    out += &markup::figure(&at_start(&arms, layers).svg(), "Before the first step, with the range over seeds.");
    for arm in arms.iter().filter(|arm| !arm.is_empty()) {
        out += &markup::figure(
            &arm.on_the_way(&steps, &norms).svg(),
            &format!("{}, on the way; ranges are in the table.", arm.name),
        );
    }
    out += "</div>\n";
    out += &key((0..layers).map(|layer| (layer_name(layer, layers), 0, layer)));
    out += &table(&arms, layers);
    markup::section("gradients", heading, &out)
}

/// The gradient norms of one arm.
struct Norms<'a> {
    name: &'a str,
    index: usize,
    /// For each layer its geometric mean and range over seeds at each step.
    layers: Vec<Vec<(usize, Spread)>>,
    /// The first layer's norm over the last one's before the first step, over seeds.
    first_over_last: Option<Spread>,
}

impl<'a> Norms<'a> {
    fn new(comparison: &Comparison, (index, arm): (usize, &'a Arm), layers: usize) -> Norms<'a> {
        let runs = of_arm(&comparison.runs, &arm.name);
        let layer = |layer: usize| {
            let mut steps: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
            for probe in runs.iter().flat_map(|run| &run.probes) {
                if let Some(norm) = probe.gradients.get(layer).copied().flatten() {
                    steps.entry(probe.step).or_default().push(f64::from(norm));
                }
            }
            steps.into_iter().filter_map(|(step, norms)| Some((step, Spread::of_factors(&norms)?))).collect()
        };
        let ratios = runs.iter().filter_map(|run| {
            let start = &run.probes.first().filter(|probe| probe.step == 0)?.gradients;
            let (first, last) = ((*start.first()?)?, (*start.last()?)?);
            Some(f64::from(first) / f64::from(last)).filter(|ratio| ratio.is_finite())
        });
        Norms {
            name: &arm.name,
            index,
            layers: (0..layers).map(layer).collect(),
            first_over_last: Spread::of_factors(&ratios.collect::<Vec<f64>>()),
        }
    }

    fn is_empty(&self) -> bool {
        self.layers.iter().all(Vec::is_empty)
    }

    /// A sentence on the gradient in the first layer over that in the last one, before the first step.
    fn vanishing(&self, comparison: &Comparison) -> String {
        let Some(ratio) = self.first_over_last else { return String::new() };
        let runs = of_arm(&comparison.runs, self.name).len();
        let over = match runs {
            1 => String::from("one seed"),
            _ => format!("{} over {}", range(ratio, figure), seeds(runs)),
        };
        let text = format!(
            "{}: before the first step the gradient in layer 1 is {} times that in the last layer ({over}).",
            self.name,
            figure(ratio.mean)
        );
        format!("<li>{}</li>\n", markup::escape(&text))
    }

    fn on_the_way(&self, x: &Axis, y: &Axis) -> Chart {
        let line = |(layer, norms): (usize, &Vec<(usize, Spread)>)| Line {
            name: layer_name(layer, self.layers.len()),
            colour: self.index,
            dash: layer,
            points: norms.iter().map(|(step, spread)| (*step as f64, spread.mean)).collect(),
            // Four ranges on one another would hide the lines; the table has them.
            range: Vec::new(),
            dots: false,
        };
        Chart {
            id: format!("gradients-{}", self.index + 1),
            title: format!("{}: gradient norm of each layer against steps", self.name),
            description: String::from("Start and end are in the table below."),
            x: x.clone(),
            y: y.clone(),
            x_marks: None,
            y_mark: mark,
            width: WIDE,
            height: HEIGHT,
            ribbons: Vec::new(),
            lines: self.layers.iter().enumerate().map(line).collect(),
            rule: None,
        }
    }
}

fn layer_name(layer: usize, layers: usize) -> String {
    if layer + 1 == layers { format!("layer {layers} (output)") } else { format!("layer {}", layer + 1) }
}

fn at_start(arms: &[Norms], layers: usize) -> Chart {
    let line = |arm: &Norms| {
        let starts = arm.layers.iter().enumerate().filter_map(|(layer, norms)| {
            let (_, spread) = norms.first().filter(|(step, _)| *step == 0)?;
            Some(((layer + 1) as f64, *spread))
        });
        let starts: Vec<(f64, Spread)> = starts.collect();
        Line {
            name: arm.name.to_owned(),
            colour: arm.index,
            dash: arm.index,
            points: starts.iter().map(|(layer, spread)| (*layer, spread.mean)).collect(),
            range: starts.iter().map(|(layer, spread)| (*layer, spread.least, spread.greatest)).collect(),
            dots: true,
        }
    };
    let lines: Vec<Line> = arms.iter().map(line).collect();
    let values = lines.iter().flat_map(|line| &line.range).flat_map(|&(_, least, greatest)| [least, greatest]);
    let marks = (0..layers).map(|layer| ((layer + 1) as f64, (layer + 1).to_string()));
    Chart {
        id: String::from("gradients-start"),
        title: String::from("Gradient norm of each layer before the first step"),
        description: String::from(
            "Each arm's norms from layer 1, next to the pixels, to the last; see the table below.",
        ),
        x: Axis::between("layer, from the pixels to the classes", 0.7, layers as f64 + 0.3),
        y: Axis::logarithmic("gradient norm", values),
        x_marks: Some(marks.collect()),
        y_mark: mark,
        width: WIDE,
        height: HEIGHT,
        ribbons: Vec::new(),
        lines,
        rule: None,
    }
}

fn table(arms: &[Norms], layers: usize) -> String {
    let names: Vec<String> = (0..layers).map(|layer| layer_name(layer, layers)).collect();
    let columns = ["Arm and step"].into_iter().chain(names.iter().map(String::as_str));
    let mut table = Table::new("Gradient norms: geometric mean (range over seeds)", columns);
    for arm in arms {
        let steps = some_steps(arm.layers.iter().flatten().map(|(step, _)| *step));
        // The powers of ten and the last step: the charts have the others.
        let in_table =
            |step: &usize| *step == 0 || steps.last() == Some(step) || step.to_string().trim_end_matches('0') == "1";
        for step in steps.iter().filter(|step| in_table(step)) {
            let cell = |norms: &Vec<(usize, Spread)>| {
                let found = norms.binary_search_by_key(step, |(at, _)| *at).ok();
                found.map_or(String::from("-"), |index| ranged(norms[index].1, figure))
            };
            let cells: Vec<String> =
                [format!("{}; step {step}", arm.name)].into_iter().chain(arm.layers.iter().map(cell)).collect();
            table.row(cells.iter().map(String::as_str));
        }
    }
    table.html()
}
