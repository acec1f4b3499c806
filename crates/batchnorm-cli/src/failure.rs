//! Failures of commands: one line for people, one exit code for machines.

use std::fmt::Display;
use std::io::Write;

use crate::text;

/// The reason why a command stopped. The exit codes are part of the program's interface: see `--help`.
#[derive(Debug)]
pub enum Failure {
    /// What was checked is wrong, as the output before says, gradients or a model: exit code 1.
    Wrong(String),
    /// An argument's value, or arguments that do not go together: exit code 2, as for unknown flags.
    Usage(String),
    /// A file or array that cannot be what was asked for: exit code 3.
    Input(String),
    /// Right input that a declared policy refuses, or a training that diverges: exit code 4.
    Refused(String),
    /// Results that could not be written: exit code 5.
    Output(String),
    /// Stopped by Ctrl-C: exit code 130.
    #[cfg_attr(not(any(feature = "train", feature = "model")), allow(dead_code))]
    Interrupted(String),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Wrong(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Input(_) => 3,
            Failure::Refused(_) => 4,
            Failure::Output(_) => 5,
            Failure::Interrupted(_) => 130,
        }
    }

    pub fn usage(message: impl Display) -> Failure {
        Failure::Usage(message.to_string())
    }

    pub fn input(message: impl Display) -> Failure {
        Failure::Input(message.to_string())
    }

    pub fn refused(message: impl Display) -> Failure {
        Failure::Refused(message.to_string())
    }

    pub fn output(message: impl Display) -> Failure {
        Failure::Output(message.to_string())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Failure::Wrong(message)
        | Failure::Usage(message)
        | Failure::Input(message)
        | Failure::Refused(message)
        | Failure::Output(message)
        | Failure::Interrupted(message)) = self;
        f.write_str(message)
    }
}

/// Writes one line to stderr. Control characters, as in odd file names, are escaped; a closed stderr is the reader's
/// choice, not a failure of the run.
pub fn tell(message: impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", text::one_line(&message.to_string()));
}

/// The section on exit codes of `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    what was checked is wrong: a gradient (gradcheck), a finding that is denied (inspect --deny)
  2    an argument is wrong, or arguments do not go together
  3    an input file or array is missing, broken or of the wrong shape
  4    a declared policy refuses the input (one value a channel, empty, not finite), or a training diverges
  5    results could not be written; every file is whole, as it was or new
  130  interrupted";
