//! Bars to the right, one for each of some names.

use std::fmt::Write;

use crate::area::{self, Fill, Look, Step};
use crate::axis::{Axis, mark};
use crate::chart::WIDE;
use crate::labels;
use crate::markup::{self, Table, escape};
use crate::picture::Picture;

const LEFT: f64 = 8.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 6.0;
const BOTTOM: f64 = 42.0;
/// Height of a name with its bar below it. Beside the bar, long names would leave no room for it on a phone.
const ROW: f64 = 36.0;
const NAME: f64 = 14.0;
const BAR: (f64, f64) = (19.0, 30.0);
/// Letters between a name and what stands at the end of its line.
const APART: usize = 2;

/// A ranking: a bar for each name, from 0 or from the left edge of its axis.
///
/// Its height grows with the number of bars; of more than a few dozen a table tells more.
///
/// ```
/// use batchnorm_page::{Axis, Bar, Bars, Fill};
///
/// let gaps = Bars {
///     description: String::from("conv2.norm, 0.8, then conv1.norm, 0.3."),
///     bars: vec![
///         Bar::new("conv2.norm", 0.8, "0.80"),
///         Bar { fill: Fill::Hatched, ..Bar::new("conv1.norm", 0.3, "0.30, not sure") },
///     ],
///     ..Bars::new("gaps", "Gap of each layer", Axis::between("gap", 0.0, 1.0))
/// };
/// assert!(gaps.svg().contains(">conv2.norm</text>"));
/// ```
#[derive(Debug, Clone)]
pub struct Bars {
    /// Id within the page, a word that nothing else there has.
    pub id: String,
    /// Its title, for those who do not see it.
    pub title: String,
    /// Its content in words.
    pub description: String,
    /// The axis across.
    pub axis: Axis,
    /// Text of a mark.
    pub mark: fn(f64) -> String,
    /// Its width, in its own units.
    pub width: f64,
    /// The bars from the uppermost.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bar {
    /// Its name; too long a one loses letters in its middle, and has all of them in a tooltip.
    pub name: String,
    /// Where it ends. One that is not a number has no bar; one beyond the axis goes to its edge.
    pub value: f64,
    /// The value in words, at the end of the name's line.
    pub text: String,
    /// Number of its colour among the page's.
    pub colour: usize,
    /// What fills it.
    pub fill: Fill,
}

impl Bar {
    /// A plain bar in the first colour after the ink.
    pub fn new(name: &str, value: f64, text: &str) -> Bar {
        Bar { name: name.to_owned(), value, text: text.to_owned(), colour: 1, fill: Fill::Plain }
    }
}

impl Bars {
    /// No bars, and no description, which is to be given.
    pub fn new(id: &str, title: &str, axis: Axis) -> Bars {
        let (id, title) = (id.to_owned(), title.to_owned());
        Bars { id, title, description: String::new(), axis, mark, width: WIDE, bars: Vec::new() }
    }

    /// The chart as an `svg` element of a page, whose styles it needs.
    pub fn svg(&self) -> String {
        self.picture().inline()
    }

    /// The chart as an SVG file of its own.
    pub fn file(&self) -> String {
        self.picture().alone()
    }

    /// The chart with its caption, and below it its numbers, for whoever opens them.
    pub fn figure(&self, caption: &str, numbers: Table) -> String {
        markup::figure_over(&self.svg(), caption, &markup::details("The numbers as a table", &numbers.html()))
    }

