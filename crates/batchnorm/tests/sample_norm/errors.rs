//! Norms that do not look at the batch: every error is typed, tells how to mend it, and leaves layer and buffers alone.

use crate::support::layout::Sizes;
use crate::support::samples::{view, view_mut};
use batchnorm::{
    Affine, Axes, CallError, ConfigError, ParameterDirection, Parameters, SampleConfig, SampleNorm, Tier, View, ViewMut,
};

const SIZES: Sizes = Sizes { n: 2, c: 6, plane: 4 };

fn data() -> Vec<f32> {
    (0..48).map(|i| (i * i % 17) as f32).collect()
}

#[test]
fn options_that_cannot_be() {
    for epsilon in [-1e-5, f64::NAN, f64::INFINITY] {
        let error = SampleConfig::layer(1).epsilon(epsilon).build(&[3]).expect_err("no eps");
        assert!(matches!(error, ConfigError::Epsilon { .. }), "{error}");
    }
    let error = SampleNorm::group(4, 6).expect_err("6 / 4");
    assert_eq!(error, ConfigError::Groups { groups: 4, channels: 6 });
    assert!(error.to_string().contains("a divisor of the 6 channels, got 4"), "{error}");
    assert_eq!(SampleNorm::group(0, 6).expect_err("none"), ConfigError::Zero { argument: "groups" });
    assert_eq!(SampleNorm::group_rms(4, 6).expect_err("6 / 4"), ConfigError::Groups { groups: 4, channels: 6 });
    assert_eq!(SampleNorm::group_rms(0, 6).expect_err("none"), ConfigError::Zero { argument: "groups" });
    assert_eq!(SampleNorm::layer(&[]).expect_err("none"), ConfigError::Zero { argument: "axes" });
    assert_eq!(SampleNorm::rms(&[]).expect_err("none"), ConfigError::Zero { argument: "axes" });
    for wrong in [
        SampleNorm::layer(&[3, 0]),
        SampleNorm::instance(0),
        SampleNorm::group(1, 0),
        SampleNorm::rms(&[usize::MAX, 2]),
        SampleNorm::layer(&[1 << 20, 1 << 20]),
        SampleConfig::layer(2).build(&[3]),
        SampleConfig::group(2).build(&[2, 2]),
        SampleConfig::group_rms(2).build(&[2, 2]),
        SampleConfig::instance().build(&[]),
    ] {
        let error = wrong.expect_err("no shape");
        assert!(matches!(error, ConfigError::ParameterShape { .. }), "{error}");
        assert!(error.to_string().starts_with("shape: expected "), "{error}");
    }
    for tier in [Tier::Baseline, Tier::Avx2, Tier::Avx512] {
        let built = SampleConfig::instance().tier(tier).build(&[3]);
        assert_eq!(built.is_ok(), tier.is_supported());
    }
}

#[test]
fn parameters_that_do_not_fit_change_nothing() {
    let mut norm = SampleNorm::layer(&[2, 3]).expect("a layer");
    norm.set_gamma(&[2.0f32; 6]).expect("six");
    for (wrong, length) in [(vec![1.0f64; 5], true), (vec![1.0, 1.0, f64::NAN, 1.0, 1.0, 1.0], false)] {
        for error in [norm.set_gamma(&wrong), norm.set_beta(&wrong)].map(|set| set.expect_err("does not fit")) {
            match error {
                ConfigError::ElementLength { expected: 6, got: 5, .. } => assert!(length),
                ConfigError::NotFinite { channel: 2, .. } => assert!(!length),
                other => panic!("{other}"),
            }
        }
        assert_eq!((norm.gamma(), norm.beta()), (Some(vec![2.0; 6]), Some(vec![0.0; 6])));
    }
    let error = SampleNorm::instance(3).expect("a layer").set_gamma(&[1.0f32; 3]).expect_err("it has none");
    assert_eq!(error, ConfigError::Absent { argument: "gamma", affine: Affine::Neither });
    let mut rms = SampleNorm::rms(&[3]).expect("a layer");
    assert_eq!((rms.gamma(), rms.beta()), (Some(vec![1.0; 3]), None));
    assert!(matches!(rms.set_beta(&[1.0f32; 3]), Err(ConfigError::Absent { argument: "beta", .. })));
}

