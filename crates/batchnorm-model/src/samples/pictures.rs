//! Pictures, which are read when they are asked for and not kept.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use batchnorm_io::picture;

use super::error::SamplesError;
use super::prepare::prepare;
use crate::recipe::{Layout, Recipe};

/// Pictures that come out in one size.
#[derive(Debug, Clone)]
pub struct Pictures {
    pub files: Arc<Vec<PathBuf>>,
    pub recipe: Recipe,
    /// Height and width they come out with.
    size: [usize; 2],
}

impl Pictures {
    /// Looks at all of them, one at least: their sizes, and what a user should be told.
    pub fn open(files: Vec<PathBuf>, recipe: Recipe, notes: &mut Vec<String>) -> Result<Pictures, SamplesError> {
        let (mut first, mut turned, mut transparent) = (None, Vec::new(), Vec::new());
        for path in &files {
            let look = picture::look(path)?;
            let size = recipe.size_of(look.height, look.width);
            let size = size.map_err(|error| SamplesError::Prepare { path: path.clone(), error })?;
            expect_size(path, size, *first.get_or_insert(size), &files[0])?;
            turned.extend(look.turned.then_some(path));
            transparent.extend(look.transparent.then_some(path));
        }
        let said = |paths: &[&PathBuf], what: &str| {
            paths.first().map(|first| format!("{what}: {}, the first is {}", paths.len(), first.display()))
        };
        let of_turned =
            "pictures whose camera noted (EXIF) that they are to be turned were not, as torchvision does not turn them";
        let of_transparent =
            "pictures with transparency were taken without it, as Pillow's convert(\"RGB\") and OpenCV do";
        notes.extend(said(&turned, of_turned));
        notes.extend(said(&transparent, of_transparent));
        let size = first.ok_or_else(|| SamplesError::NoPictures(PathBuf::new()))?;
        Ok(Pictures { files: Arc::new(files), recipe, size })
    }

    /// The same ones with other values.
    pub fn with_values_of(&self, recipe: &Recipe) -> Pictures {
        let Recipe { resize, crop, layout, .. } = self.recipe;
        Pictures { recipe: Recipe { resize, crop, layout, ..recipe.clone() }, ..self.clone() }
    }

    /// The shape of one.
    pub fn shape(&self) -> Vec<usize> {
        let ([height, width], channels) = (self.size, self.recipe.channels());
        match self.recipe.layout {
            Layout::Nchw => vec![channels, height, width],
            Layout::Nhwc => vec![height, width, channels],
        }
    }

    /// Appends some of them.
    pub fn read(&self, places: Range<usize>, into: &mut Vec<f32>) -> Result<(), SamplesError> {
        for path in &self.files[places] {
            let prepared = prepare(picture::read(path)?, &self.recipe, into);
            let size = prepared.map_err(|error| SamplesError::Prepare { path: path.clone(), error })?;
            // (It may be another file by now.)
            expect_size(path, size, self.size, &self.files[0])?;
        }
        Ok(())
    }
}

fn expect_size(path: &Path, got: [usize; 2], expected: [usize; 2], first: &Path) -> Result<(), SamplesError> {
    if got == expected {
        return Ok(());
    }
    let ([height, width], [first_height, first_width]) = (got, expected);
    let (path, first) = (path.to_owned(), first.to_owned());
    Err(SamplesError::Sizes { path, height, width, first, first_height, first_width })
}
