//! One of each, on a page, to look at in a browser, on a phone, in the dark and on paper:
//!
//! `cargo run -p batchnorm-page --example gallery > gallery.html`

use batchnorm_page::markup::{Table, paragraph, section};
use batchnorm_page::{Axis, Bar, Bars, Chart, Fill, Line, Page, Ribbon, Style};

fn main() {
    print!("{}", page());
}

fn page() -> String {
    let sections = [
        section("depth", "Drift by depth", &drift().figure("How far each layer's statistics are off.", one_by_one())),
        section("ranking", "The layers that are furthest off", &ranking().figure("Hatched: not sure.", one_by_one())),
        section("channels", "Channel by channel", &(bands(1, 64) + &bands(2, 5) + &bands(3, 2048))),
    ];
    let head = paragraph("Made of invented numbers.");
    Page { title: "A gallery", head: &head, sections: &sections.concat(), style: Style::default() }.html()
}

/// A number between 0 and 1 that looks like chance.
fn noise(at: usize) -> f64 {
    (at * 7919 % 997) as f64 / 997.0
}

fn drift() -> Chart {
    let drift: Vec<f64> = (0..53).map(|at| 0.02 * 1.1f64.powi(at) * (0.5 + noise(at as usize))).collect();
    Chart {
        description: String::from("Grows from about 0.01 in the first layer to about 2 in layer 53."),
        rule: Some((0.1, String::from("beyond chance"))),
        lines: vec![Line::through_dots("drift", 1, drift.iter().copied())],
        ..Chart::new("drift", "Drift by depth", Axis::index("layer", 1, 53), Axis::logarithmic("drift", drift))
    }
}

fn ranking() -> Bars {
    let name = |at: usize| match at {
        1 => String::from("backbone.features.encoder.stage4.block12.residual.branch2b.bn3.normalization"),
        _ => format!("layer{}.{at}.bn{}", at % 4, at % 3),
    };
    let bar = |at: usize| {
        let value = 0.9 / (1.0 + at as f64);
        let fill = if at % 3 == 2 { Fill::Hatched } else { Fill::Plain };
        Bar { fill, ..Bar::new(&name(at), value, &format!("{value:.2} (0.01 to 1.25)")) }
    };
    Bars {
        description: String::from("The first is three times as far off as the third; see the table."),
        bars: (0..8).map(bar).collect(),
        ..Bars::new("ranking", "Gap of each layer", Axis::between("gap", 0.0, 1.0))
    }
}

fn bands(number: usize, channels: usize) -> String {
    let measured = |at: usize| {
        let middle = 6.0 * (at as f64 / channels as f64 - 0.5);
        (middle - 1.0 - noise(at), middle + 1.0 + noise(at + 3))
    };
    let stored = |at: usize| {
        let (low, high) = measured(at);
        if channels > 4 && at == channels / 3 {
            (f64::NAN, high)
        } else {
            (0.6 * low + 0.4, 0.8 * high + 0.5 * noise(at + 1))
        }
    };
    let heights = (0..channels).flat_map(|at| [measured(at), stored(at)]).flat_map(|(low, high)| [low, high]);
    let mut numbers = Table::new("Mean less and plus one deviation", ["Channel", "Stored", "Measured"]);
    for at in 0..channels.min(100) {
        let shown = |(low, high): (f64, f64)| format!("{low:.2} to {high:.2}");
        let cells = [(at + 1).to_string(), shown(stored(at)), shown(measured(at))];
        numbers.row(cells.iter().map(String::as_str));
    }
    let chart = Chart {
        description: String::from("Stored bands are narrower than measured ones; one channel has none."),
        ribbons: vec![
            Ribbon::new("stored", 1, Fill::Plain, (0..channels).map(stored)),
            Ribbon::new("measured", 2, Fill::Hatched, (0..channels).map(measured)),
        ],
        ..Chart::new(
            &format!("bands-{number}"),
            "What is stored and what was measured",
            Axis::index("channel, by the measured mean", 1, channels),
            Axis::linear("value", heights),
        )
    };
    chart.figure(&format!("A layer of {channels} channels."), numbers)
}

fn one_by_one() -> Table {
    let mut table = Table::new("Layers", ["Layer", "Drift"]);
    for layer in 1..=20 {
        table.row([format!("layer {layer}").as_str(), "0.1"]);
    }
    table
}
