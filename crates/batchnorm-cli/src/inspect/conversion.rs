//! Weights with their statistics by another framework's convention.

use std::path::Path;

use batchnorm::Conversion;
use batchnorm_io::atomic;
use batchnorm_model::convert::convert;
use batchnorm_model::file::ModelFile;
use batchnorm_model::kind::Kind;

use super::options::{Arguments, Conventions};
use crate::failure::{Failure, tell};
use crate::terminal::put;
use crate::text;

/// Converts, writes, and says what was done.
pub fn write(arguments: &Arguments, file: &ModelFile, conventions: &Conventions, output: &Path) -> Result<(), Failure> {
    let input = arguments.file.display();
    let weights = match file.kind() {
        Kind::Safetensors | Kind::SafetensorsIndex => file.weights(),
        _ => None,
    };
    let weights = weights.ok_or_else(|| {
        let kind = file.kind().name();
        Failure::input(format!(
            "{input}: --convert: expected weights as safetensors, got {kind}; save them as safetensors"
        ))
    })?;
    atomic::expect_writable(output).map_err(Failure::output)?;
    let Conventions { from, to } = *conventions;
    let weight = arguments.momentum.map(|momentum| from.update_weight(momentum));
    let weight = weight.transpose().map_err(|error| Failure::usage(format!("--momentum: {error}")))?;
    let training = |conversion: Conversion| {
        let conversion = arguments.values.iter().fold(conversion, |conversion, &values| conversion.values(values));
        let conversion = arguments.updates.iter().fold(conversion, |conversion, &updates| conversion.updates(updates));
        let conversion = arguments.epsilon.iter().fold(conversion, |conversion, &epsilon| conversion.epsilon(epsilon));
        weight.iter().fold(conversion, |conversion, &weight| conversion.averaging(weight))
    };
    let converted =
        convert(weights, from, to, training).map_err(|error| Failure::input(format!("{input}: --convert: {error}")))?;
    atomic::write_file(output, |out| converted.write(out)).map_err(Failure::output)?;
    let layers = converted.layers;
    let mut said = format!("{layers} batch norm{} from {from} to {to}.\n", if layers == 1 { "" } else { "s" });
    for (sentence, of) in &converted.notes {
        let which = if *of == layers { String::new() } else { format!(" ({of} of {layers})") };
        said += &format!("- {}{which}\n", text::one_line(sentence));
    }
    put(&said)?;
    tell(format_args!("wrote {}", output.display()));
    Ok(())
}
