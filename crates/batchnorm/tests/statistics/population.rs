//! Statistics of a whole data set from its batches.

use crate::support::Random;
use batchnorm::{Axes, BatchMoments, BatchNorm, CallError, Config, ConfigError, Estimator, Moments, Population, View};

fn moments(values: &[f64]) -> BatchMoments {
    let x = View::new(values, &[values.len(), 1], Axes::NCHW).expect("a column");
    Config::pytorch().normalizer().expect("a rule").moments(&x)
}

fn of(batches: &[&[f64]]) -> Population {
    let mut population = Population::new(1).expect("a channel");
    for batch in batches {
        assert_eq!(population.observe(&moments(batch)), Ok(vec![]));
    }
    population
}

fn cut<'v>(values: &'v [f64], sizes: &[usize]) -> Vec<&'v [f64]> {
    let mut left = values;
    let mut take = |&size: &usize| {
        let (batch, rest) = left.split_at(size);
        left = rest;
        batch
    };
    sizes.iter().map(&mut take).collect()
}

/// |difference| of mean (over the deviation) and variance (relative).
fn difference(one: &Moments, other: &Moments) -> f64 {
    let deviation = other.population_variance().sqrt();
    let mean = (one.mean() - other.mean()).abs() / deviation;
    mean.max((one.population_variance() / other.population_variance() - 1.0).abs())
}

/// torch 2.15's `update_bn` gives 0.876 for these: it weighs the batches alike and drops what lies between their means.
#[test]
fn batches_of_16_14_and_2_have_the_variance_of_all_32() {
    let mut random = Random::new(1200);
    let mut values = random.normals(16, 0.0, 1.0);
    values.extend(random.normals(14, 4.0, 1.0));
    values.extend(random.normals(2, 8.0, 1.0));
    let (pooled, whole) = (of(&cut(&values, &[16, 14, 2])), Moments::of(&values));
    assert!(difference(&pooled.channels()[0], &whole) < 1e-14);
    let mean = values.iter().sum::<f64>() / 32.0;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 31.0;
    let running = pooled.running(Estimator::Sample).expect("observed");
    assert!((running.variance()[0] / variance - 1.0).abs() < 1e-13, "{running:?}");
    assert_eq!(running.batches(), 3);
    let mut layer = BatchNorm::new(1).expect("a layer");
    layer.set_running(running).expect("one channel");
}

/// fvcore's test of its PreciseBN, here also with a mean of a million deviations.
#[test]
fn batches_of_2_2_4_8_16_32_and_64_pool_like_fvcore() {
    let mut random = Random::new(1201);
    for mean in [0.0, 1e3, 1e6] {
        let values = random.normals(128, mean, 1.0);
        let pooled = of(&cut(&values, &[2, 2, 4, 8, 16, 32, 64]));
        assert!(difference(&pooled.channels()[0], &Moments::of(&values)) < 1e-12, "mean {mean}");
    }
}

#[test]
fn any_order_and_grouping_is_the_whole() {
    let mut random = Random::new(1202);
    for _ in 0..200 {
        let (mean, n) = (10f64.powi(random.below(7) as i32), 2 + random.below(3000));
        let values = random.normals(n, mean, 1.0);
        let whole = Moments::of(&values);
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < n {
            let left = n - sizes.iter().sum::<usize>();
            sizes.push(random.below(left.min(500) + 1));
        }
        let batches = cut(&values, &sizes);
        let mut groups = vec![Population::new(1).expect("a channel"); 1 + random.below(5)];
        let mut order: Vec<usize> = (0..batches.len()).collect();
        // Fisher and Yates.
        for place in (1..order.len()).rev() {
            order.swap(place, random.below(place + 1));
        }
        for number in order {
            let group = random.below(groups.len());
            groups[group].observe(&moments(batches[number])).expect("one channel");
        }
        let mut all = groups.pop().expect("at least one");
        for group in &groups {
            all.merge(group).expect("one channel");
        }
        assert!(difference(&all.channels()[0], &whole) < 1e-12, "{n} values in {} batches", batches.len());
        assert_eq!(all.channels()[0].count(), n as u64);
        // What is taken out again leaves the rest.
        if let Some(first) = groups.first().filter(|group| group.channels()[0].count() > 0) {
            let mut left = all.clone();
            left.subtract(first).expect("a part");
            let count = left.channels()[0].count();
            assert_eq!(count + first.channels()[0].count(), n as u64);
            left.merge(first).expect("one channel");
            assert!(difference(&left.channels()[0], &whole) < 1e-11, "{n}");
            assert_eq!(left.batches(), all.batches());
        }
    }
}

