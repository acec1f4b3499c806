//! Masks and weights: the formulas against the twin, and what they are worth in other words.

use crate::support::layout::{ORDERS, Order, Sizes};
use crate::support::measure::ulp;
use crate::support::wide::{DoubleDouble, wide, widened};
use crate::support::{Random, channel_of, pool};
use batchnorm::reference::weighted;
use batchnorm::{
    Activation, Axes, BatchMoments, BatchNorm, Config, Element, Input, Moments, Normalizer, ParameterGradients,
    Parameters, Tier, View, ViewMut, Weights,
};

const EPSILON: f64 = 1e-5;
const GAMMA: [f64; 6] = [0.7, -1.3, 2.0, 0.1, -5.0, 1.0];
const BETA: [f64; 6] = [0.1, 0.0, -4.0, 2.0, -0.3, 1.5];

/// Shapes of weights over samples, channels and plane.
const SHAPES: [[bool; 3]; 6] = [
    [true, false, false],
    [true, false, true],
    [false, true, false],
    [true, true, true],
    [false, false, true],
    [true, true, false],
];

fn parameters(channels: usize) -> Parameters<'static, f64> {
    Parameters { gamma: Some(&GAMMA[..channels]), beta: Some(&BETA[..channels]) }
}

/// Of each channel at least two values count where `masks`; else any weights from 0 to 3.
fn weights(shape: &[usize], masks: bool, random: &mut Random) -> Vec<f64> {
    let mut all: Vec<f64> = (0..shape.iter().product())
        .map(|_| match random.below(3) {
            0 => 0.0,
            _ if masks => 1.0,
            // Exact in every number type.
            _ => (1 + random.below(24)) as f64 / 8.0,
        })
        .collect();
    if shape[1] == 1 {
        all[0] = 1.0;
        *all.last_mut().expect("not empty") = 1.0;
    } else {
        all.fill_with(|| if masks { 1.0 } else { 1.0 + random.below(2) as f64 });
    }
    all
}

/// Weights repeated to the shape of the array.
fn repeated(weights: &[f64], shape: &[usize], Sizes { n, c, plane }: Sizes) -> Vec<f64> {
    let mut all = Vec::with_capacity(n * c * plane);
    for i in 0..n {
        for k in 0..c {
            for p in 0..plane {
                let at = [i, k, p].iter().zip(shape).fold(0, |at, (&i, &len)| at * len + i.min(len - 1));
                all.push(weights[at]);
            }
        }
    }
    all
}

struct Step<T> {
    y: Vec<T>,
    dx: Vec<T>,
    gradients: ParameterGradients,
    batch: BatchMoments,
}

/// Forward and backward, arrays in an order, weights named in the same one.
fn step<T: Element>(
    rule: &Normalizer,
    order: Order,
    sizes: Sizes,
    x: &[T],
    dy: &[T],
    weights: (&[f64], &[usize]),
) -> Step<T> {
    let (x, dy) = (order.arranged(x, sizes), order.arranged(dy, sizes));
    let (mut y, mut dx) = (order.blank(sizes), order.blank(sizes));
    let (values, shape) = weights;
    let (values, shape) = order.named(values, shape.try_into().expect("samples, channels and plane"));
    let values: Vec<T> = values.into_iter().map(T::from_f64).collect();
    let weights = Weights::new(&values, &shape).expect("right weights");
    let (seen, upstream) = (order.view(&x, sizes), order.view(&dy, sizes));
    let input = Input::weighted(&seen, &weights);
    let trained = rule.train(input, parameters(sizes.c), None, &mut order.view_mut(&mut y, sizes));
    let (saved, batch) = trained.expect("a right call");
    let mut out = order.view_mut(&mut dx, sizes);
    let gradients = saved.backward(Input::weighted(&seen, &weights), &upstream, &mut out).expect("a right call");
    Step { y: order.back(y, sizes), dx: order.back(dx, sizes), gradients, batch }
}

fn rule(activation: Activation) -> Normalizer {
    Config::pytorch().epsilon(EPSILON).activation(activation).normalizer().expect("a rule")
}