#[test]
fn arrays_that_do_not_fit_leave_buffers_alone() {
    let x = data();
    let x = view(&x, SIZES);
    let mut y = vec![7.0f32; 48];
    let mut refused = |norm: &SampleNorm, x: &View<f32>| {
        let mut y_view = ViewMut::new(&mut y, &[2, 6, 4], Axes::NCHW).expect("a buffer");
        let error = norm.forward_into(x, &mut y_view).expect_err("it does not fit");
        assert!(y.iter().all(|&y| y == 7.0), "{error}");
        error
    };
    let error = refused(&SampleNorm::layer(&[5]).expect("a layer"), &x);
    assert_eq!(error, CallError::LastShape { expected: vec![5], shape: vec![2, 6, 4] });
    let error = refused(&SampleNorm::layer(&[4, 6]).expect("a layer"), &x);
    assert!(matches!(error, CallError::LastShape { .. }), "as many elements, but others: {error}");
    let error = refused(&SampleNorm::rms(&[1, 2, 6, 4]).expect("a layer"), &x);
    assert!(matches!(error, CallError::LastShape { .. }), "more axes than there are: {error}");
    let error = refused(&SampleNorm::group_rms(2, 4).expect("a layer"), &x);
    assert!(matches!(error, CallError::Channels { argument: "x", expected: 4, got: 6, .. }), "{error}");
    let error = refused(&SampleNorm::group(2, 4).expect("a layer"), &x);
    assert!(matches!(error, CallError::Channels { argument: "x", expected: 4, got: 6, .. }), "{error}");
    let less = View::new(&[1.0f32; 24], &[1, 6, 4], Axes::NCHW).expect("a view");
    let error = refused(&SampleNorm::instance(6).expect("a layer"), &less);
    assert!(matches!(error, CallError::Shape { argument: "y", .. }), "{error}");
    // One position: y = beta whatever x is.
    let one = View::new(&[1.0f32; 48], &[8, 6], Axes::NCHW).expect("a view");
    let error = SampleNorm::instance(6).expect("a layer").forward(&one).expect_err("one position");
    assert_eq!(
        error,
        CallError::SingleTogether { together: "a sample's channel, at all positions", shape: vec![8, 6] }
    );
    assert!(error.to_string().contains("another norm meant"), "{error}");
    SampleNorm::group(6, 6).expect("a layer").forward(&one).expect("who says so gets beta");
}

#[test]
fn without_state_too() {
    let x = data();
    let x = view(&x, SIZES);
    let mut y = vec![7.0f32; 48];
    let none = Parameters::<f32>::default();
    let mut refused = |config: SampleConfig, parameters: Parameters<f32>| {
        let rule = config.normalizer().expect("a rule");
        let mut y_view = ViewMut::new(&mut y, &[2, 6, 4], Axes::NCHW).expect("a buffer");
        let error = rule.forward(&x, parameters, &mut y_view).expect_err("it does not fit");
        assert!(y.iter().all(|&y| y == 7.0), "{error}");
        error
    };
    let error = refused(SampleConfig::group(4), none);
    assert_eq!(error, CallError::Groups { groups: 4, channels: 6, shape: vec![2, 6, 4], axes: vec![1] });
    let error = refused(SampleConfig::layer(4), none);
    assert_eq!(error, CallError::LastAxes { expected: 4, shape: vec![2, 6, 4] });
    let error = refused(SampleConfig::layer(2), Parameters { gamma: Some(&[1.0; 6]), beta: None });
    let expected = CallError::ElementLength { argument: "gamma", expected: 24, got: 6, shape: vec![6, 4] };
    assert_eq!(error, expected);
    let error = refused(SampleConfig::group(2), Parameters { gamma: None, beta: Some(&[1.0; 2]) });
    assert_eq!(error, CallError::Length { argument: "beta", expected: 6, got: 2 });
    assert!(SampleConfig::layer(0).normalizer().is_err() && SampleConfig::group(0).normalizer().is_err());
    // More groups than channels.
    assert!(matches!(refused(SampleConfig::group(12), none), CallError::Groups { .. }));
}

#[test]
fn a_backward_pass_belongs_to_its_forward_pass() {
    let (x, other) = (data(), vec![1.0f32; 24]);
    let x = view(&x, SIZES);
    let less = View::new(&other, &[1, 6, 4], Axes::NCHW).expect("a view");
    let mut buffer = vec![7.0f32; 48];
    for norm in [SampleNorm::layer(&[4]), SampleNorm::group(2, 6), SampleNorm::instance(6), SampleNorm::rms(&[6, 4])] {
        let norm = norm.expect("a layer");
        let (_, saved) = norm.forward(&x).expect("a right call");
        let mut out = view_mut(&mut buffer, SIZES);
        for (x, dy, argument) in [(&less, &less, "x"), (&x, &less, "dy")] {
            let error = norm.backward_into(x, dy, &saved, &mut out).expect_err("it does not fit");
            assert!(matches!(&error, CallError::Shape { argument: got, .. } if *got == argument), "{error}");
        }
        let none = ParameterDirection::default();
        let error = saved.jvp(&x, &less, none, &mut out).expect_err("it does not fit");
        assert!(matches!(error, CallError::Shape { argument: "direction", .. }), "{error}");
        let short = ParameterDirection { gamma: Some(&[1.0, 2.0]), beta: None };
        let error = saved.jvp(&x, &x, short, &mut out).expect_err("it does not fit");
        assert!(error.to_string().starts_with("direction of gamma: expected "), "{error}");
        let mut small = vec![7.0f32; 24];
        let mut small = ViewMut::new(&mut small, &[1, 6, 4], Axes::NCHW).expect("a buffer");
        let error = norm.backward_into(&x, &x, &saved, &mut small).expect_err("it does not fit");
        assert!(matches!(error, CallError::Shape { argument: "dx", .. }), "{error}");
        assert!(buffer.iter().all(|&value| value == 7.0));
    }
    // gamma that was changed since does not matter.
    let mut norm = SampleNorm::group(2, 6).expect("a layer");
    let (_, saved) = norm.forward(&x).expect("a right call");
    let before = norm.backward(&x, &x, &saved).expect("a right call").dx;
    norm.set_gamma(&[5.0f32; 6]).expect("six");
    assert_eq!(norm.backward(&x, &x, &saved).expect("a right call").dx, before);
}