#[test]
fn standard_errors_are_what_means_and_variances_scatter_by() {
    let mut random = Random::new(1203);
    // Values of a batch share a part of their deviation, as the pixels of an image do; batches differ in their spread, or
    // in their means alone, or not at all; and the mean may be far from 0.
    for (shift, between, differ) in [(5.0, 1.0, 0.5), (1e6, 3.0, 0.0), (0.0, 0.0, 0.0), (-100.0, 0.3, 1.0)] {
        let mut draw = || {
            let mut batches = Vec::new();
            for _ in 0..80 {
                let (shared, size) = (between * random.normal(), 4 + random.below(30));
                let deviation = 1.0 + differ * random.uniform();
                batches.push(random.normals(size, shift + shared, deviation));
            }
            of(&batches.iter().map(|batch| &batch[..]).collect::<Vec<_>>())
        };
        let mut got = [[vec![], vec![]], [vec![], vec![]]];
        for _ in 0..2000 {
            let population = draw();
            let (moments, errors) = (population.channels()[0], population.standard_errors()[0].expect("80 batches"));
            for (got, (value, error)) in
                got.iter_mut().zip([(moments.mean(), errors.mean), (moments.population_variance(), errors.variance)])
            {
                got[0].push(value);
                got[1].push(error * error);
            }
        }
        for (what, [values, squares]) in ["mean", "variance"].iter().zip(got) {
            let scatter = Moments::of(&values).population_variance().sqrt();
            let told = Moments::of(&squares).mean().sqrt();
            println!("mean {shift}: the {what} scatters by {scatter:.4}, its standard error is {told:.4}");
            assert!((told / scatter - 1.0).abs() < 0.1, "{what}, {shift}");
        }
    }
    assert_eq!(of(&[&[1.0, 2.0]]).standard_errors(), [None], "one batch does not tell");
}

#[test]
fn standard_errors_are_those_of_the_formula_in_any_order_and_after_taking_out() {
    let mut random = Random::new(1205);
    for mean in [0.0, 1e4, 1e6] {
        let batches: Vec<Vec<f64>> = (0..30)
            .map(|_| {
                let (shared, size) = (random.normal(), 2 + random.below(40));
                random.normals(size, mean + shared, 1.0)
            })
            .collect();
        let all: Vec<&[f64]> = batches.iter().map(|batch| &batch[..]).collect();
        let mut parts = of(&all[20..]);
        parts.merge(&of(&all[..20])).expect("one channel");
        let extra = of(&[&[mean + 9.0, mean + 11.0, mean][..], &[mean - 7.0]]);
        parts.merge(&extra).expect("one channel");
        parts.subtract(&extra).expect("a part");
        let whole = Moments::of(&batches.concat());
        let (b, n) = (30.0, whole.count() as f64);
        let sum = |of: &dyn Fn(&Moments) -> f64| -> f64 {
            let terms = batches.iter().map(|batch| Moments::of(batch)).map(|m| (m.count() as f64 * of(&m)).powi(2));
            (b / (b - 1.0) * terms.sum::<f64>()).sqrt() / n
        };
        let expected = [
            sum(&|m| m.mean() - whole.mean()),
            sum(&|m| m.population_variance() + (m.mean() - whole.mean()).powi(2) - whole.population_variance()),
        ];
        for population in [of(&all), parts] {
            let got = population.standard_errors()[0].expect("30 batches");
            for (got, expected) in [got.mean, got.variance].iter().zip(expected) {
                assert!((got / expected - 1.0).abs() < 1e-9, "{got} {expected}");
            }
        }
    }
}

#[test]
fn a_batch_with_nan_is_left_out_of_its_channel_alone() {
    let mut population = Population::new(2).expect("channels");
    let rule = Config::pytorch().normalizer().expect("a rule");
    let values = [1.0, 2.0, f64::NAN, 4.0, 3.0, 8.0];
    let x = View::new(&values, &[3, 2], Axes::NCHW).expect("three samples");
    assert_eq!(population.observe(&rule.moments(&x)), Ok(vec![0]));
    let counts: Vec<u64> = population.channels().iter().map(Moments::count).collect();
    assert_eq!(counts, [0, 3]);
    assert_eq!(population.running(Estimator::Sample), Err(CallError::NothingObserved { channel: 0 }));
    assert!(population.running(Estimator::Sample).unwrap_err().to_string().contains("channel 0"));
}

#[test]
fn rows_keep_everything() {
    let mut random = Random::new(1204);
    let values = random.normals(300, 1e6, 1.0);
    let population = of(&cut(&values, &[100, 50, 150]));
    let rows = population.to_rows();
    let back = Population::from_rows(&rows).expect("its own rows");
    assert_eq!(back, population);
    assert_eq!(back.standard_errors(), population.standard_errors());
    for (column, value) in [
        (0, -1.0),
        (0, 2.5),
        (0, 0.0),
        (1, 0.0),
        (2, f64::NAN),
        (4, -1.0),
        (5, 0.5),
        (5, 1e9),
        (6, f64::NAN),
        (9, -2.0),
        (13, f64::NAN),
        (16, -1.0),
        (17, f64::NAN),
        (18, f64::INFINITY),
        (18, 1.0),
    ] {
        let mut bad = rows.clone();
        bad[0][column] = value;
        let error = Population::from_rows(&bad).expect_err("no population has that");
        assert!(matches!(error, ConfigError::NotAPopulation { channel: 0, .. }), "{error}");
    }
    assert!(Population::from_rows(&[]).is_err());
}

