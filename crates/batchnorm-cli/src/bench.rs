//! `batchnorm bench`: how fast the layer is on this machine, for the caller's own shape.

mod measure;
mod step;

use batchnorm::{Activation, Axes, Config, Tier};
use batchnorm_bare_loops::{Contention, InstructionSet, second_thread, threads_a_core};
use clap::ValueEnum;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use half::{bf16, f16};
use serde_json::json;

use crate::failure::Failure;
use crate::terminal::{put, use_threads};
use measure::{Limit, Measured};
use step::Work;

/// Time the layer on this machine, for a shape of your own.
///
/// Training, evaluation and backward pass into buffers that exist already, in rounds that take turns with a read sweep and
/// a copy of an array of that size (the faster of a plain one and one past the caches) over the same threads. Each call runs
/// once untimed before it is timed; short ones are repeated for a millisecond.
///
/// The floor of a pass is what its traffic takes, from the sweep and the copy of the same round: arrays read and written
/// once, but in channels-last arrays the inputs of training and backward twice. Bare loops are the same arithmetic without
/// layers, policies or views, for f32 without fusion and with AVX2 or AVX-512. "Over" is the pass's time as a multiple of
/// either. GB/s counts each array once. Threads run where the system puts them, as in any program; whether they have cores
/// of their own is measured.
///
/// Answers are checked against the plain formula before anything is timed. Figures are worth something on an otherwise
/// idle machine only.
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
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(processors);
    // No more of them than there are processors: of two on one nothing is to be learnt.
    let contention = second_thread(threads.min(processors));
    use_threads(threads)?;
    let measured = match arguments.number {
        Type::F32 => measure::measure::<f32>(&work),
        Type::F64 => measure::measure::<f64>(&work),
        Type::F16 => measure::measure::<f16>(&work),
        Type::Bf16 => measure::measure::<bf16>(&work),
    }?;
    put(&if arguments.json {
        as_json(&arguments, &work, &measured, &contention)
    } else {
        as_table(&arguments, &work, &measured, &contention)
    })
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
    let normalizer = config.normalizer().map_err(|error| Failure::usage(format!("--tier: {error}")))?;
    let residual = arguments.fuse == Fuse::AddRelu;
    let set = match config.tier.unwrap_or(Tier::best()) {
        Tier::Avx512 => Some(InstructionSet::Avx512),
        Tier::Avx2 => Some(InstructionSet::Avx2),
        Tier::Baseline => None,
    };
    Ok(Work { shape, axes, channels: sizes[1], normalizer, activation, residual, rounds: arguments.rounds, set })
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn tier(arguments: &Arguments) -> String {
    format!("{:?}", arguments.tier.map_or_else(Tier::best, Into::into))
}

/// Three digits and more, down to what a cached sweep takes.
fn milliseconds(time: f64) -> String {
    if time < 0.1 { format!("{time:.6}") } else { format!("{time:.3}") }
}

fn as_table(arguments: &Arguments, work: &Work, measured: &Measured, contention: &Contention) -> String {
    let mut table = Table::new();
    let heads = ["pass", "ms", "quartiles", "GB/s", "floor ms", "over floor", "bare loops ms", "over bare"];
    table.load_style(UTF8_FULL_CONDENSED).set_header(heads);
    let both = |limit: &Option<Limit>| match limit {
        Some(limit) => [milliseconds(limit.median), format!("{:.2}", limit.over)],
        None => ["-".to_owned(), "-".to_owned()],
    };
    for pass in &measured.passes {
        let row = [
            milliseconds(pass.median),
            format!("{} to {}", milliseconds(pass.quartiles[0]), milliseconds(pass.quartiles[1])),
            format!("{:.1}", pass.gigabytes_a_second()),
        ];
        let row = row.into_iter().chain(both(&pass.floor)).chain(both(&pass.bare));
        let cells = row.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(pass.name)].into_iter().chain(cells));
    }
    format!(
        "{} {} {}, fused: {}; {} threads, {}; medians of {} rounds\n{table}\n\
         Cores or siblings: the system says {}; measured: {}.\n",
        arguments.shape,
        name(arguments.layout),
        name(arguments.number),
        name(arguments.fuse),
        rayon::current_num_threads(),
        tier(arguments),
        work.rounds,
        threads_a_core().map_or("nothing".to_owned(), |threads| format!("{threads} thread(s) a core")),
        contention.verdict()
    )
}

fn as_json(arguments: &Arguments, work: &Work, measured: &Measured, contention: &Contention) -> String {
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
                "floor_milliseconds": pass.floor.as_ref().map(|floor| floor.median),
                "over_floor": pass.floor.as_ref().map(|floor| floor.over),
                "bare_milliseconds": pass.bare.as_ref().map(|bare| bare.median),
                "over_bare": pass.bare.as_ref().map(|bare| bare.over),
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
        "threads_a_core": threads_a_core(),
        "contention": {
            "threads": contention.threads,
            "ratio": contention.ratio(),
            "verdict": contention.verdict(),
        },
        "passes": passes,
    });
    format!("{summary:#}\n")
}
