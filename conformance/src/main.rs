//! The runner: our layer through all cases.
//!
//! ```sh
//! cargo run --release -p batchnorm-conformance                # counts by level, and what failed
//! cargo run --release -p batchnorm-conformance -- --verbose   # every case
//! cargo run --release -p batchnorm-conformance -- generate    # writes index.json and cases/ again
//! ```

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use batchnorm_conformance::judge::{Outcome, Verdict, judge};
use batchnorm_conformance::{catalogue, ours::Ours, report, store};
use clap::{Parser, Subcommand};

/// Runs batchnorm's layer through the conformance cases. Exit code 0: all passed; 1: a case failed or was skipped;
/// 2: the cases can not be read or written.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// A line for every case, not only for those that failed.
    #[arg(long, short)]
    verbose: bool,
    /// The verdicts as JSON.
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
    /// Only cases whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The folder with index.json and cases/.
    #[arg(long, value_name = "FOLDER", default_value_os_t = store::folder().to_path_buf())]
    cases: PathBuf,
    /// Leaves what the layer computed in a folder, an .npz file for each case, for `run.py FOLDER` to judge.
    #[arg(long, value_name = "FOLDER")]
    outputs: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Writes index.json and cases/ from the catalogue: the same bytes every time.
    Generate {
        /// Into this folder.
        #[arg(long, value_name = "FOLDER", default_value_os_t = store::folder().to_path_buf())]
        to: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Generate { to }) => generate(to),
        None => run(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("batchnorm-conformance: {error}");
        ExitCode::from(2)
    })
}

fn generate(to: &std::path::Path) -> Result<ExitCode, String> {
    let cases = catalogue::all();
    store::write(to, &cases).map_err(|error| format!("{}: {error}", to.display()))?;
    put(&format!("{} cases written to {}", cases.len(), to.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let text = arguments.only.as_deref().unwrap_or_default();
    let cases = store::read_named(&arguments.cases, |name| name.contains(text)).map_err(|error| error.to_string())?;
    if cases.is_empty() {
        return Err(format!("--only {text}: no case's name contains it; `--verbose` lists all"));
    }
    if let Some(folder) = &arguments.outputs {
        let written = cases.iter().try_for_each(|case| store::write_answers(folder, case, &Ours));
        written.map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let verdicts: Vec<Verdict> = cases.iter().map(|case| judge(case, &Ours)).collect();
    let green = verdicts.iter().all(|verdict| verdict.outcome == Outcome::Passed);
    if arguments.json {
        put(&report::json(&verdicts))?;
    } else {
        let shown: Vec<&Verdict> =
            verdicts.iter().filter(|verdict| arguments.verbose || verdict.outcome != Outcome::Passed).collect();
        if !shown.is_empty() {
            put(&report::details(shown))?;
        }
        put(&report::summary(&verdicts))?;
    }
    Ok(if green { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line to standard output. That nobody reads on, as behind `| head`, is no error.
fn put(text: &str) -> Result<(), String> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}
