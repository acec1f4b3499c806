//! A folder of .npy files, in which `batchnorm apply` runs.

#![allow(dead_code)] // every test file uses a part

use batchnorm_io::npy::{self, Number};
use std::path::PathBuf;
use std::process::{Command, Output};

pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn save<T: Number>(&self, name: &str, shape: &[usize], values: &[T]) -> PathBuf {
        self.bytes(name, &npy::encode(shape, values).expect("a right array"))
    }

    pub fn bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a writable folder");
        path
    }

    pub fn apply(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_batchnorm"))
            .arg("apply")
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("the program runs")
    }

    /// Runs and must succeed.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.apply(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    pub fn numbers(&self, name: &str) -> Vec<f64> {
        npy::read(&self.path(name)).unwrap_or_else(|error| panic!("{error}")).numbers.to_f64()
    }

    pub fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path(folder))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }
}
