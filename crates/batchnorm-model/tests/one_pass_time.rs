//! How long one pass of recalibration takes beside the engine's plain forward passes. A measurement: on an idle machine,
//! `cargo test --release -p batchnorm-model --test one_pass_time -- --ignored --nocapture`; `BATCHNORM_MODEL` and `BATCHNORM_SHAPE` (such as
//! `3x224x224`) name another model and the shape of one of its samples.
#![cfg(feature = "engine")]
#![allow(missing_docs)]

use std::ops::{ControlFlow, Range};
use std::time::Instant;

use batchnorm::reference::random::Random;
use batchnorm_model::engine::{Array, Engine, Given, Optimiser, Rten, Source, Written, borrowed, given, in_parallel};
use batchnorm_model::onnx::Model;
use batchnorm_model::recalibrate::{Event, Request, recalibrate};

const BATCH: usize = 32;
const BATCHES: usize = 8;
const ROUNDS: usize = 15;

/// Random numbers for the model's one input, the same ones in each batch.
struct Numbers {
    input: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Source for Numbers {
    fn len(&self) -> usize {
        BATCH * BATCHES
    }

    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
        let shape: Vec<usize> = std::iter::once(places.len()).chain(self.shape.iter().copied()).collect();
        let length: usize = self.shape.iter().product();
        let first = places.start % BATCH * length;
        let values = self.values[first..first + places.len() * length].to_vec();
        Ok(vec![(self.input.clone(), Array::floats(shape, values))])
    }
}

#[test]
#[ignore = "a measurement: run alone"]
fn one_pass_beside_plain_forward_passes() {
    let known = std::env::var("HOME").unwrap() + "/.cache/batchnorm/data/models/ch_ppocr_mobile_v2.0_cls_infer.onnx";
    let file = std::fs::read(std::env::var("BATCHNORM_MODEL").unwrap_or(known)).expect("a model (scripts/data models)");
    let shape = std::env::var("BATCHNORM_SHAPE").unwrap_or("3x48x192".into());
    let shape: Vec<usize> = shape.split('x').map(|length| length.parse().unwrap()).collect();
    let model = Model::read(&file).unwrap();
    let written = Written::of(&model, &file, &|_, _, _| Err("none".into())).unwrap();
    let seed = 7;
    let mut random = Random::new(seed);
    println!("random numbers of seed {seed}");
    let values = (0..BATCH * shape.iter().product::<usize>()).map(|_| random.normal() as f32).collect();
    let numbers = Numbers { input: written.inputs[0].name.clone(), shape, values };
    let engine = Rten::load(written.bytes.clone(), Optimiser::Off).unwrap();
    let statistics: Vec<Given> = written.norms.iter().map(|norm| Given::of(&norm.statistics)).collect();
    let outputs: Vec<&str> = written.outputs.iter().map(String::as_str).collect();
    let request = Request {
        layers: (0..written.norms.len()).collect(),
        one_pass: true,
        batch: BATCH,
        mix: None,
        cut: None,
        memory: 1 << 30,
        files: 0,
    };
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut seconds = [Vec::new(), Vec::new()];
        let mut share = 0.0;
        for _ in 0..ROUNDS {
            pool.install(|| {
                let start = Instant::now();
                in_parallel(&engine, (0..BATCHES).collect(), |batch| {
                    let values = numbers.read(batch * BATCH..(batch + 1) * BATCH).unwrap();
                    Ok(engine.run(given(&written, borrowed(&values), &statistics), &outputs)?.len())
                })
                .unwrap();
                seconds[0].push(start.elapsed().as_secs_f64());
                let mut begun = Instant::now();
                let mut pass = f64::NAN;
                let outcome = recalibrate(&engine, &written, &numbers, None, &request, None, &mut |event| {
                    match event {
                        Event::Announced { .. } => begun = Instant::now(),
                        Event::State(_) if pass.is_nan() => pass = begun.elapsed().as_secs_f64(),
                        _ => {}
                    }
                    ControlFlow::Continue(())
                });
                share = outcome.unwrap().engine_share;
                seconds[1].push(pass);
            });
        }
        let median = |mut numbers: Vec<f64>| {
            numbers.sort_by(f64::total_cmp);
            numbers[ROUNDS / 2]
        };
        let ratio = median(seconds[0].iter().zip(&seconds[1]).map(|(plain, pass)| pass / plain).collect());
        let [plain, pass] = seconds.map(median);
        println!(
            "{threads} threads, {} norms, {} samples: plain {plain:.3} s, one pass {pass:.3} s, {:.2} times (the median of {ROUNDS}); the engine's share of all {share:.2}",
            written.norms.len(),
            BATCH * BATCHES,
            ratio
        );
    }
}
