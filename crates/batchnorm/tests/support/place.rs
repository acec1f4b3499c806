//! Where an array lies in a larger buffer: any strides, a margin before and behind it, gaps within. What is not the
//! array's must stay as it was.

use batchnorm::{Axes, Element, View, ViewMut};

/// What outputs hold before they are written, and what surrounds every array: a NaN that arithmetic on numbers does not
/// give, and that arithmetic with it gives again.
pub fn poison<T: Element>() -> T {
    // What a NaN becomes that is converted while compiling is the compiler's choice; by the processor it keeps its bits.
    T::from_f64(std::hint::black_box(f64::from_bits(0xfffb_4000_0000_0000)))
}

pub fn bits<T: Element>(value: T) -> u64 {
    value.to_f64().to_bits()
}

#[derive(Debug, Clone)]
pub struct Place {
    /// Lengths of the axes, outermost first, in the order in which values are handed over.
    lengths: Vec<usize>,
    /// Of each axis, in elements.
    strides: Vec<isize>,
    /// The channel axes, the last one fastest.
    channels: Vec<usize>,
    /// The axes in the order in which a view names them.
    named: Vec<usize>,
    /// Whether there is a margin before the array.
    margin: bool,
    offset: usize,
    len: usize,
}

impl Place {
    /// With so many elements before the lowest and behind the highest that belongs to the array.
    pub fn new(lengths: &[usize], strides: &[isize], channels: &[usize], margins: [usize; 2]) -> Place {
        let reach = |negative: bool| -> usize {
            let axes = lengths.iter().zip(strides).filter(|(_, stride)| (**stride < 0) == negative);
            axes.map(|(length, stride)| (length - 1) * stride.unsigned_abs()).sum()
        };
        let offset = margins[0] + reach(true);
        Place {
            lengths: lengths.to_vec(),
            strides: strides.to_vec(),
            channels: channels.to_vec(),
            named: (0..lengths.len()).collect(),
            margin: margins[0] > 0,
            offset,
            len: offset + reach(false) + 1 + margins[1],
        }
    }

    /// The same, its axes named in another order.
    pub fn named(self, named: &[usize]) -> Place {
        Place { named: named.to_vec(), ..self }
    }

    /// Calls `visit(number of the value, its place)`.
    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        let (inner, outer) = (self.lengths.len() - 1, &self.lengths[..self.lengths.len() - 1]);
        let mut at = vec![0; outer.len()];
        let mut number = 0;
        loop {
            let first = at.iter().zip(&self.strides).map(|(&at, stride)| at as isize * stride).sum::<isize>();
            for i in 0..self.lengths[inner] {
                visit(number, (self.offset as isize + first + i as isize * self.strides[inner]) as usize);
                number += 1;
            }
            let next = (0..outer.len()).rev().find(|&axis| {
                at[axis] = (at[axis] + 1) % outer[axis];
                at[axis] != 0
            });
            if next.is_none() {
                return;
            }
        }
    }

    /// A poisoned buffer.
    pub fn blank<T: Element>(&self) -> Vec<T> {
        vec![poison(); self.len]
    }

    /// A poisoned buffer with values in their places.
    pub fn filled<T: Element>(&self, values: &[T]) -> Vec<T> {
        let mut buffer = self.blank();
        self.each(|number, place| buffer[place] = values[number]);
        buffer
    }

    /// The values; of a broadcast array each as often as it counts.
    pub fn read<T: Element>(&self, buffer: &[T]) -> Vec<T> {
        let mut values = Vec::with_capacity(self.lengths.iter().product());
        self.each(|_, place| values.push(buffer[place]));
        values
    }

    /// The values of an output, after a look at what must not have been written and what must have been. (Before, the
    /// buffer held one value everywhere.)
    pub fn taken<T: Element>(&self, buffer: Vec<T>) -> Vec<T> {
        self.checked(buffer).unwrap_or_else(|(at, fault)| panic!("{fault} at {at}, {self:?}"))
    }

    /// The same, or where it is wrong and how.
    pub fn checked<T: Element>(&self, mut buffer: Vec<T>) -> Result<Vec<T>, (usize, &'static str)> {
        let before = if self.margin { buffer[0] } else { poison() };
        let values = self.read(&buffer);
        self.each(|_, place| buffer[place] = before);
        if let Some(at) = buffer.iter().position(|&value| bits(value) != bits(before)) {
            return Err((at, "written beside the array"));
        }
        match values.iter().position(|&value| bits(value) == bits(poison::<T>())) {
            Some(at) => Err((at, "not written, or computed from what lies beside an array,")),
            None => Ok(values),
        }
    }

    /// Shape and strides as a view names them, and the channel axes: the last axis counted from the end.
    fn geometry(&self) -> (Vec<usize>, Vec<isize>, Vec<isize>) {
        let shape = self.named.iter().map(|&axis| self.lengths[axis]).collect();
        let strides = self.named.iter().map(|&axis| self.strides[axis]).collect();
        let number = |&channel: &usize| {
            let at = self.named.iter().position(|&axis| axis == channel).expect("every axis is named");
            if at + 1 == self.named.len() { -1 } else { at as isize }
        };
        (shape, strides, self.channels.iter().map(number).collect())
    }

    fn axes(channels: &[isize]) -> Axes<'_> {
        if let &[channel] = channels { Axes::Channel(channel) } else { Axes::Channels(channels) }
    }

    /// Values in the order of the axes as a view names them, dense, and the lengths of these axes.
    pub fn as_named<T: Copy>(&self, values: &[T]) -> (Vec<T>, Vec<usize>) {
        let (shape, ..) = self.geometry();
        let mut strides = vec![1; shape.len()];
        for (at, &axis) in self.named.iter().enumerate() {
            strides[axis] = shape[at + 1..].iter().product::<usize>() as isize;
        }
        let mut named = values.to_vec();
        Place::new(&self.lengths, &strides, &self.channels, [0; 2]).each(|number, place| named[place] = values[number]);
        (named, shape)
    }

    pub fn view<'a, T: Element>(&self, data: &'a [T]) -> View<'a, T> {
        let (shape, strides, channels) = self.geometry();
        View::with_strides(data, &shape, &strides, self.offset, Self::axes(&channels)).expect("a right view")
    }

    pub fn view_mut<'a, T: Element>(&self, data: &'a mut [T]) -> ViewMut<'a, T> {
        let (shape, strides, channels) = self.geometry();
        ViewMut::with_strides(data, &shape, &strides, self.offset, Self::axes(&channels)).expect("a right view")
    }
}
