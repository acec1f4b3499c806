//! Parsing of the command line of `train` to a plan.

use batchnorm_lab::network::Architecture;
use batchnorm_lab::plan::Plan;
use batchnorm_lab::setting;

use super::options::Arguments;
use crate::failure::Failure;
use crate::flags::{self, WHOLE, list, number};

/// The plan asked for, in range, and the number of threads.
pub fn plan(arguments: &Arguments) -> Result<(Plan, usize), Failure> {
    let mut plan = Plan::of(!arguments.no_batch_norm);
    if let Some(steps) = &arguments.steps {
        plan.steps = number("--steps", steps, WHOLE)?;
    }
    if let Some(rate) = &arguments.learning_rate {
        plan.learning_rate = number("--learning-rate", rate, "a number above 0")?;
    }
    plan.batch_size = number("--batch-size", &arguments.batch_size, WHOLE)?;
    plan.seed = number("--seed", &arguments.seed, "a whole number >= 0")?;
    let hidden = list("--hidden", &arguments.hidden, "whole numbers with commas between, such as 100,50")?;
    plan.architecture = Architecture { hidden, ..plan.architecture };
    plan.check().map_err(flags::failure)?;
    let threads = number("--threads", &arguments.threads, WHOLE)?;
    setting::check_threads(threads).map_err(flags::failure)?;
    Ok((plan, threads))
}
