//! The cells that are asked for: arms by seeds, with their plans and data.

use std::collections::BTreeSet;
use std::path::PathBuf;

use batchnorm_lab::data::Data;
use batchnorm_lab::grid::{Arm, Question, Sweep};
use batchnorm_lab::hash::Fnv;
use batchnorm_lab::look::Look;
use batchnorm_lab::plan::Plan;
use batchnorm_lab::setting;
use batchnorm_lab::words::count;
use clap::Parser;

use super::arms::{self, Varied, refuse_if_not_of_cells, refuse_if_varied};
use crate::compare::options::Arguments;
use crate::compare::preset::{self, Form};
use crate::compare::request::{SHARE, seeds};
use crate::compare::words::{self, Words};
use crate::failure::Failure;
use crate::flags::{self, WHOLE, expected, number};
use crate::train;

/// Cells of a grid, at most.
const MOST_CELLS: usize = 100_000;
/// The seed of trainings that choose a setting: none of a grid's own.
const TUNING_SEED: u64 = 90_001;
/// The share of what is trained on that these are tested on.
const TUNING_SHARE: f64 = 0.1;

/// What is asked for, before any data are opened.
pub struct Grid {
    pub title: String,
    pub text: Option<String>,
    pub folder: PathBuf,
    pub form: Form,
    pub workers: usize,
    seeds: Vec<u64>,
    target: Option<f64>,
    arms: Vec<(Arm, Words)>,
    literature: preset::Literature,
}

/// A cell that is asked for.
pub struct Asked {
    pub arm: String,
    /// Place of its data among those that are open.
    pub data: usize,
    pub plan: Plan,
    pub looks: Vec<Look>,
    /// The plan of the training that it starts from, and the place of its data.
    pub source: Option<(Plan, usize)>,
    /// What tells it from any other cell: all settings of its training, its data, and what is read off it.
    pub key: String,
}

/// The data sets that are open, with the flags by which they were.
#[derive(Default)]
pub struct DataSets {
    pub data: Vec<Data>,
    opened: Vec<Opened>,
}

/// How a data set was opened.
struct Opened {
    by: train::Arguments,
    /// A part of the training set stands for the test set.
    for_tuning: bool,
    /// The hash of what it is tested with.
    test: u64,
}

/// Flags of `train`, as a command line of its own.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    train: train::Arguments,
}

impl Grid {
    /// The grid that flags ask for: a preset, changed by them, or one of their own.
    pub fn asked(arguments: &Arguments) -> Result<Grid, Failure> {
        let own = Form {
            arms: Vec::new(),
            vary: arguments.vary.clone(),
            seeds: arguments.seeds.clone(),
            target: arguments.target.clone(),
            beside: arguments.beside.clone(),
            over: arguments.over.clone(),
            tune: arguments.tune.clone(),
            read: arguments
                .read
                .iter()
                .map(|look| look.parse().map_err(|error| Failure::usage(format!("--read: {error}"))))
                .collect::<Result<_, _>>()?,
            flags: arguments.base.iter().cloned().collect(),
            source: Words::default(),
        };
        for name in own.flags.names() {
            refuse_if_not_of_cells("behind --", name)?;
        }
        let Some(name) = &arguments.preset else {
            if arguments.quick {
                return Err(expected("--quick", "a --preset with it", "a grid of one's own"));
            }
            refuse_if_varied(&own, &own.flags)?;
            let (title, nothing) = (String::from("A grid of settings"), preset::Literature::default());
            return Grid::of(title, None, arguments.output_dir.clone(), own, nothing, arguments);
        };
        let preset = preset::preset(name)?;
        let literature = preset.literature(!arguments.quick && own.changes_nothing());
        let folder = arguments.output_dir.join(if arguments.quick { format!("{name}-quick") } else { name.clone() });
        let form = if arguments.quick { preset.full.changed_by(preset.quick) } else { preset.full };
        refuse_if_varied(&form, &own.flags)?;
        let title = if arguments.quick { format!("{name}, in its quick form") } else { name.clone() };
        // A network's flags are those of the training that starts the others, where there is one.
        let own = match form.source.is_empty() {
            true => own,
            false => {
                let (source, flags) = own.flags.of_source_and_others();
                Form { source, flags, ..own }
            }
        };
        Grid::of(title, Some(preset.question), folder, form.changed_by(own), literature, arguments)
    }

