//! Findings, by codes that mean the same for good.

use std::fmt;
use std::str::FromStr;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The layer that it is about; none where it is about the whole file.
    pub layer: Option<String>,
    /// What was found, in a sentence.
    pub text: String,
    /// What to do about it.
    pub mend: Mend,
}

/// What to do about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// In words.
    pub words: String,
    /// What the program itself can do about it.
    pub remedy: Option<Remedy>,
}

/// A command that helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// The layer's channels, one by one, show where it is.
    LookAtChannels,
    /// Folding the layer mends it.
    Fold,
    /// It has one right answer, which can be put into the file ([`repair`](mod@crate::repair)).
    Fix,
    /// Statistics that are measured anew, on data of the user's, mend it.
    Recalibrate,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Likely to be wrong, or to go wrong.
    Warning,
    /// Wrong in use.
    Error,
}

macro_rules! codes {
    ($($name:ident = $number:literal, $severity:ident, $what:literal;)*) => {
        /// What was found. A number means the same for good; new ones are added at the end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $what] $name,)*
        }

        impl Code {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// Its number.
            pub fn number(self) -> u16 {
                match self { $(Code::$name => $number),* }
            }

            /// How bad it is, unless a finding says otherwise.
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity),* }
            }

            /// What it is, in a few words.
            pub fn words(self) -> &'static str {
                match self { $(Code::$name => $what),* }
            }
        }
    };
}

codes! {
    AtTheirStart = 1, Warning, "statistics at their start, mean 0 and variance 1";
    NotFinite = 2, Error, "parameters that are NaN or infinite";
    NegativeVariance = 3, Error, "a negative variance";
    NoVariance = 4, Warning, "a variance of 0";
    BelowEpsilon = 5, Note, "variances far below epsilon";
    DeadChannels = 6, Note, "channels that gamma switches off";
    GammaAlike = 7, Note, "gamma the same in every channel";
    HalfAtItsLimits = 8, Warning, "f16 statistics at the limits of f16";
    LeftInTraining = 9, Error, "left in training mode by the export";
    NeverTracked = 10, Error, "in training mode, without statistics";
    TrainingOfConstants = 11, Note, "in training mode on constants";
    TrainingOfInstances = 12, Note, "in training mode as instance norm";
    MomentumInverted = 13, Note, "a momentum that looks inverted";
    EpsilonDiffers = 14, Note, "another epsilon than other layers";
    SpatialByMistake = 15, Error, "spatial 0 with a number for each channel";
    SharedVectors = 16, Note, "vectors shared with other layers";
    UselessBias = 17, Note, "a bias that the norm takes out again";
    BatchesContradict = 18, Warning, "a count of batches that contradicts the statistics";
    NoBatchNorm = 19, Note, "no batch norm";
    NotReadable = 20, Warning, "parameters that cannot be read";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BN{:03}", self.number())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Severity, String> {
        let all = [Severity::Note, Severity::Warning, Severity::Error];
        let found = all.into_iter().find(|severity| severity.to_string() == text);
        found.ok_or_else(|| format!("expected note, warning or error, got {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_were_given_once() {
        let numbers: Vec<u16> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, (1..=20).collect::<Vec<u16>>());
        assert_eq!((Code::AtTheirStart.to_string(), Code::NotReadable.to_string()), ("BN001".into(), "BN020".into()));
    }
}
