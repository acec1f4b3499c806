//! The page: one file that needs nothing else, no network, no second file. What it shows at first is drawn here; the script
//! in `page/` draws it again with other settings, by the same walk over the same graph.

mod data;
mod details;
mod drawing;
mod layout;
mod markup;
mod mathml;
mod numbers;
mod pictures;
mod tables;

use super::explanation::Explanation;
use super::figure::on_page;
use super::selection::unit;
use crate::layer_name::LayerName;
use markup::{escape, filled};
use numbers::Numbers;

/// Values of which the Jacobian is a table too.
const MOST_IN_TABLE: usize = 16;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPTS: [&str; 4] = [
    include_str!("page/figure.js"),
    include_str!("page/walk.js"),
    include_str!("page/pictures.js"),
    include_str!("page/page.js"),
];

/// The whole.
pub fn page(explanation: &Explanation) -> String {
    let numbers = Numbers { explanation };
    let subject = &explanation.subject;
    let unit = unit(subject.layer);
    let count = subject.x.len().to_string();
    let jacobian = explanation.jacobian.as_deref().unwrap_or_default();
    let options: String = (0..subject.x.len())
        .map(|i| format!("<option value=\"{i}\">{} \u{2013} x{:?}</option>", i + 1, subject.places[i]))
        .collect();
    filled(
        TEMPLATE,
        &[
            ("title", &escape(&format!("{}, step by step", subject.layer_words()))),
            ("layer", &escape(subject.layer_words())),
            ("about", subject.about()),
            ("subject", &escape(&subject.words())),
            ("gradient", &escape(&subject.gradient_words())),
            ("unit", unit),
            ("count", &count),
            ("style", STYLE),
            ("graph", &drawing::svg(&numbers)),
            ("details", &details::sections(&numbers)),
            ("options", &options),
            ("own", if subject.gamma.len() == 1 { "" } else { " of the chosen value" }),
            ("before_and_after", &before_and_after(&numbers)),
            ("everyone", jacobian_words(explanation)),
            ("strongest", colour_words(explanation)),
            ("heat", &pictures::heat_map(jacobian, subject.x.len())),
            ("entry", &entry(&numbers)),
            ("jacobian_table", &jacobian_table(&numbers)),
            ("normalising", distribution_words(explanation)),
            ("lost", directions_title(explanation)),
            ("try", direction_to_try(explanation)),
            ("directions", &directions(&numbers)),
            ("tables", &tables::all(&numbers)),
            ("checked", &agreement_table(explanation)),
            ("of_layer", &explanation.of_layer.join(", ")),
            ("still", &constant_notice(explanation)),
            ("data", &data::text(explanation)),
            ("script", &SCRIPTS.concat()),
        ],
    )
}

fn before_and_after(numbers: &Numbers) -> String {
    let explanation = numbers.explanation;
    let of_x = pictures::range(numbers, &["x"], false);
    let of_y = pictures::range(numbers, &["normalized", "y"], true);
    let figure = |node: &str, title: &str, range: [f64; 2], label: &str| {
        let of = |statistic: &str| numbers.span(&format!("s {statistic} {node}"));
        format!(
            "<figure>\n<figcaption><b>{title}</b> from {} to {}: mean {}, standard deviation {}</figcaption>\n{}</figure>\n",
            of("least"),
            of("largest"),
            of("mean"),
            of("deviation"),
            pictures::strip(numbers, node, range, label)
        )
    };
    let scale = if explanation.subject.gamma.len() == 1 {
        "Scaled by \u{3b3} and shifted by \u{3b2} alike, all dots keep their order and the shape stays what it was."
    } else {
        "Each element has a \u{3b3} and a \u{3b2} of its own here (in groups, that of its channel), so the last step may change \
         the shape; the one before it does not."
    };
    format!(
        "{}{}{}<p>The last two share one scale. {scale}</p>\n",
        figure("x", "x, the input", of_x, "Dots of the input over a line"),
        figure("normalized", "x\u{302}, normalised", of_y, "Dots of the normalised values over a line"),
        figure("y", "y, the output", of_y, "Dots of the output over a line"),
    )
}

/// A sentence on what the distributions show, by norm.
fn distribution_words(explanation: &Explanation) -> &'static str {
    match explanation.loses() {
        [true, _] => {
            "Normalising moves the mean to 0 and the standard deviation to 1, or a little less because of \u{3b5}; values that are \
             all alike have none, before and after. It does not change the shape: skewed stays skewed. (A mean such as \
             3e\u{2212}17 is 0 but for rounding, and so is 4e\u{2212}10 where the mean of x is a million deviations from 0 and \
             was rounded itself; y is the layer\u{2019}s own, which carries what rounding took.)"
        }
        [false, true] => {
            "Normalising divides by the root mean square: 0 stays where it is, and neither the mean nor the shape is changed."
        }
        [false, false] => {
            "Normalising by constants moves the mean near 0 and the standard deviation near 1 as far as the constants are those \
             of these values. It does not change the shape."
        }
    }
}

/// The meaning of the heat map's strongest colour, in words.
fn colour_words(explanation: &Explanation) -> &'static str {
    match explanation.loses() {
        [false, false] => "the strongest colour is the largest entry, however large that is.",
        _ => {
            "the strongest colour is the largest entry beside the diagonal, however large that is, and whatever is larger: of \
             many values each moves the others by little."
        }
    }
}

fn directions_title(explanation: &Explanation) -> &'static str {
    match explanation.loses() {
        [true, _] => "Two directions the gradient cannot have",
        [false, true] => "A direction the gradient cannot have",
        [false, false] => "Two directions that only training loses",
    }
}

