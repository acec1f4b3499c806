//! `batchnorm bench`: how fast the layer is on this machine, for the caller's own shape.

mod measure;

use batchnorm::{Activation, Axes, Config, Tier};
use clap::ValueEnum;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use half::{bf16, f16};
use serde_json::json;

use crate::failure::Failure;
use crate::terminal::{put, use_threads};
use measure::{Measured, Work};

/// Time the layer on this machine, for a shape of your own.
///
/// Training, evaluation and backward pass into buffers that exist already, in rounds that take turns with a plain copy
/// of an array of that size over the same threads. Bandwidth counts what must cross memory once: the arrays read and
/// written. Answers are checked against the plain formula before anything is timed. Figures are worth something on an
/// otherwise idle machine only.
#[derive(clap::Args)]
#[command(after_help = crate::failure::EXIT_CODES)]
pub struct Arguments {
    /// Samples, channels, then the axes of space, whatever the layout: 32,64,56,56 or 256,1024.
    #[arg(long, value_name = "N,C,...", default_value = "32,64,56,56")]
    shape: String,
    /// Where the channels stand in memory.
    #[arg(long, value_enum, default_value_t = Layout::Nchw)]
    layout: Layout,
    /// Number type of the arrays; parameters are f32, or f64 for f64.
    #[arg(long = "type", value_enum, default_value_t = Type::F32)]
    number: Type,
    /// What is done in the same pass.
    #[arg(long, value_enum, default_value_t = Fuse::None)]
    fuse: Fuse,
    /// Number of threads, 1 to 1024; absent: all cores.
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,
    /// Instruction set; absent: the best one here.
    #[arg(long, value_enum)]
    tier: Option<crate::apply::TierName>,
    /// Rounds to time, 3 to 10000.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(3..=10_000))]
    rounds: usize,
    /// Print the figures as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// channels before space: PyTorch, Burn
    Nchw,
    /// channels last: TensorFlow, Keras, Flax
    Nhwc,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    F32,
    F64,
    F16,
    Bf16,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fuse {
    /// the layer alone
    None,
    /// max(y, 0)
    Relu,
    /// y, or 0.01 y where it is negative
    LeakyRelu,
    /// max(y + residual, 0)
    AddRelu,
}

/// Times and prints.
///
/// # Errors
/// A shape that is none, or too large for the memory; a tier this machine lacks.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let work = work(&arguments)?;
    if let Some(threads) = arguments.threads {
        use_threads(threads)?;
    }
    let measured = match arguments.number {
        Type::F32 => measure::measure::<f32>(&work),
        Type::F64 => measure::measure::<f64>(&work),
        Type::F16 => measure::measure::<f16>(&work),
        Type::Bf16 => measure::measure::<bf16>(&work),
    }?;
    put(&if arguments.json { as_json(&arguments, &work, &measured) } else { as_table(&arguments, &work, &measured) })
}

/// The work asked for, checked.
fn work(arguments: &Arguments) -> Result<Work, Failure> {
    let expected = "--shape: expected samples, channels and maybe axes of space, such as 32,64,56,56";
    let sizes: Option<Vec<usize>> = arguments.shape.split(',').map(|word| word.trim().parse().ok()).collect();
    let sizes = sizes.filter(|sizes| (2..=8).contains(&sizes.len()) && !sizes.contains(&0));
    let sizes = sizes.ok_or_else(|| Failure::usage(format!("{expected}, got `{}`", arguments.shape)))?;
    if sizes.iter().enumerate().all(|(axis, &size)| axis == 1 || size == 1) {
        return Err(Failure::usage(format!("{expected}, with at least 2 values a channel, got `{}`", arguments.shape)));
    }
    let axes = if arguments.layout == Layout::Nchw { Axes::NCHW } else { Axes::NHWC };
    let mut shape = sizes.clone();
    if arguments.layout == Layout::Nhwc {
        shape[1..].rotate_left(1);
    }
    let activation = match arguments.fuse {
        Fuse::None => Activation::Identity,
        Fuse::Relu | Fuse::AddRelu => Activation::Relu,
        Fuse::LeakyRelu => Activation::LeakyRelu(0.01),
    };
    let mut config = Config::pytorch().activation(activation);
    config.tier = arguments.tier.map(Into::into);
    let rule = config.rule().map_err(|error| Failure::usage(format!("--tier: {error}")))?;
    let residual = arguments.fuse == Fuse::AddRelu;
    Ok(Work { shape, axes, channels: sizes[1], rule, activation, residual, rounds: arguments.rounds })
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn tier(arguments: &Arguments) -> String {
    format!("{:?}", arguments.tier.map_or_else(Tier::best, Into::into))
}

fn as_table(arguments: &Arguments, work: &Work, measured: &Measured) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["pass", "ms", "quartiles", "GB/s", "of a copy's GB/s"]);
    for pass in &measured.passes {
        let row = [
            format!("{:.3}", pass.median),
            format!("{:.3} to {:.3}", pass.quartiles[0], pass.quartiles[1]),
            format!("{:.1}", pass.gigabytes_a_second()),
            format!("{:.0} %", 100.0 * pass.gigabytes_a_second() / measured.copy().gigabytes_a_second()),
        ];
        let cells = row.into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(pass.name)].into_iter().chain(cells));
    }
    format!(
        "{} {} {}, fused: {}; {} threads, {}; medians of {} rounds\n{table}\n",
        arguments.shape,
        name(arguments.layout),
        name(arguments.number),
        name(arguments.fuse),
        rayon::current_num_threads(),
        tier(arguments),
        work.rounds
    )
}

fn as_json(arguments: &Arguments, work: &Work, measured: &Measured) -> String {
    let passes: Vec<_> = measured
        .passes
        .iter()
        .map(|pass| {
            json!({
                "pass": pass.name,
                "milliseconds": pass.median,
                "quartiles": pass.quartiles,
                "bytes": pass.bytes,
                "gigabytes_a_second": pass.gigabytes_a_second(),
                "of_copy": pass.gigabytes_a_second() / measured.copy().gigabytes_a_second(),
            })
        })
        .collect();
    let summary = json!({
        "shape": arguments.shape,
        "layout": name(arguments.layout),
        "type": name(arguments.number),
        "fuse": name(arguments.fuse),
        "threads": rayon::current_num_threads(),
        "tier": tier(arguments),
        "rounds": work.rounds,
        "passes": passes,
    });
    format!("{summary:#}\n")
}
