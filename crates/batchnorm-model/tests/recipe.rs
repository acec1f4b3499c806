//! Recipes from every format, back, and what is refused.
#![allow(missing_docs)]

use batchnorm_model::recipe::{BORDER, Colours, Filter, Layout, Recipe, RecipeError, Resize};
use proptest::prelude::*;

const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const SD: [f64; 3] = [0.229, 0.224, 0.225];

/// As `timm/resnet18.a1_in1k` has it on the hub (<https://huggingface.co/timm/resnet18.a1_in1k/blob/main/config.json>).
const TIMM: &str = r#"{
  "architecture": "resnet18", "num_classes": 1000, "num_features": 512,
  "pretrained_cfg": {
    "tag": "a1_in1k", "custom_load": false, "input_size": [3, 224, 224], "test_input_size": [3, 288, 288],
    "fixed_input_size": false, "interpolation": "bicubic", "crop_pct": 0.95, "test_crop_pct": 1.0, "crop_mode": "center",
    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "num_classes": 1000, "pool_size": [7, 7],
    "first_conv": "conv1", "classifier": "fc", "origin_url": "https://github.com/huggingface/pytorch-image-models",
    "paper_ids": "arXiv:2110.00476"
  }
}"#;

/// As `microsoft/resnet-50` has it (<https://huggingface.co/microsoft/resnet-50/blob/main/preprocessor_config.json>).
const RESNET: &str = r#"{
  "crop_pct": 0.875, "do_normalize": true, "do_resize": true, "feature_extractor_type": "ConvNextFeatureExtractor",
  "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": 224
}"#;

/// As `google/mobilenet_v2_1.0_224` has it (<https://huggingface.co/google/mobilenet_v2_1.0_224>).
const MOBILENET: &str = r#"{
  "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_normalize": true, "do_rescale": true,
  "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "MobileNetV2ImageProcessor",
  "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 256}
}"#;

fn imagenet(resize: Resize, crop: Option<[usize; 2]>) -> Recipe {
    Recipe { resize: Some(resize), crop, mean: MEAN.to_vec(), sd: SD.to_vec(), ..Recipe::default() }
}

/// A text with one part replaced, which has to be in it.
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn refused(text: &str, parts: &[&str]) {
    let error = Recipe::parse(text).expect_err(text).to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn what_most_expect_who_say_nothing() {
    let recipe = Recipe::parse("").unwrap();
    assert_eq!(recipe, Recipe::default());
    assert_eq!(recipe.to_string(), "own size, RGB, v/255, NCHW");
    let values = recipe.values();
    assert_eq!((values.len(), values[2][0], values[2][255], values[0][51]), (3, 0.0, 1.0, 0.2));
    assert_eq!(recipe.size_of(20, 30).unwrap(), [20, 30]);
}

#[test]
fn timm_in_both_forms_and_every_mode() {
    let filter = Filter::PillowBicubic;
    let expected = imagenet(Resize::Shortest { length: 235, filter }, Some([224, 224]));
    assert_eq!(Recipe::parse(TIMM).unwrap(), expected);
    let said = "shortest side to 235 (pillow-bicubic), middle 224 x 224, RGB, v/255, mean 0.485 0.456 0.406, sd 0.229 0.224 0.225, NCHW";
    assert_eq!(expected.to_string(), said);

    // As its hub had it before there was `pretrained_cfg`.
    let flat = r#"{"num_classes": 1000, "input_size": [3, 224, 224], "pool_size": [7, 7], "crop_pct": 0.875,
        "interpolation": "bilinear", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "first_conv": "conv1",
        "classifier": "fc", "architecture": "resnet34"}"#;
    let filter = Filter::PillowBilinear;
    let expected = imagenet(Resize::Shortest { length: 256, filter }, Some([224, 224]));
    assert_eq!(Recipe::parse(flat).unwrap(), expected);
    assert_eq!(Recipe::parse(&with(flat, "\"crop_pct\": 0.875,", "")).unwrap(), expected);
    // (An image of 300 x 500 as torchvision's Resize(256) has it.)
    assert_eq!(expected.resized_size(300, 500).unwrap(), [256, 426]);
    assert_eq!(expected.size_of(500, 300).unwrap(), [224, 224]);

    let squashed = with(&with(TIMM, "\"center\"", "\"squash\""), "0.95", "1.0");
    let (height, width, filter) = (224, 224, Filter::PillowBicubic);
    assert_eq!(Recipe::parse(&squashed).unwrap(), imagenet(Resize::Exact { height, width, filter }, None));
    let wide = with(&with(TIMM, "\"center\"", "\"squash\""), "[3, 224, 224]", "[3, 100, 200]");
    let exact = Resize::Exact { height: 105, width: 210, filter };
    assert_eq!(Recipe::parse(&wide).unwrap(), imagenet(exact, Some([100, 200])));
    let bordered = with(&with(TIMM, "\"center\"", "\"border\""), "0.95", "1.0");
    let border = Resize::Letterbox { height, width, colour: [124, 116, 104], filter };
    assert_eq!(Recipe::parse(&bordered).unwrap(), imagenet(border, None));

    refused(&with(TIMM, "[3, 224, 224]", "[3, 224, 192]"), &["timm", "`crop_mode`", "cannot say"]);
    refused(&with(TIMM, "[3, 224, 224]", "[4, 224, 224]"), &["`input_size`", "1 or 3 channels"]);
    refused(&with(TIMM, "[3, 224, 224]", "224"), &["`input_size`", "[channels, height, width]", "224"]);
    refused(&with(TIMM, "bicubic", "lanczos"), &["`interpolation`", "lanczos"]);
    refused(&with(TIMM, "\"interpolation\": \"bicubic\",", ""), &["`interpolation`", "got none"]);
    refused(&with(TIMM, "\"crop_pct\": 0.95", "\"crop_pct\": 1.5"), &["`crop_pct`", "1.5"]);
    refused(&with(TIMM, "\"center\"", "\"corner\""), &["`crop_mode`", "corner"]);
    refused(&with(TIMM, "\"tag\"", "\"blur\": 3, \"tag\""), &["`blur`", "not known"]);
    refused(&with(TIMM, "0.229", "0"), &["`sd`", "above 0", "got 0"]);
}

