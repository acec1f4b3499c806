//! Moments merge to those of the union, keep the digits of a mean between two floats, and take in what others computed.

use batchnorm_kernel::Moments;

#[test]
fn pooling_batches_of_16_14_and_2_keeps_the_variance_between_them() {
    // torch's update_bn weighs the three equally and drops what lies between the means: 0.876 for 5.5 there.
    let data: Vec<f64> = (0..32).map(|i| f64::from(i * i % 17) + if i < 16 { 0.0 } else { 5.0 }).collect();
    let pooled = Moments::of(&data[..16]).merge(Moments::of(&data[16..30])).merge(Moments::of(&data[30..]));
    let whole = Moments::of(&data);
    assert!((pooled.population_variance() / whole.population_variance() - 1.0).abs() < 1e-15);
    assert!((pooled.mean() - whole.mean()).abs() < 1e-15);
}

#[test]
fn a_mean_between_two_floats_keeps_its_low_part() {
    let moments = Moments::of(&[1e16, 1e16 + 2.0, 1e16 + 4.0, 1e16 + 4.0]);
    assert_eq!(moments.mean_pair(), (1e16 + 2.0, 0.5));
    assert_eq!(moments.m2(), 11.0);
}

#[test]
fn statistics_of_somebody_else_are_moments_again() {
    let own = Moments::of(&[1.0, 2.0, 4.0, 9.0]);
    assert_eq!(Moments::from_statistics(4, 4.0, 4.0, 9.5), Some(own));
    assert_eq!(Moments::from_statistics(0, 0.0, 7.0, 0.0), Some(Moments::EMPTY));
    for (count, weight, variance) in [(0, 1.0, 0.0), (2, 0.0, 1.0), (1, 1.0, 1.0), (2, 2.0, -1.0), (2, f64::NAN, 1.0)] {
        assert_eq!(Moments::from_statistics(count, weight, 0.0, variance), None);
    }
    assert!(!Moments::from_statistics(2, 2.0, f64::NAN, f64::NAN).unwrap().is_finite());
}

#[test]
fn nothing_is_neutral() {
    let one = Moments::of(&[3.0f32]);
    assert_eq!(Moments::EMPTY.merge(one), one);
    assert_eq!(one.merge(Moments::EMPTY), one);
    assert_eq!(one.sample_variance(), None);
    assert_eq!(Moments::EMPTY.population_variance(), 0.0);
}
