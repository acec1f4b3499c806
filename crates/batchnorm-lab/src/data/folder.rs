//! Pictures in folders: each subfolder is a class.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use batchnorm_io::picture::{self, Picture};

use super::error::DataError;
use super::examples::Shape;
use super::found::{Found, MOST_CLASSES, byte};
use super::set::{Set, Source};

/// A side of the largest pictures that are taken in their own size.
const LARGEST_OWN: usize = 64;
/// Bytes of pictures of a part, decoded and in their final size, that are kept in memory; others are decoded each time.
const MOST_KEPT: usize = 1 << 28;
/// What such a set is called.
pub const FOLDER: &str = "a folder of pictures";
/// Names of the subfolders of a set that comes in two parts.
const TRAIN: &str = "train";
const TEST: [&str; 3] = ["test", "val", "validation"];

/// The entries of a folder, sorted by name.
///
/// # Errors
/// A folder that cannot be read.
pub fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// Those of the entries that are pictures by their names.
pub fn pictures(entries: &[PathBuf]) -> Vec<PathBuf> {
    let ends = |path: &PathBuf, with: &str| path.extension().is_some_and(|end| end.eq_ignore_ascii_case(with));
    let is_picture = |path: &&PathBuf| ["png", "jpg", "jpeg"].iter().any(|with| ends(path, with)) && !path.is_dir();
    entries.iter().filter(is_picture).cloned().collect()
}

/// The numbers that a network sees of a picture: cut to the shape's proportions around its middle, made its size, transparency laid on
/// white; luminance (ITU-R BT.709's weights) where the shape has one channel. Each in 0..=1, in steps of 1/255.
///
/// # Panics
/// If the shape has other than 1 or 3 channels, or no pixel.
pub fn seen(picture: &Picture, shape: Shape) -> Vec<f32> {
    bytes(picture, shape).into_iter().map(byte).collect()
}

fn bytes(picture: &Picture, shape: Shape) -> Vec<u8> {
    let pixels = cut(picture, shape).resized(shape.columns, shape.rows).pixels;
    let rounded = |share: f32| (255.0 * share).round() as u8;
    match shape.channels {
        1 => pixels.iter().map(|pixel| rounded(luminance_on_white(pixel))).collect(),
        3 => (0..3).flat_map(|at| pixels.iter().map(move |pixel| rounded(on_white(share(pixel[at]), pixel)))).collect(),
        other => panic!("a picture in {other} channels"),
    }
}

/// A depth of 16 bits as a share.
fn share(value: u16) -> f32 {
    f32::from(value) / f32::from(u16::MAX)
}

/// A share of light in a pixel, its transparency laid on white.
fn on_white(light: f32, &[.., alpha]: &[u16; 4]) -> f32 {
    let alpha = share(alpha);
    alpha * light + (1.0 - alpha)
}

/// Luminance in 0..=1 (ITU-R BT.709's weights), transparency laid on white.
pub fn luminance_on_white(pixel: &[u16; 4]) -> f32 {
    let [red, green, blue, _] = pixel.map(share);
    on_white(0.2126 * red + 0.7152 * green + 0.0722 * blue, pixel)
}

/// The largest part of a picture around its middle that has the shape's proportions.
fn cut(picture: &Picture, shape: Shape) -> Picture {
    let (width, height) = (picture.width, picture.height);
    let kept_width = width.min((height * shape.columns / shape.rows).max(1));
    let kept_height = height.min((width * shape.rows / shape.columns).max(1));
    if (kept_width, kept_height) == (width, height) {
        return picture.clone();
    }
    let (left, top) = ((width - kept_width) / 2, (height - kept_height) / 2);
    let rows = picture.pixels.chunks_exact(width).skip(top).take(kept_height);
    let pixels = rows.flat_map(|row| &row[left..left + kept_width]).copied().collect();
    Picture { width: kept_width, height: kept_height, pixels }
}

/// The size that pictures get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Their own, if they have one and it is small; otherwise 64 x 64.
    Own,
    /// These rows and columns.
    Of(usize, usize),
    /// That of a network's input, with its channels.
    As(Shape),
}

/// The data set in a folder; none if no subfolder has pictures.
pub fn open(folder: &Path, below: &[PathBuf], size: Size) -> Option<Result<Found, DataError>> {
    let has_pictures = |folder: &Path| {
        let below = entries(folder).unwrap_or_default();
        below.iter().any(|path| path.is_dir() && !pictures(&entries(path).unwrap_or_default()).is_empty())
    };
    let named =
        |names: &[&str]| below.iter().find(|path| names.iter().any(|name| path.ends_with(name)) && has_pictures(path));
    // (A folder called train may be a class, too: one of trains.)
    let parts = match named(&[TRAIN]) {
        Some(train) => (train.as_path(), named(&TEST).map(PathBuf::as_path)),
        None => (folder, None),
    };
    has_pictures(parts.0).then(|| read(parts.0, parts.1, size))
}

