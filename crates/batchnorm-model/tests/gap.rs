//! The layer that breaks a model is found, in both directions.
#![cfg(feature = "engine")]
#![allow(missing_docs)]

#[path = "support/skip.rs"]
mod skip;
mod support;

use std::ops::{ControlFlow, Range};
use std::sync::LazyLock;

use batchnorm_model::cut::Cut;
use batchnorm_model::engine::{Array, Optimiser, Rten, Source};
use batchnorm_model::gap::{Asked, Gap, Progress, QUANTILES, gap};
use batchnorm_model::onnx::NewModel;
use batchnorm_model::recalibrate::{Event, RecalibrateError, Request, recalibrate};
use batchnorm_model::statistics::Statistics;
use skip::{conv, with, written};
use support::*;

/// Samples whose light differs, and whose values do.
struct Numbers(Vec<f32>);

const SHAPE: [usize; 3] = [3, 8, 8];
const EACH: usize = 3 * 8 * 8;

impl Numbers {
    fn of(samples: usize, seed: u64) -> Numbers {
        let light = numbers(samples, seed + 1);
        let values = numbers(samples * EACH, seed);
        Numbers(values.iter().enumerate().map(|(at, value)| (value + 0.5 * light[at / EACH] + 0.3) as f32).collect())
    }
}

impl Source for Numbers {
    fn len(&self) -> usize {
        self.0.len() / EACH
    }

    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
        let shape = std::iter::once(places.len()).chain(SHAPE).collect();
        Ok(vec![("x".into(), Array::floats(shape, self.0[places.start * EACH..places.end * EACH].to_vec()))])
    }
}

/// Six norms, two of them on a branch beside each other, one before a matrix product; a classifier of four.
fn network() -> NewModel {
    let relu = |from: &str, to: &str| node("Relu", &[from], &[to], &[]);
    let nodes = vec![
        conv("c1", "x", 1),
        norm("n1", "c1", "b1"),
        relu("b1", "r1"),
        conv("c2", "r1", 1),
        norm("n2", "c2", "b2"),
        conv("c3", "r1", 1),
        norm("n3", "c3", "b3"),
        node("Add", &["b2", "b3"], &["sum"], &[]),
        relu("sum", "r3"),
        conv("c4", "r3", 1),
        norm("n4", "c4", "b4"),
        relu("b4", "r4"),
        conv("c5", "r4", 1),
        norm("n5", "c5", "b5"),
        relu("b5", "r5"),
        node("GlobalAveragePool", &["r5"], &["p"], &[]),
        node("Flatten", &["p"], &["f"], &[]),
        node("MatMul", &["f", "m.w"], &["m"], &[]),
        norm("n6", "m", "b6"),
        relu("b6", "r6"),
        node("MatMul", &["r6", "o.w"], &["y"], &[]),
    ];
    let mut tensors = vec![weights("c1.w", &[8, 3, 3, 3])];
    tensors.extend(["c2.w", "c3.w", "c4.w", "c5.w"].map(|name| weights(name, &[8, 8, 3, 3])));
    tensors.extend([weights("m.w", &[8, 8]), weights("o.w", &[8, 4])]);
    ["n1", "n2", "n3", "n4", "n5", "n6"].iter().for_each(|name| {
        let mut vectors = vectors(name, 8);
        // (As after a training: of one size, none switched off.)
        vectors[0] = tensor(&format!("{name}_gamma"), &[8], vec![1.0, 0.8, 1.2, 0.9, 1.1, 1.0, 0.7, 1.3]);
        tensors.extend(vectors);
    });
    model(15, &[-1, 3, 8, 8], nodes, tensors)
}

fn request(batch: usize) -> Request {
    Request { layers: (0..6).collect(), one_pass: false, batch, mix: None, cut: None, memory: 1 << 30, files: 0 }
}

/// The network with the statistics of its training's data.
static HEALTHY: LazyLock<Vec<u8>> = LazyLock::new(|| trained_on(&Numbers::of(4000, 5)));

fn trained_on(data: &dyn Source) -> Vec<u8> {
    let file = network().to_bytes();
    let model = written(&file);
    let engine = Rten::load(model.bytes.clone(), Optimiser::Off).unwrap();
    let outcome = recalibrate(&engine, &model, data, None, &request(8), None, &mut |_| ControlFlow::Continue(()));
    let new: Vec<_> = outcome.unwrap().layers.iter().map(|layer| (layer.node, layer.new.clone())).collect();
    with(&file, &new)
}