/// An invitation to try a dy that is lost: constant, or along xhat. With a gamma for each element it is gamma dy that is lost
/// there, so dy itself is not.
fn direction_to_try(explanation: &Explanation) -> &'static str {
    match (explanation.loses(), explanation.subject.gamma.len()) {
        ([true, true], 1) => "Set dy to all 1, or to x\u{302}, above: nearly nothing of either gets through.",
        _ => "",
    }
}

/// A sentence on what the Jacobian shows, by norm.
fn jacobian_words(explanation: &Explanation) -> &'static str {
    match (explanation.loses(), explanation.subject.layer) {
        ([false, false], _) => {
            "With constant statistics each y depends on its own x alone: everything beside the diagonal is 0. In training that \
             is not so."
        }
        (_, LayerName::Rms) => {
            "Every y depends on every x, through the mean of the squares. What a value does to itself is on the diagonal."
        }
        _ => {
            "Every y depends on every x, through the mean and the variance. What a value does to itself is on the diagonal; \
             each row sums up to 0, because moving all x alike moves no y."
        }
    }
}

fn entry(numbers: &Numbers) -> String {
    format!(
        "<span class=\"what\">\u{2202}y<sub>{}</sub> / \u{2202}x<sub>{}</sub></span> = <output id=\"entry\">{}</output>",
        numbers.element("span", "n r"),
        numbers.element("span", "n c"),
        numbers.span("j r c")
    )
}

fn jacobian_table(numbers: &Numbers) -> String {
    if numbers.explanation.subject.x.len() > MOST_IN_TABLE {
        return format!(
            "<p class=\"note\">As a table up to {MOST_IN_TABLE} values; <code>batchnorm explain --json</code> lists all \
             entries.</p>\n"
        );
    }
    format!("<details>\n<summary>The same as a table</summary>\n{}</details>\n", tables::jacobian(numbers))
}

fn directions(numbers: &Numbers) -> String {
    let explanation = numbers.explanation;
    let place = |name: &str| explanation.graph.find(name).unwrap_or_default();
    let dx = &explanation.nodes[place("x")].gradient;
    let xhat = &explanation.nodes[place("normalized")].values;
    let products: Vec<f64> = dx.iter().zip(xhat).map(|(dx, xhat)| dx * xhat).collect();
    let span = |key: &str| numbers.span(key);
    let [constant, stretch] = explanation.loses();
    let first = if constant {
        "Add one number to all x: the mean takes it off again, and y stays as it was. So the gradient has no part along \
         (1, 1, \u{2026}, 1): its values sum up to 0, but for the rounding of the numbers."
    } else {
        "Adding one number to all x does change y here, so this sum need not vanish."
    };
    let second = if stretch {
        "Stretch all x about their mean: the standard deviation grows as they do, and y stays as it was, if \u{3b5} is 0. So \
         the gradient has no part along x\u{302}. \u{3b5} &gt; 0 does not grow, so a share of it is left:"
    } else {
        "Mean and variance are constants here: stretching all x stretches y, so this sum need not vanish."
    };
    let second = if explanation.subject.layer == LayerName::Rms {
        second.replace(" about their mean", "")
    } else {
        second.to_owned()
    };
    // With two values every dx is a shift plus a stretch.
    let alone = if constant && stretch && dx.len() == 2 {
        " Of two values nothing else is: all of dx is this share."
    } else {
        ""
    };
    let left = if stretch {
        format!(
            "<p class=\"reckoning\">r \u{3a3} \u{3b3} dy x\u{302} = {} comes in along x\u{302}, and \u{3b5} / (v + \u{3b5}) = {} of that \
             is left.{alone}</p>\n",
            span("d along"),
            span("d left")
        )
    } else {
        String::new()
    };
    format!(
        "<div class=\"pair\">\n<figure>\n<figcaption><b>\u{3a3} dx = {}</b>, of terms of {} together</figcaption>\n{}</figure>\n\
         <div><h3>A shift</h3><p>{first}</p></div>\n</div>\n\
         <div class=\"pair\">\n<figure>\n<figcaption><b>\u{3a3} dx x\u{302} = {}</b>, of terms of {} together</figcaption>\n{}</figure>\n\
         <div><h3>A stretch</h3><p>{second}</p>\n{left}</div>\n</div>\n",
        span("d constant"),
        span("d constant_size"),
        pictures::running_sum(dx, "constant", "The running sum of dx, term by term"),
        span("d stretch"),
        span("d stretch_size"),
        pictures::running_sum(&products, "stretch", "The running sum of dx times the normalised values, term by term"),
    )
}

fn agreement_table(explanation: &Explanation) -> String {
    let agreement = &explanation.agreement;
    let rows: Vec<Vec<String>> = agreement
        .differences
        .iter()
        .map(|(what, difference)| vec![what.to_string(), on_page(*difference, 2)])
        .collect();
    let bound = on_page(agreement.bound, 2);
    let columns = ["number", "difference"].map(str::to_owned);
    format!("{}<p>Rounding explains up to {bound} here.</p>\n", markup::table("Relative differences", &columns, &rows))
}

/// The notice on values that are all alike; hidden until the page's settings make them so.
fn constant_notice(explanation: &Explanation) -> String {
    let hidden = if explanation.subject.is_constant() { "" } else { " hidden" };
    format!(
        "<p class=\"notice\" id=\"still\" role=\"note\"{hidden}>All values are alike, and every x\u{302} is 0. Shown is the \
         formula\u{2019}s derivative; by default the layer declares dx = 0 here.</p>\n"
    )
}
