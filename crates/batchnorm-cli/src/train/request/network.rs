//! The network that the command line asks for.

use std::path::Path;

use batchnorm_io::whole;
use batchnorm_lab::network::{ActivationKind, Architecture, Convolving, NAMES, NormKind, Placement, Recipe, Start};

use crate::failure::Failure;
use crate::flags::{WHOLE, expected, list, number};
use crate::train::options::{Activation, Arguments, Norm, Place};

/// Bytes of the largest file of a network.
const MOST_BYTES: u64 = 1 << 20;

/// The recipe: that of the digits unless a network or data are named, or that of the network to start from; with what flags change.
pub fn recipe(arguments: &Arguments, source: Option<&Recipe>, usual: bool) -> Result<Recipe, Failure> {
    let mut recipe = match (source, &arguments.network) {
        (Some(source), _) => source.clone(),
        (None, Some(network)) => named(network)?,
        (None, None) if usual => Recipe::default(),
        (None, None) => Architecture::default().recipe(true),
    };
    if let Some(hidden) = &arguments.hidden {
        recipe.hidden = list("--hidden", hidden, "whole numbers with commas between, such as 100,50")?;
    }
    if let Some(convolutions) = &arguments.convolutions {
        recipe.convolutions = convolutions.split(',').map(convolving).collect::<Result<_, _>>()?;
    }
    if let Some(activation) = arguments.activation {
        recipe.activation = match activation {
            Activation::Sigmoid => ActivationKind::Sigmoid,
            Activation::Tanh => ActivationKind::Tanh,
            Activation::Relu => ActivationKind::Relu,
        };
    }
    if arguments.no_batch_norm {
        recipe.norm = NormKind::None;
    }
    if let Some(norm) = arguments.norm {
        recipe.norm = match norm {
            Norm::None => NormKind::None,
            Norm::Batch => NormKind::Batch,
            Norm::Renorm => NormKind::Renorm,
            Norm::Layer => NormKind::Layer,
            Norm::Group => NormKind::Group,
            Norm::Instance => NormKind::Instance,
            Norm::Rms => NormKind::Rms,
            Norm::Decorrelated => NormKind::Decorrelated,
        };
    }
    match arguments.placement {
        Some(Place::Before) => recipe.placement = Placement::Before,
        Some(Place::After) => recipe.placement = Placement::After,
        None => {}
    }
    if let Some(dropout) = &arguments.dropout {
        recipe.dropout = number("--dropout", dropout, "a share in 0..1")?;
    }
    if let Some(start) = &arguments.start {
        recipe.start = Some(match start.as_str() {
            "he" => Start::He,
            "glorot" => Start::Glorot,
            deviation => Start::Gaussian(number("--start", deviation, "he, glorot or a standard deviation above 0")?),
        });
    }
    if let Some(epsilon) = &arguments.epsilon {
        recipe.epsilon = number("--epsilon", epsilon, "a number >= 0")?;
    }
    if let Some(weight) = &arguments.update_weight {
        recipe.weight_of_new = number("--update-weight", weight, "a weight in 0..=1")?;
    }
    if let Some(groups) = &arguments.groups {
        recipe.groups = number("--groups", groups, WHOLE)?;
    }
    if let Some(ghost) = &arguments.ghost {
        recipe.ghost = Some(number("--ghost", ghost, WHOLE)?);
    }
    if let Some(limits) = &arguments.renorm {
        let [r_max, d_max] = list("--renorm", limits, "two numbers R,D such as 3,5")?[..] else {
            return Err(expected("--renorm", "two numbers R,D such as 3,5", format!("`{limits}`")));
        };
        recipe.renormalization = [r_max, d_max];
    }
    Ok(recipe)
}

/// `32`, `32x7` or `32x7/2`: channels, rows and columns of the kernel, of the pooling.
fn convolving(text: &str) -> Result<Convolving, Failure> {
    let number = |text: &str| {
        number(
            "--convolutions",
            text,
            "channels, with xKERNEL and /POOL where they are other than 3 and none, such as 16,32x5/2",
        )
    };
    let (sizes, pool) = text.trim().split_once('/').map_or((text.trim(), None), |(sizes, pool)| (sizes, Some(pool)));
    let (channels, kernel) = sizes.split_once('x').map_or((sizes, None), |(channels, kernel)| (channels, Some(kernel)));
    Ok(Convolving {
        channels: number(channels)?,
        kernel: kernel.map_or(Ok(3), number)?,
        pool: pool.map_or(Ok(1), number)?,
    })
}

fn named(network: &Path) -> Result<Recipe, Failure> {
    if let Some(recipe) = network.to_str().and_then(Recipe::named) {
        return Ok(recipe);
    }
    if network.extension().is_none_or(|end| end != "toml") {
        let what = format!("{} or a file *.toml", NAMES.join(", "));
        return Err(expected("--network", what, network.display()));
    }
    let named = |reason: String| Failure::input(format!("--network: {}: {reason}", network.display()));
    let bytes = whole::read(network, MOST_BYTES).map_err(|error| named(error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(named(format!("expected a network of at most {MOST_BYTES} bytes, got a larger file")));
    }
    let text = String::from_utf8(bytes).map_err(|_| named(String::from("expected text in UTF-8, got other bytes")))?;
    Recipe::from_toml(&text).map_err(|error| named(error.to_string()))
}
