//! Line charts as SVG.
//!
//! Why not `plotters`, whose SVG backend writes colours, fonts and sizes into every element: a page that is right in
//! light and dark and on paper needs them to come from its style sheet, and a chart readable without colour needs dash
//! patterns and names beside the lines. Both would be work against that library; the axes, which would be left of it,
//! are short.
//!
//! A chart is 440 units wide or less, so that on a phone its text is nearly as large as the page's.

use std::fmt::Write;

use crate::area::{self, Look, Step};
use crate::axis::{Axis, mark};
use crate::labels::{self, Area};
use crate::markup::{self, Table, escape};
use crate::picture::Picture;
use crate::ribbon::{self, Ribbon};
use crate::style::STYLES;

/// Width of a chart that shares its row with one other, in its own units.
pub const WIDE: f64 = 440.0;
/// Width of a chart that shares it with two.
pub const NARROW: f64 = 320.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 42.0;

/// Lines and ribbons over two axes.
///
/// ```
/// use batchnorm_page::{Axis, Chart, Line};
///
/// let drift = [0.1, 0.4, 2.0];
/// let chart = Chart {
///     description: String::from("Rises from 0.1 in layer 1 to 2 in layer 3."),
///     lines: vec![Line::through_dots("drift", 1, drift)],
///     ..Chart::new("drift", "Drift by depth", Axis::index("layer", 1, 3), Axis::logarithmic("drift", drift))
/// };
/// assert!(chart.svg().starts_with("<svg class=\"chart\""));
/// ```
#[derive(Debug, Clone)]
pub struct Chart {
    /// Id within the page, a word that nothing else there has; the ids of its texts begin with it.
    pub id: String,
    /// Its title, for those who do not see it.
    pub title: String,
    /// Its content in words.
    pub description: String,
    /// The axis across.
    pub x: Axis,
    /// The axis upward.
    pub y: Axis,
    /// Texts of the marks across, where they are not numbers.
    pub x_marks: Option<Vec<(f64, String)>>,
    /// Text of an upward mark.
    pub y_mark: fn(f64) -> String,
    /// Its width: [`WIDE`] or [`NARROW`].
    pub width: f64,
    /// Its height, in the same units.
    pub height: f64,
    /// Bands, below the lines.
    pub ribbons: Vec<Ribbon>,
    /// Its lines.
    pub lines: Vec<Line>,
    /// A value to compare the lines with, and its name.
    pub rule: Option<(f64, String)>,
}

/// One line, with the range around it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// Its name, which stands beside it; where it is empty, no label.
    pub name: String,
    /// Number of its colour among the page's.
    pub colour: usize,
    /// Number of its dash pattern among the page's.
    pub dash: usize,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Least and greatest at places across.
    pub range: Vec<(f64, f64, f64)>,
    /// Draws the points themselves, too.
    pub dots: bool,
}

impl Line {
    /// A line through values at 1, 2, 3, ..., which [`Axis::index`] shows, each with a dot. Its dash pattern has its colour's number.
    pub fn through_dots(name: &str, colour: usize, values: impl IntoIterator<Item = f64>) -> Line {
        let points = values.into_iter().enumerate().map(|(at, value)| ((at + 1) as f64, value)).collect();
        Line { name: name.to_owned(), colour, dash: colour, points, range: Vec::new(), dots: true }
    }
}

impl Chart {
    /// An empty chart of the usual size, without a description, which is to be given.
    pub fn new(id: &str, title: &str, x: Axis, y: Axis) -> Chart {
        Chart {
            id: id.to_owned(),
            title: title.to_owned(),
            description: String::new(),
            x,
            y,
            x_marks: None,
            y_mark: mark,
            width: WIDE,
            height: 280.0,
            ribbons: Vec::new(),
            lines: Vec::new(),
            rule: None,
        }
    }

    /// The chart as an `svg` element of a page, whose styles it needs.
    pub fn svg(&self) -> String {
        self.picture().inline()
    }

    /// The chart as an SVG file of its own.
    pub fn file(&self) -> String {
        self.picture().alone()
    }

    /// The chart with caption and key, and below them its numbers, for whoever opens them.
    pub fn figure(&self, caption: &str, numbers: Table) -> String {
        let below = self.key() + &markup::details("The numbers as a table", &numbers.html());
        markup::figure_over(&self.svg(), caption, &below)
    }

    /// The key: a piece of each ribbon and of each line with its name. Nothing for a single line, which carries it.
    pub fn key(&self) -> String {
        let ribbons = self.ribbons.iter().map(|ribbon| (sample(look(ribbon)), &ribbon.name));
        let lines = self.lines.iter().map(|line| (piece(line.colour, line.dash), &line.name));
        let entries: Vec<(String, &String)> = ribbons.chain(lines).filter(|(_, name)| !name.is_empty()).collect();
        let carried = self.ribbons.is_empty() && entries.len() < 2;
        if entries.is_empty() || carried { String::new() } else { list(entries) }
    }