#[test]
fn hugging_face_in_its_forms() {
    let filter = Filter::PillowBicubic;
    let resnet = imagenet(Resize::Shortest { length: 256, filter }, Some([224, 224]));
    assert_eq!(Recipe::parse(RESNET).unwrap(), resnet);
    assert_eq!(Recipe::parse(&with(RESNET, "\"size\": 224", "\"size\": {\"shortest_edge\": 224}")).unwrap(), resnet);
    assert_eq!(Recipe::parse(&with(RESNET, "\"crop_pct\": 0.875,", "")).unwrap(), resnet);
    let stretched = imagenet(Resize::Exact { height: 384, width: 384, filter }, None);
    assert_eq!(Recipe::parse(&with(RESNET, "\"size\": 224", "\"size\": 384")).unwrap(), stretched);

    let filter = Filter::PillowBilinear;
    let half = vec![0.5; 3];
    let mobilenet = Recipe {
        resize: Some(Resize::Shortest { length: 256, filter }),
        crop: Some([224, 224]),
        scale: 0.00392156862745098,
        mean: half.clone(),
        sd: half,
        ..Recipe::default()
    };
    assert_eq!(Recipe::parse(MOBILENET).unwrap(), mobilenet);
    assert_eq!(Recipe::parse(&format!("{{\"image_processor\": {MOBILENET}}}")).unwrap(), mobilenet);
    let of = |from: &str, to: &str| Recipe::parse(&with(MOBILENET, from, to)).unwrap();
    let exact = Resize::Exact { height: 260, width: 300, filter };
    let sized = of("{\"shortest_edge\": 256}", "{\"height\": 260, \"width\": 300}");
    assert_eq!(sized, Recipe { resize: Some(exact), ..mobilenet.clone() });
    assert_eq!(of("{\"shortest_edge\": 256}", "256"), mobilenet);
    assert_eq!(of("{\"height\": 224, \"width\": 224}", "224"), mobilenet);
    assert_eq!(of("\"do_center_crop\": true", "\"do_center_crop\": false").crop, None);
    assert_eq!(of("\"do_rescale\": true", "\"do_rescale\": false").scale, 1.0);
    assert_eq!(of("\"do_resize\": true", "\"do_resize\": false").resize, None);
    let plain = of("\"do_normalize\": true", "\"do_normalize\": false");
    assert_eq!((plain.mean, plain.sd), (vec![], vec![]));
    assert_eq!(of("\"resample\"", "\"do_flip_channel_order\": true, \"resample\"").colours, Colours::Bgr);
    assert_eq!(of("\"resample\"", "\"data_format\": \"channels_last\", \"resample\"").layout, Layout::Nhwc);
    assert_eq!(of("\"resample\"", "\"do_pad\": false, \"pad_size\": null, \"resample\""), mobilenet);

    let vit = with(&with(MOBILENET, "MobileNetV2", "ViT"), "{\"shortest_edge\": 256}", "256");
    let square = Resize::Exact { height: 256, width: 256, filter };
    assert_eq!(Recipe::parse(&vit).unwrap().resize, Some(square));
    let unknown = with(&vit, "ViTImage", "OtherImage");
    refused(&unknown, &["`size`", "shortest_edge", "256"]);
    let said = with(&unknown, "\"resample\"", "\"default_to_square\": true, \"resample\"");
    assert_eq!(Recipe::parse(&said).unwrap().resize, Some(square));

    let wrong = |from: &str, to: &str, parts: &[&str]| refused(&with(MOBILENET, from, to), parts);
    wrong("\"resample\": 2", "\"resample\": 1", &["`resample`", "Lanczos"]);
    wrong("\"resample\": 2,", "", &["`resample`", "got none"]);
    wrong("\"shortest_edge\": 256", "\"shortest_edge\": 256, \"longest_edge\": 900", &["`size.longest_edge`"]);
    wrong("{\"shortest_edge\": 256}", "{\"max_height\": 256}", &["`size`", "max_height"]);
    wrong("\"shortest_edge\": 256", "\"shortest_edge\": 200", &["`crop`", "224 x 224 of 200 x 200"]);
    wrong("\"resample\"", "\"do_pad\": true, \"resample\"", &["`do_pad`", "not known"]);
    wrong("\"resample\"", "\"include_top\": true, \"resample\"", &["`include_top`"]);
    wrong("\"resample\"", "\"crop_pct\": 0.9, \"resample\"", &["`crop_pct`", "depends on the processor"]);
    wrong("MobileNetV2Image", "LevitImage", &["`image_processor_type`", "Levit", "256/224"]);
    wrong("\"image_mean\": [0.5, 0.5, 0.5],", "", &["`image_mean`", "got none"]);
    wrong("\"do_rescale\": true", "\"do_rescale\": 3", &["`do_rescale`", "true or false"]);
    wrong("0.00392156862745098", "0", &["`scale`", "got 0"]);
}

