//! Files that NumPy wrote (tests/golden/make.py): what we read from them, and that we write the same.

use std::path::{Path, PathBuf};

use batchnorm_io::npy::{self, Array, Defect, Number, Numbers, WholeType};
use half::f16;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.npy"))
}

fn read(name: &str) -> Array {
    npy::read(&golden(name)).unwrap()
}

const DOUBLES: [f64; 6] = [0.0, 1.5, -2.0, 0.1, 1e30, -1e-30];

fn singles() -> Vec<f32> {
    DOUBLES.iter().map(|&x| x as f32).collect()
}

/// As in make.py.
const HALF_BITS: [u16; 12] =
    [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0xFE2A, 0x7C01, 0x7FFF];

#[test]
fn every_version_and_byte_order_holds_the_same_array() {
    let f4 = Array { shape: vec![2, 3], fortran_order: false, numbers: Numbers::F32(singles()) };
    for name in ["f4", "f4_big_endian", "f4_version_2", "f4_version_3"] {
        assert_eq!(read(name), f4, "{name}");
    }
    let f8 = Array { numbers: Numbers::F64(DOUBLES.to_vec()), ..f4 };
    for name in ["f8", "f8_big_endian"] {
        assert_eq!(read(name), f8, "{name}");
    }
}

#[test]
fn fortran_order_is_told_and_the_numbers_stay_in_file_order() {
    let array = read("f4_fortran");
    assert!(array.fortran_order);
    assert_eq!(array.shape, [2, 3]);
    let x = singles();
    assert_eq!(array.numbers, Numbers::F32(vec![x[0], x[3], x[1], x[4], x[2], x[5]]));
}

#[test]
fn a_single_number_has_rank_0() {
    let array = read("f4_scalar");
    assert_eq!((array.shape, array.numbers), (vec![], Numbers::F32(vec![2.5])));
}

#[test]
fn an_axis_of_length_0_leaves_no_numbers() {
    let array = read("f4_empty");
    assert_eq!(array.shape, [0, 3]);
    assert!(array.numbers.is_empty());
}

#[test]
fn half_precision_keeps_every_bit() {
    for name in ["f2_bits", "f2_bits_big_endian"] {
        let Numbers::F16(values) = read(name).numbers else { panic!("{name} holds float16") };
        let bits: Vec<u16> = values.iter().map(|x| x.to_bits()).collect();
        assert_eq!(bits, HALF_BITS, "{name}");
    }
}

#[test]
fn half_precision_becomes_double_without_loss() {
    let doubles = read("f2_bits").numbers.to_f64();
    let subnormal = 2f64.powi(-24);
    let expected =
        [0.0, -0.0, subnormal, -1023.0 * subnormal, 1024.0 * subnormal, 65504.0, f64::INFINITY, f64::NEG_INFINITY];
    for (got, want) in doubles.iter().zip(expected) {
        assert_eq!(got.to_bits(), want.to_bits(), "{got} {want}");
    }
    assert!(doubles[expected.len()..].iter().all(|x| x.is_nan()));
}

/// Both ways of writing, against NumPy's file.
fn writes_as_numpy<T: Number>(name: &str, shape: &[usize], values: &[T]) {
    let numpy = std::fs::read(golden(name)).unwrap();
    assert_eq!(npy::encode(shape, values).unwrap(), numpy, "{name}: encode");
    let mut streamed = Vec::new();
    npy::write(&mut streamed, shape, values).unwrap();
    assert_eq!(streamed, numpy, "{name}: write");
}

#[test]
fn the_writer_gives_numpys_bytes() {
    let halves = HALF_BITS.map(f16::from_bits);
    writes_as_numpy("f2_bits", &[12], &halves);
    writes_as_numpy("f4", &[2, 3], &singles());
    writes_as_numpy("f8", &[2, 3], &DOUBLES);
    writes_as_numpy("f4_scalar", &[], &[2.5f32]);
    let twelve: Vec<f32> = (0..12u8).map(f32::from).collect();
    writes_as_numpy("f4_one_axis", &[12], &twelve);
    writes_as_numpy::<f32>("f4_empty", &[0, 3], &[]);
}

/// Where the text needs no padding NumPy pads by 64.
#[test]
fn a_header_that_is_aligned_already_gets_numpys_padding() {
    let shape = read("f4_aligned_header").shape;
    writes_as_numpy::<f32>("f4_aligned_header", &shape, &[]);
}

#[test]
fn other_types_are_refused_with_their_name_and_the_remedy() {
    let cases = [
        ("c8", "'<c8'", "complex"),
        ("object", "'|O'", "never unpickled"),
        ("fields", "('x', '<f4')", "structured"),
        ("text", "'<U2'", "text"),
        ("bytes", "'|S2'", "text"),
        ("dates", "'<M8[s]'", "dates"),
        ("bfloat16", "'|V2'", "bfloat16"),
        ("longdouble", "'<f16'", "long double"),
    ];
    for (name, dtype, meaning) in cases {
        let error = npy::read(&golden(&format!("refused_{name}"))).unwrap_err();
        assert!(matches!(error.defect, Defect::NumberType { .. }), "{name}: {error}");
        let message = error.to_string();
        let file = format!("refused_{name}.npy");
        let remedy =
            "float16, float32, float64, bool and whole numbers of up to 64 bits: in NumPy save `x.astype(np.float32)`";
        for part in [&file, dtype, meaning, remedy] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }
}

#[test]
fn whole_numbers_of_each_size_order_and_sign_are_read() {
    for (name, kind) in [("i4", WholeType::Signed(4)), ("u1", WholeType::Unsigned(1)), ("bool", WholeType::Bool)] {
        assert_eq!(read(&format!("whole_{name}")).numbers, Numbers::Whole(kind, vec![0, 0]), "{name}");
    }
    let file = |descr: &str, data: &[u8]| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let text = format!("{:<117}\n", format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}"));
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(data);
        npy::parse(&bytes)
    };
    for (descr, data, kind, name, values) in [
        ("|b1", &[0, 2][..], WholeType::Bool, "bool", [0, 1]),
        ("|i1", &[0x80, 0x7f], WholeType::Signed(1), "int8", [-128, 127]),
        ("|u1", &[0x80, 0xff], WholeType::Unsigned(1), "uint8", [128, 255]),
        ("<i2", &[0xfe, 0xff, 1, 2], WholeType::Signed(2), "int16", [-2, 513]),
        (">i2", &[0xff, 0xfe, 2, 1], WholeType::Signed(2), "int16", [-2, 513]),
        ("<u4", &[0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0], WholeType::Unsigned(4), "uint32", [4294967295, 256]),
        (
            ">i8",
            &[0x80, 0, 0, 0, 0, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            WholeType::Signed(8),
            "int64",
            [i64::MIN, i64::MAX],
        ),
        (
            "<u8",
            &[1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 0x7f],
            WholeType::Unsigned(8),
            "uint64",
            [1, i64::MAX],
        ),
    ] {
        let numbers = file(descr, data).expect("whole numbers").numbers;
        assert_eq!(numbers, Numbers::Whole(kind, values.to_vec()), "{descr}");
        assert_eq!((numbers.number_type().to_string().as_str(), numbers.len()), (name, 2));
        assert!(!numbers.number_type().is_float());
    }
    let huge = file("<u8", &[[0; 8], [255; 8]].concat()).unwrap_err();
    assert!(matches!(huge.defect, Defect::HugeWhole { at: 1 }), "{huge}");
    let short = file("<i4", &[0; 7]).unwrap_err();
    assert!(matches!(short.defect, Defect::Truncated { .. }), "{short}");
}
