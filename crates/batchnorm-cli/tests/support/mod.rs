//! What the tests of the commands share: the program, its refusals, and PNG pictures made on the spot.

// Not every test uses all of it.
#![allow(dead_code)]

pub mod sets;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program with these arguments, in a folder of its own.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_batchnorm"));
    command.current_dir(folder).args(arguments);
    command
}

pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the program starts")
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes UTF-8")
}

/// Success; its stdout.
pub fn done(output: &Output) -> &str {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Numbers without a pattern, about some mean.
pub fn noise(len: usize, mean: f64, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..len).map(|_| mean + next() + next() + next() - 1.5).collect()
}

/// Exit code, and one line on stderr that has all of `parts`; nothing on stdout.
pub fn refused(output: &Output, code: i32, parts: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("batchnorm: "), "{message}");
    assert_eq!(text(&output.stdout), "");
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

/// A reader of stdout that leaves before anything comes is no error.
pub fn may_lose_its_reader(mut command: Command) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

/// The JSON that the program prints, its last argument a path that is not UTF-8.
#[cfg(target_os = "linux")]
pub fn json_with_odd_path(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"odd-\xff");
    let output = command(folder, arguments).arg(odd).output().expect("the program starts");
    serde_json::from_str(done(&output)).expect("stdout is JSON")
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let named = [&name[..], content].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&named);
    [&(content.len() as u32).to_be_bytes()[..], &named, &crc.sum().to_be_bytes()].concat()
}

/// A PNG of whole-byte pixels: colour type and depth as PNG numbers them, chunks between header and pixels, and the
/// rows' bytes.
pub fn png(width: usize, depth: u8, colour: u8, between: &[(&[u8; 4], &[u8])], rows: &[Vec<u8>]) -> Vec<u8> {
    let sides = [(width as u32).to_be_bytes(), (rows.len() as u32).to_be_bytes()].concat();
    let header = chunk(b"IHDR", &[&sides[..], &[depth, colour, 0, 0, 0]].concat());
    let between: Vec<u8> = between.iter().flat_map(|(name, content)| chunk(name, content)).collect();
    let raw: Vec<u8> = rows.iter().flat_map(|row| [&[0], &row[..]].concat()).collect();
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&raw).unwrap();
    let data = chunk(b"IDAT", &encoder.finish().unwrap());
    [b"\x89PNG\r\n\x1a\n".to_vec(), header, between, data, chunk(b"IEND", &[])].concat()
}

/// Asserts that docs/json.md has every key of what a command printed.
pub fn expect_documented(value: &serde_json::Value) {
    let documentation = include_str!("../../../../docs/json.md");
    match value {
        serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| {
            assert!(documentation.contains(&format!("`{key}`")), "docs/json.md has no `{key}`");
            expect_documented(value);
        }),
        serde_json::Value::Array(all) => all.iter().take(3).for_each(expect_documented),
        _ => {}
    }
}
