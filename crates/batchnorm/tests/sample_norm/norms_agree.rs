//! Norms that are one another in special cases, and values by hand.

use crate::support::Random;
use crate::support::layout::sizes;
use crate::support::samples::view;
use batchnorm::{Affine, Axes, AxisRole, SampleConfig, SampleNorm, View, ViewMut};

/// Group norm of one group per channel is instance norm, of one group over a plane is layer norm of a sample; samples by
/// roles; and by hand.
#[test]
fn they_agree_where_they_should() {
    let mut random = Random::new(2210);
    let shape = sizes(4, 6, 20);
    let x = random.normals(480, 3.0, 2.0);
    let forward = |norm: SampleNorm| norm.forward(&view(&x, shape)).expect("a right call").0.into_data();
    let instance = forward(SampleNorm::instance(6).expect("a layer"));
    assert_eq!(instance, forward(SampleNorm::group(6, 6).expect("a layer")));
    let [group, layer] =
        [SampleNorm::group(1, 6), SampleNorm::layer(&[6, 20])].map(|norm| forward(norm.expect("a layer")));
    assert!(group.iter().zip(&layer).all(|(group, layer)| (group - layer).abs() < 1e-14));
    // Grouped RMS norm of one group over a plane is RMS norm of a sample with the gammas of its channels; of one value each,
    // of groups of all channels, of (N, C) RMS norm itself.
    let [group, rms] =
        [SampleNorm::group_rms(1, 6), SampleNorm::rms(&[6, 20])].map(|norm| forward(norm.expect("a layer")));
    assert!(group.iter().zip(&rms).all(|(group, rms)| (group - rms).abs() < 1e-14));
    let flat = View::new(&x, &[80, 6], Axes::NCHW).expect("a view");
    let [group, rms] = [SampleNorm::group_rms(1, 6), SampleNorm::rms(&[6])]
        .map(|norm| norm.expect("a layer").forward(&flat).expect("a right call").0.into_data());
    assert_eq!(group, rms);
    // Two sample axes, as (time, batch), or the batch last as in MATLAB: roles say which.
    let roles = [AxisRole::Sample, AxisRole::Channel, AxisRole::Space, AxisRole::Sample];
    let norm = SampleNorm::group(2, 6).expect("a layer");
    let strided = View::with_strides(&x, &[2, 6, 20, 2], &[240, 20, 1, 120], 0, Axes::Roles(&roles)).expect("a view");
    let mut y = vec![0.0; 480];
    let mut out =
        ViewMut::with_strides(&mut y, &[2, 6, 20, 2], &[240, 20, 1, 120], 0, Axes::Roles(&roles)).expect("a view");
    norm.forward_into(&strided, &mut out).expect("a right call");
    assert_eq!(y, forward(norm));
    // A row that is there four times.
    let row = [1.0, 2.0, 6.0];
    let broadcast = View::with_strides(&row, &[2, 2, 3], &[0, 0, 1], 0, Axes::NHWC).expect("a view");
    let norm = SampleNorm::layer(&[3]).expect("a layer");
    let alone = norm.forward(&View::new(&row, &[1, 3], Axes::NCHW).expect("a view")).expect("a right call").0;
    assert_eq!(norm.forward(&broadcast).expect("a right call").0.data(), alone.data().repeat(4));
    // (1, 2, 3, 6): mean 3, variance 3.5; root mean square sqrt(12.5).
    let x = View::new(&[1.0f64, 2.0, 3.0, 6.0], &[1, 4], Axes::NCHW).expect("a view");
    let [mut layer, mut rms] = [SampleConfig::layer(1), SampleConfig::rms(1).affine(Affine::ScaleAndShift)]
        .map(|config| config.epsilon(0.0).build(&[4]).expect("a layer"));
    for norm in [&mut layer, &mut rms] {
        norm.set_gamma(&[1.0, 1.0, 1.0, 2.0]).expect("four");
        norm.set_beta(&[0.0, 0.0, 5.0, 0.0]).expect("four");
    }
    let expected = [-2.0 / 3.5f64.sqrt(), -1.0 / 3.5f64.sqrt(), 5.0, 6.0 / 3.5f64.sqrt()];
    for (y, expected) in layer.forward(&x).expect("a right call").0.data().iter().zip(expected) {
        assert!((y - expected).abs() < 1e-15);
    }
    let root = 12.5f64.sqrt();
    let expected = [1.0 / root, 2.0 / root, 5.0 + 3.0 / root, 12.0 / root];
    for (y, expected) in rms.forward(&x).expect("a right call").0.data().iter().zip(expected) {
        assert!((y - expected).abs() < 1e-14);
    }
}
