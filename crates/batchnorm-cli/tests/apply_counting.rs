//! `batchnorm apply` where not every value counts, or not all of a batch at once: `--weights`, `--ghost`.

#[path = "support/arrays.rs"]
mod arrays;

use arrays::Folder;

fn arguments(words: &str) -> Vec<&str> {
    let always = ["--input", "x.npy", "--output-dir", "out"];
    always.into_iter().chain(words.split(' ').filter(|word| !word.is_empty())).collect()
}

fn run(folder: &Folder, words: &str) {
    folder.run(&arguments(words));
}

fn numbers(folder: &Folder, name: &str) -> Vec<f64> {
    folder.numbers(&format!("out/{name}"))
}

/// The exit code and the one line of a run that fails.
fn refused(folder: &Folder, words: &str) -> (Option<i32>, String) {
    let output = folder.apply(&arguments(words));
    assert!(!folder.path("out/y.npy").exists(), "nothing is written");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn weights_mask_and_weigh() {
    let folder = Folder::new();
    folder.save("x.npy", &[4, 1, 2], &[1.0f64, 2.0, 3.0, 6.0, f64::NAN, 1e30, 5.0, 7.0]);
    folder.save("dy.npy", &[4, 1, 2], &[1.0f64; 8]);
    folder.save("w.npy", &[4, 1, 1], &[1.0f32, 2.0, 0.0, 1.0]);
    run(&folder, "--weights w.npy --gradient dy.npy");
    // 1, 2, 3 and 6 twice, 5, 7: mean 33 / 8.
    assert_eq!(numbers(&folder, "mean.npy"), [33.0 / 8.0]);
    let squares: f64 = [1.0, 2.0, 3.0, 3.0, 6.0, 6.0, 5.0, 7.0].map(|x: f64| (x - 33.0 / 8.0).powi(2)).iter().sum();
    assert!((numbers(&folder, "variance.npy")[0] / (squares / 8.0) - 1.0).abs() < 1e-15);
    assert!((numbers(&folder, "running_var.npy")[0] / (0.9 + 0.1 * squares / 7.0) - 1.0).abs() < 1e-15);
    assert_eq!(numbers(&folder, "y.npy")[4..6], [0.0, 0.0]);
    assert_eq!(numbers(&folder, "dx.npy")[4..6], [0.0, 0.0]);
    assert_eq!(numbers(&folder, "dbeta.npy"), [6.0]);

    folder.save("m.npy", &[1], &[0.0f64]);
    run(&folder, "--weights w.npy --mode eval --running-mean m.npy --running-var m.npy --epsilon 1");
    assert_eq!(numbers(&folder, "y.npy"), [1.0, 2.0, 3.0, 6.0, 0.0, 0.0, 5.0, 7.0]);
}

#[test]
fn weights_that_do_not_fit_or_leave_too_little_are_named() {
    let folder = Folder::new();
    folder.save("x.npy", &[4, 1, 2], &[1.0f32, 2.0, 3.0, 6.0, 4.0, 4.0, 5.0, 7.0]);
    let told = |arguments: &str, code: i32, parts: &[&str]| {
        let (got, message) = refused(&folder, arguments);
        assert_eq!(got, Some(code), "{message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "{message:?} lacks {part:?}"));
    };
    folder.save("short.npy", &[3, 1, 1], &[1.0f32; 3]);
    told("--weights short.npy", 3, &["short.npy", "weights", "[4, 1, 2]", "[3, 1, 1]"]);
    folder.save("negative.npy", &[4, 1, 1], &[1.0f32, -1.0, 1.0, 1.0]);
    told("--weights negative.npy", 3, &["negative.npy", "weights[1]", "-1.0"]);
    folder.save("wide.npy", &[4, 1, 1], &[0.1f64; 4]);
    told("--weights wide.npy", 3, &["wide.npy", "float32"]);
    folder.save("none.npy", &[1, 1, 1], &[0.0f32]);
    told("--weights none.npy --on-empty error", 4, &["x.npy", "channel 0", "--on-empty pass"]);
    folder.save("light.npy", &[1, 1, 1], &[0.125f32]);
    told("--weights light.npy", 4, &["1.0", "channel 0", "--on-single-value"]);
    told("--weights light.npy --ghost 2", 4, &["every group of 2 samples", "channel 0", "--on-single-value"]);
    told("--ghost 0", 2, &["--ghost"]);
    told("--ghost 2 --mode eval --running-mean x.npy --running-var x.npy", 2, &["--ghost", "--mode train"]);
    run(&folder, "--weights none.npy");
    assert_eq!(numbers(&folder, "y.npy"), [0.0; 8]);
}

#[test]
fn ghost_batches_are_normalised_each_by_itself() {
    let folder = Folder::new();
    folder.save("x.npy", &[5, 1], &[0.0f64, 2.0, 10.0, 14.0, 9.0]);
    let (code, message) = refused(&folder, "--ghost 2");
    assert!(code == Some(4) && message.contains("--on-single-value"), "{message}");
    folder.save("dy.npy", &[5, 1], &[1.0f64, 0.0, 0.0, 0.0, 0.0]);
    run(&folder, "--ghost 2 --on-single-value population --epsilon 0 --gradient dy.npy");
    assert_eq!(numbers(&folder, "y.npy"), [-1.0, 1.0, -1.0, 1.0, 0.0]);
    assert_eq!(numbers(&folder, "mean.npy"), [7.0], "of all");
    assert_eq!(numbers(&folder, "dx.npy")[2..], [0.0; 3]);
    // With weights: a value of weight 2 is there twice, one of weight 0 not at all.
    folder.save("x4.npy", &[4, 1], &[0.0f64, 3.0, 10.0, 14.0]);
    folder.save("w4.npy", &[4, 1], &[2.0f64, 1.0, 1.0, 0.0]);
    let weighted = ["--input", "x4.npy", "--weights", "w4.npy", "--ghost", "2", "--on-single-value", "population"];
    folder.run(&[&weighted[..], &["--epsilon", "0", "--output-dir", "out"]].concat());
    let y = numbers(&folder, "y.npy");
    assert!(
        (y[0] + 0.5f64.sqrt()).abs() < 1e-15 && (y[1] - 2f64.sqrt()).abs() < 1e-15 && y[2..] == [0.0, 0.0],
        "{y:?}"
    );
}

#[test]
fn renormalisation_corrects_towards_the_running_statistics() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 1], &[2.0f64, 4.0]);
    folder.save("dy.npy", &[2, 1], &[1.0f64, 0.0]);
    folder.save("m.npy", &[1], &[1.0f64]);
    folder.save("v.npy", &[1], &[4.0f64]);
    let statistics = "--running-mean m.npy --running-var v.npy --epsilon 0";
    // Mean 3, deviation 1; running 1 and 2: r = 1 / 2, d = 1.
    run(&folder, &format!("--renorm 3,5 --gradient dy.npy {statistics}"));
    assert_eq!((numbers(&folder, "y.npy"), numbers(&folder, "dgamma.npy")), (vec![0.5, 1.5], vec![0.5]));
    run(&folder, &format!("--renorm 1,0.25 {statistics}"));
    assert_eq!(numbers(&folder, "y.npy"), [-0.75, 1.25]);
    run(&folder, &format!("--renorm 1,0 {statistics}"));
    assert_eq!(numbers(&folder, "y.npy"), [-1.0, 1.0]);
    assert_eq!(numbers(&folder, "running_mean.npy"), [1.2], "they take in the batch as it is");
}

