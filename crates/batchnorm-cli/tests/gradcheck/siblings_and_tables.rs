//! Judged besides batch norm in training on .npy files: sibling norms, evaluation, tables of numbers.

use crate::arrays::Folder;
use crate::somebody::{Case, EPSILON, SHAPE, Somebody, names};
use crate::{json, values_around};
use batchnorm_reference::random::Random;
use serde_json::Value;

#[test]
fn tables_are_taken_too() {
    let folder = Folder::new();
    let mut random = Random::new(48);
    let (x, dy) = (values_around(&mut random, 24, 0.7), values_around(&mut random, 24, 0.3));
    std::fs::create_dir(folder.path("theirs")).unwrap();
    let table = |values: &[f64]| {
        let line = |row: &[f64]| row.iter().map(|value| format!("{value:?}")).collect::<Vec<String>>().join(",");
        values.chunks(2).map(|row| line(row) + "\n").collect::<String>()
    };
    folder.bytes("x.csv", table(&x).as_bytes());
    folder.bytes("dy.csv", table(&dy).as_bytes());
    let arguments = ["--input", "x.csv", "--gradient", "dy.csv", "--against", "theirs"];
    let backward = |with_variance: bool| {
        let of_channel = |c: usize| {
            let [x, dy] = [&x, &dy].map(|values| values.iter().skip(c).step_by(2).copied().collect::<Vec<f64>>());
            let n = x.len() as f64;
            let mean = x.iter().sum::<f64>() / n;
            let r = 1.0 / (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + 1e-5).sqrt();
            let level = dy.iter().sum::<f64>() / n;
            let slope = dy.iter().zip(&x).map(|(dy, x)| dy * (x - mean) * r).sum::<f64>() / n;
            let slope = if with_variance { slope } else { 0.0 };
            dy.iter().zip(&x).map(|(dy, x)| r * (dy - level - (x - mean) * r * slope)).collect::<Vec<f64>>()
        };
        let [one, other] = [0, 1].map(of_channel);
        one.into_iter().zip(other).flat_map(|(one, other)| [one, other]).collect::<Vec<f64>>()
    };
    for (dx, code) in [(backward(true), 0), (backward(false), 1)] {
        folder.save("theirs/dx.npy", &[12, 2], &dx);
        let (value, got) = json(&folder, &arguments);
        assert_eq!((got, &value["gradients"]["dx"]["judged_as"]), (code, &Value::from("float64")), "{value:#}");
    }
    let (_, code) = json(&folder, &arguments[..4]);
    assert_eq!(code, 0);
}

#[test]
fn siblings_and_evaluation_are_judged_too() {
    let case = Case::new(46);
    case.inputs::<f64>();
    // Layer norm over [3, 5], gamma of each element; right, and with gamma behind the means.
    let gamma: Vec<f64> = (0..15).map(|i| 0.5 + 0.1 * f64::from(i)).collect();
    case.folder.save("gamma.npy", &[3, 5], &gamma);
    let (mut right, mut behind) = (vec![], vec![]);
    for row in 0..6 {
        let (x, dy) = (&case.x[row * 15..][..15], &case.dy[row * 15..][..15]);
        let mean = x.iter().sum::<f64>() / 15.0;
        let r = 1.0 / (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 15.0 + EPSILON).sqrt();
        let backward = |g: &[f64]| -> Vec<f64> {
            let level = g.iter().sum::<f64>() / 15.0;
            let slope = g.iter().zip(x).map(|(g, x)| g * (x - mean) * r).sum::<f64>() / 15.0;
            g.iter().zip(x).map(|(g, x)| r * (g - level - (x - mean) * r * slope)).collect()
        };
        right.extend(backward(&dy.iter().zip(&gamma).map(|(dy, gamma)| dy * gamma).collect::<Vec<f64>>()));
        behind.extend(backward(dy).iter().zip(&gamma).map(|(dx, gamma)| dx * gamma));
    }
    for (dx, name) in [(&right, None), (&behind, Some("gamma behind the means"))] {
        case.folder.save("theirs/dx.npy", &SHAPE, dx);
        let (value, code) = case.judged(&["--layer", "norm"]);
        assert_eq!(code, i32::from(name.is_some()), "{value:#}");
        assert_eq!(names(&value["gradients"]["dx"]), name.into_iter().collect::<Vec<&str>>());
    }
    case.folder.save("gamma.npy", &[3], &case.gamma);
    case.folder.save("mean.npy", &[3], &[0.5, 0.2, -0.1]);
    case.folder.save("variance.npy", &[3], &[0.5, 2.0, 1.0]);
    case.save::<f64>(Somebody::Constants);
    let eval = ["--mode", "eval", "--running-mean", "mean.npy", "--running-var", "variance.npy"];
    let (value, code) = case.judged(&eval);
    // Constants, but those of the batch: not what this layer was normalised by.
    assert_eq!((code, names(&value["gradients"]["dx"])), (1, vec!["training formula used after evaluation"]));
}
