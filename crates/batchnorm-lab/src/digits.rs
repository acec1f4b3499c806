//! The data set: 8 x 8 images of handwritten digits.

use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use rand::seq::SliceRandom;

use crate::data::{Data, DataSummary, Examples, Found, Parts, Set, Shape};
use crate::random::{Purpose, generator};

/// Pixels of an image: 8 rows of 8.
pub const PIXELS: usize = 64;
/// Classes: the digits 0 to 9.
pub const CLASSES: usize = 10;
/// Images of each class that are set aside for testing.
pub const TEST_PER_CLASS: usize = 36;
/// Images to train on.
pub const TRAINING_IMAGES: usize = 1437;

/// UCI's optical recognition of handwritten digits (Alpaydin and Kaynak 1998, CC BY 4.0); `data/README.md` says
/// where it comes from.
const ARCHIVE: &[u8] = include_bytes!("../data/digits.csv.gz");
/// Pixels are counts of the 4 x 4 dark points beneath them.
const BRIGHTEST: f32 = 16.0;
/// The split belongs to the data set: it is the same whatever the experiment's seeds.
const SPLIT_SEED: u64 = 0;

/// The 1,797 images, split into 1,437 to train on and 360 to test with, 36 of each class.
///
/// The split is drawn once: in each class the places of its images are shuffled by ChaCha8 from seed 0, and the first
/// 36 are for testing. (The file's order would not do: neighbours were often written by one hand.)
#[derive(Debug, Clone, PartialEq)]
pub struct Digits {
    /// The images to train on; all classes mixed, in the file's order.
    pub train: Examples,
    /// The images to test with, never trained on; in the file's order.
    pub test: Examples,
}

impl Digits {
    /// The images embedded in this crate.
    pub fn embedded() -> Digits {
        let mut text = String::new();
        GzDecoder::new(ARCHIVE).read_to_string(&mut text).expect("the embedded archive is whole");
        split(&parse(&text))
    }
}

/// The shape of an image.
pub const SHAPE: Shape = Shape { channels: 1, rows: 8, columns: 8 };

/// What they are called as a data set.
pub(crate) const KIND: &str = "embedded";

/// The images as a data set.
pub fn found() -> Found {
    let Digits { train, test } = Digits::embedded();
    Found {
        kind: KIND,
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        train: Set::in_memory(SHAPE, train),
        test: Some(Set::in_memory(SHAPE, test)),
    }
}

/// The images as a data set in its parts, their values as they are.
pub fn data() -> Data {
    Data::new("digits", found(), Parts::default(), false).expect("they are in memory")
}

/// What is known of them.
pub fn summary() -> &'static DataSummary {
    static SUMMARY: OnceLock<DataSummary> = OnceLock::new();
    SUMMARY.get_or_init(|| data().summary)
}

fn parse(text: &str) -> Examples {
    let mut images = Examples { values: Vec::new(), classes: Vec::new() };
    for line in text.lines() {
        let (pixels, class) = line.rsplit_once(',').expect("a line has 64 pixels and a class");
        let number = |field: &str| field.parse::<u8>().expect("a field is a small number");
        images.values.extend(pixels.split(',').map(|pixel| f32::from(number(pixel)) / BRIGHTEST));
        images.classes.push(number(class));
    }
    images
}

fn split(images: &Examples) -> Digits {
    let mut generator = generator(SPLIT_SEED, Purpose::Split);
    let mut for_testing = vec![false; images.len()];
    for class in 0..CLASSES as u8 {
        let mut places: Vec<usize> = (0..images.len()).filter(|&at| images.classes[at] == class).collect();
        places.shuffle(&mut generator);
        for &at in &places[..TEST_PER_CLASS] {
            for_testing[at] = true;
        }
    }
    let (test, train): (Vec<usize>, Vec<usize>) = (0..images.len()).partition(|&at| for_testing[at]);
    Digits { train: images.select(&train), test: images.select(&test) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_stratified_and_loses_nothing() {
        let digits = Digits::embedded();
        assert_eq!((digits.train.len(), digits.test.len()), (TRAINING_IMAGES, 360));
        let count = |images: &Examples, class| images.classes.iter().filter(|&&other| other == class).count();
        for class in 0..10 {
            assert_eq!(count(&digits.test, class), 36);
        }
        assert_eq!(count(&digits.train, 0), 178 - 36);
        for images in [&digits.train, &digits.test] {
            assert_eq!(images.values.len(), images.len() * PIXELS);
            assert!(images.values.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        }
        assert_eq!(digits, Digits::embedded());
    }

    #[test]
    fn the_first_image_is_the_nought_the_file_begins_with() {
        let mut text = String::new();
        GzDecoder::new(ARCHIVE).read_to_string(&mut text).unwrap();
        let images = parse(&text);
        assert_eq!(images.len(), 1797);
        assert_eq!(images.classes[..5], [0, 1, 2, 3, 4]);
        assert_eq!(images.values[..6], [0.0, 0.0, 5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0, 1.0 / 16.0]);
        assert_eq!(images.select(&[2, 0]).classes, [2, 0]);
    }
}
