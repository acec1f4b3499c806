//! Axes: the place of a value between 0 and 1, and the values worth a mark.

/// Share of a logarithmic axis between its left edge, where 0 stands, and its first value.
const ROOM_FOR_ZERO: f64 = 0.07;
/// More marks than these crowd a chart of this size.
const MOST_MARKS: usize = 9;

/// One axis of a chart.
///
/// ```
/// use batchnorm_page::Axis;
///
/// let axis = Axis::between("accuracy", 0.0, 1.0);
/// assert_eq!(axis.place(0.25), 0.25);
/// assert_eq!(Axis::index("layer", 1, 4).marks(), [1.0, 2.0, 3.0, 4.0]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Its quantity, with the unit.
    pub name: String,
    scale: Scale,
    least: f64,
    greatest: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    /// Of whole numbers: linear, with no mark between two of them.
    Whole,
    Logarithmic,
    /// Logarithmic, with 0 at the edge: step 0 has no logarithm, and must be seen.
    LogarithmicWithZero,
}

impl Axis {
    /// Evenly spaced, from the least to the greatest of some values and a little beyond.
    pub fn linear(name: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let (least, greatest) = extent(values).unwrap_or((0.0, 1.0));
        let room = if greatest > least { 0.04 * (greatest - least) } else { 0.5 };
        Axis { name: name.to_owned(), scale: Scale::Linear, least: least - room, greatest: greatest + room }
    }

    /// Evenly spaced between two values.
    pub fn between(name: &str, least: f64, greatest: f64) -> Axis {
        Axis { name: name.to_owned(), scale: Scale::Linear, least, greatest }
    }

    /// Things with numbers, from the first to the last, each with as much room as any: layers, channels.
    pub fn index(name: &str, first: usize, last: usize) -> Axis {
        let (least, greatest) = (first as f64 - 0.5, last.max(first) as f64 + 0.5);
        Axis { name: name.to_owned(), scale: Scale::Whole, least, greatest }
    }

    /// Logarithmic over the values above 0.
    pub fn logarithmic(name: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let (least, greatest) = extent(values.into_iter().filter(|value| *value > 0.0)).unwrap_or((1.0, 10.0));
        // Half a decade at the least: noise must not fill the height.
        let room = if greatest > least * 3.0 { 1.08 } else { 1.8 };
        Axis { name: name.to_owned(), scale: Scale::Logarithmic, least: least / room, greatest: greatest * room }
    }

    /// Logarithmic over the values above 0, with 0 at the edge.
    pub fn from_zero(name: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let (least, greatest) = extent(values.into_iter().filter(|value| *value > 0.0)).unwrap_or((1.0, 10.0));
        let greatest = if greatest > least { greatest } else { least * 2.0 };
        Axis { name: name.to_owned(), scale: Scale::LogarithmicWithZero, least, greatest }
    }

    /// The place of a value: 0 at the least, 1 at the greatest; values beyond stand at the edges, and on logarithmic axes
    /// what has no logarithm at the lower one.
    pub fn place(&self, value: f64) -> f64 {
        let logarithmic = || (value.ln() - self.least.ln()) / (self.greatest.ln() - self.least.ln());
        let place = match self.scale {
            Scale::Linear | Scale::Whole => (value - self.least) / (self.greatest - self.least),
            Scale::Logarithmic | Scale::LogarithmicWithZero if value <= 0.0 => 0.0,
            Scale::Logarithmic => logarithmic(),
            Scale::LogarithmicWithZero => ROOM_FOR_ZERO + (1.0 - ROOM_FOR_ZERO) * logarithmic(),
        };
        place.clamp(0.0, 1.0)
    }

