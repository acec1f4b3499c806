//! Means of finite values whose sums leave the range of f64: the layer says that such a channel is not finite, but its mean is.

use super::warnings::{channel_of, weight_at};
use batchnorm::{Element, View, Weights};

/// Puts the mean of each channel whose sums overflowed in its place. `x` is in C order.
pub(super) fn put_in<T: Element>(mean: &mut [f64], view: &View<T>, x: &[T], weights: Option<&Weights<T>>) {
    if mean.iter().all(|mean| mean.is_finite()) {
        return;
    }
    let channel_of = channel_of(view);
    let weight = weight_at(view, weights);
    let channels = mean.len();
    let (mut finite, mut total) = (vec![true; channels], vec![0.0f64; channels]);
    for (at, value) in x.iter().enumerate().filter(|(at, _)| weight(*at) > 0.0) {
        finite[channel_of(at)] &= value.to_f64().is_finite();
        total[channel_of(at)] += weight(at);
    }
    // Each value by its share of the weights: no sum exceeds the largest value. What additions lose is added at the end.
    let (mut sum, mut lost) = (vec![0.0f64; channels], vec![0.0f64; channels]);
    for (at, value) in x.iter().enumerate().filter(|(at, _)| weight(*at) > 0.0) {
        let channel = channel_of(at);
        let part = value.to_f64() * (weight(at) / total[channel]);
        let next = sum[channel] + part;
        lost[channel] +=
            if sum[channel].abs() >= part.abs() { sum[channel] - next + part } else { part - next + sum[channel] };
        sum[channel] = next;
    }
    for channel in (0..channels).filter(|&channel| finite[channel] && total[channel] > 0.0) {
        if !mean[channel].is_finite() {
            mean[channel] = sum[channel] + lost[channel];
        }
    }
}