/// The statistics of some norms, by their places, times 4.
fn broken(file: &[u8], places: &[usize]) -> Vec<u8> {
    let norms = written(file).norms;
    let times = |numbers: &[f64]| numbers.iter().map(|number| 4.0 * number).collect();
    let changes = places.iter().map(|&place| {
        let Statistics { mean, variance } = &norms[place].statistics;
        (norms[place].node, Statistics { mean: times(mean), variance: times(variance) })
    });
    with(file, &changes.collect::<Vec<_>>())
}

fn gap_of(file: &[u8], top: Option<usize>, batch: usize, threads: usize) -> Gap {
    let (model, data) = (written(file), Numbers::of(2000, 9));
    let engine = Rten::load(model.bytes.clone(), Optimiser::Off).unwrap();
    // The answers of the healthy network are the right ones.
    let sound = written(&HEALTHY);
    let judge = Rten::load(sound.bytes.clone(), Optimiser::Off).unwrap();
    let statistics: Vec<_> =
        sound.norms.iter().map(|norm| batchnorm_model::engine::Given::of(&norm.statistics)).collect();
    let values = data.read(0..data.len()).unwrap();
    let given = batchnorm_model::engine::given(&sound, batchnorm_model::engine::borrowed(&values), &statistics);
    let scores = batchnorm_model::engine::Engine::run(&judge, given, &["y"]).unwrap();
    let largest = |scores: &[f32]| (0..4).max_by(|&one, &other| scores[one].total_cmp(&scores[other])).unwrap();
    let labels: Vec<usize> = scores[0].as_floats().unwrap().chunks(4).map(largest).collect();
    let asked = Asked { request: request(batch), top, quantiles: true };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| gap(&engine, &model, &data, Some(&labels), &asked, None, &mut |_| ControlFlow::Continue(())))
        .unwrap()
}

fn names(layers: &[&batchnorm_model::gap::LayerGap]) -> Vec<String> {
    layers.iter().map(|layer| layer.layer.name.clone()).collect()
}

#[test]
fn each_layer_that_is_broken_comes_first_both_ways() {
    let file = HEALTHY.clone();
    for place in 0..6 {
        let found = gap_of(&broken(&file, &[place]), None, 8, 2);
        let name = format!("n{}", place + 1);
        assert_eq!(names(&found.culprits()), [format!("n{}", place + 1)]);
        for (what, change) in [("all but", 0), ("only", 1)] {
            let mut changes: Vec<(f64, &str)> = found
                .layers
                .iter()
                .map(|layer| {
                    let effects = layer.effects.as_ref().unwrap();
                    let both = [effects.all_but_this.change, effects.only_this.change];
                    (both[change], layer.layer.name.as_str())
                })
                .collect();
            changes.sort_by(|one, other| other.0.total_cmp(&one.0));
            println!("{name} broken, {what}: {changes:.4?}");
            assert!(changes[0].1 == name && changes[1].0 <= changes[0].0 / 10.0, "{name}, {what}: {changes:?}");
        }
        // Mending it alone gives the right answers back; it alone takes them away.
        let effects = found.layers[0].effects.as_ref().unwrap();
        let right = |side: &Option<batchnorm_model::recalibrate::Side>| side.as_ref().unwrap().right.unwrap();
        let [as_is, mended] = [right(&effects.only_this.before), right(&effects.only_this.after)];
        let [measured, with_it] = [right(&effects.all_but_this.before), right(&effects.all_but_this.after)];
        println!("{name}: right {as_is}, mended {mended}, measured {measured}, with it {with_it}");
        assert!(mended >= 1600 && measured >= 1600);
        // (Scores behind the last norm keep their order when they shrink.)
        assert!(place == 5 || as_is < measured && with_it < measured);
    }
}

#[test]
fn a_healthy_model_has_no_gap_and_two_broken_layers_are_both_named() {
    let file = HEALTHY.clone();
    let found = gap_of(&file, None, 8, 2);
    assert!(found.culprits().is_empty());
    for layer in &found.layers {
        let effects = layer.effects.as_ref().unwrap();
        println!("{}: {:.4} beside {:.4}", layer.layer.name, effects.all_but_this.change, effects.error);
        assert_eq!(layer.is_beyond_errors(), Some(false), "{}", layer.layer.name);
    }
    for places in [[0, 3], [1, 2], [2, 5], [4, 5]] {
        let found = gap_of(&broken(&file, &places), None, 8, 2);
        let mut named = names(&found.culprits());
        named.sort();
        assert_eq!(named, places.map(|place| format!("n{}", place + 1)));
    }
}