    /// The values to mark.
    pub fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => self.round_values(0.0),
            Scale::Whole => self.round_values(1.0),
            Scale::Logarithmic => self.decades(),
            Scale::LogarithmicWithZero => [0.0].into_iter().chain(self.decades()).collect(),
        }
    }

    /// About five round values, no nearer to each other than this.
    fn round_values(&self, nearest: f64) -> Vec<f64> {
        let rough = ((self.greatest - self.least) / 5.0).max(nearest);
        let power = 10f64.powf(rough.log10().floor());
        let step = power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= rough).unwrap_or(10.0);
        let (first, last) = ((self.least / step).ceil() as i64, (self.greatest / step).floor() as i64);
        (first..=last).map(|index| index as f64 * step).collect()
    }

    /// 1, 2 and 5 times the powers of ten; where there are too many, the powers, then fewer of them.
    fn decades(&self) -> Vec<f64> {
        let powers = || self.least.log10().floor() as i32..=self.greatest.log10().ceil() as i32;
        let inside = |value: &f64| (self.least * 0.999..=self.greatest * 1.001).contains(value);
        let times = |factors: &'static [f64]| -> Vec<f64> {
            let values = powers().flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
            values.filter(inside).collect()
        };
        let fine = times(&[1.0, 2.0, 5.0]);
        if fine.len() <= MOST_MARKS {
            return fine;
        }
        let coarse = times(&[1.0]);
        let stride = coarse.len().div_ceil(MOST_MARKS);
        coarse.into_iter().step_by(stride).collect()
    }
}

/// A mark's value as a person writes it.
///
/// ```
/// assert_eq!([0.0, 0.2, 1e-7].map(batchnorm_page::mark), ["0", "0.2", "1e-7"]);
/// ```
pub fn mark(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        String::from("0")
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.0e}")
    } else {
        // Marks are round to three digits or more; further digits are rounding errors.
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The least and the greatest of the finite values.
fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |extent, value| {
        let (least, greatest) = extent.unwrap_or((value, value));
        Some((least.min(value), greatest.max(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        let shown = |axis: Axis| axis.marks().into_iter().map(mark).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(Axis::from_zero("step", [0.0, 5.0, 2500.0])), "0 5 10 20 50 100 200 500 1000 2000");
        assert_eq!(shown(Axis::between("share", 0.0, 1.0)), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(shown(Axis::logarithmic("norm", [1e-7, 2.0])), "1e-7 1e-6 1e-5 1e-4 0.001 0.01 0.1 1");
        assert_eq!(shown(Axis::from_zero("step", [0.0, 1.0])), "0 1 2");
        assert!(Axis::logarithmic("wide", [1e-300, 1e300]).marks().len() <= MOST_MARKS);
    }

    #[test]
    fn numbered_things_have_whole_marks() {
        let shown = |last| Axis::index("layer", 1, last).marks().into_iter().map(mark).collect::<Vec<_>>().join(" ");
        assert_eq!([1, 2, 5].map(shown), ["1", "1 2", "1 2 3 4 5"]);
        assert_eq!([8, 53, 2048].map(shown), ["2 4 6 8", "20 40", "500 1000 1500 2000"]);
        assert_eq!(Axis::index("layer", 1, 4).place(1.0), 0.125);
        assert_eq!(Axis::index("none", 1, 0).marks(), [1.0]);
    }

    #[test]
    fn no_values_equal_values_and_no_numbers_have_a_place() {
        for values in [vec![], vec![3.0], vec![f64::NAN], vec![0.0, f64::INFINITY]] {
            for axis in [Axis::linear, Axis::logarithmic, Axis::from_zero].map(|axis| axis("x", values.clone())) {
                for value in [f64::NEG_INFINITY, -1.0, 0.0, 1.0, 3.0, 1e9, f64::INFINITY] {
                    assert!((0.0..=1.0).contains(&axis.place(value)), "{axis:?} {value}");
                }
                assert!(axis.marks().len() <= MOST_MARKS + 1, "{axis:?}");
            }
        }
    }

    #[test]
    fn nought_stands_before_the_first_step() {
        let axis = Axis::from_zero("step", [0.0, 5.0, 500.0]);
        assert_eq!((axis.place(0.0), axis.place(500.0)), (0.0, 1.0));
        assert!((axis.place(5.0) - ROOM_FOR_ZERO).abs() < 1e-12);
    }
}
