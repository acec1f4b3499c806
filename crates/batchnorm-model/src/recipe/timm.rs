//! timm's `config.json`: <https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/_pretrained.py> has its fields, and
//! `timm/data/transforms_factory.py` (`transforms_imagenet_eval`) what they do.

use serde_json::{Map, Value};

use super::description::{Colours, Filter, Recipe, Resize};
use super::error::{Format, RecipeError};
use super::json::{Fields, length};

/// What is taken where a file says no `crop_pct`: timm's default.
const CROP_PCT: f64 = 0.875;

/// Fields that the recipe comes from, and those that do nothing to pictures (or only where somebody asks for the sizes of a test).
const KNOWN: [&str; 41] = [
    "input_size",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "mean",
    "std",
    "fixed_input_size",
    "test_input_size",
    "test_crop_pct",
    "min_input_size",
    "pool_size",
    "test_pool_size",
    "url",
    "file",
    "state_dict",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "architecture",
    "tag",
    "custom_load",
    "num_classes",
    "num_features",
    "label_offset",
    "label_names",
    "label_descriptions",
    "labels",
    "label_name",
    "first_conv",
    "classifier",
    "classifiers",
    "global_pool",
    "model_args",
    "model_name",
    "license",
    "description",
    "origin_url",
    "paper_name",
    "paper_ids",
    "notes",
    "library_name",
];

/// Whether an object is timm's, by its fields.
pub fn is_timm(object: &Map<String, Value>) -> bool {
    object.get("pretrained_cfg").is_some_and(Value::is_object) || object.contains_key("input_size")
}

/// The recipe of an object of timm's.
pub fn recipe(object: &Map<String, Value>) -> Result<Recipe, RecipeError> {
    let map = object.get("pretrained_cfg").and_then(Value::as_object).unwrap_or(object);
    let fields = Fields { format: Format::Timm, map };
    fields.expect_known(&KNOWN)?;
    let size = fields.expect("input_size", "[channels, height, width]")?;
    let lengths: Option<Vec<usize>> =
        size.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(length).collect();
    let Some(&[channels, height, width]) = lengths.as_deref() else {
        return fields.wrong("input_size", "[channels, height, width]", size);
    };
    let colours = match channels {
        1 => Colours::Grey,
        3 => Colours::Rgb,
        _ => return fields.wrong("input_size", "1 or 3 channels in front", size),
    };
    let (mean, sd) = (fields.numbers("mean")?, fields.numbers("std")?);
    let interpolation = fields.expect("interpolation", "bilinear, bicubic or nearest")?;
    let filter = match interpolation.as_str() {
        Some("bilinear") => Filter::PillowBilinear,
        Some("bicubic") => Filter::PillowBicubic,
        Some("nearest") => Filter::Nearest,
        _ => return fields.wrong("interpolation", "bilinear, bicubic or nearest", interpolation),
    };
    let share = match fields.get("crop_pct") {
        None => CROP_PCT,
        Some(value) => match value.as_f64() {
            Some(share) if share > 0.0 && share <= 1.0 => share,
            _ => return fields.wrong("crop_pct", "a number above 0, up to 1", value),
        },
    };
    let mode = fields.map.get("crop_mode").filter(|value| !value.is_null()).unwrap_or(&Value::Null);
    let larger = |length: usize| (length as f64 / share).floor() as usize;
    let (resized_height, resized_width) = (larger(height), larger(width));
    let resize = match mode.as_str() {
        None if !mode.is_null() => return fields.wrong("crop_mode", "center, squash or border", mode),
        None | Some("center") if height == width => Resize::Shortest { length: resized_height, filter },
        None | Some("center") => {
            let why = "`center` with a height and width that differ covers the size in proportion before it is cut, which a recipe cannot say";
            return fields.unsupported("crop_mode", why);
        }
        Some("squash") => Resize::Exact { height: resized_height, width: resized_width, filter },
        Some("border") => {
            let level = |mean: f64| (255.0 * mean).round_ties_even() as u8;
            let colour = std::array::from_fn(|channel| level(*mean.get(channel).unwrap_or(&mean[0])));
            Resize::Letterbox { height: resized_height, width: resized_width, colour, filter }
        }
        Some(_) => return fields.wrong("crop_mode", "center, squash or border", mode),
    };
    let whole = !matches!(resize, Resize::Shortest { .. }) && (resized_height, resized_width) == (height, width);
    let crop = (!whole).then_some([height, width]);
    Ok(Recipe { resize: Some(resize), crop, mean, sd, colours, ..Recipe::default() })
}
