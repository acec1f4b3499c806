//! Arrays as cases hold them: numbers in a buffer, and where in it the elements lie.

use batchnorm_io::npy::Numbers;

use crate::recipe::Recipe;

/// An input: a buffer, and the array in it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The buffer, in order of memory.
    pub numbers: Numbers,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Distance between neighbours along each axis, in elements; none for a dense array in C order.
    pub strides: Option<Vec<isize>>,
    /// Place of the first element in the buffer.
    pub offset: usize,
    /// The recipe that made the buffer, where it is not stored.
    pub recipe: Option<Recipe>,
}

impl Input {
    /// A dense array in C order.
    pub fn dense(numbers: Numbers, shape: &[usize]) -> Input {
        Input { numbers, shape: shape.to_vec(), strides: None, offset: 0, recipe: None }
    }

    /// The place of each element in the buffer, in C order.
    pub fn places(&self) -> Vec<usize> {
        let Some(strides) = &self.strides else { return (0..self.numbers.len()).collect() };
        let mut places = vec![self.offset as isize];
        for (&length, &stride) in self.shape.iter().zip(strides) {
            places = places.iter().flat_map(|&place| (0..length).map(move |i| place + i as isize * stride)).collect();
        }
        places.into_iter().map(|place| place as usize).collect()
    }

    /// The elements, in C order, exactly.
    pub fn to_f64(&self) -> Vec<f64> {
        let buffer = self.numbers.to_f64();
        if self.strides.is_none() { buffer } else { self.places().into_iter().map(|place| buffer[place]).collect() }
    }
}

#[test]
fn elements_of_a_strided_array_come_in_order() {
    // Columns of a 2 x 3 buffer, the last one first.
    let numbers = Numbers::F64(vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
    let input = Input { numbers, shape: vec![3, 2], strides: Some(vec![-1, 3]), offset: 2, recipe: None };
    assert_eq!(input.to_f64(), [2.0, 12.0, 1.0, 11.0, 0.0, 10.0]);
}