#[test]
fn a_debiased_average_goes_on_from_its_number_of_batches() {
    let folder = Folder::new();
    folder.save("x.npy", &[2, 1], &[2.0f64, 4.0]);
    run(&folder, "--update-weight debiased:new:0.5");
    assert_eq!((numbers(&folder, "running_mean.npy"), numbers(&folder, "running_var.npy")), (vec![3.0], vec![2.0]));
    folder.save("m.npy", &[1], &[0.0f64]);
    folder.save("v.npy", &[1], &[1.0f64]);
    // Behind one batch the weights are 1/3 and 2/3.
    run(&folder, "--update-weight debiased:0.5 --running-mean m.npy --running-var v.npy --batches 1");
    assert_eq!(numbers(&folder, "running_mean.npy"), [2.0]);
    run(&folder, "--preset haiku --running-mean m.npy --running-var v.npy --batches 1000");
    assert!((numbers(&folder, "running_mean.npy")[0] - 0.3).abs() < 1e-15);
}

/// A channel that is skipped has fewer updates than the others, and goes on from its own.
#[test]
fn a_debiased_average_goes_on_from_the_updates_of_each_channel() {
    let folder = Folder::new();
    let (first, second, third) = ([1.0, f64::NAN, 3.0, 4.0], [1.0, 5.0, 3.0, 7.0], [2.0, 8.0, 6.0, 1.0]);
    let running = ["m.npy", "v.npy", "u.npy"];
    let keep = || {
        for (name, kept) in ["running_mean.npy", "running_var.npy", "updates.npy"].into_iter().zip(running) {
            std::fs::copy(folder.path(&format!("out/{name}")), folder.path(kept)).expect("a file of the step before");
        }
    };
    let go_on = "--running-mean m.npy --running-var v.npy --batches u.npy";
    for average in ["debiased:0.25", "cumulative"] {
        folder.save("x.npy", &[2, 2], &first);
        run(&folder, &format!("--update-weight {average}"));
        assert_eq!(numbers(&folder, "updates.npy"), [1.0, 0.0]);
        keep();
        folder.save("x.npy", &[2, 2], &second);
        run(&folder, &format!("--update-weight {average} {go_on}"));
        // The second channel's first batch is all that it has: 5 and 7.
        assert_eq!(numbers(&folder, "running_mean.npy"), [2.0, 6.0]);
        assert_eq!((numbers(&folder, "running_var.npy")[1], numbers(&folder, "updates.npy")), (2.0, vec![2.0, 1.0]));
        keep();
        folder.save("x.npy", &[2, 2], &third);
        run(&folder, &format!("--update-weight {average} {go_on}"));
        let mean = numbers(&folder, "running_mean.npy");
        let weigh = |batches: &[f64]| {
            let weight =
                |at: usize| if average == "cumulative" { 1.0 } else { 0.75f64.powi((batches.len() - at) as i32) };
            let total: f64 = (0..batches.len()).map(weight).sum();
            batches.iter().enumerate().map(|(at, batch)| weight(at) * batch).sum::<f64>() / total
        };
        assert!((mean[0] - weigh(&[2.0, 2.0, 4.0])).abs() < 1e-14, "{mean:?}");
        assert!((mean[1] - weigh(&[6.0, 4.5])).abs() < 1e-14, "{mean:?}");
    }
    // An average that counts nothing has no such file, and takes one of an earlier run away.
    run(&folder, "");
    assert!(!folder.path("out/updates.npy").exists());
}
