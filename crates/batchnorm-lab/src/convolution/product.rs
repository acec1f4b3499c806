//! Products of matrices.

use std::ops::AddAssign;

/// Numbers that convolutions are computed in.
pub trait Real: Copy + Default + Send + Sync + AddAssign + 'static {
    const ONE: Self;
}

impl Real for f32 {
    const ONE: f32 = 1.0;
}

impl Real for f64 {
    const ONE: f64 = 1.0;
}

/// A matrix in memory.
#[derive(Clone, Copy)]
pub struct Matrix<'m, T> {
    values: &'m [T],
    lengths: [usize; 2],
    /// From a row to the next, and from a column to the next.
    strides: [usize; 2],
}

impl<'m, T> Matrix<'m, T> {
    /// A matrix of so many rows and columns, row after row.
    pub fn new(values: &'m [T], [rows, columns]: [usize; 2]) -> Self {
        Matrix::with_rows_apart(values, [rows, columns], columns)
    }

    /// A matrix whose rows begin `apart` values from each other.
    pub fn with_rows_apart(values: &'m [T], lengths: [usize; 2], apart: usize) -> Self {
        assert!(last([apart, 1], lengths) < values.len(), "{} values are less than {lengths:?}", values.len());
        Matrix { values, lengths, strides: [apart, 1] }
    }

    /// Its transpose.
    pub fn transposed(self) -> Self {
        let ([rows, columns], [down, right]) = (self.lengths, self.strides);
        Matrix { values: self.values, lengths: [columns, rows], strides: [right, down] }
    }
}

/// The place of the last value of a matrix that has one.
fn last(strides: [usize; 2], lengths: [usize; 2]) -> usize {
    let [rows, columns] = lengths.map(|length| length.checked_sub(1).expect("a matrix has a value"));
    let place = rows.checked_mul(strides[0]).zip(columns.checked_mul(strides[1]));
    place.and_then(|(down, right)| down.checked_add(right)).expect("a matrix in memory has places that are numbers")
}

/// `out = a b`, or `out += a b`; the rows of `out` begin `apart` values from each other. On this thread alone.
#[expect(unsafe_code, reason = "the crate gemm takes pointers")]
pub fn multiply<T: Real>(a: Matrix<T>, b: Matrix<T>, out: &mut [T], apart: usize, adds: bool) {
    let ([rows, inner], [same, columns]) = (a.lengths, b.lengths);
    assert_eq!(inner, same, "lengths of a product");
    assert!(columns <= apart && last([apart, 1], [rows, columns]) < out.len(), "a product needs its room");
    let stride = |stride: usize| isize::try_from(stride).expect("a slice has at most isize::MAX bytes");
    // SAFETY: `Matrix::with_rows_apart` has checked that the last value of each factor lies in its slice, the assertion above that the
    // last value of the product does, and no two values of the product share a place, for rows are at least `columns` apart. `out` is a
    // slice of its own, for it is borrowed mutably. All values are initialised.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            stride(apart),
            adds,
            a.values.as_ptr(),
            stride(a.strides[1]),
            stride(a.strides[0]),
            b.values.as_ptr(),
            stride(b.strides[1]),
            stride(b.strides[0]),
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