#[test]
fn our_own_and_what_is_none() {
    let text = "scale = 1\nmean = [1, 2.5, 3]\ncolours = \"bgr\"\nlayout = \"nhwc\"\n[resize]\nto = \"letterbox\"\nheight = 640\nwidth = 480\n";
    let recipe = Recipe::parse(text).unwrap();
    let (filter, colour) = (Filter::PillowBilinear, BORDER);
    assert_eq!(recipe.resize, Some(Resize::Letterbox { height: 640, width: 480, colour, filter }));
    assert_eq!(
        recipe.to_string(),
        "fitted into 640 x 480 (pillow-bilinear) on colour 114 114 114, BGR, v, mean 1 2.5 3, NHWC"
    );
    assert_eq!(
        Recipe::parse("[resize]\nto = \"exact\"\nheight = 3\nwidth = 4").unwrap().size_of(9, 9).unwrap(),
        [3, 4]
    );
    refused("scale = 1\nmeen = [1]", &["TOML", "line 2", "meen"]);
    refused("[resize]\nto = \"exact\"\nheight = 3\nwidth = 4\nfilter = \"lanczos\"", &["lanczos", "pillow-bicubic"]);
    refused("[resize]\nto = \"exact\"\nheight = 3\nwidth = 4\ndepth = 4", &["depth"]);
    refused("scale = ", &["TOML", "line 1"]);
    refused("{\"model_type\": \"resnet\"}", &["timm", "Hugging Face", "model_type"]);
    refused("[1, 2]", &["no object"]);
    refused("{", &["no JSON"]);
    refused(&"[".repeat(100_000), &["recipe"]);
    refused(&format!("mean = {}", "[".repeat(100_000)), &["TOML"]);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, TIMM).unwrap();
    assert_eq!(Recipe::read(&path).unwrap(), Recipe::parse(TIMM).unwrap());
    std::fs::write(&path, b"scale = 1 # \xff").unwrap();
    let error = |path| Recipe::read(path).unwrap_err().to_string();
    assert!(error(&path).contains("config.json") && error(&path).contains("UTF-8"));
    std::fs::write(&path, vec![b' '; (4 << 20) + 1]).unwrap();
    assert!(error(&path).contains("more than 4194304 bytes"));
    assert!(error(folder.path()).contains("expected a regular file"));
    assert!(matches!(Recipe::read(&folder.path().join("none")), Err(RecipeError::Read { .. })));
}

