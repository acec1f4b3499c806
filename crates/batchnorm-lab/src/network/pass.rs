//! What a pass through a network is besides its input: its mode, what is dropped, and who looks on.

use burn::tensor::{Tensor, TensorData};
use chacha20::ChaCha8Rng;
use rand::RngExt;

/// Someone who looks at what each layer gives: its path, and its output as `[examples, channels, plane]`.
pub(super) type Observer<'p> = &'p mut dyn FnMut(&str, Tensor<3>);

/// A pass through a network.
pub(super) struct Pass<'p> {
    /// Norms go by the batch and update their running statistics; otherwise they go by these.
    pub training: bool,
    /// Draws what is dropped; without it nothing is.
    pub dropout: Option<&'p mut ChaCha8Rng>,
    pub observer: Option<Observer<'p>>,
}

impl Pass<'_> {
    /// A share of the values set to 0, the others enlarged so that the mean stays (Srivastava et al. 2014, in the form that evaluation
    /// needs nothing for).
    pub fn dropped(&mut self, x: Tensor<2>, share: f64) -> Tensor<2> {
        let Some(generator) = self.dropout.as_deref_mut().filter(|_| share > 0.0) else { return x };
        let kept = (1.0 / (1.0 - share)) as f32;
        let [rows, columns] = x.dims();
        let factors: Vec<f32> =
            (0..rows * columns).map(|_| if generator.random::<f64>() < share { 0.0 } else { kept }).collect();
        let options = (&x.device(), x.dtype());
        x * Tensor::from_data(TensorData::new(factors, [rows, columns]), options)
    }

    pub fn observe<const D: usize>(&mut self, path: impl FnOnce() -> String, output: &Tensor<D>) {
        if let Some(observer) = &mut self.observer {
            let dims = output.dims();
            let plane = dims[2..].iter().product();
            observer(&path(), output.clone().reshape([dims[0], dims[1], plane]));
        }
    }
}
