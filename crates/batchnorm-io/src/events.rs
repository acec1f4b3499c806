//! Event files, as TensorBoard reads them: numbers and histograms by name and step.
//!
//! A file is a sequence of TFRecords (length, its checksum, bytes, their checksum), each of which is an `Event` in protobuf's encoding. Of both,
//! the few parts that are needed are written here: the crates that have them (tensorboard-rs, tfrecord) are not kept any more. The field numbers
//! are those of TensorFlow's `event.proto` and `summary.proto`.

use std::fs::{File, create_dir_all};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bars of a histogram.
const BARS: usize = 30;

/// An event file that is written.
#[derive(Debug)]
pub struct Events {
    file: File,
    path: PathBuf,
}

impl Events {
    /// A new event file in a folder, which is made if it is not there, that goes on behind a step: TensorBoard leaves out what earlier files of the
    /// folder have of later ones.
    ///
    /// # Errors
    /// A folder or file that cannot be made or written.
    pub fn create(folder: &Path, step: u64) -> io::Result<Events> {
        create_dir_all(folder)?;
        // Readers take the files of a folder in the order of their names.
        let (began, process) = (now(), std::process::id());
        let time = format!("{}.{:09}", began.as_secs(), began.subsec_nanos());
        let path = folder.join(format!("events.out.tfevents.{time}.batchnorm.{process}"));
        let file = File::create_new(&path)?;
        let mut events = Events { file, path };
        events.write(0, |event| event.bytes(3, b"brain.Event:2"))?;
        // A session that starts: its status is 1.
        events.write(step + 1, |event| event.message(7, |log| log.varint(1, 1)))?;
        Ok(events)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number at a step.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn scalar(&mut self, step: u64, name: &str, value: f64) -> io::Result<()> {
        self.value(step, name, |summary| summary.float(2, value as f32))
    }

    /// The distribution of numbers at a step, in bars of equal width. Those that are not finite are left out.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn histogram(&mut self, step: u64, name: &str, values: impl IntoIterator<Item = f64>) -> io::Result<()> {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let (least, greatest) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), &value| {
            (least.min(value), greatest.max(value))
        });
        if values.is_empty() {
            return Ok(());
        }
        let (limits, bars) = bars(&values, least, greatest);
        self.value(step, name, |summary| {
            summary.message(5, |histogram| {
                histogram.double(1, least);
                histogram.double(2, greatest);
                histogram.double(3, values.len() as f64);
                histogram.double(4, values.iter().sum());
                histogram.double(5, values.iter().map(|value| value * value).sum());
                histogram.doubles(6, &limits);
                histogram.doubles(7, &bars);
            });
        })
    }

    fn value(&mut self, step: u64, name: &str, of: impl FnOnce(&mut Message)) -> io::Result<()> {
        self.write(step, |event| {
            event.message(5, |summary| {
                summary.message(1, |value| {
                    value.bytes(1, name.as_bytes());
                    of(value);
                });
            });
        })
    }

    fn write(&mut self, step: u64, of: impl FnOnce(&mut Message)) -> io::Result<()> {
        let mut event = Message::default();
        event.double(1, now().as_secs_f64());
        event.varint(2, step);
        of(&mut event);
        // In one piece: a reader may look at any moment.
        self.file.write_all(&record(&event.0))
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Upper ends of bars from the least value to the greatest, and how many values are in each. (TensorBoard asks for one bar more than it
/// shows, below the least.)
fn bars(values: &[f64], least: f64, greatest: f64) -> (Vec<f64>, Vec<f64>) {
    let width = (greatest - least) / BARS as f64;
    if !(width > 0.0 && width.is_finite()) {
        return (vec![least, greatest.max(least + least.abs().max(1.0) * 1e-3)], vec![0.0, values.len() as f64]);
    }
    let mut counts = vec![0.0; BARS + 1];
    for value in values {
        counts[1 + (((value - least) / width) as usize).min(BARS - 1)] += 1.0;
    }
    let limits = (0..=BARS).map(|bar| if bar == BARS { greatest } else { least + width * bar as f64 });
    (limits.collect(), counts)
}

/// A TFRecord.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &masked(&length).to_le_bytes(), bytes, &masked(bytes).to_le_bytes()];
    parts.concat()
}

/// TFRecord's checksum: CRC-32C, turned and shifted, so that a checksum of bytes that hold one is no accident.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A message in protobuf's encoding.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.number(field << 3 | kind);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.number(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn doubles(&mut self, field: u64, values: &[f64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &bytes);
    }

    fn message(&mut self, field: u64, of: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        of(&mut inner);
        self.bytes(field, &inner.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_tensorflow() {
        // RFC 3720, B.4: 32 bytes of zeros; and the mask of it.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
        // The first record of any event file that TensorBoard's own writer begins: 24 bytes, whose length has this checksum.
        assert_eq!(masked(&24u64.to_le_bytes()).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    #[test]
    fn every_value_is_in_one_bar() {
        for values in
            [vec![1.0], vec![-2.0, -2.0], vec![0.0, 1.0, 2.0, 2.0, 1e-9], vec![-1e300, 1e300], vec![5e-324, 0.0]]
        {
            let (least, greatest) =
                (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(f64::MIN, f64::max));
            let (limits, bars) = bars(&values, least, greatest);
            assert_eq!((limits.len(), bars.iter().sum::<f64>()), (bars.len(), values.len() as f64), "{values:?}");
            assert!(limits.windows(2).all(|two| two[0] <= two[1]), "{limits:?}");
        }
    }
}
