//! Vectors of numbers as they stand in a file, read as `f64` without a copy.

use std::borrow::Cow;
use std::ops::Range;

use super::precision::Precision;
use crate::wire;

/// A vector of a file.
#[derive(Debug, Clone)]
pub struct Numbers<'f> {
    count: usize,
    precision: Precision,
    place: Place<'f>,
}

#[derive(Debug, Clone)]
enum Place<'f> {
    /// Little-endian, one behind another.
    Bytes(Cow<'f, [u8]>),
    /// In pieces of a file, each little-endian.
    Pieces(&'f [u8], Vec<Range<usize>>),
    /// Bits of 16-bit numbers as varints, in pieces of a file, all of which were looked at.
    Varints(&'f [u8], Vec<Range<usize>>),
    /// So many times one number.
    Filled(f64),
}

impl<'f> Numbers<'f> {
    /// Little-endian numbers, one behind another; none if the bytes are not a multiple of their size.
    pub fn of_bytes(bytes: impl Into<Cow<'f, [u8]>>, precision: Precision) -> Option<Numbers<'f>> {
        let bytes = bytes.into();
        let count = bytes.len() / precision.size();
        (count * precision.size() == bytes.len()).then_some(Numbers { count, precision, place: Place::Bytes(bytes) })
    }

    /// Little-endian numbers in several pieces of a file.
    pub(crate) fn of_pieces(file: &'f [u8], pieces: Vec<Range<usize>>, precision: Precision) -> Option<Numbers<'f>> {
        let size = precision.size();
        let count = pieces.iter().map(|piece| piece.len() / size).sum();
        let whole = pieces.iter().all(|piece| piece.len() % size == 0);
        whole.then_some(Numbers { count, precision, place: Place::Pieces(file, pieces) })
    }

    /// Bits of 16-bit numbers as varints.
    pub(crate) fn of_varints(
        file: &'f [u8],
        pieces: Vec<Range<usize>>,
        precision: Precision,
    ) -> Result<Numbers<'f>, wire::WireError> {
        let mut count = 0;
        for piece in &pieces {
            let mut left = piece.clone();
            while !left.is_empty() {
                left.start = wire::varint(file, left.clone())?.1;
                count += 1;
            }
        }
        Ok(Numbers { count, precision, place: Place::Varints(file, pieces) })
    }

    /// Numbers of an attribute.
    pub(crate) fn of_floats(numbers: &[f32]) -> Numbers<'static> {
        let bytes = Precision::F32.bytes_of(numbers.iter().map(|&number| f64::from(number)));
        Numbers { count: numbers.len(), precision: Precision::F32, place: Place::Bytes(Cow::Owned(bytes)) }
    }

    /// One number, so many times.
    pub(crate) fn filled(count: usize, number: f64, precision: Precision) -> Numbers<'static> {
        Numbers { count, precision, place: Place::Filled(number) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their element type in the file.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The numbers, in order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match &self.place {
            Place::Bytes(bytes) => of_bytes(bytes, self.precision),
            Place::Pieces(file, pieces) => {
                Box::new(pieces.iter().flat_map(|piece| of_bytes(&file[piece.clone()], self.precision)))
            }
            Place::Varints(file, pieces) => {
                let (file, precision) = (*file, self.precision);
                let of = move |piece: &Range<usize>| {
                    let mut left = piece.clone();
                    // (An empty range has no number.)
                    let next = move || {
                        let (bits, at) = wire::varint(file, left.clone()).ok()?;
                        left.start = at;
                        Some(precision.of_bits(bits as u16))
                    };
                    std::iter::from_fn(next)
                };
                Box::new(pieces.iter().flat_map(of))
            }
            Place::Filled(number) => Box::new(std::iter::repeat_n(*number, self.count)),
        }
    }

    /// The numbers, copied.
    pub fn to_vec(&self) -> Vec<f64> {
        match (&self.place, self.precision) {
            // (What nearly all files have, without a call for each number.)
            (Place::Bytes(bytes), Precision::F32) => {
                bytes.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
            }
            _ => self.iter().collect(),
        }
    }
}

fn of_bytes(bytes: &[u8], precision: Precision) -> Box<dyn Iterator<Item = f64> + '_> {
    match precision {
        Precision::F32 => Box::new(bytes.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)))),
        Precision::F64 => Box::new(bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes))),
        half => Box::new(bytes.as_chunks::<2>().0.iter().map(move |bytes| half.of_bits(u16::from_le_bytes(*bytes)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn numbers_come_back_from_bytes_of_each_type() {
        let numbers = [0.0, -1.5, 65_504.0, f64::INFINITY];
        for precision in [Precision::F32, Precision::F64, Precision::F16, Precision::Bf16] {
            let bytes = precision.bytes_of(numbers.into_iter());
            let read = Numbers::of_bytes(&bytes[..], precision).unwrap();
            let expected = if precision == Precision::Bf16 { [0.0, -1.5, 65_536.0, f64::INFINITY] } else { numbers };
            assert_eq!((read.len(), read.to_vec()), (4, expected.to_vec()), "{precision}");
            let cut = 2 * precision.size();
            let pieces = Numbers::of_pieces(&bytes, vec![0..cut, cut..bytes.len()], precision).unwrap();
            assert_eq!(pieces.to_vec(), expected, "{precision}");
            let one_by_one: Vec<f64> = (0..5).map(|at| precision.number(&bytes, at)).collect();
            assert_eq!(one_by_one, [&expected[..], &[0.0]].concat(), "{precision}");
            let (finite, infinite) = bytes.split_at(3 * precision.size());
            assert!(precision.are_finite(finite) && !precision.are_finite(infinite), "{precision}");
        }
        assert!(Numbers::of_bytes(&[0u8; 5][..], Precision::F32).is_none());
    }

    #[test]
    fn bits_of_halves_come_out_of_varints() {
        let mut file = vec![9];
        wire::put_varint(&mut file, u64::from(f16::from_f64(2.5).to_bits()));
        wire::put_varint(&mut file, u64::from(f16::from_f64(-0.125).to_bits()));
        let numbers = Numbers::of_varints(&file, vec![1..file.len(), 1..4], Precision::F16).unwrap();
        assert_eq!((numbers.len(), numbers.to_vec()), (3, vec![2.5, -0.125, 2.5]));
        assert!(Numbers::of_varints(&[0x80], std::iter::once(0..1).collect(), Precision::F16).is_err());
    }
}