    fn picture(&self) -> Picture<'_> {
        let Chart { id, title, description, width, height, .. } = self;
        Picture { id, title, description, width: *width, height: *height, content: self.content() }
    }

    /// The content of the `svg` element.
    fn content(&self) -> String {
        let mut out = self.frame();
        let mut taken = Vec::new();
        if let Some((value, name)) = &self.rule {
            let y = self.across_up(0.0, *value).1;
            let (right, area) = (self.width - RIGHT, Area::of_text(name, LEFT + 4.0, y - 9.0));
            taken.push(area);
            let _ = writeln!(out, "<path class=\"rule\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let _ =
                writeln!(out, "<text class=\"rule\" x=\"{}\" y=\"{:.1}\">{}</text>", LEFT + 4.0, y - 5.0, escape(name));
        }
        for ribbon in &self.ribbons {
            let parts = ribbon::parts(&ribbon.bounds, |x, y| self.across_up(x, y));
            out.extend(parts.iter().map(|steps| area::svg(steps, look(ribbon))));
        }
        for line in &self.lines {
            out += &self.range(line);
        }
        let lines: Vec<Vec<(f64, f64)>> = self.lines.iter().map(|line| thin(self.points(line))).collect();
        for (line, points) in self.lines.iter().zip(&lines) {
            out += &stroke(line, points);
        }
        let named: Vec<(&str, &[(f64, f64)])> =
            self.lines.iter().zip(&lines).map(|(line, points)| (line.name.as_str(), points.as_slice())).collect();
        let within = Area { left: LEFT, top: TOP, right: self.width - 2.0, bottom: self.height - BOTTOM };
        for (line, label) in self.lines.iter().zip(labels::place(&named, within, &taken)) {
            let Some(label) = label.filter(|_| !line.name.is_empty()) else { continue };
            let (anchor, near, colour) = (label.anchor, label.near, line.colour % STYLES);
            if (anchor.0 - near.0).hypot(anchor.1 - near.1) > 9.0 {
                let _ = writeln!(
                    out,
                    "<path class=\"leader\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
                    anchor.0, anchor.1, near.0, near.1
                );
            }
            let _ = writeln!(
                out,
                "<text class=\"name c{colour}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                label.area.left,
                label.area.bottom - 4.0,
                escape(&line.name)
            );
        }
        out
    }

    /// The place of a point in the chart's own units.
    fn across_up(&self, x: f64, y: f64) -> (f64, f64) {
        let (width, height) = (self.width - LEFT - RIGHT, self.height - TOP - BOTTOM);
        (LEFT + width * self.x.place(x), TOP + height * (1.0 - self.y.place(y)))
    }

    fn points(&self, line: &Line) -> Vec<(f64, f64)> {
        let drawn = line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        drawn.map(|&(x, y)| self.across_up(x, y)).collect()
    }

    /// Grid, marks and names of the axes.
    fn frame(&self) -> String {
        let mut out = String::new();
        let (bottom, right) = (self.height - BOTTOM, self.width - RIGHT);
        let x_marks = match &self.x_marks {
            Some(marks) => marks.clone(),
            None => self.x.marks().into_iter().map(|value| (value, mark(value))).collect(),
        };
        let mut free_from = f64::NEG_INFINITY;
        for (value, text) in x_marks {
            let x = self.across_up(value, 0.0).0;
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
            // A mark that would run into the one before stays without its number.
            let half = labels::half_width(&text);
            if x - half < free_from {
                continue;
            }
            free_from = x + half + 3.0;
            let _ = writeln!(
                out,
                "<text class=\"mark\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{}</text>",
                bottom + 16.0,
                escape(&text)
            );
        }
        for value in self.y.marks() {
            let y = self.across_up(0.0, value).1;
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let _ = writeln!(
                out,
                "<text class=\"mark\" text-anchor=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                escape(&(self.y_mark)(value))
            );
        }
        let _ = writeln!(out, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let _ = writeln!(out, "<text class=\"unit\" x=\"2\" y=\"14\">{}</text>", escape(&self.y.name));
        let _ = writeln!(
            out,
            "<text class=\"unit\" text-anchor=\"end\" x=\"{right}\" y=\"{}\">{}</text>",
            self.height - 6.0,
            escape(&self.x.name)
        );
        out
    }

    /// The range around a line, as an area; nothing where there are fewer than two places.
    fn range(&self, line: &Line) -> String {
        let mut columns: Vec<(f64, f64, f64)> = Vec::new();
        let drawn = line.range.iter().filter(|(x, low, high)| x.is_finite() && low.is_finite() && high.is_finite());
        for &(x, low, high) in drawn {
            let ((x, low), (_, high)) = (self.across_up(x, low), self.across_up(x, high));
            match columns.last_mut() {
                // Within one unit the range is that of all places in it: nothing is smoothed away.
                Some(last) if last.0.floor() == x.floor() => *last = (last.0, last.1.max(low), last.2.min(high)),
                _ => columns.push((x, low, high)),
            }
        }
        if columns.len() < 2 {
            return String::new();
        }
        let upper = columns.iter().map(|(x, _, high)| (*x, *high));
        let lower_back = columns.iter().rev().map(|(x, low, _)| (*x, *low));
        format!("<path class=\"range f{}\" d=\"{}Z\"/>\n", line.colour % STYLES, path(upper.chain(lower_back)))
    }
}

fn stroke(line: &Line, points: &[(f64, f64)]) -> String {
    let (colour, dash) = (line.colour % STYLES, line.dash % STYLES);
    let mut out = format!("<path class=\"line c{colour} d{dash}\" d=\"{}\"/>\n", path(points.iter().copied()));
    // A single point has no length and needs a dot; a line of few points may ask for dots.
    if line.dots || points.len() == 1 {
        for (x, y) in points {
            let _ = writeln!(out, "<circle class=\"f{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\"/>");
        }
    }
    out
}

/// The lowest and the highest of the points within each unit across, in their order.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    for column in points.chunk_by(|one, other| one.0.floor() == other.0.floor()) {
        let by_height = |one: &&(f64, f64), other: &&(f64, f64)| one.1.total_cmp(&other.1);
        let (Some(&low), Some(&high)) = (column.iter().min_by(by_height), column.iter().max_by(by_height)) else {
            continue;
        };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(first);
        if second != first {
            kept.push(second);
        }
    }
    kept
}

