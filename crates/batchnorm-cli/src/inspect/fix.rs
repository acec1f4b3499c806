//! A model that is mended where there is one right answer, with what was done and what was left.

use std::path::Path;

use batchnorm_io::atomic;
use batchnorm_model::file::{FileError, Inspection, ModelFile, Repaired};
use batchnorm_model::health::Code;
use batchnorm_model::repair::{Change, Left};
use serde_json::{Value, json};

use super::gap::Found;
use super::{json, shown};
use crate::failure::{Failure, tell};
use crate::terminal::put;
use crate::text::{self, of_layers};

/// Mends, writes, and says what was done; what is found in the new file.
pub fn write(
    file: &ModelFile,
    inspection: &Inspection,
    path: &Path,
    output: &Path,
    found: Option<&Found>,
    as_json: bool,
) -> Result<Inspection, Failure> {
    let failed = |error: FileError| {
        let message = format!("{}: --fix: {error}", path.display());
        if matches!(error, FileError::NoGraph(_)) { Failure::Refused(message) } else { Failure::Input(message) }
    };
    atomic::expect_writable(output).map_err(Failure::output)?;
    let repaired = file.repair().map_err(failed)?;
    file.expect_data_beside(output).map_err(failed)?;
    atomic::write_file(output, |out| out.write_all(&repaired.bytes)).map_err(Failure::output)?;
    put(&if as_json {
        of_json(inspection, path, &repaired, output, found)
    } else {
        of_text(inspection, path, &repaired, output) + &found.map_or_else(String::new, |found| found.text(path))
    })?;
    tell(format_args!("wrote {}", output.display()));
    Ok(repaired.after)
}

fn of_text(inspection: &Inspection, path: &Path, repaired: &Repaired, output: &Path) -> String {
    let Repaired { changes, left, after, .. } = repaired;
    let new = text::one_line(&output.display().to_string());
    let mut said = format!("{}\n", shown::head(&inspection.head, path));
    said += &format!("It had {}\n", shown::counts(inspection).to_lowercase());
    said += &match changes.is_empty() {
        true => format!("Nothing in it has one right answer: {new} is a copy.\n"),
        false => format!("{new} has {}\n", shown::counts(after).to_lowercase()),
    };
    said += &of_layers::reasons(
        "Mended",
        changes.iter().map(|change| (&*change.layer, with_code(change.code, &change.text))),
    );
    // (What helps is to be done to the new file.)
    let reason = |left: &Left| {
        let mend = shown::mend_of(left.layer.as_deref(), &left.mend, output);
        with_code(left.code, &format!("{}. What to do: {mend}.", left.reason))
    };
    said + &of_layers::reasons(
        "Left",
        left.iter().map(|left| (left.layer.as_deref().unwrap_or_default(), reason(left))),
    )
}

fn with_code(code: Option<Code>, text: &str) -> String {
    code.map_or_else(|| text.to_owned(), |code| format!("{code} ({}), {text}", code.words()))
}

fn of_json(inspection: &Inspection, path: &Path, repaired: &Repaired, output: &Path, found: Option<&Found>) -> String {
    let code = |code: Option<Code>| code.map(|code| code.to_string());
    let change = |change: &Change| json!({"layer": change.layer, "code": code(change.code), "text": change.text});
    let left = |left: &Left| {
        json!({
            "layer": left.layer,
            "code": code(left.code),
            "reason": left.reason,
            "mend": left.mend.words,
            "command": shown::command_of(left.layer.as_deref(), left.mend.remedy, output),
        })
    };
    let mut object = json::object(inspection, path, found);
    object["output"] = json!(text::path(output));
    object["fixed"] = repaired.changes.iter().map(change).collect();
    object["left"] = repaired.left.iter().map(left).collect();
    object["found_in_output"] =
        repaired.after.findings.iter().map(|finding| json::finding(finding, output)).collect::<Value>();
    text::json(&object)
}
