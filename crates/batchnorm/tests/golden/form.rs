//! The form of the recorded values (README.md), for the tests of the core and of the Burn module.
#![allow(dead_code)] // neither uses all of it

use serde::Deserialize;

#[derive(Deserialize)]
struct File<C> {
    cases: Vec<C>,
}

#[derive(Deserialize, Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub source: String,
    pub config: Settings,
    pub initial: Initial,
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
pub struct Settings {
    pub channels: usize,
    pub epsilon: f64,
    pub weight_of_new_value: Option<f64>,
    pub gamma: bool,
    pub beta: bool,
    pub track_running_stats: bool,
}

#[derive(Deserialize)]
pub struct Initial {
    pub gamma: Option<Array>,
    pub beta: Option<Array>,
    pub running_mean: Option<Array>,
    pub running_var: Option<Array>,
    pub batches: Option<u64>,
}

#[derive(Deserialize)]
pub struct Step {
    pub training: bool,
    pub uses_batch_statistics: bool,
    pub x: Array,
    pub dy: Array,
    pub expect: Values,
    pub exact: Option<Values>,
}

#[derive(Deserialize)]
pub struct Values {
    pub y: Array,
    pub dx: Array,
    pub dgamma: Option<Array>,
    pub dbeta: Option<Array>,
    pub running_mean: Option<Array>,
    pub running_var: Option<Array>,
    pub batches: Option<u64>,
    pub batch_mean: Option<Array>,
    pub batch_var: Option<Array>,
}

pub fn load<C: for<'de> Deserialize<'de>>(name: &str) -> Vec<C> {
    let path = format!("{}/../batchnorm/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the golden file is in the repository");
    serde_json::from_str::<File<C>>(&text).expect("the golden file's form").cases
}