#[test]
fn what_no_picture_can_be_prepared_by() {
    let (length, filter) = (256, Filter::default());
    let wrong = |recipe: Recipe, parts: &[&str]| {
        let error = recipe.check().unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    let plain = Recipe::default;
    let resized = |resize| Recipe { resize: Some(resize), ..plain() };
    wrong(resized(Resize::Shortest { length: 0, filter }), &["`resize`", "from 1"]);
    wrong(resized(Resize::Exact { height: 1, width: 1 << 15, filter }), &["`resize`", "1 x 32768"]);
    wrong(resized(Resize::Exact { height: 1 << 14, width: 1 << 14, filter }), &["`resize`", "16777216 pixels"]);
    wrong(Recipe { crop: Some([0, 5]), ..plain() }, &["`crop`", "0 x 5"]);
    wrong(Recipe { crop: Some([257, 300]), ..resized(Resize::Shortest { length, filter }) }, &["`crop`", "257 x 300"]);
    // (A longer side may be long enough.)
    let wide = Recipe { crop: Some([256, 300]), ..resized(Resize::Shortest { length, filter }) };
    wide.check().unwrap();
    assert_eq!(wide.size_of(100, 200).unwrap(), [256, 300]);
    assert!(wide.size_of(100, 110).unwrap_err().to_string().contains("got 256 x 281 after its resize"));
    wrong(Recipe { crop: Some([5, 11]), ..resized(Resize::Exact { height: 10, width: 10, filter }) }, &["`crop`"]);
    for scale in [0.0, f64::NAN, f64::INFINITY] {
        wrong(Recipe { scale, ..plain() }, &["`scale`"]);
    }
    wrong(Recipe { mean: vec![1.0; 2], ..plain() }, &["`mean`", "each of 3", "2 numbers"]);
    wrong(Recipe { sd: vec![1.0; 3], colours: Colours::Grey, ..plain() }, &["`sd`", "one channel", "3 numbers"]);
    wrong(Recipe { mean: vec![f64::NAN], ..plain() }, &["`mean`", "NaN"]);
    wrong(Recipe { sd: vec![0.0], ..plain() }, &["`sd`", "above 0"]);
    wrong(Recipe { sd: vec![f64::INFINITY], ..plain() }, &["`sd`", "inf"]);
    wrong(Recipe { sd: vec![1e-60], ..plain() }, &["single precision"]);
    // A thin picture would be too large.
    let thin = resized(Resize::Shortest { length, filter }).size_of(1, 1 << 24).unwrap_err();
    assert!(matches!(thin, RecipeError::Large { height: 256, width: 4294967296, .. }), "{thin}");
    // Without a check, too: no panic.
    let unchecked = Recipe { mean: vec![0.0; 2], ..resized(Resize::Shortest { length: usize::MAX, filter }) };
    assert!(unchecked.values()[2][0].is_nan() && unchecked.resized_size(1, usize::MAX).is_err());
}

fn any_recipe() -> impl Strategy<Value = Recipe> {
    let filter = prop_oneof![
        Just(Filter::PillowBilinear),
        Just(Filter::PillowBicubic),
        Just(Filter::OpencvLinear),
        Just(Filter::Nearest)
    ];
    let sides = (1..4000usize, 1..4000usize, filter, any::<[u8; 3]>(), 0..4);
    let resize = sides.prop_map(|(height, width, filter, colour, kind)| match kind {
        0 => None,
        1 => Some(Resize::Shortest { length: height, filter }),
        2 => Some(Resize::Exact { height, width, filter }),
        _ => Some(Resize::Letterbox { height, width, colour, filter }),
    });
    let crop = prop::option::of([1..2000usize, 1..2000]);
    let numbers =
        |low: f64| prop::collection::vec(low..300.0, 0..4).prop_filter("as many as channels", |n| n.len() != 2);
    let colours = prop_oneof![Just(Colours::Rgb), Just(Colours::Bgr), Just(Colours::Grey)];
    let layout = prop_oneof![Just(Layout::Nchw), Just(Layout::Nhwc)];
    (resize, crop, 1e-9..1e9f64, numbers(-300.0), numbers(1e-3), colours, layout).prop_map(
        |(resize, crop, scale, mean, sd, colours, layout)| Recipe { resize, crop, scale, mean, sd, colours, layout },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(3), ..ProptestConfig::with_cases(500) })]

    #[test]
    fn toml_there_and_back_is_exact(recipe in any_recipe()) {
        match Recipe::parse(&recipe.to_toml()) {
            Ok(again) => prop_assert_eq!(again, recipe),
            Err(error) => prop_assert_eq!(error.to_string(), recipe.check().unwrap_err().to_string()),
        }
    }

    #[test]
    fn any_text_is_answered(text in "(?s).{0,60}", at in 0..400usize) {
        let _ = Recipe::parse(&text);
        for real in [TIMM, RESNET, MOBILENET] {
            let _ = Recipe::parse(&[&real[..at.min(real.len())], &text[..], &real[at.min(real.len())..]].concat());
        }
    }
}
