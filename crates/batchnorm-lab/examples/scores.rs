//! The scores that a network of `batchnorm train` gives for an array of examples, before any rounding: what its exports are held against.
//!
//! ```text
//! cargo run --release -p batchnorm-lab --example scores -- MODEL INPUT.npy SCORES.npy [--raw]
//! ```
//!
//! The input is what the network sees, of f32, one example behind another; with `--raw` it is the data's own values, which are standardised first.

use std::error::Error;
use std::path::Path;

use batchnorm_io::npy;
use batchnorm_lab::data::Examples;
use batchnorm_lab::model::Model;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (raw, paths): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| *argument == "--raw");
    let [model, input, output] = paths[..] else {
        return Err("expected MODEL INPUT.npy SCORES.npy [--raw]".into());
    };
    let model = Model::from_bytes(std::fs::read(model)?)?;
    let data = &model.description.data;
    let values = npy::read(Path::new(input))?.numbers.to_f64().into_iter().map(|value| value as f32).collect();
    let mut examples = Examples { values, classes: Vec::new() };
    if !raw.is_empty() {
        data.prepare(&mut examples);
    }
    let scores = model.scores(&examples.values);
    let classes = data.classes.len();
    std::fs::write(output, npy::encode(&[scores.len() / classes, classes], &scores)?)?;
    Ok(())
}
