//! Findings as GitHub's Actions show them: annotations, which are lines on stdout, and a summary in Markdown, which goes into the file that
//! GITHUB_STEP_SUMMARY names (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).

use std::env;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use batchnorm_model::file::Inspection;
use batchnorm_model::health::Severity;

use super::shown;
use crate::failure::Failure;
use crate::text::{self, of_layers};

/// Rows of the summary, at most.
const ROWS: usize = 100;

/// A line for each finding.
pub fn annotations(inspection: &Inspection, path: &Path) -> String {
    let mut lines = String::new();
    for finding in &inspection.findings {
        let level = match finding.severity {
            Severity::Note => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let title = match &finding.layer {
            Some(layer) => format!("{} {}", finding.code, of_layers::cut(layer)),
            None => finding.code.to_string(),
        };
        let message = format!("{}. What to do: {}.", finding.text, shown::mend(finding, path));
        let file = property(&path.to_string_lossy());
        let _ =
            writeln!(lines, "::{level} file={file},title={}::{}", property(&title), escaped(&text::one_line(&message)));
    }
    lines
}

/// Adds a summary to the run's page, where there is one.
pub fn summarise(inspection: &Inspection, path: &Path) -> Result<(), Failure> {
    let Some(page) = env::var_os("GITHUB_STEP_SUMMARY").filter(|page| !page.is_empty()).map(PathBuf::from) else {
        return Ok(());
    };
    let failed = |error: std::io::Error| Failure::output(format!("GITHUB_STEP_SUMMARY, {}: {error}", page.display()));
    let mut file = OpenOptions::new().append(true).create(true).open(&page).map_err(failed)?;
    file.write_all(markdown(inspection, path).as_bytes()).map_err(failed)
}

fn markdown(inspection: &Inspection, path: &Path) -> String {
    let cell = |text: &str| text::one_line(text).replace('\\', r"\\").replace('|', r"\|").replace('<', "&lt;");
    let mut text =
        format!("### {}\n\n{}\n", cell(&shown::head(&inspection.head, path)), cell(&shown::counts(inspection)));
    if !inspection.findings.is_empty() {
        text.push_str("\n| | layer | found | what to do |\n|---|---|---|---|\n");
    }
    for finding in inspection.findings.iter().take(ROWS) {
        let layer = finding.layer.as_deref().map_or_else(String::new, of_layers::short_name);
        let (found, mend) = (cell(&finding.text), cell(&shown::mend(finding, path)));
        let _ = writeln!(text, "| {} {} | {} | {found} | {mend} |", finding.code, finding.severity, cell(&layer));
    }
    if inspection.findings.len() > ROWS {
        let _ = writeln!(text, "\nand {} more", inspection.findings.len() - ROWS);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which commas and colons would end.
fn property(value: &str) -> String {
    escaped(value).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_command_is_escaped() {
        assert_eq!(property("a:b,c%\r\n"), "a%3Ab%2Cc%25%0D%0A");
        assert_eq!(escaped("50 %: a, b"), "50 %25: a, b");
    }
}
