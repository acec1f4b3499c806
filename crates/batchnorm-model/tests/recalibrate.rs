//! Statistics measured anew, against the plain f64 loops of `support/run.rs`.
#![cfg(feature = "engine")]
#![allow(missing_docs)]

#[path = "support/run.rs"]
mod run;
#[path = "support/skip.rs"]
mod skip;
mod support;

use std::ops::ControlFlow;

use batchnorm::UpdateWeight;
use batchnorm_model::engine::{Optimiser, Rten, Source};
use batchnorm_model::onnx::Model;
use batchnorm_model::recalibrate::{Event, Outcome, Progress, RecalibrateError, Request, recalibrate};
use batchnorm_model::statistics::{self, Statistics};
use skip::*;
use support::*;

fn measure(file: &[u8], data: &Numbers, request: &Request) -> Outcome {
    let written = written(file);
    let engine = Rten::load(written.bytes.clone(), Optimiser::Off).unwrap();
    recalibrate(&engine, &written, data, None, request, None, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn statistics_of(outcome: &Outcome) -> Vec<(usize, Statistics)> {
    outcome.layers.iter().map(|layer| (layer.node, layer.new.clone())).collect()
}

/// Mean and variance of each channel of [N, C, ...], in two plain passes.
fn plain(array: &run::Array) -> Statistics {
    let (samples, channels) = (array.shape[0], array.shape[1]);
    let plane: usize = array.shape[2..].iter().product();
    let of = |channel: usize| {
        (0..samples).flat_map(move |sample| {
            let first = (sample * channels + channel) * plane;
            array.values[first..first + plane].iter().copied()
        })
    };
    let count = (samples * plane) as f64;
    let mean: Vec<f64> = (0..channels).map(|channel| of(channel).sum::<f64>() / count).collect();
    let variance = (0..channels).map(|channel| of(channel).map(|x| (x - mean[channel]).powi(2)).sum::<f64>() / count);
    Statistics { variance: variance.collect(), mean }
}

fn input(data: &Numbers) -> run::Array {
    let shape = std::iter::once(data.len()).chain(data.shape.iter().copied()).collect();
    run::Array { shape, values: data.values.iter().map(|&value| f64::from(value)).collect() }
}

#[test]
fn each_layer_has_the_statistics_of_what_it_sees_in_use() {
    let (file, data) = (network().to_bytes(), Numbers::of(37, &[3, 6, 6], 5));
    let outcome = measure(&file, &data, &request(vec![0, 1, 2]));
    let new = with(&file, &statistics_of(&outcome));
    // The oracle runs the file that was written: what it sees at each norm's input is what stands in it.
    let outputs = run::run(&new, &input(&data));
    for (layer, seen) in outcome.layers.iter().zip(&outputs[1..]) {
        close(&layer.new, &plain(seen), 2e-6);
        assert_eq!(layer.values, 37 * 36);
    }
    // And what comes out of the last norm has mean beta and variance gamma^2 (but for epsilon), as nothing else would give.
    assert!(outcome.answers.change > 0.1, "{}", outcome.answers.change);
    assert_eq!((outcome.answers.samples, outcome.batch), (37, 8));
}

#[test]
fn neither_batches_nor_threads_nor_room_change_a_bit() {
    let (file, data) = (network().to_bytes(), Numbers::of(32, &[3, 6, 6], 6));
    let of = |batch: usize, threads: usize, memory: usize, files: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let request = Request { batch, memory, files, ..request(vec![0, 1, 2]) };
        pool.install(|| measure(&file, &data, &request))
    };
    let first = of(32, 1, 1 << 30, 0);
    for (batch, threads, memory, files) in [
        (15, 1, 1 << 30, 0),
        (1, 1, 1 << 30, 0),
        (7, 2, 1 << 30, 0),
        (3, 4, 0, 1 << 30),
        (5, 2, 0, 0),
        (4, 2, 30_000, 30_000),
    ] {
        let other = of(batch, threads, memory, files);
        assert_eq!(first.layers, other.layers, "{batch} {threads} {memory} {files}");
        assert_eq!(first.answers.samples, other.answers.samples);
    }
}

#[test]
fn one_pass_is_right_for_its_batch() {
    let (file, data) = (network().to_bytes(), Numbers::of(32, &[3, 6, 6], 7));
    let of = |batch: usize| measure(&file, &data, &Request { one_pass: true, batch, ..request(vec![0, 1, 2]) });
    // One batch of all data is what every layer sees in use.
    let (all, halves) = (of(32), of(16));
    let layered = measure(&file, &data, &request(vec![0, 1, 2]));
    for (one, other) in all.layers.iter().zip(&layered.layers) {
        close(&one.new, &other.new, 2e-6);
    }
    // Of batches of 16 the first norm alone is the same.
    assert_eq!(all.layers[0].new, halves.layers[0].new);
    assert_ne!(all.layers[2].new, halves.layers[2].new);
    // By hand: each half normalised by itself.
    let length: usize = data.shape.iter().product();
    let half = |at: usize| {
        let values = data.values[at * 16 * length..(at + 1) * 16 * length].to_vec();
        let data = Numbers { shape: data.shape.clone(), values };
        let outcome = measure(&file, &data, &request(vec![0, 1, 2]));
        let outputs = run::run(&with(&file, &statistics_of(&outcome)), &input(&data));
        outputs[3].clone()
    };
    let (first, second) = (half(0), half(1));
    let mut both = first.clone();
    both.shape[0] = 32;
    both.values.extend(&second.values);
    close(&halves.layers[2].new, &plain(&both), 2e-6);
}

#[test]
fn a_norm_that_is_used_twice_has_one_set_of_statistics_of_both_uses() {
    let nodes = vec![
        conv("c1", "x", 1),
        conv("c2", "x", 1),
        norm("n1", "c1", "b1"),
        norm("n1", "c2", "b2"),
        node("Add", &["b1", "b2"], &["y"], &[]),
    ];
    let mut tensors = vec![weights("c1.w", &[4, 3, 3, 3]), weights("c2.w", &[4, 3, 3, 3])];
    tensors.extend(vectors("n1", 4));
    let mut model = model(15, &[-1, 3, 6, 6], nodes, tensors);
    model.graph.outputs.extend(["c1", "c2"].map(shapeless));
    let (file, data) = (model.to_bytes(), Numbers::of(9, &[3, 6, 6], 8));
    let outcome = measure(&file, &data, &request(vec![0, 1]));
    assert_eq!(outcome.layers[0].new, outcome.layers[1].new);
    let outputs = run::run(&file, &input(&data));
    let mut both = outputs[1].clone();
    both.shape[0] *= 2;
    both.values.extend(&outputs[2].values);
    close(&outcome.layers[0].new, &plain(&both), 2e-6);
    // Whatever the batches.
    let other = measure(&file, &data, &Request { batch: 2, ..request(vec![0, 1]) });
    assert_eq!(outcome.layers, other.layers);
}

#[test]
fn what_was_interrupted_goes_on_to_the_same_bits() {
    let (file, data) = (network().to_bytes(), Numbers::of(20, &[3, 6, 6], 9));
    let written = written(&file);
    let engine = Rten::load(written.bytes.clone(), Optimiser::Off).unwrap();
    for one_pass in [false, true] {
        let request = Request { one_pass, ..request(vec![0, 1, 2]) };
        let run = |resumed: Option<Progress>, stop_at: usize| {
            let mut states = Vec::new();
            let outcome = recalibrate(&engine, &written, &data, None, &request, resumed, &mut |event| {
                if let Event::State(state) = event {
                    states.push(*state);
                }
                if states.len() == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            (outcome, states)
        };
        let (whole, states) = run(None, usize::MAX);
        let whole = whole.unwrap();
        assert_eq!(states.len(), if one_pass { 1 } else { 3 });
        for (at, state) in states.into_iter().enumerate() {
            assert!(matches!(run(None, at + 1).0, Err(RecalibrateError::Stopped)));
            let resumed = run(Some(state), usize::MAX).0.unwrap();
            assert_eq!(whole.layers, resumed.layers);
            assert_eq!(whole.answers, resumed.answers);
        }
    }
}

#[test]
fn a_mix_is_what_the_next_layer_sees() {
    let (file, data) = (network().to_bytes(), Numbers::of(16, &[3, 6, 6], 10));
    let mix = Some(UpdateWeight::of_new(0.25).unwrap());
    let outcome = measure(&file, &data, &Request { mix, ..request(vec![0, 1, 2]) });
    let outputs = run::run(&with(&file, &statistics_of(&outcome)), &input(&data));
    for (layer, seen) in outcome.layers.iter().zip(&outputs[1..]) {
        let seen = plain(seen);
        for channel in 0..4 {
            let mean = 0.75 * layer.old.mean[channel] + 0.25 * seen.mean[channel];
            assert!((layer.new.mean[channel] - mean).abs() < 1e-5);
            let variance = 0.75 * layer.old.variance[channel] + 0.25 * seen.variance[channel];
            assert!((layer.new.variance[channel] / variance - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn chosen_layers_alone_change_and_what_changed_goes_back_to_the_byte() {
    let (file, data) = (network().to_bytes(), Numbers::of(16, &[3, 6, 6], 11));
    let outcome = measure(&file, &data, &request(vec![1]));
    assert_eq!(outcome.layers.len(), 1);
    let new = with(&file, &statistics_of(&outcome));
    assert_ne!(file, new);
    let back = |new: &[u8]| {
        let (edits, norms) = statistics::roll_back(&Model::read(new).unwrap(), new).unwrap();
        let mut back = Vec::new();
        edits.write(new, &mut back).unwrap();
        (back, norms)
    };
    assert!(back(&new) == (file.clone(), 1));
    // Twice over, with other layers too: the statistics of before are those of the first file.
    let again = measure(&new, &data, &request(vec![0, 1, 2]));
    assert!(back(&with(&new, &statistics_of(&again))) == (file.clone(), 3));
    let error = statistics::roll_back(&Model::read(&file).unwrap(), &file).unwrap_err();
    assert!(error.to_string().contains("batchnorm.statistics_before"), "{error}");
}