#[test]
fn weights_of_every_shape_are_what_the_twin_says_and_masked_slots_may_hold_nan() {
    let mut random = Random::new(1200);
    for (case, mean) in [0.0, 3.0, 1e4, 1e6].into_iter().enumerate() {
        for (kind, shape) in SHAPES.into_iter().enumerate() {
            for activation in [Activation::Identity, Activation::LeakyRelu(0.25)] {
                let sizes = Sizes { n: 7, c: 3, plane: [35, 1, 150, 16][(case + kind) % 4] };
                let Sizes { n, c, plane } = sizes;
                let lengths = [n, c, plane].into_iter().zip(shape);
                let shape: Vec<usize> = lengths.map(|(len, own)| if own { len } else { 1 }).collect();
                let values = weights(&shape, kind % 2 == 0, &mut random);
                let all = repeated(&values, &shape, sizes);
                let mut x = random.normals(all.len(), mean, 1.5);
                let dy = random.normals(all.len(), 0.2, 1.0);
                all.iter().zip(&mut x).filter(|(w, _)| **w == 0.0).for_each(|(_, x)| *x = f64::NAN);
                let order = ORDERS[(case + kind) % ORDERS.len()];
                let got = step(&rule(activation), order, sizes, &x, &dy, (&values, &shape));
                for channel in 0..c {
                    check_channel(&got, channel, sizes, [&x, &dy, &all], activation, mean);
                }
            }
        }
    }
}

fn check_channel(
    got: &Step<f64>,
    c: usize,
    sizes: Sizes,
    [x, dy, all]: [&[f64]; 3],
    activation: Activation,
    mean: f64,
) {
    let of = |data: &[f64]| channel_of(data, sizes.c, sizes.plane, c);
    let (x, dy, all) = (of(x), of(dy), of(all));
    let truth = weighted::forward(&widened(&x), &all, wide(GAMMA[c]), wide(BETA[c]), wide(EPSILON));
    let near = |what: &str, got: f64, truth: DoubleDouble, scale: f64| {
        let error = (wide(got) - truth).to_f64().abs();
        assert!(error <= 1e-13 * scale, "{what}, channel {c}, mean {mean}: {got:e}, error {error:e}");
    };
    let moments = got.batch.channels()[c];
    let (count, total) = (all.iter().filter(|w| **w > 0.0).count(), all.iter().sum::<f64>());
    assert_eq!((moments.count(), moments.weight()), (count as u64, total));
    near("mean", moments.mean(), truth.mean, (1.0 + mean) * truth.variance.to_f64().sqrt());
    near("variance", moments.population_variance(), truth.variance, truth.variance.to_f64());
    let slope = activation.slope();
    let bent = |z: DoubleDouble| if z.to_f64() > 0.0 { z } else { z * wide(slope) };
    for (y, &z) in of(&got.y).iter().zip(&truth.y) {
        near("y", *y, bent(z), 10.0);
    }
    let dz: Vec<f64> = truth.y.iter().zip(&dy).map(|(z, dy)| if z.to_f64() > 0.0 { *dy } else { slope * dy }).collect();
    let truth = weighted::backward(&widened(&x), &all, wide(GAMMA[c]), wide(EPSILON), &widened(&dz));
    let most = dy.iter().fold(0.0f64, |most, dy| most.max(dy.abs()));
    for (i, (dx, &truth)) in of(&got.dx).iter().zip(&truth.dx).enumerate() {
        near("dx", *dx, truth, 30.0 * most);
        assert!(all[i] > 0.0 || *dx == 0.0, "dx of what is masked");
    }
    near("dgamma", got.gradients.dgamma[c], truth.dgamma, 3.0 * most * count as f64);
    near("dbeta", got.gradients.dbeta[c], truth.dbeta, most * count as f64);
}

/// The contract for f32 and the halves.
#[test]
fn narrow_types_keep_their_bounds() {
    fn check<T: Element>(random: &mut Random, ulps: f64, mean: f64) {
        let sizes = Sizes { n: 5, c: 3, plane: 70 };
        let narrow = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect::<Vec<T>>();
        let len = 5 * 3 * 70;
        let (x, dy) = (narrow(random.normals(len, mean, 1.0)), narrow(random.normals(len, 0.0, 1.0)));
        let values = weights(&[5, 1, 70], false, random);
        let all = repeated(&values, &[5, 1, 70], sizes);
        let got = step(&rule(Activation::Identity), Order::Nchw, sizes, &x, &dy, (&values, &[5, 1, 70]));
        for c in 0..3 {
            let of = |data: &[T]| widened(&channel_of(data, 3, 70, c));
            let all = channel_of(&all, 3, 70, c);
            let truth = weighted::forward(&of(&x), &all, wide(GAMMA[c]), wide(BETA[c]), wide(EPSILON));
            for (y, truth) in channel_of(&got.y, 3, 70, c).iter().zip(&truth.y) {
                let scale = truth.to_f64().abs().max(BETA[c].abs());
                let error = (wide(y.to_f64()) - *truth).to_f64().abs();
                assert!(error <= ulps * ulp::<T>(scale), "{y:?} for {}", truth.to_f64());
            }
        }
    }
    let mut random = Random::new(1202);
    check::<f32>(&mut random, 0.501, 1e4);
    check::<f32>(&mut random, 0.501, 0.0);
    #[cfg(feature = "half")]
    {
        check::<half::f16>(&mut random, 0.501, 10.0);
        check::<half::bf16>(&mut random, 0.501, 10.0);
    }
}