#[test]
fn a_statistic_that_is_no_number_is_named() {
    for (sign, place) in [(1.0f64, 1), (-1.0, 3)] {
        let norms = written(&HEALTHY).norms;
        let Statistics { mut mean, variance } = norms[place].statistics.clone();
        mean[2] = f64::NAN.copysign(sign);
        let found = gap_of(&with(&HEALTHY, &[(norms[place].node, Statistics { mean, variance })]), Some(3), 8, 2);
        assert_eq!(names(&found.culprits()), [format!("n{}", place + 1)]);
        // (Relu may make 0 of what is no number, so the outputs need not be infinite.)
        assert_eq!(found.layers[0].drift, f64::INFINITY);
    }
}

#[test]
fn batches_and_threads_change_no_more_than_rounding_and_the_drift_chooses() {
    let file = broken(&HEALTHY, &[3]);
    let whole = gap_of(&file, Some(2), 8, 2);
    let looked_at = whole.layers.iter().filter(|layer| layer.effects.is_some());
    assert_eq!((looked_at.count(), &*whole.layers[0].layer.name), (2, "n4"));
    assert!(whole.layers[2..].is_sorted_by(|one, other| one.drift >= other.drift));
    for (batch, threads) in [(8, 1), (3, 2), (1, 4)] {
        let other = gap_of(&file, Some(2), batch, threads);
        for (one, other) in whole.layers.iter().zip(&other.layers) {
            assert_eq!((&one.layer, one.drift, &one.quantiles), (&other.layer, other.drift, &other.quantiles));
            if let (Some(one), Some(other)) = (&one.effects, &other.effects) {
                assert!((one.all_but_this.change / other.all_but_this.change - 1.0).abs() < 1e-12);
                assert_eq!(one.only_this.changed, other.only_this.changed);
            }
        }
    }
    // Quantiles beside sorted values of the first norm's input, which is a convolution of the data: by the layer itself.
    let (model, data) = (written(&file), Numbers::of(2000, 9));
    let engine = Rten::load(model.bytes.clone(), Optimiser::Off).unwrap();
    let values = data.read(0..2000).unwrap();
    let inputs = batchnorm_model::engine::Engine::run(
        &engine,
        batchnorm_model::engine::given(&model, batchnorm_model::engine::borrowed(&values), []),
        &["c1"],
    )
    .unwrap();
    let all = gap_of(&file, None, 8, 2);
    let layer = all.layers.iter().find(|layer| layer.layer.name == "n1").unwrap();
    let quantiles = &layer.quantiles.as_ref().unwrap().0;
    for (channel, quantiles) in quantiles.iter().enumerate() {
        let mut seen: Vec<f32> = inputs[0]
            .as_floats()
            .unwrap()
            .chunks(64)
            .skip(channel)
            .step_by(8)
            .flat_map(|plane| plane.iter().copied())
            .collect();
        seen.sort_by(f32::total_cmp);
        let deviation = layer.layer.new.variance[channel].sqrt();
        for (share, quantile) in QUANTILES.iter().zip(quantiles) {
            let expected = f64::from(seen[(share * seen.len() as f64) as usize]);
            assert!((quantile - expected).abs() < deviation / 16.0, "{share}: {quantile}, {expected}");
        }
    }
}

/// Numbers that are never below a black of -0.5, each sample moved by up to a pixel either way where it is cut.
struct Pictures {
    numbers: Numbers,
    cut: bool,
}

impl Pictures {
    fn of(samples: usize, seed: u64, cut: bool) -> Pictures {
        let Numbers(numbers) = Numbers::of(samples, seed);
        Pictures { numbers: Numbers(numbers.into_iter().map(|value| value.max(-0.5)).collect()), cut }
    }
}

impl Source for Pictures {
    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
        let whole = self.numbers.read(places.clone())?;
        if !self.cut {
            return Ok(whole);
        }
        let mut values = Vec::new();
        for (place, sample) in places.clone().zip(whole[0].1.as_floats().unwrap().chunks(EACH)) {
            let (down, right) = (place * 7 % 3, place * 5 / 3 % 3);
            values.extend((0..EACH).map(|at| {
                let (row, column) = ((at / 8 % 8 + down).wrapping_sub(1), (at % 8 + right).wrapping_sub(1));
                if row < 8 && column < 8 { sample[at / 64 * 64 + row * 8 + column] } else { -0.5 }
            }));
        }
        Ok(vec![("x".into(), Array::floats(whole[0].1.shape.clone(), values))])
    }
}

