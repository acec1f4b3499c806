//! The page of what was found: the numbers of the command, with pictures of them.

use std::path::Path;

use batchnorm_model::file::Inspection;
use batchnorm_model::gap::LayerGap;
use batchnorm_page::markup::{Table, escape, paragraph, section};
use batchnorm_page::{Axis, Bar, Bars, Chart, Fill, Line, Page, Ribbon, Style};

use super::gap::{Found, drift};
use super::shown;
use crate::text::of_layers;

/// What of a normal distribution lies within this many deviations about the mean: 5 to 95 in 100.
const MIDDLE: f64 = 1.645;
/// Deviations beyond which a band stands at the edge of its picture.
const EDGE: f64 = 10.0;
/// Channels that a table of numbers has.
const CHANNELS: usize = 256;
/// The least and the largest drift of a picture with logarithmic marks.
const LEAST: f64 = 1e-4;
const MOST: f64 = 1e6;

pub fn html(inspection: &Inspection, path: &Path, found: &Found) -> String {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut head = paragraph(&shown::head(&inspection.head, path));
    head += &paragraph(&shown::counts(inspection));
    for sentence in found.sentences(path) {
        head += &paragraph(&sentence);
    }
    let sections = [data(found), findings(inspection, path), ranking(found), depth(found), channels(found)].concat();
    let title = format!("The batch norms of {name}");
    Page { title: &title, head: &head, sections: &sections, style: Style::default() }.html()
}

fn data(found: &Found) -> String {
    let mut content = paragraph(&format!("{} samples.", found.gap.measured.samples));
    if let Some(recipe) = &found.data.recipe {
        content += &paragraph(&format!("Pictures are prepared so: {recipe}."));
    }
    if let Some(fits) = &found.fits {
        let mut table = Table::new(
            "Distance of the data from what the first batch norms remember of the training's, at each of them: 0 is the same. A hint",
            ["Preparation", "Distances", "With black borders"],
        );
        for [name, distances, borders] in fits.rows() {
            table.row([name.as_str(), &distances, &borders]);
        }
        content += &table.html();
        if let Some((hint, _)) = fits.hint() {
            content += &paragraph(&format!("{hint}."));
        }
    }
    section("data", "The data", &content)
}

fn findings(inspection: &Inspection, path: &Path) -> String {
    if inspection.findings.is_empty() {
        return section("findings", "Findings", &paragraph("None in the file itself."));
    }
    let mut table = Table::new("What the file itself shows", ["Finding", "Batch norm", "What", "What to do"]);
    for finding in &inspection.findings {
        let code = format!("{} {}", finding.code, finding.severity);
        let layer = finding.layer.as_deref().map_or_else(String::new, of_layers::short_name);
        table.row([code.as_str(), &layer, &finding.text, &shown::mend(finding, path)]);
    }
    section("findings", "Findings", &table.html())
}

/// The layers' rows as the command has them.
fn rows(found: &Found, caption: &str) -> Table {
    let mut table = Table::new(caption, found.columns().iter().copied());
    for layer in &found.gap.layers {
        let cells = found.row(layer);
        table.row(cells.iter().map(String::as_str));
    }
    table
}

fn ranking(found: &Found) -> String {
    let culprits = found.gap.culprits();
    let looked_at: Vec<&LayerGap> = found.gap.layers.iter().filter(|layer| layer.effects.is_some()).collect();
    let finite = looked_at.iter().filter_map(|layer| layer.change()).filter(|change| change.is_finite());
    // (What is not finite has the longest bar.)
    let most = finite.fold(0.01, f64::max);
    let bar = |layer: &&LayerGap| {
        let change = 100.0 * layer.change().unwrap_or(0.0).min(most);
        let fill = if culprits.contains(layer) { Fill::Plain } else { Fill::Hatched };
        let text = found.row(layer)[ALL_BUT].clone();
        Bar { fill, ..Bar::new(&of_layers::short_name(&layer.layer.name), change, &text) }
    };
    let description = match culprits.first() {
        Some(first) => format!("The longest bar is that of {}.", of_layers::short_name(&first.layer.name)),
        None => String::from("No bar stands out; see the table."),
    };
    let bars = Bars {
        description,
        bars: looked_at.iter().map(bar).collect(),
        ..Bars::new(
            "ranking",
            "What each batch norm's statistics alone do",
            Axis::between("change of the outputs, %", 0.0, 100.0 * most),
        )
    };
    let caption = "All but this: how far each batch norm's own statistics take the outputs of a model that is otherwise right. Filled: those that make the gap; \
                   hatched: the others.";
    section(
        "gap",
        "The gap between training and use",
        &bars.figure(caption, rows(found, "Both directions, for each batch norm")),
    )
}