fn same_bits<T: Element>(one: &Step<T>, other: &Step<T>, what: &str) {
    let bits = |values: &[T]| values.iter().map(|value| value.to_f64().to_bits()).collect::<Vec<_>>();
    let numbers = |step: &Step<T>| -> Vec<u64> {
        let moments = step.batch.channels().iter().flat_map(|m| [m.mean(), m.m2(), m.weight()]);
        step.gradients.dgamma.iter().chain(&step.gradients.dbeta).copied().chain(moments).map(f64::to_bits).collect()
    };
    assert_eq!(bits(&one.y), bits(&other.y), "{what}");
    assert_eq!(bits(&one.dx), bits(&other.dx), "{what}");
    assert_eq!(numbers(one), numbers(other), "{what}");
}

#[test]
fn bits_do_not_depend_on_threads_tier_or_layout() {
    fn check<T: Element>(random: &mut Random) {
        for (plane, shape) in [(900, [31, 1, 900]), (49, [31, 1, 1]), (1, [31, 6, 1]), (900, [31, 6, 900])] {
            let sizes = Sizes { n: 31, c: 6, plane };
            let narrow = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect::<Vec<T>>();
            let len = 31 * 6 * plane;
            let (x, dy) = (narrow(random.normals(len, 3.0, 1.0)), narrow(random.normals(len, 0.0, 1.0)));
            let values = weights(&shape, false, random);
            let of = |tier: Tier, order: Order| {
                let rule = Config::pytorch().tier(tier).normalizer().expect("a rule");
                step(&rule, order, sizes, &x, &dy, (&values, &shape))
            };
            let first = pool(1).install(|| of(Tier::best(), Order::Nchw));
            for order in ORDERS {
                for threads in [1, 2, 3, 8] {
                    let other = pool(threads).install(|| of(Tier::best(), order));
                    same_bits(&first, &other, &format!("{order:?}, {threads} threads, {shape:?}"));
                }
                for tier in Tier::available() {
                    same_bits(&first, &of(tier, order), &format!("{order:?}, {tier:?}, {shape:?}"));
                }
            }
        }
    }
    let mut random = Random::new(1203);
    check::<f32>(&mut random);
    check::<f64>(&mut random);
}

fn column(data: &[f64]) -> View<'_, f64> {
    View::new(data, &[data.len(), 1], Axes::NCHW).expect("a column")
}

fn layer() -> BatchNorm {
    Config::pytorch().channels(1).build().expect("a layer")
}

#[test]
fn weights_of_two_are_the_values_twice_over_and_ones_are_no_weights() {
    let mut random = Random::new(1204);
    let x = random.normals(33, 100.0, 2.0);
    let weights: Vec<f64> = (0..33).map(|i| f64::from(i % 3)).collect();
    let times = |i: usize| std::iter::repeat_n(x[i], i % 3);
    let often: Vec<f64> = (0..33).flat_map(times).collect();
    let (mut one, mut other) = (layer(), layer());
    let weighted = Weights::new(&weights, &[33, 1]).expect("weights");
    let got = one.train(Input::weighted(&column(&x), &weighted)).expect("a right call");
    other.train(&column(&often)).expect("a right call");
    let (one, other) = (one.running().expect("tracked"), other.running().expect("tracked"));
    assert!((one.mean()[0] / other.mean()[0] - 1.0).abs() < 1e-15);
    assert!((one.variance()[0] / other.variance()[0] - 1.0).abs() < 1e-14, "the sample variance");
    assert_eq!(got.batch.channels()[0].weight(), often.len() as f64);

    let ones = [1.0];
    let ones = Weights::new(&ones, &[1, 1]).expect("weights");
    let rule = Config::pytorch().normalizer().expect("a rule");
    let (plain, weighted) = (rule.moments(&column(&x)), rule.moments_of(Input::weighted(&column(&x), &ones)));
    let (plain, weighted) = (plain.channels()[0], weighted.expect("they fit").channels()[0]);
    assert_eq!(plain.count(), weighted.count());
    assert!((plain.m2() / weighted.m2() - 1.0).abs() < 1e-15);
}

