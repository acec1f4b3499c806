//! Parsing of the command line of `train` to data and a plan.

mod network;
mod source;

use std::time::Duration;

use batchnorm_lab::averaging::Averaging;
use batchnorm_lab::data::{Augmentation, Data, DataError, FOLDER, Found, Parts, Size};
use batchnorm_lab::network::{Network, NormKind, Recipe};
use batchnorm_lab::optimizer::Rule as OfOptimizer;
use batchnorm_lab::plan::Plan;
use batchnorm_lab::schedule::Course;
use batchnorm_lab::setting;
use batchnorm_lab::training::Order;

use super::options::{Arguments, Mixing, Rule};
use crate::data_set;
use crate::failure::Failure;
use crate::flags::{self, WHOLE, expected, number};
use crate::terminal::use_threads;
use source::Source;

/// Passes over the training set unless flags say otherwise.
const EPOCHS: usize = 12;
/// The learning rate of a network that starts from another one's weights.
const FINE_TUNING: f64 = 0.01;
/// Networks whose mean SWA takes unless flags say otherwise.
const SWA_NETWORKS: usize = 20;
const SHARE: &str = "a share in 0..1";

/// What was asked for, in range.
pub struct Request {
    pub data: Data,
    pub plan: Plan,
    /// The network that the training starts with, where its weights are another one's.
    pub start: Option<Network>,
    pub threads: usize,
    /// Time between saves, where it is said.
    pub save_every: Option<Duration>,
}

