//! Another program's backward pass, right or with a usual mistake, and the files that it leaves.

use crate::arrays::Folder;
use crate::{json, values_around};
use batchnorm_io::npy::Number;
use batchnorm_reference::random::Random;
use serde_json::Value;

/// A backward pass of arrays of samples, channels and positions: the right one, or one with a mistake.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Somebody {
    Right,
    WithoutVariance,
    WithoutMean,
    Constants,
    EpsOutside,
    SampleVariance,
    SumsForMeans,
    ParametersAsMeans,
}

pub const SHAPE: [usize; 3] = [6, 3, 5];
pub const EPSILON: f64 = 1e-3;

/// The dx, dgamma and dbeta of such a pass.
pub fn theirs(x: &[f64], dy: &[f64], gamma: &[f64], how: Somebody) -> [Vec<f64>; 3] {
    let [samples, channels, positions] = SHAPE;
    let n = (samples * positions) as f64;
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; x.len()], vec![], vec![]);
    for (c, gamma) in gamma.iter().enumerate() {
        let at = |i: usize| (i / positions * channels + c) * positions + i % positions;
        let values = || (0..samples * positions).map(at);
        let mean = values().map(|at| x[at]).sum::<f64>() / n;
        let squares = values().map(|at| (x[at] - mean).powi(2)).sum::<f64>();
        let variance = squares / if how == Somebody::SampleVariance { n - 1.0 } else { n };
        let r = match how {
            Somebody::EpsOutside => 1.0 / (variance.sqrt() + EPSILON),
            _ => 1.0 / (variance + EPSILON).sqrt(),
        };
        let sum = values().map(|at| dy[at]).sum::<f64>();
        let products = values().map(|at| dy[at] * (x[at] - mean) * r).sum::<f64>();
        let [mean_weight, variance_weight] = match how {
            Somebody::WithoutVariance => [1.0 / n, 0.0],
            Somebody::WithoutMean => [0.0, 1.0 / n],
            Somebody::Constants => [0.0, 0.0],
            Somebody::SumsForMeans => [1.0, 1.0],
            _ => [1.0 / n; 2],
        };
        for at in values() {
            dx[at] = gamma * r * (dy[at] - sum * mean_weight - (x[at] - mean) * r * products * variance_weight);
        }
        let divisor = if how == Somebody::ParametersAsMeans { n } else { 1.0 };
        dgamma.push(products / divisor);
        dbeta.push(sum / divisor);
    }
    [dx, dgamma, dbeta]
}

/// An input in a folder, and another program's gradients in its subfolder `theirs`.
pub struct Case {
    pub folder: Folder,
    pub x: Vec<f64>,
    pub dy: Vec<f64>,
    pub gamma: Vec<f64>,
}

impl Case {
    pub fn new(seed: u64) -> Case {
        let mut random = Random::new(seed);
        let single = |values: Vec<f64>| values.into_iter().map(|value| f64::from(value as f32)).collect::<Vec<f64>>();
        let (x, dy) = (single(values_around(&mut random, 90, 0.7)), single(values_around(&mut random, 90, 0.3)));
        let case = Case { folder: Folder::new(), x, dy, gamma: vec![1.5, 0.75, -2.0] };
        case.folder.save("gamma.npy", &[3], &case.gamma);
        std::fs::create_dir(case.folder.path("theirs")).unwrap();
        case
    }

    pub fn inputs<T: Number + batchnorm::Element>(&self) {
        let typed = |values: &[f64]| values.iter().map(|&value| T::from_f64(value)).collect::<Vec<T>>();
        self.folder.save("x.npy", &SHAPE, &typed(&self.x));
        self.folder.save("dy.npy", &SHAPE, &typed(&self.dy));
    }

    pub fn save<T: Number + batchnorm::Element>(&self, how: Somebody) {
        let typed = |values: &[f64]| values.iter().map(|&value| T::from_f64(value)).collect::<Vec<T>>();
        let [dx, dgamma, dbeta] = theirs(&self.x, &self.dy, &self.gamma, how);
        self.folder.save("theirs/dx.npy", &SHAPE, &typed(&dx));
        self.folder.save("theirs/dgamma.npy", &[3], &typed(&dgamma));
        // With axes of length 1, as numpy keeps them by keepdims.
        self.folder.save("theirs/dbeta.npy", &[1, 3, 1], &typed(&dbeta));
    }

    pub fn judged(&self, more: &[&str]) -> (Value, i32) {
        json(&self.folder, &[&AGAINST[..], more].concat())
    }
}

/// The flags that have a case judged.
pub const AGAINST: [&str; 10] =
    ["--input", "x.npy", "--gradient", "dy.npy", "--gamma", "gamma.npy", "--epsilon", "1e-3", "--against", "theirs"];

/// Names of the mistakes that explain a gradient.
pub fn names(gradient: &Value) -> Vec<&str> {
    gradient["mistakes"].as_array().unwrap().iter().map(|mistake| mistake["name"].as_str().unwrap()).collect()
}
