//! The grid that is asked for: settings that vary, by seeds.

use batchnorm_lab::data::Data;
use batchnorm_lab::hash::Fnv;
use batchnorm_lab::plan::Plan;
use batchnorm_lab::setting;
use clap::Parser;

use crate::compare::options::Arguments;
use crate::compare::request::{SHARE, seeds};
use crate::failure::Failure;
use crate::flags::{self, WHOLE, expected, number};
use crate::train;

/// Cells of a grid, at most.
const MOST_CELLS: usize = 100_000;
/// Settings of `train` by shorter names.
const SHORTER: [(&str, &str); 1] = [("lr", "learning-rate")];
/// Flags of `train` that a cell cannot have: its seed is the grid's, and it leaves no file.
const NOT_OF_CELLS: [&str; 14] = [
    "seed",
    "output",
    "restart",
    "json",
    "log",
    "tensorboard",
    "save-every",
    "description",
    "outline",
    "threads",
    "patience",
    "from",
    "average",
    "validation",
];

/// A grid, its data looked at.
pub struct Grid {
    /// The names of the arms, in order; the first is that which the others are measured against.
    pub arms: Vec<String>,
    pub cells: Vec<Asked>,
    pub target: Option<f64>,
    pub workers: usize,
    /// The flags of `train` that all cells have.
    pub base: Vec<String>,
    /// The data sets that cells are trained on.
    pub data: Vec<Data>,
    /// Examples to test with, the fewest of all sets.
    pub test: usize,
}

/// A cell that is asked for.
pub struct Asked {
    pub arm: String,
    /// Place of its data among those of the grid.
    pub data: usize,
    pub plan: Plan,
    /// What tells it from any other cell: all settings of its training, and its data.
    pub key: String,
}

/// Flags of `train`, as a command line of its own.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    train: train::Arguments,
}

impl Grid {
    pub fn asked(arguments: &Arguments) -> Result<Grid, Failure> {
        let seeds = seeds(&arguments.seeds)?;
        let arms = arms(&arguments.vary)?;
        if arms.len().saturating_mul(seeds.len()) > MOST_CELLS {
            let got = arms.len().saturating_mul(seeds.len());
            return Err(expected("--vary", format!("at most {MOST_CELLS} cells"), got));
        }
        let workers = match &arguments.threads {
            Some(threads) => number("--threads", threads, WHOLE)?,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        setting::check_threads(workers).map_err(flags::failure)?;
        let target = arguments.target.as_ref().map(|target| number("--target", target, SHARE)).transpose()?;
        target.map_or(Ok(()), setting::check_target).map_err(flags::failure)?;
        let mut grid = Grid {
            arms: arms.iter().map(|(name, _)| name.clone()).collect(),
            cells: Vec::new(),
            target,
            workers,
            base: arguments.base.clone(),
            data: Vec::new(),
            test: usize::MAX,
        };
        // The flags by which each of the data sets was opened: that reads all of it.
        let mut opened_by: Vec<train::Arguments> = Vec::new();
        for (name, flags) in &arms {
            let words: Vec<String> = arguments.base.iter().cloned().chain(flags.iter().cloned()).collect();
            let train = parsed(&words)?;
            let place = opened_by.iter().position(|known| train::same_data(known, &train)).unwrap_or(opened_by.len());
            if place == grid.data.len() {
                grid.data.push(train::data_of(&train)?);
            }
            let data = &grid.data[place];
            grid.test = grid.test.min(data.summary.test);
            let of_arm = train::plan_on(&train, data)?;
            for &seed in &seeds {
                let plan = Plan { seed, ..of_arm.clone() };
                let settings = serde_json::json!({ "plan": plan, "data": data.summary });
                let mut key = Fnv::default();
                key.take(settings.to_string().as_bytes());
                let key = format!("{:016x}", key.hash());
                grid.cells.push(Asked { arm: name.clone(), data: place, plan, key });
            }
            if place == opened_by.len() {
                opened_by.push(train);
            }
        }
        // Seed by seed, so that an unfinished grid has pairs.
        let order = |asked: &Asked| seeds.iter().position(|&seed| seed == asked.plan.seed);
        grid.cells.sort_by_key(order);
        Ok(grid)
    }

    /// The smallest difference of two accuracies.
    pub fn resolution(&self) -> f64 {
        1.0 / self.test.max(1) as f64
    }
}

/// The arms of `--vary norm=none,batch --vary lr=0.1,1`: each value of each setting with each of the others, by name and flags.
fn arms(vary: &[String]) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let what = "a setting of `train` and its values, such as norm=none,batch (with / between values that have commas)";
    let mut arms: Vec<(String, Vec<String>)> = vec![(String::new(), Vec::new())];
    let mut varied: Vec<String> = Vec::new();
    for one in vary {
        let Some((setting, values)) = one.split_once('=').filter(|(_, values)| !values.is_empty()) else {
            return Err(expected("--vary", what, format!("`{one}`")));
        };
        let setting = SHORTER.iter().find(|(short, _)| *short == setting).map_or(setting, |(_, long)| long);
        refuse_if_not_of_cells("--vary", setting)?;
        if varied.iter().any(|known| known == setting) {
            return Err(expected("--vary", "each setting once", format!("{setting} twice")));
        }
        varied.push(setting.to_owned());
        let values: Vec<&str> = values.split(if values.contains('/') { '/' } else { ',' }).map(str::trim).collect();
        let mut distinct = values.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != values.len() {
            return Err(expected("--vary", "values that differ", format!("`{one}`")));
        }
        let product = arms.iter().flat_map(|(name, flags)| {
            values.iter().map(move |value| {
                let sign = if name.is_empty() { "" } else { ", " };
                let flag = format!("--{setting}={value}");
                (format!("{name}{sign}{setting} {value}"), flags.iter().cloned().chain([flag]).collect())
            })
        });
        arms = product.collect();
    }
    Ok(arms)
}

fn refuse_if_not_of_cells(place: &str, flag: &str) -> Result<(), Failure> {
    match NOT_OF_CELLS.contains(&flag) {
        true => {
            let but = NOT_OF_CELLS.map(|flag| format!("--{flag}")).join(", ");
            Err(expected(place, format!("flags of `train` but {but}"), format!("--{flag}")))
        }
        false => Ok(()),
    }
}

/// Words as flags of `train`; the first line of what is wrong otherwise.
fn parsed(words: &[String]) -> Result<train::Arguments, Failure> {
    for word in words {
        if let Some(flag) = word.strip_prefix("--") {
            refuse_if_not_of_cells("behind --", flag.split('=').next().unwrap_or(flag))?;
        }
    }
    let parsed = Flags::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Failure::usage(format!("flags of `train`: {first} (in `{}`)", words.join(" ")))
    })?;
    Ok(parsed.train)
}