/// The data, read far enough to know it, and the plan; on the threads asked for from here on.
pub fn request(arguments: &Arguments) -> Result<Request, Failure> {
    let usual = is_usual(arguments);
    let model = arguments.from.as_deref().map(source::read).transpose()?;
    let source = model.as_ref().map(Source::of_model);
    let recipe = network::recipe(arguments, source.as_ref().map(|source| source.network), usual)?;
    let threads = match &arguments.threads {
        Some(threads) => number("--threads", threads, WHOLE)?,
        None if recipe.convolutions.is_empty() => 1,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    setting::check_threads(threads).map_err(flags::failure)?;
    // Before the first look at the data, which takes them.
    use_threads(threads)?;
    let mut data = data(arguments, usual)?;
    if let Some(source) = &source {
        source.give_scale(&mut data)?;
    }
    let plan = planned(arguments, recipe, source.as_ref(), &data)?;
    let save_every = arguments.save_every.as_deref().map(seconds).transpose()?;
    let start = model.map(|model| plan.start_from(&data.summary, model.network)).transpose().map_err(flags::failure)?;
    Ok(Request { data, plan, start, threads, save_every })
}

/// Tells whether flags ask for more than the training on the digits that is done unless they do.
fn is_usual(arguments: &Arguments) -> bool {
    arguments.data.is_some() || arguments.network.is_some() || arguments.from.is_some()
}

/// Tells whether flags ask for the same data as others, read the same way.
pub fn same_data(one: &Arguments, other: &Arguments) -> bool {
    let asked = |arguments: &Arguments| {
        let Arguments { data, size, validation, test, examples, classes, unscaled, .. } = arguments.clone();
        (data, size, validation, test, examples, classes, unscaled, is_usual(arguments))
    };
    asked(one) == asked(other)
}

/// The data that flags without --from ask for.
pub fn data_of(arguments: &Arguments) -> Result<Data, Failure> {
    data(arguments, is_usual(arguments))
}

/// The plan that flags without --from ask for on such data.
pub fn plan_on(arguments: &Arguments, data: &Data) -> Result<Plan, Failure> {
    planned(arguments, network::recipe(arguments, None, is_usual(arguments))?, None, data)
}

/// The plan that flags ask for on such data, of a network that starts from what another plan comes to; the data are standardised as that one's are.
pub fn plan_from(arguments: &Arguments, source: (&Plan, &Data), data: &mut Data) -> Result<Plan, Failure> {
    let (of_source, its_data) = source;
    let source = Source::of_plan(of_source, &its_data.summary);
    source.give_scale(data)?;
    let plan = planned(arguments, network::recipe(arguments, Some(source.network), true)?, Some(&source), data)?;
    // That its weights fit is known by those that it starts with.
    plan.start_from(&data.summary, of_source.start(&its_data.summary)).map_err(flags::failure)?;
    Ok(plan)
}

/// The plan of a network on data, in range.
fn planned(arguments: &Arguments, recipe: Recipe, source: Option<&Source>, data: &Data) -> Result<Plan, Failure> {
    let usual = is_usual(arguments);
    let batch_size = arguments.batch_size.as_ref().map(|size| number("--batch-size", size, WHOLE)).transpose()?;
    let mut plan = match usual {
        true => Plan::usual(recipe, &data.summary, EPOCHS, batch_size),
        false => {
            let plan = Plan::of(recipe.norm != NormKind::None);
            Plan { network: recipe, batch_size: batch_size.unwrap_or(plan.batch_size), ..plan }
        }
    };
    if let Some(source) = source {
        plan.learning_rate = FINE_TUNING;
        plan.transfer = Some(source.transfer(arguments, &data.summary)?);
    }
    if usual && is_cifar(data) {
        plan.augmentation = Augmentation { flip: true, crop: 4, shift: 0 };
    }
    course(arguments, usual, data, &mut plan)?;
    rules(arguments, &mut plan)?;
    if let Some(changes) = &arguments.augment {
        plan.augmentation = augmentation(changes)?;
    }
    if let Some(every) = &arguments.evaluate_every {
        plan.evaluate_every = Some(number("--evaluate-every", every, WHOLE)?);
    }
    if let Some(patience) = &arguments.patience {
        plan.patience = Some(number("--patience", patience, WHOLE)?);
    }
    if let Some(average) = &arguments.average {
        plan.averaging = Some(averaging(average, plan.steps)?);
    }
    plan.order = match arguments.order {
        Mixing::Mixed => Order::Shuffled,
        Mixing::ByClass => Order::ByClass,
    };
    plan.seed = number("--seed", &arguments.seed, "a whole number >= 0")?;
    plan.check(&data.summary).map_err(flags::failure)?;
    Ok(plan)
}

/// `ema`, `ema:0.99`, `swa` or `swa:1000,100`.
fn averaging(text: &str, steps: usize) -> Result<Averaging, Failure> {
    let what = "ema:DECAY such as ema:0.999, or swa:FROM,EVERY (steps) such as swa:3000,100";
    let (name, numbers) = text.split_once(':').map_or((text, None), |(name, numbers)| (name, Some(numbers)));
    match (name, numbers) {
        ("ema", None) => Ok(Averaging::Exponential { decay: 0.999 }),
        ("ema", Some(decay)) => Ok(Averaging::Exponential { decay: number("--average", decay, what)? }),
        ("swa", None) => {
            let from = (steps - steps / 4).max(1);
            Ok(Averaging::Stochastic { from, every: ((steps - from) / SWA_NETWORKS).max(1) })
        }
        ("swa", Some(numbers)) => match flags::list("--average", numbers, what)?[..] {
            [from, every] => Ok(Averaging::Stochastic { from, every }),
            _ => Err(expected("--average", what, format!("`{text}`"))),
        },
        _ => Err(expected("--average", what, format!("`{text}`"))),
    }
}

fn seconds(text: &str) -> Result<Duration, Failure> {
    let what = "a number of seconds in 0..=86400";
    let seconds: f64 = number("--save-every", text, what)?;
    match (0.0..=86400.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(expected("--save-every", what, text)),
    }
}

fn is_cifar(data: &Data) -> bool {
    data.summary.kind.starts_with("CIFAR")
}

fn data(arguments: &Arguments, usual: bool) -> Result<Data, Failure> {
    let share = |flag: &str, text: &str, most: f64| {
        let share: f64 = number(flag, text, SHARE)?;
        if (0.0..most).contains(&share) {
            Ok(share)
        } else {
            Err(expected(flag, format!("a share in 0..{most}"), text))
        }
    };
    let examples = arguments.examples.as_ref().map(|examples| number("--examples", examples, WHOLE)).transpose()?;
    let parts = Parts {
        test: share("--test", &arguments.test, 1.0)?,
        validation: share("--validation", &arguments.validation, 1.0)?,
        examples,
        classes: arguments.classes.as_deref().map(classes).transpose()?,
    };
    let size = arguments.size.as_deref().map(size).transpose()?.unwrap_or(Size::Own);
    let embedded = std::path::Path::new(data_set::EMBEDDED);
    let (name, found) = data_set::find("--data", arguments.data.as_deref().unwrap_or(embedded), size)?;
    let Found { train, kind, .. } = &found;
    if size != Size::Own && *kind != FOLDER {
        return Err(expected(
            "--size",
            format!("{FOLDER} with it, whose size is not given"),
            format!("{name} ({kind})"),
        ));
    }
    if let Some(examples) = examples
        && !(1..=train.len()).contains(&examples)
    {
        return Err(expected("--examples", format!("a number in 1..={}", train.len()), examples));
    }
    let standardized = usual && !arguments.unscaled;
    let watched = parts.validation > 0.0;
    let data = Data::new(&name, found, parts, standardized).map_err(|error| match error {
        DataError::NoClass { .. } => Failure::usage(format!("--classes: {error}")),
        error => Failure::input(format!("--data: {error}")),
    })?;
    // Of each class a share is taken, which may be none.
    let none = |flag: &str, share: &str| {
        let got = format!("{share}, which is none of any class ({} to train on)", data.train.len());
        Err(expected(flag, "a share that is an example of some class or more", got))
    };
    if data.test.is_empty() {
        return none("--test", &arguments.test);
    }
    if watched && data.validation.is_none() {
        return none("--validation", &arguments.validation);
    }
    Ok(data)
}

/// Classes by name, each once.
fn classes(names: &str) -> Result<Vec<String>, Failure> {
    let mut classes: Vec<String> = Vec::new();
    for name in names.split(',').map(str::trim) {
        if classes.iter().any(|known| known == name) {
            return Err(expected("--classes", "each class once", format!("{name} twice")));
        }
        classes.push(name.to_owned());
    }
    Ok(classes)
}

/// `32` or `32x48`: rows and columns.
fn size(text: &str) -> Result<Size, Failure> {
    let what = "a whole number from 2 to 512, or two with an x between, such as 32x48";
    let one = |text: &str| {
        let length: usize = number("--size", text, what)?;
        if (2..=512).contains(&length) { Ok(length) } else { Err(expected("--size", what, text)) }
    };
    match text.split_once('x') {
        None => one(text).map(|length| Size::Of(length, length)),
        Some((rows, columns)) => Ok(Size::Of(one(rows)?, one(columns)?)),
    }
}

/// `flip,crop=4,shift=2`, or `none`.
fn augmentation(text: &str) -> Result<Augmentation, Failure> {
    let what = "none, or some of flip, crop=N, shift=N with commas between";
    let mut augmentation = Augmentation::default();
    if text == "none" {
        return Ok(augmentation);
    }
    for word in text.split(',').map(str::trim) {
        match word.split_once('=') {
            None if word == "flip" => augmentation.flip = true,
            Some(("crop", pixels)) => augmentation.crop = number("--augment", pixels, WHOLE)?,
            Some(("shift", pixels)) => augmentation.shift = number("--augment", pixels, WHOLE)?,
            _ => return Err(expected("--augment", what, format!("`{word}`"))),
        }
    }
    Ok(augmentation)
}

/// Steps, learning rate and its course.
fn course(arguments: &Arguments, usual: bool, data: &Data, plan: &mut Plan) -> Result<(), Failure> {
    if let Some(steps) = &arguments.steps {
        plan.steps = number("--steps", steps, WHOLE)?;
    }
    if let Some(epochs) = &arguments.epochs {
        let epochs: usize = number("--epochs", epochs, WHOLE)?;
        let epoch = plan.epoch(data.train.len());
        let most = setting::MOST_STEPS / epoch;
        if !(1..=most).contains(&epochs) {
            return Err(expected("--epochs", format!("a number in 1..={most}"), epochs));
        }
        plan.steps = epochs * epoch;
    }
    if let Some(schedule) = &arguments.schedule {
        plan.schedule.course = schedule_course(schedule)?;
    }
    plan.schedule.warm_up = if usual { plan.schedule.course.usual_warm_up(plan.steps) } else { 0 };
    if let Some(steps) = &arguments.warm_up {
        plan.schedule.warm_up = number("--warm-up", steps, WHOLE)?;
    }
    Ok(())
}

fn schedule_course(text: &str) -> Result<Course, Failure> {
    let what = "constant, cosine, or step:EVERY,FACTOR such as step:1000,0.1";
    match text.split_once(':') {
        None if text == "constant" => Ok(Course::Constant),
        None if text == "cosine" => Ok(Course::Cosine),
        Some(("step", numbers)) => {
            let (every, factor) =
                numbers.split_once(',').ok_or_else(|| expected("--schedule", what, format!("`{text}`")))?;
            Ok(Course::Step {
                every: number("--schedule", every.trim(), what)?,
                factor: number("--schedule", factor.trim(), what)?,
            })
        }
        _ => Err(expected("--schedule", what, format!("`{text}`"))),
    }
}

/// The optimiser, L2, clipping, and the rate that goes with them.
fn rules(arguments: &Arguments, plan: &mut Plan) -> Result<(), Failure> {
    let adam = matches!(arguments.optimizer, Some(Rule::Adam | Rule::Adamw));
    if adam && (arguments.momentum.is_some() || arguments.nesterov.is_some()) {
        return Err(Failure::usage("--momentum, --nesterov: expected --optimizer sgd with them; Adam has its own"));
    }
    plan.optimizer = match (arguments.optimizer, plan.optimizer) {
        (Some(Rule::Adam), _) => OfOptimizer::Adam { betas: OfOptimizer::BETAS },
        (Some(Rule::Adamw), _) => OfOptimizer::AdamW { betas: OfOptimizer::BETAS },
        (_, OfOptimizer::Sgd { momentum: usual_momentum, nesterov: usual_nesterov }) => {
            let momentum = match &arguments.momentum {
                Some(momentum) => number("--momentum", momentum, SHARE)?,
                None => usual_momentum,
            };
            let nesterov = arguments.nesterov.unwrap_or(usual_nesterov && momentum > 0.0);
            OfOptimizer::Sgd { momentum, nesterov }
        }
        (_, other) => other,
    };
    if adam {
        plan.learning_rate = 0.001;
    }
    if let Some(rate) = &arguments.learning_rate {
        plan.learning_rate = number("--learning-rate", rate, "a number above 0")?;
    }
    if let Some(penalty) = &arguments.weight_decay {
        plan.weight_decay.penalty = number("--weight-decay", penalty, "a number >= 0")?;
    }
    plan.weight_decay.of_norms |= arguments.decay_norms;
    if let Some(clip) = &arguments.clip {
        plan.clip = Some(number("--clip", clip, "a number above 0")?);
    }
    Ok(())
}