    fn of(
        title: String,
        text: Option<String>,
        folder: PathBuf,
        form: Form,
        literature: preset::Literature,
        arguments: &Arguments,
    ) -> Result<Grid, Failure> {
        let seeds = seeds(form.seeds.as_deref())?;
        let arms = arms::arms(&form)?;
        if arms.len().saturating_mul(seeds.len()) > MOST_CELLS {
            let got = arms.len().saturating_mul(seeds.len());
            return Err(expected("--vary", format!("at most {MOST_CELLS} cells"), got));
        }
        let workers = workers(arguments)?;
        let target = form.target.as_ref().map(|target| number("--target", target, SHARE)).transpose()?;
        target.map_or(Ok(()), setting::check_target).map_err(flags::failure)?;
        Ok(Grid { title, text, folder, form, workers, seeds, target, arms, literature })
    }

    /// The setting that is tuned, and the arms that do not say it.
    pub fn tuned(&self) -> Result<Option<(Varied, Vec<&str>)>, Failure> {
        let Some(tune) = &self.form.tune else { return Ok(None) };
        let varied = Varied::parse("--tune", tune)?;
        let arms = self.arms.iter().filter(|(_, flags)| !flags.has(&varied.setting)).map(|(arm, _)| arm.name.as_str());
        let arms: Vec<&str> = arms.collect();
        match arms.is_empty() {
            true => Err(expected("--tune", "a setting that not every arm says itself", varied.setting)),
            false => Ok(Some((varied, arms))),
        }
    }

    /// The training by which a value of that setting is judged for an arm.
    pub fn tuning(&self, open: &mut DataSets, arm: &str, varied: &Varied, value: &str) -> Result<Asked, Failure> {
        let (_, flags) = self.arms.iter().find(|(known, _)| known.name == arm).expect("it is one of them");
        let words = self.form.flags.changed_by(flags).changed_by(&varied.flag(value));
        self.cell(open, format!("choosing {} {value} for {arm}", varied.setting), &words, TUNING_SEED, true)
    }

    /// The cells, seed by seed, so that an unfinished grid has pairs.
    pub fn cells(&self, open: &mut DataSets, sweeps: &[Sweep]) -> Result<Vec<Asked>, Failure> {
        let mut cells = Vec::new();
        for &seed in &self.seeds {
            for (arm, flags) in &self.arms {
                let sweep = sweeps.iter().find(|sweep| sweep.arm == arm.name);
                let chosen: Words = sweep.iter().map(|sweep| format!("--{}={}", sweep.setting, sweep.chosen)).collect();
                let words = self.form.flags.changed_by(flags).changed_by(&chosen);
                cells.push(self.cell(open, arm.name.clone(), &words, seed, false)?);
            }
        }
        Ok(cells)
    }

