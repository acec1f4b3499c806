//! Small data sets in every format, made on the spot: two or three classes that a network tells apart in seconds.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::{noise, png};

/// A picture of one channel, 8 x 8, bright in the half or corner that its class says, with noise.
fn picture(class: usize, at: usize) -> Vec<u8> {
    let noise = noise(64, 0.0, 1000 + at as u64);
    let bright = |row: usize, column: usize| match class {
        0 => row < 4,
        1 => column < 4,
        _ => row >= 4 && column >= 4,
    };
    let value = |at: usize| if bright(at / 8, at % 8) { 170.0 } else { 60.0 };
    (0..64).map(|at| (value(at) + 30.0 * noise[at]).clamp(0.0, 255.0) as u8).collect()
}

/// Bytes of an IDX file.
pub fn idx(shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|&length| file.extend((length as u32).to_be_bytes()));
    file.extend(bytes);
    file
}

pub fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Four IDX files of three classes: so many pictures to train on, and 30 to test with.
pub fn write_idx(folder: &Path, train: usize) {
    fs::create_dir_all(folder).unwrap();
    for (part, count, first) in [("train", train, 0), ("t10k", 30, train)] {
        let pictures: Vec<u8> = (0..count).flat_map(|at| picture(at % 3, first + at)).collect();
        let labels: Vec<u8> = (0..count).map(|at| (at % 3) as u8).collect();
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), idx(&[count, 8, 8], &pictures)).unwrap();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte.gz")), packed(&idx(&[count], &labels))).unwrap();
    }
}

/// CIFAR-10's batches, 20 pictures each; each class has a grey of its own.
pub fn write_cifar(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let record = |at: usize| {
        let class = at % 10;
        let noise = noise(3072, 0.0, at as u64);
        let pixels = noise.into_iter().map(|noise| (25.0 * class as f64 + 12.0 + 8.0 * noise).clamp(0.0, 255.0) as u8);
        [class as u8].into_iter().chain(pixels).collect::<Vec<u8>>()
    };
    for batch in 0..6 {
        let name = if batch < 5 { format!("data_batch_{}.bin", batch + 1) } else { String::from("test_batch.bin") };
        let bytes: Vec<u8> = (0..20).flat_map(|at| record(20 * batch + at)).collect();
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Pictures in a folder for each of two classes, 40 each.
pub fn write_pictures(folder: &Path) {
    for (class, name) in ["above", "left"].iter().enumerate() {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        for at in 0..40 {
            let rows: Vec<Vec<u8>> = picture(class, at).chunks(8).map(<[u8]>::to_vec).collect();
            fs::write(folder.join(format!("{at:02}.png")), png(8, 8, 0, &[], &rows)).unwrap();
        }
    }
}

/// A table of three columns and a class, 0 or 1, that the first two decide.
pub fn table() -> String {
    let noise = noise(900, 0.0, 5);
    let row = |at: usize| {
        let [a, b, c] = [noise[3 * at], noise[3 * at + 1], noise[3 * at + 2]];
        format!("{a:.4},{b:.4},{},{}\n", u8::from(a + b > 0.0), 1000.0 + 100.0 * c)
    };
    String::from("length,width,class,weight\n") + &(0..300).map(row).collect::<String>()
}
