//! The answers by plain scalar code, and whether those of the loops are they.

use rayon::prelude::*;

use crate::finish::Kind;
use crate::{Buffers, EPSILON, Order, Shape};

/// Greatest error allowed, relative to the greatest right value: one rounding to `f32`, and a little.
const BOUND: f64 = 1.2e-7;

/// What the answers of a call are made of.
pub fn answers(shape: &Shape, kind: Kind, buffers: &Buffers) -> Vec<Channel> {
    (0..shape.channels).into_par_iter().map(|channel| Channel::of(shape, channel, kind, buffers)).collect()
}

/// Compares what a call left in the buffers with its [`answers`].
///
/// # Errors
/// The answer that is furthest off.
pub fn check(shape: &Shape, kind: Kind, channels: &[Channel], buffers: &Buffers) -> Result<(), String> {
    let (name, out): (_, &[f32]) = match kind {
        Kind::Train => ("training", buffers.y),
        Kind::Eval => ("inference", buffers.y),
        Kind::Backward => ("backward", buffers.dx),
    };
    let worst = |a: (f64, f64), b: (f64, f64)| (a.0.max(b.0), a.1.max(b.1));
    let (greatest, error) = channels
        .par_iter()
        .enumerate()
        .map(|(channel, of)| {
            places(shape, channel).fold((0.0, 0.0), |all, place| {
                let right = of.value(f64::from(buffers.x[place]), f64::from(buffers.dy[place]));
                worst(all, (right.abs(), distance(out[place], right)))
            })
        })
        .reduce(|| (0.0, 0.0), worst);
    within(&format!("{name}, out"), error, greatest)?;
    if kind == Kind::Backward {
        for (what, found, at) in [("dgamma", &*buffers.dgamma, 0), ("dbeta", &*buffers.dbeta, 1)] {
            let of = channels.iter().zip(found);
            let all = of.map(|(channel, &found)| (channel.sums[at].abs(), distance(found, channel.sums[at])));
            let (greatest, error) = all.fold((0.0, 0.0), worst);
            within(what, error, greatest)?;
        }
    }
    Ok(())
}

fn within(what: &str, error: f64, greatest: f64) -> Result<(), String> {
    let most = BOUND * greatest;
    if error <= most {
        Ok(())
    } else {
        Err(format!("{what} is {error:e} off, expected at most {most:e}; nothing is timed"))
    }
}

/// What is missing counts as infinitely far.
fn distance(found: f32, right: f64) -> f64 {
    let distance = (f64::from(found) - right).abs();
    if distance.is_nan() { f64::INFINITY } else { distance }
}

fn places(shape: &Shape, channel: usize) -> impl Iterator<Item = usize> + use<> {
    let &Shape { channels, plane, order, .. } = shape;
    (0..shape.count()).map(move |index| match order {
        Order::Planes => (index / plane * channels + channel) * plane + index % plane,
        Order::Rows => index * channels + channel,
    })
}

/// y = (x - mean) * scale + shift, or dx = scale * (dy - share - (x - mean) * slope).
pub struct Channel {
    mean: f64,
    scale: f64,
    shift: f64,
    back: Option<[f64; 2]>,
    /// dgamma and dbeta.
    sums: [f64; 2],
}

impl Channel {
    fn of(shape: &Shape, channel: usize, kind: Kind, buffers: &Buffers) -> Channel {
        let (gamma, shift) = (f64::from(buffers.gamma[channel]), f64::from(buffers.beta[channel]));
        let values = || places(shape, channel).map(|place| (f64::from(buffers.x[place]), f64::from(buffers.dy[place])));
        let count = shape.count() as f64;
        let (mean, variance) = if kind == Kind::Eval {
            (f64::from(buffers.running_mean[channel]), f64::from(buffers.running_variance[channel]))
        } else {
            // In two passes, unlike the loops.
            let mean = values().map(|(x, _)| x).sum::<f64>() / count;
            (mean, values().map(|(x, _)| (x - mean) * (x - mean)).sum::<f64>() / count)
        };
        let inverse = 1.0 / (variance + EPSILON).sqrt();
        let mut all = Channel { mean, scale: gamma * inverse, shift, back: None, sums: [0.0; 2] };
        if kind == Kind::Backward {
            let dbeta = values().map(|(_, dy)| dy).sum::<f64>();
            let dgamma = values().map(|(x, dy)| dy * (x - mean) * inverse).sum::<f64>();
            all.back = Some([dbeta / count, inverse * dgamma / count]);
            all.sums = [dgamma, dbeta];
        }
        all
    }

    fn value(&self, x: f64, dy: f64) -> f64 {
        match self.back {
            None => (x - self.mean) * self.scale + self.shift,
            Some([share, slope]) => self.scale * (dy - share - (x - self.mean) * slope),
        }
    }
}
