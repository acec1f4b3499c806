//! Arrays (samples, channels).

use batchnorm::{Axes, View};

pub fn view(data: &[f64], channels: usize) -> View<'_, f64> {
    View::new(data, &[data.len() / channels, channels], Axes::NCHW).expect("rows of all channels")
}

pub fn assert_close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-13 * expected.abs().max(1.0), "{got:?}, expected {expected:?}");
    }
}
