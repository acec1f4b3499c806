//! Areas made of steps: their outline, and what fills it.

use std::fmt::Write;

use crate::style::STYLES;

/// Distance between the lines of a hatching, along an axis.
const HATCH: f64 = 7.0;

/// What fills an area within its outline: it tells areas apart where colour does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Its colour, through which what lies below is seen.
    #[default]
    Plain,
    /// Slanted lines.
    Hatched,
}

impl Fill {
    /// The dash pattern that outlines have with it: whole lines around plain areas, dashes around hatched ones.
    pub(crate) fn dash(self) -> usize {
        match self {
            Fill::Plain => 0,
            Fill::Hatched => 4,
        }
    }
}

/// A rectangle in a chart's own units, where heights are counted downward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

/// How an area looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub fill: Fill,
    pub colour: usize,
    /// Dash pattern of the outline.
    pub dash: usize,
}

/// An area of some steps, each of which begins where the one before ends.
///
/// Hatching is drawn line by line. A pattern of SVG's own would be shorter, but it is found by an id, which has to be one of a
/// kind in the page, by a reference, of which a page that asks for nothing has none.
pub fn svg(steps: &[Step], look: Look) -> String {
    let (colour, dash, outline) = (look.colour % STYLES, look.dash % STYLES, outline(steps));
    let filled = match look.fill {
        Fill::Plain => format!("<path class=\"plain f{colour}\" d=\"{outline}\"/>\n"),
        Fill::Hatched => format!("<path class=\"hatch c{colour}\" d=\"{}\"/>\n", hatching(steps)),
    };
    filled + &format!("<path class=\"edge c{colour} d{dash}\" d=\"{outline}\"/>\n")
}

/// Along the upper edges to the right, and back along the lower ones.
fn outline(steps: &[Step]) -> String {
    let Some(first) = steps.first() else { return String::new() };
    let mut out = format!("M{:.1} {:.1}", first.left, first.bottom);
    for Step { right, top, .. } in steps {
        let _ = write!(out, "V{top:.1}H{right:.1}");
    }
    for Step { left, bottom, .. } in steps.iter().rev() {
        let _ = write!(out, "V{bottom:.1}H{left:.1}");
    }
    out + "Z"
}

/// Rising lines within some steps. They go on from step to step, and from area to area: those on which x + y is a
/// multiple of [`HATCH`].
fn hatching(steps: &[Step]) -> String {
    let sums = |step: &Step| ((step.left + step.top) / HATCH, (step.right + step.bottom) / HATCH);
    let least = steps.iter().map(|step| sums(step).0).fold(f64::INFINITY, f64::min).ceil();
    let greatest = steps.iter().map(|step| sums(step).1).fold(f64::NEG_INFINITY, f64::max).floor();
    let mut out = String::new();
    let mut draw = |from: f64, to: f64, sum: f64| {
        let _ = write!(out, "M{from:.1} {:.1}L{to:.1} {:.1}", sum - from, sum - to);
    };
    let mut line = least;
    while line <= greatest {
        let sum = line * HATCH;
        // What of the line is drawn with the next piece, if that begins where this ends.
        let mut open: Option<(f64, f64)> = None;
        for step in steps {
            let (from, to) = (step.left.max(sum - step.bottom), step.right.min(sum - step.top));
            if from >= to {
                continue;
            }
            open = match open {
                Some((start, end)) if from - end < 0.05 => Some((start, to)),
                Some((start, end)) => {
                    draw(start, end, sum);
                    Some((from, to))
                }
                None => Some((from, to)),
            };
        }
        if let Some((start, end)) = open {
            draw(start, end, sum);
        }
        line += 1.0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hatching_stays_within_its_steps_and_crosses_from_one_to_the_next() {
        let step = |left, right, top, bottom| Step { left, right, top, bottom };
        assert_eq!(hatching(&[step(0.0, 10.0, 0.0, 10.0)]), "M0.0 7.0L7.0 0.0M4.0 10.0L10.0 4.0");
        // The same square in slices: the same lines.
        let slices: Vec<Step> =
            (0..100).map(|at| step(f64::from(at) / 10.0, f64::from(at + 1) / 10.0, 0.0, 10.0)).collect();
        assert_eq!(hatching(&slices), "M0.0 7.0L7.0 0.0M4.0 10.0L10.0 4.0");
        assert_eq!(hatching(&[]), "");
    }
}