#[test]
fn what_is_left_of_a_subtraction_can_be_stored_and_says_what_it_does_not_know() {
    let mut random = Random::new(1206);
    for _ in 0..200 {
        let (large, one) = (of(&[&random.normals(100, 3.0, 1.0)]), of(&[&random.normals(1, 3.0, 1.0)]));
        let mut left = large.clone();
        left.merge(&one).expect("one channel");
        left.subtract(&large).expect("a part");
        assert_eq!(Population::from_rows(&left.to_rows()).expect("its own rows"), left);
        assert_eq!((left.channels()[0].count(), left.channels()[0].m2()), (1, 0.0));
    }
    // A weight beside which another one vanishes when it is squared.
    let many = Population::from_rows(&{
        let mut rows = of(&[&[1.0, 2.0], &[3.0]]).to_rows();
        (rows[0][0], rows[0][1], rows[0][7]) = (2f64.powi(40), 2f64.powi(40), 2f64.powi(80));
        rows
    });
    let (mut left, many) = (of(&[&[4.0, 5.0]]), many.expect("rows"));
    left.merge(&many).expect("one channel");
    left.subtract(&many).expect("a part");
    assert_eq!(Population::from_rows(&left.to_rows()).expect("its own rows"), left);
    // An outlier that is taken out again took the digits of the variance's error with it.
    let outlier = of(&[&[1e6]]);
    let mut all = outlier.clone();
    (0..20).for_each(|_| all.merge(&of(&[&random.normals(50, 0.0, 1.0)])).expect("one channel"));
    all.subtract(&outlier).expect("a part");
    assert!((all.channels()[0].population_variance() - 1.0).abs() < 0.2);
    let told = all.standard_errors()[0].expect("20 batches");
    let apart = of(&cut(&random.normals(1000, 0.0, 1.0), &[50; 20])).standard_errors()[0].expect("20 batches");
    assert!(told.variance > 10.0 * apart.variance, "not known is large: {told:?}, {apart:?}");
    assert!((told.mean / apart.mean).ln().abs() < 1.0, "the mean's still has its digits: {told:?}, {apart:?}");
}

#[test]
fn errors_leave_it_unchanged() {
    let mut population = of(&[&[1.0, 2.0, 4.0]]);
    let before = population.clone();
    let two = Population::new(2).expect("channels");
    let length = CallError::Length { argument: "other", expected: 1, got: 2 };
    assert_eq!(population.merge(&two), Err(length.clone()));
    assert_eq!(population.subtract(&two), Err(length));
    let more = of(&[&[1.0, 2.0, 4.0, 5.0]]);
    assert_eq!(population.subtract(&more), Err(CallError::NotAPart { channel: 0, expected: 3, got: 4 }));
    assert!(population.observe(&BatchMoments::from(vec![Moments::EMPTY; 3])).is_err());
    assert_eq!(population, before);
    // Nothing is no batch.
    population.observe(&BatchMoments::from(vec![Moments::EMPTY])).expect("one channel");
    assert_eq!(population, before);
    population.subtract(&before).expect("all of it");
    assert_eq!(population, Population::new(1).expect("a channel"));
}

#[test]
fn what_overflows_together_is_left_out_and_never_installed() {
    let mut population = of(&[&[1e200, 1e200]]);
    assert_eq!(population.observe(&moments(&[-1e200, -1e200])), Ok(vec![0]));
    assert_eq!(population.running(Estimator::Sample).expect("the first batch").mean(), [1e200]);
    population.merge(&of(&[&[-1e200, -1e200]])).expect("one channel");
    assert_eq!(population.running(Estimator::Sample), Err(CallError::NonFinite { channels: vec![0] }));
}

#[test]
fn what_is_no_part_cannot_be_taken_out() {
    let whole = of(&[&[1.0, 2.0], &[3.0], &[4.0]]);
    // As many values in fewer batches, fewer values in as many batches, and values that spread more.
    for other in [of(&[&[1.0, 2.0, 3.0, 4.0]]), of(&[&[1.0], &[2.0], &[3.0]]), of(&[&[-50.0, 50.0]])] {
        let mut left = whole.clone();
        assert!(matches!(left.subtract(&other), Err(CallError::NotAPart { channel: 0, .. })), "{other:?}");
        assert_eq!(left, whole);
    }
    let mut left = whole.clone();
    left.subtract(&of(&[&[3.0]])).expect("a part");
    assert!(left.standard_errors()[0].is_some_and(|errors| errors.mean.is_finite() && errors.variance.is_finite()));
}

#[test]
fn channels_that_were_left_out_have_fewer_updates() {
    let rule = Config::pytorch().normalizer().expect("a rule");
    let mut population = Population::new(2).expect("channels");
    for values in [[1.0, 2.0, 3.0, 4.0], [f64::NAN, 2.0, 3.0, 8.0]] {
        let x = View::new(&values, &[2, 2], Axes::NCHW).expect("two samples");
        population.observe(&rule.moments(&x)).expect("two channels");
    }
    assert_eq!(population.running(Estimator::Sample).expect("observed").updates(), [1, 2]);
}