/// The column of what a layer alone does.
const ALL_BUT: usize = 3;

fn depth(found: &Found) -> String {
    let mut layers: Vec<&LayerGap> = found.gap.layers.iter().collect();
    layers.sort_by_key(|layer| layer.layer.node);
    // (What is not finite stands at the top.)
    let seen = |number: f64| number.clamp(LEAST, MOST);
    let drifts = || layers.iter().map(|layer| seen(layer.drift));
    let errors = || layers.iter().map(|layer| layer.error.map_or(f64::NAN, seen));
    let mut lines = vec![Line::through_dots("drift", 1, drifts())];
    if layers.iter().all(|layer| layer.error.is_some()) {
        lines.push(Line::through_dots("standard error", 2, errors()));
    }
    let heights = drifts().chain(errors().filter(|error| error.is_finite()));
    let most = layers.iter().max_by(|one, other| one.drift.total_cmp(&other.drift));
    let description = most.map_or_else(String::new, |layer| {
        format!("The most is {}, at {}.", drift(layer), of_layers::short_name(&layer.layer.name))
    });
    let chart = Chart {
        description,
        lines,
        ..Chart::new(
            "depth",
            "Drift by depth",
            Axis::index("batch norm, from the input on", 1, layers.len()),
            Axis::logarithmic("drift", heights),
        )
    };
    let mut table =
        Table::new("Drift of each batch norm, from the input on", ["Batch norm", "Place", "Drift", "Its error"]);
    for (at, layer) in layers.iter().enumerate() {
        let row = found.row(layer);
        table.row([row[0].as_str(), &(at + 1).to_string(), &row[1], &row[2]]);
    }
    let caption = "How far the normalised outputs are off, in deviations (root mean square over channels), and what the standard errors of the measured \
                   statistics amount to.";
    section("drift", "Drift by depth", &chart.figure(caption, table))
}

fn channels(found: &Found) -> String {
    let looked_at = found.gap.layers.iter().filter(|layer| layer.effects.is_some());
    let strips: Vec<String> = looked_at.enumerate().filter_map(|(at, layer)| strip(at + 1, layer)).collect();
    let mut content = paragraph(
        "For each batch norm, its channels by drift: the band in which 5 to 95 of 100 values lie by the file's statistics (of a normal distribution), and \
         that in which they do lie. In running deviations about the running mean.",
    );
    content += &strips.concat();
    section("channels", "Channel by channel", &content)
}

/// One layer's channels; none without quantiles.
fn strip(number: usize, gap: &LayerGap) -> Option<String> {
    let quantiles = &gap.quantiles.as_ref()?.0;
    let old = &gap.layer.old;
    let deviation = |channel: usize| (old.variance[channel].max(0.0) + gap.epsilon).sqrt();
    let place = |channel: usize, value: f64| (value - old.mean[channel]) / deviation(channel);
    let drifts: Vec<f64> = gap.channel_drifts().collect();
    let mut order: Vec<usize> = (0..quantiles.len()).collect();
    order.sort_by(|&one, &other| drifts[other].total_cmp(&drifts[one]));
    let within = |value: f64| value.clamp(-EDGE, EDGE);
    let seen = |&channel: &usize| {
        let [low, .., high] = quantiles[channel];
        (within(place(channel, low)), within(place(channel, high)))
    };
    let heights = order.iter().map(seen).flat_map(|(low, high)| [low, high]).chain([-MIDDLE, MIDDLE]);
    let name = of_layers::short_name(&gap.layer.name);
    let chart = Chart {
        description: format!("The channel that drifted most is {}.", order.first().copied().unwrap_or(0)),
        ribbons: vec![
            Ribbon::new("the file's statistics", 1, Fill::Plain, order.iter().map(|_| (-MIDDLE, MIDDLE))),
            Ribbon::new("measured", 2, Fill::Hatched, order.iter().map(seen)),
        ],
        ..Chart::new(
            &format!("channels-{number}"),
            &name,
            Axis::index("channels, by drift", 1, order.len()),
            Axis::linear("running deviations", heights),
        )
    };
    let heading = format!("<h3>{}</h3>\n", escape(&name));
    let columns = ["Channel", "Mean in the file", "Deviation", "5 in 100 below", "half below", "95 in 100 below"];
    let mut table = Table::new(&format!("Channels of {name}, those first that drifted most"), columns);
    for &channel in order.iter().take(CHANNELS) {
        let [low, _, middle, _, high] = quantiles[channel];
        let numbers = [old.mean[channel], deviation(channel), low, middle, high].map(shown::number);
        table.row(std::iter::once(channel.to_string().as_str()).chain(numbers.iter().map(String::as_str)));
    }
    Some(heading + &chart.figure(&format!("Drift {}.", drift(gap)), table))
}
