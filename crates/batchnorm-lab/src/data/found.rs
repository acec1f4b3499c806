//! A data set that was found, and what its readers share.

use std::path::Path;

use super::error::DataError;
use super::set::Set;

/// Classes of the set with the most: a label is a byte.
pub const MOST_CLASSES: usize = 256;

/// A data set that was found.
#[derive(Debug)]
pub struct Found {
    /// What it is, in words.
    pub kind: &'static str,
    /// The name of each class.
    pub classes: Vec<String>,
    /// The examples to train on.
    pub train: Set,
    /// Those to test with, where the set comes in two parts.
    pub test: Option<Set>,
}

impl Found {
    /// The examples of these classes, of which the first is class 0 now.
    ///
    /// # Errors
    /// A class that the set has not.
    pub fn of_classes(self, names: &[String]) -> Result<Found, DataError> {
        let place = |name: &String| {
            let place = self.classes.iter().position(|class| class == name);
            place
                .map(|place| place as u8)
                .ok_or_else(|| DataError::NoClass { classes: self.classes.clone(), got: name.clone() })
        };
        let kept: Vec<u8> = names.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Found {
            kind: self.kind,
            classes: names.to_vec(),
            train: self.train.of_classes(&kept),
            test: self.test.map(|test| test.of_classes(&kept)),
        })
    }
}

/// A byte of a picture as a share: 255 is 1.
pub(super) fn byte(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// Number of classes of a set whose labels are all classes.
pub(super) fn most_class(set: &Set) -> usize {
    set.classes().iter().max().map_or(0, |&class| usize::from(class) + 1)
}

/// Errs unless each label up to the highest occurs: one that stands alone far above the others is no class.
pub(super) fn expect_every_class(path: &Path, classes: &[u8]) -> Result<(), DataError> {
    let mut there = [false; MOST_CLASSES];
    classes.iter().for_each(|&class| there[usize::from(class)] = true);
    let highest = classes.iter().copied().max().unwrap_or(0);
    let Some(gap) = there[..usize::from(highest)].iter().position(|there| !there) else { return Ok(()) };
    let example = classes.iter().position(|&class| usize::from(class) > gap).expect("the highest is above the gap");
    Err(DataError::Label {
        path: path.to_path_buf(),
        example,
        expected: format!("classes that each have an example (none has {gap})"),
        got: classes[example].to_string(),
    })
}
