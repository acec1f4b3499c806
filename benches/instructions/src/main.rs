//! One call of batch norm, a number of times, on one thread: the program whose instructions `run` has valgrind count.
//!
//! ```text
//! batchnorm-instructions list                    the cases that this processor can run, and the values a call has
//! batchnorm-instructions check                   every case once, compared with the readable twin
//! batchnorm-instructions CASE REPETITIONS        a case, such as train/f32/avx2/nchw
//! ```

mod case;
mod data;

use case::Case;
use std::process::ExitCode;

/// Calls before those that are counted: buffers that are kept between calls have been made, and the allocator has
/// found its way.
const WARM_UP: usize = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let available = || Case::all().into_iter().filter(|case| case.tier.is_supported());
    match arguments[..] {
        ["list"] => available().for_each(|case| println!("{case} {}", case.layout.values())),
        ["check"] => available().for_each(Case::check),
        [name, repetitions] => {
            let case = available().find(|case| case.to_string() == name);
            let (Some(case), Ok(repetitions)) = (case, repetitions.parse::<usize>()) else {
                eprintln!("{name} {repetitions}: expected a case of `list`, and a number of repetitions");
                return ExitCode::from(2);
            };
            case.repeat(WARM_UP + repetitions);
        }
        _ => {
            eprintln!("expected `list`, `check`, or a case and a number of repetitions");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
