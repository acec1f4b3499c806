//! The moments of a chunk, of values and of values with weights. Weights are an array more, with strides of 0 where they are
//! the same for many values; where a weight is 0 nothing else is looked at, whatever stands there.

use super::chunk::{Chunk, Columns, LOW_ROWS, SumRows, SumRun, Summands};
use super::reduction::{ChunkReduction, Reduction, Tables};
use super::tree::Merge;
use crate::machine::isa::Isa;
use crate::machine::vector::{Vector, counted};
use crate::moments::{MAX_MEAN_TO_VARIANCE, Moments};
use crate::number::Stored;

/// The value itself.
#[derive(Clone, Copy)]
struct ValueSummand;

impl Summands<1, 0, 1> for ValueSummand {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, []: [V; 0], [x]: [V; 1], [sum]: [V; 1]) -> [V; 1] {
        [sum.add(x)]
    }
}

/// The value and its square, which is exact: an `f64` has twice the digits of the values.
#[derive(Clone, Copy)]
struct PowerSummands;

impl Summands<1, 0, 2> for PowerSummands {
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, []: [V; 0], [x]: [V; 1], [sum, squares]: [V; 2]) -> [V; 2] {
        [sum.add(x), squares.add_exact_product(x, x)]
    }
}

/// The deviation from a shift near the values, and its square.
#[derive(Clone, Copy)]
struct DeviationSummands;

impl Summands<1, 1, 2> for DeviationSummands {
    const ZEROS_ADD_NOTHING: bool = false;
    #[inline(always)]
    fn add<V: Vector>(self, [shift]: [V; 1], [x]: [V; 1], [sum, squares]: [V; 2]) -> [V; 2] {
        let d = x.sub(shift);
        [sum.add(d), squares.add(d.mul(d))]
    }
}

/// Sums of the values and of their squares, less a shift of the channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PowerSums {
    sum: f64,
    squares: f64,
}

impl Merge for PowerSums {
    fn merge(self, right: PowerSums) -> PowerSums {
        PowerSums { sum: self.sum + right.sum, squares: self.squares + right.squares }
    }
}

/// The sums of a chunk of values whose squares are exact. (Where the shift is 0, the bits are those of values without one.)
pub(crate) struct ChunkPowerSums {
    isa: Isa,
    /// That of each channel; or of none, where all are 0.
    shift: Option<Vec<f64>>,
}

impl ChunkPowerSums {
    fn shift(&self, channel: usize) -> f64 {
        self.shift.as_ref().map_or(0.0, |shift| shift[channel])
    }
}

impl<T: Stored> ChunkReduction<T, 1> for ChunkPowerSums {
    type Value = PowerSums;
    fn takes_planes(&self) -> bool {
        true
    }

    fn run(&self, channel: usize, chunk: &Chunk<T, 1>) -> PowerSums {
        let [sum, squares] = match self.shift(channel) {
            0.0 => self.isa.run(SumRun { summands: PowerSummands, constants: [], chunk }),
            shift => self.isa.run(SumRun { summands: DeviationSummands, constants: [shift], chunk }),
        };
        PowerSums { sum, squares }
    }

    fn rows(&self, [columns]: [Columns<T>; 1], tables: &mut Tables, out: &mut Vec<PowerSums>) {
        let channels = columns.left / columns.plane..(columns.left + columns.width) / columns.plane;
        let shift = self.shift.as_ref().filter(|shift| shift[channels].iter().any(|&shift| shift != 0.0));
        let ([first, second], line) = tables.of(&columns, usize::from(shift.is_some()));
        let sums = [&mut *first, &mut *second];
        match shift {
            None => {
                self.isa.run(SumRows { summands: PowerSummands, constants: [], columns: [columns], tables: sums });
            }
            Some(shift) => {
                columns.in_line(shift, line);
                let summands = DeviationSummands;
                self.isa.run(SumRows { summands, constants: [&*line], columns: [columns], tables: sums });
            }
        }
        columns.each_channel([&*first, &*second], out, |[sum, squares]| PowerSums { sum, squares });
    }
}

/// Values at the start of a channel that tell whether it lies far from 0.
pub(crate) const FIRST_VALUES: usize = LOW_ROWS;
/// Values of a channel from which on they are asked: of fewer a second reduction hardly takes longer.
pub(crate) const MIN_SHIFTED_VALUES: usize = 64;