    fn picture(&self) -> Picture<'_> {
        let Bars { id, title, description, width, .. } = self;
        Picture { id, title, description, width: *width, height: self.bottom() + BOTTOM, content: self.content() }
    }

    fn bottom(&self) -> f64 {
        TOP + ROW * self.bars.len() as f64
    }

    fn across(&self, value: f64) -> f64 {
        LEFT + (self.width - LEFT - RIGHT) * self.axis.place(value)
    }

    fn content(&self) -> String {
        let mut out = self.frame();
        for (at, bar) in self.bars.iter().enumerate() {
            out += &self.bar(bar, TOP + ROW * at as f64);
        }
        out
    }

    /// Marks and name of the axis, and the line at which bars begin.
    fn frame(&self) -> String {
        let (mut out, bottom, right) = (String::new(), self.bottom(), self.width - RIGHT);
        let mut free_from = f64::NEG_INFINITY;
        for value in self.axis.marks() {
            let (x, text) = (self.across(value), (self.mark)(value));
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
            let half = labels::half_width(&text);
            // Marks keep off each other, and within the picture.
            let middle = x.clamp(half.min(self.width / 2.0), (self.width - half).max(self.width / 2.0));
            if middle - half < free_from {
                continue;
            }
            free_from = middle + half + 3.0;
            let (y, text) = (bottom + 16.0, escape(&text));
            let _ =
                writeln!(out, "<text class=\"mark\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{y}\">{text}</text>");
        }
        let _ = writeln!(out, "<path class=\"axis\" d=\"M{:.1} {TOP}V{bottom}\"/>", self.across(0.0));
        let (y, name) = (bottom + BOTTOM - 6.0, escape(&self.axis.name));
        out + &format!("<text class=\"unit\" text-anchor=\"end\" x=\"{right}\" y=\"{y}\">{name}</text>\n")
    }

    fn bar(&self, bar: &Bar, top: f64) -> String {
        let (right, y) = (self.width - RIGHT, top + NAME);
        let letters = labels::letters(right - LEFT).saturating_sub(bar.text.chars().count() + APART);
        let (name, text) = (escape(&shortened(&bar.name, letters)), escape(&bar.text));
        let mut out = format!("<g>\n<title>{}: {text}</title>\n", escape(&bar.name));
        if !bar.value.is_nan() {
            let (from, to) = (self.across(0.0), self.across(bar.value));
            let step = Step { left: from.min(to), right: from.max(to), top: top + BAR.0, bottom: top + BAR.1 };
            out += &area::svg(&[step], Look { fill: bar.fill, colour: bar.colour, dash: bar.fill.dash() });
        }
        out + &format!(
            "<text class=\"of-bar\" x=\"{LEFT}\" y=\"{y}\">{name}</text>\n\
             <text class=\"of-bar value\" text-anchor=\"end\" x=\"{right}\" y=\"{y}\">{text}</text>\n</g>\n"
        )
    }
}

/// A name of so many letters at the most. Of layers' names the end says most, so that the middle goes.
fn shortened(name: &str, letters: usize) -> String {
    let all: Vec<char> = name.chars().collect();
    if all.len() <= letters {
        return name.to_owned();
    }
    let kept = letters.saturating_sub(1);
    let (front, back) = (kept / 3, kept - kept / 3);
    all[..front].iter().chain(&['\u{2026}']).chain(&all[all.len() - back..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shortened("layer4.2.bn3", 12), "layer4.2.bn3");
        assert_eq!(shortened("layer4.2.bn3", 10), "lay\u{2026}.2.bn3");
        assert_eq!((shortened("abc", 1), shortened("abc", 0)), (String::from("\u{2026}"), String::from("\u{2026}")));
    }

    #[test]
    fn bars_of_anything_are_a_picture() {
        let values = [0.5, -0.5, f64::NAN, f64::INFINITY, 0.0];
        let bars = values.map(|value| Bar { fill: Fill::Hatched, ..Bar::new("<a>", value, "5 %") });
        for axis in [Axis::linear("gap", values), Axis::logarithmic("gap", values), Axis::from_zero("gap", [])] {
            let svg = Bars { bars: bars.to_vec(), ..Bars::new("b", "t", axis) }.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("<a>"), "{svg}");
            assert_eq!(svg.matches("class=\"edge ").count(), 4);
        }
        assert!(Bars::new("b", "t", Axis::between("gap", 0.0, 1.0)).file().contains("</svg>"));
    }

    #[test]
    fn bars_begin_at_nought_and_end_at_their_values() {
        let axis = Axis::between("gap", -1.0, 1.0);
        let bars = Bars { bars: vec![Bar::new("a", -0.5, ""), Bar::new("b", 1.0, "")], ..Bars::new("b", "t", axis) };
        let width = WIDE - LEFT - RIGHT;
        let edge = |share: f64| format!("{:.1}", LEFT + width * share);
        assert!(bars.svg().contains(&format!("M{} 36.0V25.0H{}", edge(0.25), edge(0.5))), "{}", bars.svg());
        assert!(bars.svg().contains(&format!("M{} 72.0V61.0H{}", edge(0.5), edge(1.0))), "{}", bars.svg());
    }
}
