//! The page's numbers. Each stands in an element whose `data-v` says which it is, so that the script can show it again with
//! other settings, and tests can hold it against the library:
//!
//! ```text
//! v NODE E           a node's value at E               d NAME     of `Directions`
//! g NODE E           its gradient                      s NAME NODE  least, largest, mean, deviation of its values
//! l FROM>TO E        a local derivative                n E        which value E is, counted from 1
//! f FROM>TO E        what flows back along an edge     j E E      d y / d x
//! ```
//!
//! E is a number from 0, `i` for the chosen value, or `r` and `c` for the row and column that the Jacobian shows. Where a
//! node has one value for all, E does not matter.

use super::super::explanation::Explanation;
use super::super::figure::{DIGITS, on_page};

/// The numbers as the page begins: the first value is chosen.
pub struct Numbers<'e> {
    pub explanation: &'e Explanation,
}

impl Numbers<'_> {
    /// The number behind a key, and its significant digits.
    fn value(&self, key: &str) -> (f64, usize) {
        let Explanation { graph, nodes, directions, jacobian, .. } = self.explanation;
        let mut parts = key.split(' ');
        let mut part = || parts.next().unwrap_or_default();
        let (kind, name) = (part(), part());
        let index = |part: &str| part.parse::<usize>().unwrap_or(0);
        let at = |values: &[f64], part: &str| {
            let place = if values.len() == 1 { 0 } else { index(part) };
            values.get(place).copied().unwrap_or(f64::NAN)
        };
        let node = |name: &str| graph.find(name).map_or(0, |place| place);
        let edge = || {
            let (from, to) = name.split_once('>').unwrap_or_default();
            let (from, to) = (node(from), node(to));
            graph.edges().iter().find(|edge| (edge.from, edge.to) == (from, to))
        };
        match kind {
            "v" => (at(&nodes[node(name)].values, part()), nodes[node(name)].digits),
            "g" => (at(&nodes[node(name)].gradient, part()), DIGITS),
            "l" => (edge().map_or(f64::NAN, |edge| at(&edge.local, part())), DIGITS),
            "f" => (edge().map_or(f64::NAN, |edge| at(&edge.gradient, part())), DIGITS),
            "n" => (index(name) as f64 + 1.0, DIGITS),
            "j" => {
                let place = index(name) * graph.count() + index(part());
                (jacobian.as_ref().map_or(f64::NAN, |rows| rows[place]), DIGITS)
            }
            "d" => {
                let value = match name {
                    "constant" => directions.constant,
                    "constant_size" => directions.constant_size,
                    "stretch" => directions.stretch,
                    "stretch_size" => directions.stretch_size,
                    "along" => directions.incoming,
                    "left" => directions.share_left,
                    _ => f64::NAN,
                };
                (value, DIGITS)
            }
            "s" => {
                let shown = &nodes[node(part())];
                let statistic = Statistics::of(&shown.values);
                let value = match name {
                    "least" => statistic.least,
                    "largest" => statistic.largest,
                    "mean" => statistic.mean,
                    "deviation" => statistic.deviation,
                    _ => f64::NAN,
                };
                (value, shown.digits)
            }
            _ => (f64::NAN, DIGITS),
        }
    }

    /// The number behind a key as text.
    pub fn text(&self, key: &str) -> String {
        let (value, digits) = self.value(key);
        on_page(value, digits)
    }

    /// The number in an element of HTML.
    pub fn span(&self, key: &str) -> String {
        self.element("span", key)
    }

    /// The number in an element of some kind, such as SVG's `tspan`.
    pub fn element(&self, tag: &str, key: &str) -> String {
        // Keys hold a `>` between nodes.
        format!("<{tag} data-v=\"{}\">{}</{tag}>", super::markup::escape(key), self.text(key))
    }

    /// The number in MathML's element for numbers; in brackets where it is negative and stands behind an operator.
    pub fn math(&self, key: &str, guarded: bool) -> String {
        let text = self.text(key);
        let key = super::markup::escape(key);
        match guarded {
            true if text.starts_with('\u{2212}') => format!("<mn data-v=\"{key}\" data-guard=\"\">({text})</mn>"),
            true => format!("<mn data-v=\"{key}\" data-guard=\"\">{text}</mn>"),
            false => format!("<mn data-v=\"{key}\">{text}</mn>"),
        }
    }
}

/// The spread of values.
pub struct Statistics {
    pub least: f64,
    pub largest: f64,
    pub mean: f64,
    /// The population's standard deviation.
    pub deviation: f64,
}

impl Statistics {
    /// Adds plainly, in the order of the values, as the page's script does.
    pub fn of(values: &[f64]) -> Statistics {
        let n = values.len() as f64;
        let sum = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |sum, value| sum + value);
        let mean = sum(&mut values.iter().copied()) / n;
        let deviation = (sum(&mut values.iter().map(|value| (value - mean) * (value - mean))) / n).sqrt();
        Statistics {
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            largest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean,
            deviation,
        }
    }
}
