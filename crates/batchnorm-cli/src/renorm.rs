//! The limits of batch renormalization as words behind a flag, for all commands that take them.

use batchnorm::Renormalization;

/// `--renorm 3,5`: the limits of r and d.
pub fn renormalization(text: &str) -> Result<Renormalization, String> {
    let malformed = || format!("--renorm: expected two numbers R,D, the limits of r and d, such as 3,5, got `{text}`");
    let (r_max, d_max) = text.split_once(',').ok_or_else(malformed)?;
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| malformed());
    Renormalization::new(number(r_max)?, number(d_max)?).map_err(|error| format!("--renorm: {error}"))
}