fn gap_of_pictures(file: &[u8]) -> Gap {
    let (model, data) = (written(file), Pictures::of(2000, 9, false));
    let engine = Rten::load(model.bytes.clone(), Optimiser::Off).unwrap();
    let cut = Cut::of_arrays(&data).unwrap();
    assert!(cut.is_some());
    let asked = Asked { request: Request { cut, ..request(8) }, top: None, quantiles: true };
    gap(&engine, &model, &data, None, &asked, None, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// A training with random cuts leaves their borders in the statistics: that is no gap, and hides none.
#[test]
fn borders_of_random_cuts_are_no_gap() {
    let plain = gap_of_pictures(&trained_on(&Pictures::of(4000, 5, false)));
    assert!(!plain.cut && plain.culprits().is_empty());
    let file = trained_on(&Pictures::of(4000, 5, true));
    let healthy = gap_of_pictures(&file);
    println!("healthy: outputs change by {:.4}", healthy.answers.change);
    assert!(healthy.cut && healthy.culprits().is_empty());
    // Without the cut it would look like one.
    let (model, data) = (written(&file), Pictures::of(2000, 9, false));
    let engine = Rten::load(model.bytes.clone(), Optimiser::Off).unwrap();
    let asked = Asked { request: request(8), top: None, quantiles: false };
    let uncut = gap(&engine, &model, &data, None, &asked, None, &mut |_| ControlFlow::Continue(())).unwrap();
    println!("measured on samples as they are: {:.4}", uncut.answers.change);
    assert!(uncut.answers.change > 4.0 * healthy.answers.change);
    for places in [&[0][..], &[2], &[5], &[0, 1], &[0, 1, 2]] {
        let found = gap_of_pictures(&broken(&file, places));
        assert!(found.cut, "{places:?}");
        let mut named = names(&found.culprits());
        named.sort();
        assert_eq!(named, places.iter().map(|place| format!("n{}", place + 1)).collect::<Vec<_>>());
        let changes: Vec<f64> = found.layers.iter().map(|layer| layer.change().unwrap()).collect();
        println!("{places:?} broken: {changes:.4?}");
        assert!(places.len() > 1 || changes[1] <= changes[0] / 10.0);
    }
}

#[test]
fn interrupted_anywhere_it_goes_on_to_the_same_end() {
    let (model, data) = (written(&broken(&HEALTHY, &[2])), Numbers::of(200, 9));
    let engine = Rten::load(model.bytes.clone(), Optimiser::Off).unwrap();
    let asked = Asked { request: request(8), top: Some(3), quantiles: true };
    let labels: Vec<usize> = (0..200).map(|at| at % 4).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let run = |resumed: Option<Progress>, tell: &mut (dyn FnMut(Event<Progress>) -> ControlFlow<()> + Send)| {
        pool.install(|| gap(&engine, &model, &data, Some(&labels), &asked, resumed, &mut |event| tell(event)))
    };
    let mut states = Vec::new();
    let whole = run(None, &mut |event| {
        if let Event::State(state) = event {
            states.push(*state);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    // One behind each layer, the last when all are measured.
    assert!(matches!(states[0], Progress::Measuring(_)));
    assert!(matches!(states.last(), Some(Progress::Ranking { done: 0, .. })));
    for state in states {
        let other = run(Some(state), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((&whole.layers, &whole.answers), (&other.layers, &other.answers));
    }
    // While layers are looked at, too. (States come every ten seconds: the third batch takes longer.)
    let mut middle = None;
    let mut batches = None;
    let stopped = run(None, &mut |event| {
        match event {
            Event::Ranking { .. } => batches = Some(0),
            Event::Done(_) => {
                batches = batches.map(|count| count + 1);
                if batches == Some(3) {
                    std::thread::sleep(std::time::Duration::from_millis(10_100));
                }
            }
            Event::State(state) if matches!(*state, Progress::Ranking { done: 1.., .. }) => {
                middle = Some(*state);
                return ControlFlow::Break(());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(stopped, Err(RecalibrateError::Stopped)));
    assert!(matches!(middle, Some(Progress::Ranking { done: 3, .. })));
    let other = run(middle, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((&whole.layers, &whole.answers), (&other.layers, &other.answers));
}