/// Values of a channel up to which its first one is a good shift, whatever they are: of n values none is further from their mean
/// than sqrt(n - 1) standard deviations (Samuelson 1968), which is within [`MAX_MEAN_TO_VARIANCE`].
pub(crate) const FIRST_IS_NEAR: usize = MAX_MEAN_TO_VARIANCE as usize;

/// Whether the moments of channels of so many values are [`PlainMoments`]. Of fewer, those of the one chunk need no second
/// reduction.
pub(crate) fn sums_plainly<T: Stored>(count: usize) -> bool {
    T::SQUARES_FIT && count > FIRST_IS_NEAR
}

/// The moments of a channel of values whose squares are exact: by power sums where those tell the variance well enough
/// ([`Moments::from_power_sums`]), else by the moments of the chunks.
pub(crate) struct PlainMoments {
    plain: ChunkPowerSums,
    careful: ChunkMoments,
}

impl PlainMoments {
    pub fn new(isa: Isa) -> Self {
        PlainMoments { plain: ChunkPowerSums { isa, shift: None }, careful: ChunkMoments(isa) }
    }

    /// With a shift for channels that lie far from 0, as the power sums of the [`FIRST_VALUES`] of each tell: then one
    /// reduction is enough for most of them too. It follows from the logical order, and so do the bits.
    pub fn shifted<T: Stored>(mut self, first: &[PowerSums]) -> Self {
        let shift = first.iter().map(|&PowerSums { sum, squares }| {
            // As an element has it: differences are exact then, but for rare ones.
            T::from_f64(Moments::shift_from(FIRST_VALUES, sum, squares)).to_f64()
        });
        let shift: Vec<f64> = shift.collect();
        self.plain.shift = shift.iter().any(|&shift| shift != 0.0).then_some(shift);
        self
    }
}

impl<T: Stored> Reduction<T, 1> for PlainMoments {
    type Value = PowerSums;
    type Result = Moments;

    fn chunks(&self) -> &dyn ChunkReduction<T, 1, Value = PowerSums> {
        &self.plain
    }
    #[inline(always)]
    fn result(&self, channel: usize, count: usize, PowerSums { sum, squares }: PowerSums) -> Option<Moments> {
        Moments::from_power_sums(count, self.plain.shift(channel), sum, squares)
    }
    fn careful(&self) -> &dyn ChunkReduction<T, 1, Value = Moments> {
        &self.careful
    }
}

impl Merge for Moments {
    fn merge(self, right: Moments) -> Moments {
        Moments::merge(self, right)
    }
}

/// The moments of a chunk.
pub(crate) struct ChunkMoments(pub Isa);

impl<T: Stored> ChunkReduction<T, 1> for ChunkMoments {
    type Value = Moments;
    fn takes_planes(&self) -> bool {
        T::SQUARES_FIT
    }

    fn run(&self, _: usize, chunk: &Chunk<T, 1>) -> Moments {
        let (count, first) = (chunk.len(), chunk.first().to_f64());
        let about = |shift: f64| {
            let [d, q] = self.0.run(SumRun { summands: DeviationSummands, constants: [shift], chunk });
            Moments::from_shifted(count, shift, d, q)
        };
        if !T::SQUARES_FIT {
            let [sum] = self.0.run(SumRun { summands: ValueSummand, constants: [], chunk });
            let moments = about(sum / count as f64);
            if moments.m2() == 0.0 && chunk.values(0).any(|value| value.to_f64() != first) {
                // Deviations too small to square. That they are there decides whether the channel is constant.
                return moments.not_constant();
            }
            if moments.is_finite() {
                return moments;
            }
            // The sum or the square of its rounding error overflowed. About a value of the chunk, constants of any
            // size are exact all the same.
        }
        about(first)
    }