/// The data of a path through some points.
fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (index, (x, y)) in points.enumerate() {
        let _ = write!(out, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    out
}

/// Some charts with their captions, beside each other where there is room.
pub fn figures(charts: &[(Chart, String)]) -> String {
    let figures: String = charts.iter().map(|(chart, caption)| markup::figure(&chart.svg(), caption)).collect();
    if figures.is_empty() { figures } else { format!("<div class=\"charts\">\n{figures}</div>\n") }
}

/// The key of some lines: a piece of each with its name.
pub fn key(lines: impl IntoIterator<Item = (impl AsRef<str>, usize, usize)>) -> String {
    list(lines.into_iter().map(|(name, colour, dash)| (piece(colour, dash), name)))
}

fn list(entries: impl IntoIterator<Item = (String, impl AsRef<str>)>) -> String {
    let mut out = String::from("<ul class=\"key\">\n");
    for (sample, name) in entries {
        let _ = writeln!(
            out,
            "<li><svg class=\"sample\" viewBox=\"0 0 44 10\" aria-hidden=\"true\">{sample}</svg> {}</li>",
            escape(name.as_ref())
        );
    }
    out + "</ul>\n"
}

/// A piece of a line.
fn piece(colour: usize, dash: usize) -> String {
    format!("<path class=\"line c{} d{}\" d=\"M1 5H43\"/>", colour % STYLES, dash % STYLES)
}

/// A piece of an area.
fn sample(look: Look) -> String {
    area::svg(&[Step { left: 1.0, right: 43.0, top: 0.7, bottom: 9.3 }], look)
}

fn look(ribbon: &Ribbon) -> Look {
    Look { fill: ribbon.fill, colour: ribbon.colour, dash: ribbon.dash }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::Fill;

    #[test]
    fn thinning_keeps_the_extremes() {
        let points: Vec<(f64, f64)> =
            (0..1000).map(|at| (f64::from(at) / 100.0, f64::from(at * 7919 % 1000))).collect();
        let kept = thin(points.clone());
        assert!(kept.len() <= 20);
        let greatest = |points: &[(f64, f64)]| points.iter().map(|point| point.1).fold(0.0, f64::max);
        assert_eq!(greatest(&kept), greatest(&points));
        assert!(kept.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert!(thin(vec![]).is_empty());
    }

    #[test]
    fn a_chart_of_nothing_of_one_point_and_of_no_numbers_is_a_chart() {
        for points in [vec![], vec![(1.0, 1.0)], vec![(1.0, f64::NAN), (2.0, 3.0)]] {
            let line = Line {
                name: String::from("a < b"),
                colour: 7,
                dash: 0,
                range: points.iter().map(|&(x, y)| (x, y, y)).collect(),
                points: points.clone(),
                dots: false,
            };
            let chart = Chart {
                id: String::from("c"),
                title: String::from("\"t\""),
                description: String::new(),
                x: Axis::from_zero("step", points.iter().map(|point| point.0)),
                y: Axis::linear("y", points.iter().map(|point| point.1)),
                x_marks: None,
                y_mark: mark,
                width: WIDE,
                height: 200.0,
                ribbons: vec![Ribbon::new("a < b", 3, Fill::Hatched, points.clone())],
                lines: vec![line],
                rule: Some((0.5, String::from("r"))),
            };
            let svg = chart.svg() + &chart.key();
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("a < b"), "{svg}");
        }
    }
}
