//! What data went through before a network saw them, for the metadata of its files.

use batchnorm_model::recipe::{Colours, Filter, Layout, METADATA, Recipe, Resize};

use crate::data::{DataSummary, Scale};
use crate::digits;
use crate::model::Description;

/// The metadata's entry of the classes' names, as a list of JSON.
pub const CLASSES: &str = "batchnorm.classes";
/// That of the network, as TOML.
pub const NETWORK: &str = "batchnorm.network";
/// That of what a recipe cannot say, in words.
pub const NOTE: &str = "batchnorm.note";

/// Light of a byte of a picture: 255 is 1.
const OF_BYTE: f64 = 1.0 / 255.0;
/// The deviation that is written for a channel that never changed, which training makes 0: whatever is divided by it is 0 too.
const NEVER_CHANGED: f64 = 1e300;

/// Where the numbers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum In {
    /// Into a file with a graph, which may standardise by itself.
    Graph,
    /// Into a file without.
    Weights,
}

/// The notes of a file, in their order.
pub fn metadata(description: &Description, of: In) -> Vec<(String, String)> {
    let data = &description.data;
    let classes = serde_json::to_string(&data.classes).expect("names are JSON");
    let recipe = match of {
        In::Graph => recipe(data),
        In::Weights => Some(recipe(data).unwrap_or_else(|| of_table(data.scale.as_ref()))),
    };
    let entries = [
        recipe.map(|recipe| (METADATA, recipe.to_toml())),
        note(data).map(|note| (NOTE, note)),
        Some((CLASSES, classes)),
        Some((NETWORK, description.plan.network.to_toml())),
    ];
    entries.into_iter().flatten().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// What pictures of these data went through before the network saw them; none of tables, which the graph itself standardises.
///
/// Pictures of another size than the network's are cut to its proportions around their middle and made its size; of a square that is the
/// shorter side made its length, and the middle cut out. Of the embedded digits, which are no photographs, it says how the bytes of an 8 x 8 picture
/// with light ink on black become the input: [`note`] has the rest.
pub fn recipe(data: &DataSummary) -> Option<Recipe> {
    let input = data.input;
    if !input.is_picture() {
        return None;
    }
    let (height, width, filter) = (input.rows, input.columns, Filter::PillowBilinear);
    let (resize, crop) = match (is_of_digits(data), height == width) {
        (true, _) => (None, None),
        (false, true) => (Some(Resize::Shortest { length: height, filter }), Some([height, width])),
        (false, false) => (Some(Resize::Exact { height, width, filter }), None),
    };
    let colours = if input.channels == 1 { Colours::Grey } else { Colours::Rgb };
    let (mean, sd) = standardising(data.scale.as_ref());
    Some(Recipe { resize, crop, scale: OF_BYTE, mean, sd, colours, layout: Layout::Nchw })
}

/// What a recipe cannot say of the input, in words; none where it says everything.
pub fn note(data: &DataSummary) -> Option<String> {
    let input = data.input;
    if is_of_digits(data) {
        return Some(String::from(
            "The pictures are the ink of 8 x 8 pixels, each in 0..1, 1 is full (the data set's counts of 0 to 16, divided by 16; before \
             they are standardised, if they are). The recipe is for 8 x 8 pictures with light ink on black paper; how `batchnorm predict` makes \
             one of any other picture (paper by the border, the box around the ink, its size and place), it cannot say.",
        ));
    }
    if !input.is_picture() {
        let range = format!("The input is the {} of a row, as they stand in the table", input);
        return Some(match data.scale {
            Some(_) => format!("{range}; a graph standardises them itself, weights alone need the recipe."),
            None => format!("{range}; they are not standardised."),
        });
    }
    let mut said = Vec::new();
    if input.rows != input.columns {
        said.push(format!(
            "Pictures of other proportions than {} to {} are cut to these around their middle before they are resized.",
            input.rows, input.columns
        ));
    }
    if input.channels == 1 {
        said.push(String::from("Colours became grey by ITU-R BT.709's weights (0.2126, 0.7152, 0.0722)."));
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// The standardising that is in the graph: what is subtracted, what f32 leaves of it, and what is multiplied by.
pub struct Inside {
    pub mean: Vec<f64>,
    /// A large mean of f32 alone would cost digits of what it leaves.
    pub rest: Vec<f64>,
    pub factor: Vec<f64>,
}

impl Inside {
    /// That of tables that are standardised; none of other data.
    pub fn of(data: &DataSummary) -> Option<Inside> {
        let scale = data.scale.as_ref().filter(|_| !data.input.is_picture())?;
        let single = |mean: f64| f64::from(mean as f32);
        Some(Inside {
            mean: scale.mean.iter().map(|&mean| single(mean)).collect(),
            rest: scale.mean.iter().map(|&mean| mean - single(mean)).collect(),
            factor: scale
                .deviation
                .iter()
                .map(|&deviation| if deviation > 0.0 { deviation.recip() } else { 0.0 })
                .collect(),
        })
    }
}

fn of_table(scale: Option<&Scale>) -> Recipe {
    let (mean, sd) = standardising(scale);
    Recipe { resize: None, crop: None, scale: 1.0, mean, sd, colours: Colours::Rgb, layout: Layout::Nchw }
}

/// Means and deviations; none where nothing is standardised.
fn standardising(scale: Option<&Scale>) -> (Vec<f64>, Vec<f64>) {
    let Some(Scale { mean, deviation }) = scale else { return Default::default() };
    let written = |&deviation: &f64| if deviation > 0.0 { deviation } else { NEVER_CHANGED };
    (mean.clone(), deviation.iter().map(written).collect())
}

/// Whether these are the digits of the crate, whose pictures are made as theirs were.
fn is_of_digits(data: &DataSummary) -> bool {
    data.kind == digits::KIND
}
