//! The gradients of our layers hold against derivatives, on any input, and where rounding hides them nothing is claimed.

use crate::arrays::Folder;
use crate::somebody::Case;
use crate::support::done;
use crate::{gradcheck, json, values_around};
use batchnorm_reference::random::Random;
use serde_json::Value;

#[test]
fn our_layers_are_right_whatever_the_seed_and_shape() {
    let folder = Folder::new();
    for (number, shape) in ["4,6,5", "2,3", "7,4,3,2", "3,1,6", "2,2,2", "5,12"].into_iter().enumerate() {
        let (value, code) = json(&folder, &["--shape", shape, "--seed", &number.to_string(), "--epsilon", "1e-5"]);
        assert_eq!((code, &value["wrong"]), (0, &Value::from(false)), "{shape}: {value}");
        let checks = value["checks"].as_array().unwrap();
        // (Two values a channel have no covariance of four channels.)
        let fine = |check: &Value| check["holds"] == true || check["tells"] == false && check["layer"] == "whitening";
        assert!(checks.len() > 150 && checks.iter().all(fine), "{shape}");
        assert!(checks.iter().filter(|check| check["tells"] == true).count() > 150);
        // Layers that the shape does not allow are named: instance norm of one position.
        let left_out = value["left_out"].as_array().unwrap();
        assert_eq!(left_out.is_empty(), shape.split(',').count() > 2, "{left_out:?}");
    }
    let table = gradcheck(&folder, &["--layer", "group", "--groups", "2", "--shape", "3,4,5"]);
    let table = done(&table);
    assert!(table.contains("group") && table.contains("checks hold") && !table.contains("WRONG"), "{table}");
}

#[test]
fn our_layers_are_right_on_given_arrays() {
    let case = Case::new(31);
    case.inputs::<f32>();
    let input = ["--input", "x.npy", "--gradient", "dy.npy"];
    let layers = |value: &Value| {
        let mut layers: Vec<String> = Vec::new();
        for check in value["checks"].as_array().unwrap() {
            let layer = check["layer"].as_str().unwrap().to_owned();
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        layers
    };
    let (value, code) = json(&case.folder, &input);
    assert_eq!((code, layers(&value).len()), (0, 16));
    let (value, code) = json(&case.folder, &[&input[..], &["--gamma", "gamma.npy"]].concat());
    assert_eq!((code, layers(&value).len()), (0, 14));
    let left_out = value["left_out"].as_array().unwrap();
    assert_eq!(left_out.iter().map(|one| &one["layer"]).collect::<Vec<_>>(), ["norm", "rms"]);
    case.folder.save("mean.npy", &[3], &[0.5, 0.2, -0.1]);
    case.folder.save("variance.npy", &[3], &[0.5, 2.0, 1.0]);
    let running = ["--running-mean", "mean.npy", "--running-var", "variance.npy", "--mode", "eval"];
    let (value, code) = json(&case.folder, &[&input[..], &running].concat());
    assert_eq!((code, layers(&value)), (0, vec!["evaluation".to_owned()]));
    case.folder.save("w.npy", &[6, 1, 5], &(0..30).map(|i| f64::from(i % 4)).collect::<Vec<f64>>());
    let (value, code) = json(&case.folder, &[&input[..], &["--weights", "w.npy"]].concat());
    assert_eq!((code, layers(&value)), (0, vec!["weighted".to_owned()]));
    let (value, code) = json(&case.folder, &[&input[..], &running[..4], &["--layer", "renormalized"]].concat());
    assert_eq!((code, layers(&value)), (0, vec!["renormalized".to_owned()]));
    // Channels last, and values that are all alike.
    let (_, code) = json(&case.folder, &[&input[..], &["--channel-axis", "-1"]].concat());
    assert_eq!(code, 0);
    case.folder.save("alike.npy", &[6, 2], &[3.0f64; 12]);
    let (value, code) = json(&case.folder, &["--input", "alike.npy", "--layer", "batch"]);
    assert_eq!(code, 0, "{value}");
}

#[test]
fn no_right_layer_is_called_wrong_on_inputs_of_any_kind() {
    let folder = Folder::new();
    let mut random = Random::new(57);
    let rows = |mean: f64, deviation: f64, random: &mut Random| -> Vec<f64> {
        values_around(random, 48, 0.0).into_iter().map(|x| mean + deviation * x).collect()
    };
    for (mean, deviation) in [(0.0, 1e-4), (0.0, 1e-6), (8.9, 3e-6), (267.0, 4.0), (1e8, 1.0), (1e5, 1.0)] {
        for epsilon in ["1e-12", "1e-8", "1e-5", "1e-3", "1"] {
            let mut x = rows(mean, deviation, &mut random);
            // Dead features, whose mean no sum of them gives: all alike, and all but one.
            x.iter_mut().skip(1).step_by(3).for_each(|x| *x = 0.1);
            folder.save("x.npy", &[16, 3], &x);
            for more in [
                &[][..],
                &["--layer", "residual", "--seed", "832"],
                &["--layer", "weighted"],
                &["--layer", "renormalized", "--seed", "7"],
            ] {
                let (value, code) = json(&folder, &[&["--input", "x.npy", "--epsilon", epsilon], more].concat());
                let failing = |check: &&Value| check["tells"] == true && check["holds"] == false;
                let failing: Vec<&Value> =
                    value["checks"].as_array().into_iter().flatten().filter(failing).take(3).collect();
                assert_eq!(code, 0, "{mean} {deviation} {epsilon} {more:?}: {failing:#?}");
            }
        }
    }
    // Values on the kink itself.
    folder.save("kink.npy", &[3, 2], &[0.1, 0.2, 0.2, 0.4, 0.3, 0.6]);
    let (value, code) = json(&folder, &["--input", "kink.npy"]);
    assert_eq!(code, 0, "{value:#}");
    // Where rounding is as large as a gradient nothing is said to hold.
    folder.save("far.npy", &[16, 2], &rows(1e8, 1.0, &mut random)[..32]);
    let output = gradcheck(&folder, &["--input", "far.npy", "--layer", "batch"]);
    let table = done(&output);
    assert!(table.contains("more checks say nothing on this input"), "{table}");
    let (value, _) = json(&folder, &["--input", "far.npy", "--layer", "batch"]);
    let checks = value["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["tells"] == false) && checks.iter().any(|check| check["holds"] == true));
    assert!(checks.iter().all(|check| check["tells"] == true || check["holds"] == false));
}