fn read(train: &Path, test: Option<&Path>, size: Size) -> Result<Found, DataError> {
    let of_train = classes(train)?;
    let names: Vec<String> = of_train.iter().map(|(name, _)| name.clone()).collect();
    let files_of_train = files(&of_train, &names)?;
    let shape = shape(&files_of_train, size)?;
    let set = |files: Files| {
        let classes = files.iter().map(|(_, class)| *class).collect();
        let kept = vec![None; files.len()];
        Set::new(shape, classes, Pictures { files, shape, kept, room: MOST_KEPT })
    };
    let test = match test {
        None => None,
        Some(test) => {
            let of_test = classes(test)?;
            if let Some((name, _)) = of_test.iter().find(|(name, _)| !names.contains(name)) {
                return Err(DataError::Mismatch {
                    path: test.to_path_buf(),
                    expected: String::from("the classes of the training set alone"),
                    got: format!("a folder {name}"),
                });
            }
            Some(set(files(&of_test, &names)?))
        }
    };
    Ok(Found { kind: FOLDER, classes: names, train: set(files_of_train), test })
}

/// Files with their classes.
type Files = Vec<(PathBuf, u8)>;

/// The classes and their folders: the subfolders, by their number if all are numbers.
fn classes(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let below = entries(folder).map_err(|error| DataError::Place { path: folder.to_path_buf(), error })?;
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folders = below.into_iter().filter(|path| path.is_dir()).map(|path| (name(&path), path));
    let mut classes: Vec<(String, PathBuf)> = folders.filter(|(name, _)| !name.starts_with('.')).collect();
    if classes.iter().all(|(name, _)| name.parse::<u64>().is_ok()) {
        classes.sort_by_key(|(name, _)| name.parse::<u64>().unwrap_or_default());
    }
    let mismatch =
        |expected: String, got: String| Err(DataError::Mismatch { path: folder.to_path_buf(), expected, got });
    // (Names that are not UTF-8 may become the same text.)
    if let Some(at) = (1..classes.len()).find(|&at| classes[..at].iter().any(|(name, _)| *name == classes[at].0)) {
        return mismatch(String::from("folders that differ in their names"), format!("two called {}", classes[at].0));
    }
    match classes.len() {
        2..=MOST_CLASSES => Ok(classes),
        count => mismatch(format!("2 to {MOST_CLASSES} subfolders, one for each class"), count.to_string()),
    }
}

/// The pictures of each class, which is its place among the names.
fn files(classes: &[(String, PathBuf)], names: &[String]) -> Result<Files, DataError> {
    let mut files = Vec::new();
    for (name, path) in classes {
        let below = entries(path).map_err(|error| DataError::Place { path: path.clone(), error })?;
        let pictures = pictures(&below);
        if pictures.is_empty() {
            return Err(DataError::Mismatch {
                path: path.clone(),
                expected: String::from("PNG or JPEG pictures (*.png, *.jpg, *.jpeg) in the folder of each class"),
                got: String::from("none"),
            });
        }
        let class = names.iter().position(|known| known == name).expect("it was looked for") as u8;
        files.extend(pictures.into_iter().map(|path| (path, class)));
    }
    Ok(files)
}

/// The shape that all pictures get: in one channel if all are grey. All are looked at.
fn shape(files: &Files, size: Size) -> Result<Shape, DataError> {
    let (mut grey, mut own) = (true, None);
    let mut one_size = true;
    for (path, _) in files {
        let picture = picture::read(path)?;
        grey &= picture.pixels.iter().all(|&[red, green, blue, _]| red == green && green == blue);
        let here = (picture.height, picture.width);
        one_size &= *own.get_or_insert(here) == here;
    }
    let own = own.filter(|&(rows, columns)| one_size && rows.max(columns) <= LARGEST_OWN);
    let (rows, columns) = match size {
        Size::As(shape) => return Ok(shape),
        Size::Of(rows, columns) => (rows, columns),
        Size::Own => own.unwrap_or((LARGEST_OWN, LARGEST_OWN)),
    };
    Ok(Shape { channels: if grey { 1 } else { 3 }, rows, columns })
}

struct Pictures {
    files: Files,
    shape: Shape,
    /// The pictures that were decoded, while there was room.
    kept: Vec<Option<Box<[u8]>>>,
    /// Bytes that may still be kept.
    room: usize,
}

impl Source for Pictures {
    fn read(&mut self, place: usize, into: &mut Vec<f32>) -> Result<(), DataError> {
        if let Some(kept) = &self.kept[place] {
            into.extend(kept.iter().copied().map(byte));
            return Ok(());
        }
        let bytes = bytes(&picture::read(&self.files[place].0)?, self.shape);
        into.extend(bytes.iter().copied().map(byte));
        if bytes.len() <= self.room {
            self.room -= bytes.len();
            self.kept[place] = Some(bytes.into_boxed_slice());
        }
        Ok(())
    }
}