    fn rows(&self, [columns]: [Columns<T>; 1], tables: &mut Tables, out: &mut Vec<Moments>) {
        let ([first, second], shift) = tables.of(&columns, 1);
        let count = columns.len() * columns.plane;
        if T::SQUARES_FIT {
            columns.first_values_in_line(shift);
        } else {
            self.0.run(SumRows { summands: ValueSummand, constants: [], columns: [columns], tables: [&mut *first] });
            shift.iter_mut().zip(&*first).for_each(|(shift, sum)| *shift = sum / count as f64);
        }
        let sums = [&mut *first, &mut *second];
        self.0.run(SumRows { summands: DeviationSummands, constants: [&*shift], columns: [columns], tables: sums });
        if T::SQUARES_FIT {
            // (The shifts of a plane's 2, 4 or 8 places are alike, and added up like sums.)
            let share = 1.0 / columns.plane as f64;
            columns.each_channel([&*shift, &*first, &*second], out, |[shifts, d, q]| {
                Moments::from_shifted(count, shifts * share, d, q)
            });
            return;
        }
        out.extend((0..columns.width).map(|column| {
            let place = columns.place(column);
            let moments = Moments::from_shifted(count, shift[place], first[place], second[place]);
            if moments.is_finite() && moments.m2() != 0.0 {
                return moments;
            }
            // The rare ends of the range, one channel at a time.
            let values: Vec<T> = columns.column(column).collect();
            self.run(columns.left + column, &Chunk::Slice([&values]))
        }));
    }
}

/// One, the weight, and the weight times the deviation from a shift near the values and times its square.
#[derive(Clone, Copy)]
struct WeightedDeviationSummands;

impl Summands<2, 1, 4> for WeightedDeviationSummands {
    // A weight of 0 counts nothing.
    const ZEROS_ADD_NOTHING: bool = true;
    #[inline(always)]
    fn add<V: Vector>(self, [shift]: [V; 1], [x, weight]: [V; 2], [count, total, sum, squares]: [V; 4]) -> [V; 4] {
        let d = counted(weight, x.sub(shift));
        let product = weight.mul(d);
        let one = counted(weight, V::splat(1.0));
        [count.add(one), total.add(weight), sum.add(product), squares.add(product.mul(d))]
    }
}

/// The moments of a chunk of values and their weights.
pub(crate) struct WeightedChunkMoments(pub Isa);

impl<T: Stored> ChunkReduction<T, 2> for WeightedChunkMoments {
    type Value = Moments;
    fn takes_planes(&self) -> bool {
        false
    }

    fn run(&self, _: usize, chunk: &Chunk<T, 2>) -> Moments {
        let counting = || {
            let pairs = chunk.values(0).zip(chunk.values(1));
            pairs.map(|(x, weight)| (x.to_f64(), weight.to_f64())).filter(|(_, weight)| *weight > 0.0)
        };
        // The heaviest one: a light one may lie anywhere without being noticed in the variance.
        let heavier = |a: (f64, f64), b: (f64, f64)| if b.1 > a.1 { b } else { a };
        let Some((near, _)) = counting().reduce(heavier) else { return Moments::EMPTY };
        let sums = |shift: f64| self.0.run(SumRun { summands: WeightedDeviationSummands, constants: [shift], chunk });
        let of = |shift, [count, weight, d, q]: [f64; 4]| Moments::from_weighted(count as u64, weight, shift, [d, q]);
        let about_near = sums(near);
        let [_, weight, d, q] = about_near;
        if q == 0.0 {
            // All alike, exactly; or deviations too small to square.
            let moments = of(near, about_near);
            return if counting().all(|(x, _)| x == near) { moments } else { moments.not_constant() };
        }
        // About the mean once more: what is taken off the squares is nothing then.
        let mean = near + d / weight;
        let moments = of(mean, sums(mean));
        let moments = if moments.m2() == 0.0 { moments.not_constant() } else { moments };
        if moments.is_finite() { moments } else { of(near, about_near) }
    }

    fn rows(&self, columns: [Columns<T>; 2], _: &mut Tables, out: &mut Vec<Moments>) {
        // Weights of every single value, which are rare: one channel at a time.
        let mut copies = [Vec::new(), Vec::new()];
        out.extend((0..columns[0].width).map(|column| {
            for (copy, columns) in copies.iter_mut().zip(&columns) {
                copy.clear();
                copy.extend(columns.column(column));
            }
            let [x, weights] = &copies;
            self.run(columns[0].left + column, &Chunk::Slice([x, weights]))
        }));
    }
}