#[test]
fn weighted_moments_merge_as_others_do() {
    let mut random = Random::new(1205);
    let (x, w) = (random.normals(100, 1e6, 1.0), weights(&[100, 1], false, &mut random));
    let rule = Config::pytorch().normalizer().expect("a rule");
    let of = |range: std::ops::Range<usize>| -> Moments {
        let weights = Weights::new(&w[range.clone()], &[range.len(), 1]).expect("weights");
        rule.moments_of(Input::weighted(&column(&x[range]), &weights)).expect("they fit").channels()[0]
    };
    let (whole, merged) = (of(0..100), of(0..3).merge(of(3..50)).merge(of(50..50)).merge(of(50..100)));
    assert_eq!((whole.count(), whole.weight()), (merged.count(), merged.weight()));
    assert!((whole.population_variance() / merged.population_variance() - 1.0).abs() < 1e-13);
    let left = whole.without(of(3..50)).expect("a part");
    let expected = of(0..3).merge(of(50..100));
    assert!((left.population_variance() / expected.population_variance() - 1.0).abs() < 1e-12);
}

/// What is light may lie anywhere, first or last: the heavy ones decide.
#[test]
fn light_outliers_cost_no_digits() {
    fn check<T: Element>(random: &mut Random, outlier: f64, light: f64) {
        let (outlier, light) = (T::from_f64(outlier), T::from_f64(light));
        let x: Vec<T> = random.normals(100, 0.0, 1.0).into_iter().map(T::from_f64).collect();
        let rule = Config::pytorch().normalizer().expect("a rule");
        for at in [0, 50, 100] {
            let (mut x, mut w) = (x.clone(), vec![1.0; 100]);
            x.insert(at, outlier);
            w.insert(at, light.to_f64());
            let narrow: Vec<T> = w.iter().map(|&w| T::from_f64(w)).collect();
            let view = View::new(&x, &[101, 1], Axes::NCHW).expect("a column");
            let weights = Weights::new(&narrow, &[101, 1]).expect("weights");
            let got = rule.moments_of(Input::weighted(&view, &weights)).expect("they fit").channels()[0];
            let truth = weighted::forward(&widened(&x), &w, wide(1.0), wide(0.0), wide(EPSILON));
            let error = (wide(got.population_variance()) - truth.variance).to_f64() / truth.variance.to_f64();
            assert!(error.abs() < 1e-13, "{outlier:?} of weight {light:?} at {at}: {error:e}");
        }
    }
    let mut random = Random::new(1208);
    for (outlier, light) in [(1e4, 1e-10), (1e6, 1e-14), (1e10, 1e-30), (3e5, 1e-13)] {
        check::<f32>(&mut random, outlier, light);
        check::<f64>(&mut random, outlier, light);
    }
    check::<f64>(&mut random, 1e30, 1e-70);
    // Light values far away, and then heavy ones, in chunks of their own.
    let (mut x, mut w) = (vec![1e12; 4096], vec![1e-34; 4096]);
    x.extend(random.normals(3000, 0.0, 1.0));
    w.resize(x.len(), 1.0);
    let weights = Weights::new(&w, &[x.len(), 1]).expect("weights");
    let rule = Config::pytorch().normalizer().expect("a rule");
    let got = rule.moments_of(Input::weighted(&column(&x), &weights)).expect("they fit").channels()[0];
    assert!((got.mean() - Moments::of(&x[4096..]).mean()).abs() < 1e-13);
}

#[test]
fn the_ends_of_the_range_are_no_constants_and_overflow_is_told() {
    let rule = Config::pytorch().normalizer().expect("a rule");
    let of = |x: &[f64], w: &[f64]| {
        let weights = Weights::new(w, &[w.len(), 1]).expect("weights");
        rule.moments_of(Input::weighted(&column(x), &weights)).expect("they fit").channels()[0]
    };
    // Two neighbouring numbers, whose mean is one of them: the squares are there, or the smallest number stands for them.
    let (one, next) = (1e-150, 1e-150 * (1.0 + f64::EPSILON));
    assert!(!of(&[one, next, one], &[1.0, 1e-3, 1.0]).is_constant());
    // The sum of these is infinite, their spread is 0 or as said.
    assert_eq!(of(&[1.7e308; 3], &[1.0, 2.0, 1.0]).m2(), 0.0);
    assert!(!of(&[1.7e308, -1.7e308], &[1.0, 1.0]).is_finite());
}