    fn cell(&self, open: &mut DataSets, arm: String, words: &Words, seed: u64, tuning: bool) -> Result<Asked, Failure> {
        let (data, plan, source) = match self.form.source.is_empty() {
            true => {
                let flags = parsed(words)?;
                let data = open.place(&flags, tuning)?;
                (data, train::plan_on(&flags, &open.data[data])?, None)
            }
            false => {
                let of_source = parsed(&self.form.source)?;
                let place = open.place(&of_source, false)?;
                let plan = Plan { seed, ..train::plan_on(&of_source, &open.data[place])? };
                // (Its file is the source's training; none is read.)
                let flags = parsed(&words.changed_by(&["--from=source"].into_iter().collect()))?;
                let data = open.place(&flags, tuning)?;
                let [source_data, data_of_arm] = open.data.get_disjoint_mut([place, data]).map_err(|_| {
                    expected("--data", "other data than those of the network that is started from", "the same")
                })?;
                let of_arm = train::plan_from(&flags, (&plan, source_data), data_of_arm)?;
                (data, of_arm, Some((plan, place)))
            }
        };
        let plan = Plan { seed, ..plan };
        let looks = if tuning { Vec::new() } else { self.form.read.clone() };
        let summary = &open.data[data].summary;
        if !summary.input.is_picture()
            && let Some(look) = looks.iter().find(|look| matches!(look, Look::Shifted { .. }))
        {
            return Err(expected(
                "--read",
                format!("looks without shifts of pictures, for the data are {}", summary.input),
                look,
            ));
        }
        let from = source.as_ref().map(|(plan, place)| (plan, &open.data[*place].summary));
        let settings = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "plan": plan,
            "data": summary,
            "test": open.opened[data].test,
            "looks": looks,
            "source": from,
        });
        Ok(Asked { arm, data, plan, looks, source, key: Fnv::of_text(&settings.to_string()) })
    }

    /// What differs between the plans of arms though neither the arms nor flags say so: defaults that go by other settings.
    pub fn unasked(&self, plans: &[(String, Plan)]) -> Vec<String> {
        let said = |setting: &str| {
            let settings = self.form.vary.iter().chain(&self.form.tune).map(|vary| words::setting(vary));
            settings.into_iter().any(|known| words::same_setting(known, setting))
                || self.form.arms.iter().any(|arm| arm.flags.has(setting))
        };
        let of = |setting: &str, value: &dyn Fn(&Plan) -> String| {
            let values: Vec<String> = plans.iter().map(|(arm, plan)| format!("{} ({arm})", value(plan))).collect();
            let differs = plans.iter().any(|(_, plan)| value(plan) != value(&plans[0].1));
            (differs && !said(setting)).then(|| {
                format!(
                    "By their defaults the arms differ in the {setting} too: {}. Say it behind --, or --tune it.",
                    values.join(", ")
                )
            })
        };
        [of("learning-rate", &|plan| plan.learning_rate.to_string()), of("steps", &|plan| plan.steps.to_string())]
            .into_iter()
            .flatten()
            .collect()
    }

    /// What is asked, for the figures.
    pub fn question(&self, open: &DataSets, cells: &[Asked]) -> Question {
        let test = cells.iter().map(|asked| open.data[asked.data].summary.test).min().unwrap_or(1);
        Question {
            title: self.title.clone(),
            text: self.text.clone(),
            claims: self.literature.claims.clone(),
            arms: self.arms.iter().map(|(arm, _)| arm.clone()).collect(),
            seeds: self.seeds.clone(),
            target: self.target,
            resolution: 1.0 / test.max(1) as f64,
            beside: self.form.beside.iter().map(|setting| words::whole(setting).to_owned()).collect(),
            over: self.form.over.as_deref().map(|setting| words::whole(setting).to_owned()),
            published: self.literature.published.clone(),
            before: self.literature.before.clone(),
        }
    }
}

impl DataSets {
    /// The place of the data that flags ask for, which are opened if they are not: that reads all of them.
    fn place(&mut self, flags: &train::Arguments, tuning: bool) -> Result<usize, Failure> {
        let same = |opened: &Opened| opened.for_tuning == tuning && train::same_data(&opened.by, flags);
        if let Some(place) = self.opened.iter().position(same) {
            return Ok(place);
        }
        let data = match tuning {
            true => {
                let whole = self.place(flags, false)?;
                self.data[whole].held_out(TUNING_SHARE)
            }
            false => train::data_of(flags)?,
        };
        let test = data.test_fingerprint().map_err(|error| Failure::input(format!("--data: {error}")))?;
        self.data.push(data);
        self.opened.push(Opened { by: flags.clone(), for_tuning: tuning, test });
        Ok(self.data.len() - 1)
    }

    /// Each in words.
    pub fn words(&self, cells: &[Asked]) -> Vec<String> {
        let places = cells.iter().flat_map(|asked| [Some(asked.data), asked.source.as_ref().map(|(_, place)| *place)]);
        let places: BTreeSet<usize> = places.flatten().collect();
        let words = |place: usize| {
            let data = &self.data[place].summary;
            let train = count(data.train, "example");
            format!("{} ({}, {}): {train} to train on, {} to test with", data.name, data.kind, data.input, data.test)
        };
        places.into_iter().map(words).collect()
    }
}

/// Cells at a time.
pub fn workers(arguments: &Arguments) -> Result<usize, Failure> {
    let workers = match &arguments.threads {
        Some(threads) => number("--threads", threads, WHOLE)?,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    setting::check_threads(workers).map_err(flags::failure)?;
    Ok(workers)
}

/// Words as flags of `train`; the first line of what is wrong otherwise.
fn parsed(words: &Words) -> Result<train::Arguments, Failure> {
    let parsed = Flags::try_parse_from(words.to_vec()).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Failure::usage(format!("flags of `train`: {first} (in `{words}`)"))
    })?;
    Ok(parsed.train)
}
