//! The flag that says which engine runs a model.

use std::str::FromStr;

use batchnorm_model::engine::EngineChoice;

/// Which engine runs the model.
#[derive(clap::Args, Clone, Default)]
pub struct Engine {
    /// What runs the model: rten, or onnxruntime:PATH with the path of libonnxruntime.so (of a program with the feature `ort`), for
    /// operators that rten lacks.
    #[arg(long = "engine", value_name = "rten|onnxruntime:PATH", default_value = "rten")]
    choice: Choice,
}

#[derive(Debug, Clone, Default)]
struct Choice(EngineChoice);

impl Engine {
    pub fn choice(&self) -> EngineChoice {
        self.choice.0.clone()
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        match text.split_once(':') {
            None if text == "rten" => Ok(Choice(EngineChoice::Rten)),
            Some(("onnxruntime", path)) if !path.is_empty() => match EngineChoice::HAS_ONNXRUNTIME {
                true => Ok(Choice(EngineChoice::OnnxRuntime(path.into()))),
                false => Err(String::from(
                    "this program was built without onnxruntime; build it with the feature `ort`: cargo build --release -p batchnorm-cli --features ort",
                )),
            },
            _ => Err(format!(
                "expected rten, or onnxruntime:PATH with the path of libonnxruntime.so (in Python's package onnxruntime: capi/libonnxruntime.so.VERSION), got {text:?}"
            )),
        }
    }
}
