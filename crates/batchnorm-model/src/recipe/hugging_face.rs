//! Hugging Face's `preprocessor_config.json`: its fields are the arguments of the image processors,
//! <https://huggingface.co/docs/transformers/main_classes/image_processor>, whose classes say what a field means to them.

use serde_json::{Map, Value};

use super::description::{Colours, Filter, Layout, Recipe, Resize};
use super::error::{Format, RecipeError};
use super::json::{Fields, length};

/// Fields that the recipe comes from, and those that do nothing to pictures.
const KNOWN: [&str; 27] = [
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "crop_pct",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "do_flip_channel_order",
    "data_format",
    "do_convert_rgb",
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "_valid_processor_keys",
    "auto_map",
    "transformers_version",
    "input_data_format",
    "return_tensors",
    "device",
    "disable_grouping",
    "do_reduce_labels",
    "reduce_labels",
    "default_to_square",
];

/// What follows the name of a model in that of its processor.
const PROCESSOR: [&str; 3] = ["ImageProcessorFast", "ImageProcessor", "FeatureExtractor"];
/// Models to whose processors a plain `size` is the shortest side, and those to which it is a square.
const SHORTEST: [&str; 5] = ["CLIP", "ChineseCLIP", "MobileNetV1", "MobileNetV2", "MobileViT"];
const SQUARE: [&str; 5] = ["ViT", "DeiT", "Beit", "EfficientNet", "Segformer"];
/// Those that do something of their own to a picture.
const OF_THEIR_OWN: [(&str, &str); 3] = [
    ("Levit", "it resizes to 256/224 of `size`"),
    ("PoolFormer", "it resizes by `crop_pct` in its own way"),
    ("Perceiver", "it crops in proportion before it resizes"),
];
/// The share that ConvNext's processor cuts out where nothing else is said.
const CONVNEXT_CROP_PCT: f64 = 224.0 / 256.0;
/// From this size on it cuts nothing off.
const CONVNEXT_WHOLE: usize = 384;

/// Whether an object is of a processor, by its fields.
pub fn is_hugging_face(object: &Map<String, Value>) -> bool {
    let fields =
        ["image_processor_type", "feature_extractor_type", "image_mean", "do_normalize", "do_resize", "do_rescale"];
    fields.iter().any(|field| object.contains_key(*field)) || nested(object).is_some()
}

/// The part of a `processor_config.json` that is about pictures.
fn nested(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    object.get("image_processor").and_then(Value::as_object)
}

/// The recipe of a processor.
pub fn recipe(object: &Map<String, Value>) -> Result<Recipe, RecipeError> {
    let fields = Fields { format: Format::HuggingFace, map: nested(object).unwrap_or(object) };
    let kind = ["image_processor_type", "feature_extractor_type"].iter().find_map(|field| fields.get(field)?.as_str());
    let kind = kind.unwrap_or("");
    let kind = PROCESSOR.iter().find_map(|end| kind.strip_suffix(end)).unwrap_or(kind);
    if let Some((_, why)) = OF_THEIR_OWN.iter().find(|(name, _)| kind == *name) {
        return fields
            .unsupported("image_processor_type", &format!("that of {kind} prepares pictures in its own way: {why}"));
    }
    fields.expect_known(&KNOWN)?;
    let (resize, crop) = match fields.truth("do_resize", true)? {
        false => (None, None),
        true if kind == "ConvNext" => convnext(&fields)?,
        true => {
            if fields.get("crop_pct").is_some() {
                return fields
                    .unsupported("crop_pct", "what it does depends on the processor, which is none of ConvNext");
            }
            (Some(resize(&fields, kind)?), None)
        }
    };
    // (Of processors that cut, each file says so; of those that do not, some say no word of it.)
    let crop = match fields.truth("do_center_crop", fields.get("crop_size").is_some())? {
        false => crop,
        true => {
            let size = fields.expect("crop_size", "height and width of what is cut out")?;
            match sides(size) {
                Some(sides) => Some(sides),
                None => return fields.wrong("crop_size", "a number, or {height, width}", size),
            }
        }
    };
    let scale = match fields.truth("do_rescale", true)? {
        false => 1.0,
        true => match fields.get("rescale_factor") {
            None => Recipe::default().scale,
            Some(factor) => match factor.as_f64() {
                Some(factor) => factor,
                None => return fields.wrong("rescale_factor", "a number", factor),
            },
        },
    };
    let (mean, sd) = match fields.truth("do_normalize", true)? {
        false => (Vec::new(), Vec::new()),
        true => (fields.numbers("image_mean")?, fields.numbers("image_std")?),
    };
    let colours = if fields.truth("do_flip_channel_order", false)? { Colours::Bgr } else { Colours::Rgb };
    let layout = match fields.get("data_format") {
        None => Layout::Nchw,
        Some(Value::String(format)) if matches!(&format[..], "channels_first" | "FIRST") => Layout::Nchw,
        Some(Value::String(format)) if matches!(&format[..], "channels_last" | "LAST") => Layout::Nhwc,
        Some(other) => return fields.wrong("data_format", "channels_first or channels_last", other),
    };
    Ok(Recipe { resize, crop, scale, mean, sd, colours, layout })
}

