//! Groups of channels of every kind, and how well they are conditioned.

use crate::support::Random;
use crate::support::wide::{DoubleDouble, wide, widened};
use batchnorm::reference::{Real, whitening};
use batchnorm::{ConstantChannel, Decorrelated, Element, Policies, WhiteningConfig};

/// One group, a row for each channel, with what else a training step has.
#[derive(Clone)]
pub struct Group {
    pub name: &'static str,
    pub x: Vec<Vec<f64>>,
    pub dy: Vec<Vec<f64>>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub epsilon: f64,
}

/// Channels mixed from independent ones, each with its size and mean.
pub fn mixed(d: usize, n: usize, random: &mut Random, place: impl Fn(usize) -> (f64, f64)) -> Vec<Vec<f64>> {
    let independent: Vec<Vec<f64>> = (0..d).map(|_| random.normals(n, 0.0, 1.0)).collect();
    let weights: Vec<Vec<f64>> = (0..d).map(|_| random.normals(d, 0.0, 0.4)).collect();
    (0..d)
        .map(|i| {
            let (mean, size) = place(i);
            let value = |k: usize| {
                independent[i][k] + (0..d).map(|j| weights[i][j] * independent[j][k]).sum::<f64>() / (d as f64).sqrt()
            };
            (0..n).map(|k| mean + size * value(k)).collect()
        })
        .collect()
}

/// Rows of a Hadamard matrix: exactly uncorrelated, mean 0, variance 1. `n` is a power of two above `d`.
pub fn hadamard(d: usize, n: usize) -> Vec<Vec<f64>> {
    let sign = |i: usize, k: usize| if (i & k).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
    (1..=d).map(|i| (0..n).map(|k| sign(i, k)).collect()).collect()
}

pub fn groups(random: &mut Random) -> Vec<Group> {
    let mut all = Vec::new();
    let mut push = |name, x: Vec<Vec<f64>>, epsilon, random: &mut Random| {
        let (d, n) = (x.len(), x[0].len());
        let dy = (0..d).map(|_| random.normals(n, 0.2, 1.0)).collect();
        let gamma = (0..d).map(|i| 0.7 - i as f64 / 3.0).collect();
        let beta = (0..d).map(|i| i as f64 / 5.0).collect();
        all.push(Group { name, x, dy, gamma, beta, epsilon });
    };
    for (d, n) in [(1, 2), (1, 300), (2, 3), (3, 17), (4, 257), (8, 100), (16, 65), (16, 300)] {
        push("mixed", mixed(d, n, random, |_| (0.5, 1.0)), 1e-5, random);
    }
    push("mean 1e6", mixed(5, 260, random, |_| (1e6, 1.0)), 1e-5, random);
    push("mean 1e12", mixed(3, 40, random, |_| (-1e12, 1.0)), 1e-5, random);
    push("sizes 1e-3 to 1e6", mixed(4, 90, random, |i| (0.0, 10f64.powi(3 * i as i32 - 3))), 1e-5, random);
    push(
        "sizes and means",
        mixed(4, 90, random, |i| (10f64.powi(8 - i as i32), 10f64.powi(2 * i as i32))),
        0.0,
        random,
    );
    push("c I exactly", hadamard(7, 16), 1e-5, random);
    push("c I exactly, eps 0", hadamard(3, 8), 0.0, random);
    let mut two_equal = hadamard(4, 16);
    two_equal[2].iter_mut().for_each(|x| *x *= 3.0);
    two_equal[3].iter_mut().for_each(|x| *x *= 1.0 + 1e-9);
    push("two equal, one almost", two_equal, 1e-5, random);
    let mut alike = mixed(4, 50, random, |_| (1.0, 1.0));
    alike[2] = alike[0].clone();
    push("a channel twice", alike, 1e-3, random);
    push("fewer values than channels", mixed(8, 5, random, |_| (0.0, 1.0)), 1e-2, random);
    let mut nearly = mixed(3, 60, random, |_| (5.0, 1.0));
    nearly[1] = nearly[0].iter().map(|x| 2.0 * x + 1e-4 * random.normal()).collect();
    push("nearly a channel twice", nearly, 0.0, random);
    let mut large = mixed(3, 60, random, |_| (0.0, 1e3));
    large[1] = large[0].clone();
    push("a large channel twice", large, 1e-5, random);
    let mut constant = mixed(3, 40, random, |_| (0.0, 1.0));
    constant[1].fill(0.1);
    push("a constant channel", constant, 1e-5, random);
    push("tiny", mixed(3, 40, random, |_| (0.0, 1e-60)), 0.0, random);
    push("huge", mixed(3, 40, random, |_| (0.0, 1e60)), 0.0, random);
    for _ in 0..60 {
        let (d, n) = (1 + random.below(6), 2 + random.below(40));
        let (mean, size) = (10f64.powi(random.below(7) as i32), random.below(5) as i32 - 2);
        let x = mixed(d, n, random, |i| (mean, 10f64.powi(size * i as i32 % 4)));
        // With fewer values than channels eps decides, so that it must be one that the sizes leave standing.
        let epsilon = if n > d + 1 { [0.0, 1e-8, 1e-5, 1e-1][random.below(4)] } else { 1e-1 };
        push("random", x, epsilon, random);
    }
    all
}

pub fn rows_widened(rows: &[Vec<f64>]) -> Vec<Vec<DoubleDouble>> {
    rows.iter().map(|row| widened(row)).collect()
}

/// kappa: the condition number of covariance + eps I, scaled to a diagonal of ones.
pub fn condition(covariance: &[Vec<DoubleDouble>], epsilon: f64) -> f64 {
    let d = covariance.len();
    let diagonal = |i: usize| covariance[i][i] + wide(epsilon);
    let element = |i: usize, j: usize| if i == j { diagonal(i) } else { covariance[i][j] };
    let scaled: Vec<Vec<DoubleDouble>> =
        (0..d).map(|i| (0..d).map(|j| element(i, j) / (diagonal(i).sqrt() * diagonal(j).sqrt())).collect()).collect();
    let root = whitening::inverse_root(&scaled);
    let norm = |matrix: &[Vec<DoubleDouble>]| {
        // Power iteration, from a start that no symmetry of these matrices makes blind.
        let mut vector: Vec<f64> = (0..d).map(|i| 1.0 + (i as f64).sin() / 2.0).collect();
        let mut length = 0.0;
        for _ in 0..300 {
            let next: Vec<f64> =
                matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, v)| a.to_f64() * v).sum()).collect();
            length = next.iter().map(|v| v * v).sum::<f64>().sqrt();
            vector = next.iter().map(|v| v / length).collect();
        }
        length
    };
    norm(&scaled) * norm(&root) * norm(&root)
}

pub fn interleaved<T: Element>(rows: &[Vec<f64>]) -> Vec<T> {
    (0..rows[0].len()).flat_map(|k| rows.iter().map(move |row| T::from_f64(row[k]))).collect()
}

pub fn rows<T: Element>(data: &[T], d: usize) -> Vec<Vec<f64>> {
    (0..d).map(|i| data.iter().skip(i).step_by(d).map(|value| value.to_f64()).collect()).collect()
}

pub fn layer(group: &Group) -> Decorrelated {
    let d = group.x.len();
    // The derivative of the formula wherever it exists, which is what the twin has.
    let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
    let config = WhiteningConfig::new(d, d).epsilon(group.epsilon).policies(policies);
    let mut layer = config.build().expect("a right configuration");
    layer.set_gamma(&group.gamma).expect("one for each channel");
    layer.set_beta(&group.beta).expect("one for each channel");
    layer
}
