//! The place of a line's name: beside the line, off the other lines and names.
//!
//! Every place in a grid around each line gets a price, and the cheapest wins. A name that would lie on another one is
//! left to the chart's key.

type Point = (f64, f64);

/// A rectangle: left, top, right, bottom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

/// The name of a line in its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// The box of the text.
    pub area: Area,
    /// The point of the line that it names.
    pub anchor: Point,
    /// The point of the box nearest to it.
    pub near: Point,
}

/// Height of a name.
const HEIGHT: f64 = 15.0;
/// Width of a letter: that of the widest fonts in use, so that nothing overlaps in any.
const LETTER: f64 = 7.7;
/// Points of a line that a name may be put beside.
const ANCHORS: usize = 28;
/// Distance between the points at which a line is looked at, in units.
const FINE: f64 = 3.0;

impl Area {
    fn overlaps(&self, other: &Area) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn inside(&self, other: &Area) -> bool {
        self.left >= other.left && self.right <= other.right && self.top >= other.top && self.bottom <= other.bottom
    }

    fn holds(&self, (x, y): Point) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }

    fn nearest(&self, (x, y): Point) -> Point {
        (x.clamp(self.left, self.right), y.clamp(self.top, self.bottom))
    }

    /// The box of a text whose left edge and middle are given.
    pub fn of_text(text: &str, left: f64, middle: f64) -> Area {
        let width = LETTER * text.chars().count() as f64;
        Area { left, top: middle - HEIGHT / 2.0, right: left + width, bottom: middle + HEIGHT / 2.0 }
    }
}

/// A place for each name, in order; none where there is no room.
pub fn place(lines: &[(&str, &[Point])], within: Area, taken: &[Area]) -> Vec<Option<Label>> {
    let fine: Vec<Vec<Point>> = lines.iter().map(|(_, line)| resample(line, FINE)).collect();
    let mut taken = taken.to_vec();
    let mut labels = Vec::new();
    for (index, (name, _)) in lines.iter().enumerate() {
        let best = candidates(name, &fine[index])
            .filter(|label| label.area.inside(&within) && !taken.iter().any(|other| other.overlaps(&label.area)))
            .map(|label| (price(&label, &fine, index), label))
            .min_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, label)| label);
        taken.extend(best.map(|label| label.area));
        labels.push(best);
    }
    labels
}

/// Letters that have room in a width.
pub fn letters(width: f64) -> usize {
    (width / LETTER).max(0.0) as usize
}

/// Half the width of a text.
pub fn half_width(text: &str) -> f64 {
    Area::of_text(text, 0.0, 0.0).right / 2.0
}

/// Places of a name around the points of its line.
fn candidates<'a>(name: &'a str, line: &'a [Point]) -> impl Iterator<Item = Label> + 'a {
    let stride = line.len().div_ceil(ANCHORS).max(1);
    let width = Area::of_text(name, 0.0, 0.0).right;
    let sideways = [7.0, 20.0, -width / 2.0, -7.0 - width, -20.0 - width];
    let upward = [-40.0, -26.0, -14.0, 0.0, 14.0, 26.0, 40.0];
    line.iter().skip(stride / 2).step_by(stride).flat_map(move |&anchor| {
        sideways.into_iter().flat_map(move |x| {
            upward.into_iter().map(move |y| {
                let area = Area::of_text(name, anchor.0 + x, anchor.1 + y);
                Label { area, anchor, near: area.nearest(anchor) }
            })
        })
    })
}

/// The price of a place. Points of any line under the name cost most; then being far from its own line, or near another
/// one.
fn price(label: &Label, lines: &[Vec<Point>], named: usize) -> f64 {
    let mut price = 0.5 * distance(label.anchor, label.near);
    for (index, line) in lines.iter().enumerate() {
        price += 8.0 * line.iter().filter(|&&point| label.area.holds(point)).count() as f64;
        if index != named {
            let near = line.iter().map(|&point| distance(point, label.area.nearest(point))).fold(f64::MAX, f64::min);
            let at_anchor = line.iter().map(|&point| distance(point, label.anchor)).fold(f64::MAX, f64::min);
            price += (16.0 - near).max(0.0) + 2.0 * (12.0 - at_anchor).max(0.0);
        }
    }
    price
}

fn distance(one: Point, other: Point) -> f64 {
    (one.0 - other.0).hypot(one.1 - other.1)
}

/// Points along a line, no further apart than this.
fn resample(line: &[Point], apart: f64) -> Vec<Point> {
    let mut points: Vec<Point> = line.first().copied().into_iter().collect();
    for pair in line.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let parts = (distance(from, to) / apart).ceil().max(1.0) as usize;
        points.extend((1..=parts).map(|part| {
            let share = part as f64 / parts as f64;
            (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1))
        }));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Area = Area { left: 0.0, top: 0.0, right: 400.0, bottom: 240.0 };

    #[test]
    fn names_lie_on_no_line_and_on_no_name() {
        let rising: Vec<Point> = (0..=40).map(|at| (f64::from(at) * 10.0, 230.0 - f64::from(at) * 5.0)).collect();
        let later: Vec<Point> =
            (0..=40).map(|at| (f64::from(at) * 10.0, 230.0 - f64::from(at).powi(2) / 8.0)).collect();
        let lines: [(&str, &[Point]); 2] = [("without, rate 3", &rising), ("batch norm, rate 0.5", &later)];
        let labels: Vec<Label> = place(&lines, WITHIN, &[]).into_iter().map(|label| label.expect("room")).collect();
        assert!(!labels[0].area.overlaps(&labels[1].area));
        for label in &labels {
            assert!(label.area.inside(&WITHIN));
            for (_, line) in &lines {
                assert!(!resample(line, 1.0).into_iter().any(|point| label.area.holds(point)));
            }
        }
    }

    #[test]
    fn no_line_and_no_room_give_no_name() {
        let short = Area { right: 30.0, ..WITHIN };
        assert_eq!(place(&[("nothing", &[])], WITHIN, &[]), [None]);
        assert_eq!(place(&[("a long name", &[(1.0, 1.0), (20.0, 20.0)])], short, &[]), [None]);
        assert!(place(&[("one", &[(10.0, 10.0)])], WITHIN, &[])[0].is_some());
    }
}