#[test]
fn constants_are_exact_and_one_channel_does_not_disturb_another() {
    for value in [100.1, 1e8, 1e30, 3e38] {
        let x = [value, f64::NAN, value, value];
        let weights = [0.3, 0.0, 1.7, 0.1];
        let weights = Weights::new(&weights, &[4, 1]).expect("weights");
        let mut layer = layer();
        layer.set_beta(&[0.625]).expect("one");
        let trained = layer.train(Input::weighted(&column(&x), &weights)).expect("a right call");
        assert_eq!(trained.y.data(), [0.625, 0.0, 0.625, 0.625]);
        assert_eq!(trained.batch.channels()[0].m2(), 0.0);
        let dy = [1.0, 2.0, 3.0, 4.0];
        let gradients =
            layer.backward(Input::weighted(&column(&x), &weights), &column(&dy), &trained.saved).expect("right");
        assert_eq!(gradients.dx.data(), [0.0; 4]);
    }
    // A tiny spread is no constant.
    let x = [0.0, 1e-200, 0.0];
    let weights = Weights::mask(&[true; 3], &[3, 1]).expect("a mask");
    let rule = Config::pytorch().normalizer().expect("a rule");
    let moments = rule.moments_of(Input::weighted(&column(&x), &weights)).expect("they fit").channels()[0];
    assert!(!moments.is_constant());
}

#[test]
fn parts_with_weights_are_the_batch_with_weights() {
    let mut random = Random::new(1207);
    let (x, dy, w) =
        (random.normals(30, 5.0, 2.0), random.normals(30, 0.0, 1.0), weights(&[30, 1], false, &mut random));
    let rule = rule(Activation::LeakyRelu(0.1));
    let none = Parameters::<f64>::default();
    let all = Weights::new(&w, &[30, 1]).expect("weights");
    let (mut y, mut dx) = (vec![0.0; 30], vec![0.0; 30]);
    fn out(data: &mut [f64]) -> ViewMut<'_, f64> {
        let shape = [data.len(), 1];
        ViewMut::new(data, &shape, Axes::NCHW).expect("a column")
    }
    let (saved, whole) = rule.train(Input::weighted(&column(&x), &all), none, None, &mut out(&mut y)).expect("right");
    let sums = saved.backward(Input::weighted(&column(&x), &all), &column(&dy), &mut out(&mut dx)).expect("right");
    let (mut y_parts, mut dx_parts) = (vec![0.0; 30], vec![0.0; 30]);
    let mut added = ParameterGradients { dgamma: vec![0.0], dbeta: vec![0.0] };
    let mut left = Vec::new();
    for at in [0..11, 11..12, 12..30] {
        let weights = Weights::new(&w[at.clone()], &[at.len(), 1]).expect("weights");
        let (x, dy) = (column(&x[at.clone()]), column(&dy[at.clone()]));
        let saved = rule.train_part(Input::weighted(&x, &weights), none, &whole, &mut out(&mut y_parts[at.clone()]));
        let saved = saved.expect("a right call");
        added.add(&saved.parameter_gradients(Input::weighted(&x, &weights), &dy).expect("right")).expect("one channel");
        let error = saved.backward(Input::weighted(&x, &weights), &dy, &mut out(&mut vec![0.0; at.len()])).unwrap_err();
        assert!(error.to_string().contains("backward_part"), "{error}");
        left.push((at, saved));
    }
    for (at, saved) in left {
        let weights = Weights::new(&w[at.clone()], &[at.len(), 1]).expect("weights");
        let (x, dy) = (column(&x[at.clone()]), column(&dy[at.clone()]));
        saved
            .backward_part(Input::weighted(&x, &weights), &dy, &added, &mut out(&mut dx_parts[at]))
            .expect("a right call");
    }
    let near = |one: &[f64], other: &[f64]| one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-12);
    assert!(near(&y, &y_parts) && near(&dx, &dx_parts));
    assert!(near(&sums.dgamma, &added.dgamma) && near(&sums.dbeta, &added.dbeta));
}
