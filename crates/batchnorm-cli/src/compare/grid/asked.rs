//! The grid that is asked for: settings that vary, by seeds.

use batchnorm_lab::data::Data;
use batchnorm_lab::plan::Plan;
use clap::Parser;

use crate::compare::options::Arguments;
use crate::compare::request::seeds;
use crate::failure::Failure;
use crate::flags::{WHOLE, expected, number};
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
    /// The flags by which each of the data sets is opened.
    opened_by: Vec<train::Arguments>,
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
        if !(1..=1024).contains(&workers) {
            return Err(expected("--threads", "a number in 1..=1024", workers));
        }
        let target = match &arguments.target {
            None => None,
            Some(target) => Some(number("--target", target, "a share, such as 0.95")?),
        };
        if let Some(target) = target
            && !(target > 0.0 && target <= 1.0)
        {
            return Err(expected("--target", "a share above 0, at most 1", target));
        }
        let mut grid = Grid {
            arms: arms.iter().map(|(name, _)| name.clone()).collect(),
            cells: Vec::new(),
            target,
            workers,
            base: arguments.base.clone(),
            opened_by: Vec::new(),
            test: usize::MAX,
        };
        let mut opened: Vec<Data> = Vec::new();
        for (name, flags) in &arms {
            let words: Vec<String> = arguments.base.iter().cloned().chain(flags.iter().cloned()).collect();
            let train = parsed(&words)?;
            let data = train::data_of(&train)?;
            let same = opened.iter().position(|known| known.summary == data.summary);
            let place = same.unwrap_or_else(|| {
                opened.push(data);
                grid.opened_by.push(train);
                opened.len() - 1
            });
            let train = parsed(&words)?;
            grid.test = grid.test.min(opened[place].summary.test);
            for &seed in &seeds {
                let plan = train::plan_on(&train, &opened[place])?;
                let plan = Plan { seed, ..plan };
                let settings = serde_json::json!({ "plan": plan, "data": opened[place].summary });
                let key = format!("{:016x}", fingerprint(settings.to_string().as_bytes()));
                grid.cells.push(Asked { arm: name.clone(), data: place, plan, key });
            }
        }
        // Seed by seed, so that an unfinished grid has pairs.
        let order = |asked: &Asked| seeds.iter().position(|&seed| seed == asked.plan.seed);
        grid.cells.sort_by_key(order);
        Ok(grid)
    }

    /// The data sets, for a worker.
    pub fn data(&self) -> Result<Vec<Data>, Failure> {
        self.opened_by.iter().map(train::data_of).collect()
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

/// The FNV-1a hash of bytes.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