/// What becomes of the size, but for ConvNext's processor.
fn resize(fields: &Fields, kind: &str) -> Result<Resize, RecipeError> {
    let (size, filter) = (fields.expect("size", "the new size")?, filter(fields)?);
    if let Some(length) = shortest_edge(fields, size)? {
        return Ok(Resize::Shortest { length, filter });
    }
    let Some([height, width]) = sides(size) else {
        return fields.wrong("size", "a number, {shortest_edge} or {height, width}", size);
    };
    let to_square = fields.get("default_to_square").and_then(Value::as_bool);
    match (size.is_object(), to_square) {
        (true, _) | (false, Some(true)) => Ok(Resize::Exact { height, width, filter }),
        (false, Some(false)) => Ok(Resize::Shortest { length: height, filter }),
        (false, None) if SHORTEST.contains(&kind) => Ok(Resize::Shortest { length: height, filter }),
        (false, None) if SQUARE.contains(&kind) => Ok(Resize::Exact { height, width, filter }),
        (false, None) => {
            let expected = "{\"shortest_edge\": N} or {\"height\": N, \"width\": N} (a plain number is the one to some processors and the other to others)";
            fields.wrong("size", expected, size)
        }
    }
}

/// ConvNext's: below 384 to more than the size, of which the middle is cut out; from there on stretched.
fn convnext(fields: &Fields) -> Result<(Option<Resize>, Option<[usize; 2]>), RecipeError> {
    let (size, filter) = (fields.expect("size", "the new size")?, filter(fields)?);
    let length = match shortest_edge(fields, size)? {
        Some(length) => length,
        None => match length(size) {
            Some(length) => length,
            None => return fields.wrong("size", "a number, or {shortest_edge}", size),
        },
    };
    if length >= CONVNEXT_WHOLE {
        return Ok((Some(Resize::Exact { height: length, width: length, filter }), None));
    }
    let share = match fields.get("crop_pct") {
        None => CONVNEXT_CROP_PCT,
        Some(value) => match value.as_f64() {
            Some(share) if share > 0.0 && share <= 1.0 => share,
            _ => return fields.wrong("crop_pct", "a number above 0, up to 1", value),
        },
    };
    let larger = (length as f64 / share) as usize;
    Ok((Some(Resize::Shortest { length: larger, filter }), Some([length, length])))
}

/// The length in `{shortest_edge}`, if it is that.
fn shortest_edge(fields: &Fields, size: &Value) -> Result<Option<usize>, RecipeError> {
    let Some(object) = size.as_object() else { return Ok(None) };
    if object.get("longest_edge").is_some_and(|edge| !edge.is_null()) {
        return fields.unsupported("size.longest_edge", "a limit on the longer side");
    }
    match object.get("shortest_edge").filter(|edge| !edge.is_null()) {
        None => Ok(None),
        Some(edge) => match length(edge) {
            Some(length) => Ok(Some(length)),
            None => fields.wrong("size.shortest_edge", "a whole number above 0", edge),
        },
    }
}

/// Height and width: of an object, or of a number, which is a square.
fn sides(size: &Value) -> Option<[usize; 2]> {
    match size {
        Value::Object(object) => Some([length(object.get("height")?)?, length(object.get("width")?)?]),
        number => length(number).map(|length| [length, length]),
    }
}

/// Pillow's number of a filter.
fn filter(fields: &Fields) -> Result<Filter, RecipeError> {
    let number = fields.expect("resample", "Pillow's number of a filter: 0 (nearest), 2 (bilinear) or 3 (bicubic)")?;
    match number.as_u64() {
        Some(0) => Ok(Filter::Nearest),
        Some(2) => Ok(Filter::PillowBilinear),
        Some(3) => Ok(Filter::PillowBicubic),
        Some(1 | 4 | 5) => fields
            .unsupported("resample", "Pillow's filters 1 (Lanczos), 4 (box) and 5 (Hamming) are not among a recipe's"),
        _ => fields.wrong("resample", "Pillow's number of a filter: 0 (nearest), 2 (bilinear) or 3 (bicubic)", number),
    }
}
