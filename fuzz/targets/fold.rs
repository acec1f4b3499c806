//! A generated graph, folded: its proof holds, and plain loops in f64 give the same before and after. The input decides the graph.

#![no_main]

#[path = "../../crates/batchnorm-model/tests/support/generated.rs"]
mod generated;
#[path = "../../crates/batchnorm-model/tests/support/run.rs"]
mod run;
#[path = "../../crates/batchnorm-model/tests/support/mod.rs"]
mod support;

use batchnorm_model::fold::fold;
use batchnorm_model::onnx::Model;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|seed: u64| {
    let (made, input) = generated::generated(seed);
    let file = made.to_bytes();
    let model = Model::read(&file).expect("a model that was just written");
    let folding = fold(&model, &file, &|_, _, _| Err(String::from("elsewhere")), false).expect("a proof that holds");
    for norm in &folding.folded {
        assert!(norm.proof.holds && norm.proof.largest_error <= norm.proof.bound, "{norm:?}");
    }
    let mut out = Vec::new();
    folding.write(&file, &mut out).expect("room in memory");
    let difference = generated::difference(&file, &out, &input);
    assert!(difference < 2e-6, "{difference:e} of the largest output");
});
