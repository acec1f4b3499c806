//! A compare.json as its page again, or as the picture of the README; to stdout.
//!
//! `cargo run --release -p batchnorm-lab --example render -- batchnorm-compare/compare.json > report.html`
//! `cargo run --release -p batchnorm-lab --example render -- batchnorm-compare/compare.json picture > compare.svg`
//!
//! Or logs of `train --log` as one picture, each with the name of its line:
//!
//! `cargo run --release -p batchnorm-lab --example render -- logs ResNet-8=resnet8.jsonl "course's network=course.jsonl" > docs/cifar10.svg`

use batchnorm_lab::comparison::Comparison;
use batchnorm_lab::report;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("the path of a compare.json, or `logs`");
    if path == "logs" {
        let trainings: Vec<(String, String)> = arguments
            .map(|argument| {
                let (name, path) = argument.split_once('=').expect("NAME=PATH");
                (name.to_owned(), std::fs::read_to_string(path).expect("a file that can be read"))
            })
            .collect();
        return print!("{}", report::picture_of_logs(&trainings));
    }
    let text = std::fs::read_to_string(&path).expect("a file that can be read");
    let comparison: Comparison = serde_json::from_str(&text).expect("a comparison of this version's format");
    match arguments.next().as_deref() {
        None => print!("{}", report::html(&comparison)),
        Some("picture") => print!("{}", report::picture(&comparison)),
        Some(other) => panic!("expected nothing or `picture`, got `{other}`"),
    }
}
