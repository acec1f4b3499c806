//! Pictures in other sizes beside those of Pillow and OpenCV (`golden/resized/make.py`).

#![allow(missing_docs)]

use std::path::Path;

use batchnorm_io::npz::Npz;
use batchnorm_io::picture::{Filter, Picture};

const FILTERS: [(Filter, &str); 4] = [
    (Filter::PillowBilinear, "pillow-bilinear"),
    (Filter::PillowBicubic, "pillow-bicubic"),
    (Filter::OpencvLinear, "opencv-linear"),
    (Filter::Nearest, "nearest"),
];

#[test]
fn other_sizes_are_theirs_to_one_level() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resized/resized.npz");
    let archive = Npz::open(&path).unwrap();
    for picture in ["smooth", "noise", "edges"] {
        let source = archive.array(picture).unwrap();
        let values = source.numbers.to_f64();
        let pixels = values.as_chunks().0.iter().map(|&[r, g, b]| {
            let wide = |value: f64| value as u16 * 257;
            [wide(r), wide(g), wide(b), u16::MAX]
        });
        let picture_of = Picture { width: source.shape[1], height: source.shape[0], pixels: pixels.collect() };
        for (filter, name) in FILTERS {
            for (width, height) in [(11, 8), (29, 7), (61, 40), (33, 12)] {
                let expected = archive.array(&format!("{picture}.{name}.{width}x{height}")).unwrap().numbers.to_f64();
                let resized = picture_of.resized_by(width, height, filter);
                assert!(resized.pixels.iter().all(|pixel| pixel[3] == u16::MAX));
                let levels = resized.pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]);
                let levels: Vec<f64> = levels.map(|value| (f64::from(value) / 257.0).round()).collect();
                assert_eq!(levels.len(), expected.len());
                let off: Vec<f64> = levels.iter().zip(&expected).map(|(one, other)| (one - other).abs()).collect();
                let worst = off.iter().copied().fold(0.0, f64::max);
                let share = off.iter().filter(|&&off| off > 0.0).count() as f64 / off.len() as f64;
                println!("{picture} {name} {width}x{height}: at most {worst}, {:.1} % of the values", 100.0 * share);
                assert!(
                    worst <= if filter == Filter::Nearest { 0.0 } else { 1.0 },
                    "{picture} {name} {width}x{height}"
                );
            }
        }
    }
}
