//! Random tensors from a printed seed.

#![allow(dead_code, missing_docs)]

pub mod net;

use burn::tensor::{Device, Tensor, TensorData};
use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Ranks 2 to 5; one channel and many, one sample and many, planes of one and of odd sizes.
pub const SHAPES: [&[usize]; 14] = [
    &[2, 1],
    &[60, 100],
    &[7, 33],
    &[128, 4],
    &[4, 3, 5],
    &[1, 2, 9],
    &[16, 8, 1],
    &[2, 3, 4, 5],
    &[8, 5, 7, 7],
    &[1, 64, 2, 3],
    &[32, 16, 13, 17],
    &[3, 27, 1, 1],
    &[2, 3, 2, 3, 4],
    &[5, 7, 1, 2, 2],
];

/// Numbers from a seed.
pub struct Source(ChaCha8Rng);

impl Source {
    pub fn new(seed: u64) -> Source {
        println!("seed {seed}");
        Source(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Roughly normal: twelve uniform numbers added.
    pub fn values(&mut self, count: usize, mean: f32, deviation: f32) -> Vec<f32> {
        let mut normal = || (0..12).map(|_| self.0.random_range(0.0..1.0f32)).sum::<f32>() - 6.0;
        (0..count).map(|_| mean + deviation * normal()).collect()
    }

    pub fn tensor<const D: usize>(&mut self, shape: &[usize], device: &Device) -> Tensor<D> {
        let values = self.values(shape.iter().product(), 0.5, 2.0);
        Tensor::from_data(TensorData::new(values, shape.to_vec()), device)
    }
}

pub fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Bits, so that a comparison means the bits.
pub fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    floats(tensor).into_iter().map(f32::to_bits).collect()
}

/// The values of each channel, of `[samples, channels, ...]`.
pub fn by_channel<T: Copy + Into<f64>>(values: &[T], shape: &[usize]) -> Vec<Vec<f64>> {
    let (channels, plane) = (shape[1], shape[2..].iter().product::<usize>());
    let mut by_channel = vec![Vec::new(); channels];
    for (index, &value) in values.iter().enumerate() {
        by_channel[index / plane % channels].push(value.into());
    }
    by_channel
}

/// Runs a body once for each shape, with its rank as a constant.
#[macro_export]
macro_rules! for_each_shape {
    ($body:ident) => {
        for (index, shape) in support::SHAPES.iter().enumerate() {
            match shape.len() {
                2 => $body::<2>(index, shape),
                3 => $body::<3>(index, shape),
                4 => $body::<4>(index, shape),
                5 => $body::<5>(index, shape),
                rank => unreachable!("rank {rank}"),
            }
        }
    };
}
