//! `batchnorm explain` as a person calls it: each output against the library, each refusal.

mod agrees_with_the_layer;
#[path = "../support/arrays.rs"]
mod arrays;
mod outputs;
mod refusals;
mod shows_every_step;
#[path = "../support/mod.rs"]
mod support;

use arrays::Folder;
use serde_json::Value;
use std::process::Output;
use support::{done, expect_documented};

fn explain(folder: &Folder, arguments: &[&str]) -> Output {
    support::run(folder.0.path(), &[&["explain"], arguments].concat())
}

fn json(folder: &Folder, arguments: &[&str]) -> Value {
    let output = explain(folder, &[arguments, &["--json"]].concat());
    let json = serde_json::from_str(done(&output)).expect("stdout is JSON");
    expect_documented(&json);
    json
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn node<'j>(json: &'j Value, name: &str) -> &'j Value {
    json["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

fn values(json: &Value, name: &str) -> Vec<f64> {
    numbers(&node(json, name)["values"])
}

fn gradient(json: &Value, name: &str) -> Vec<f64> {
    numbers(&node(json, name)["gradient"])
}
