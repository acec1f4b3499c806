//! Data as the inputs of a model.

use std::ops::Range;

use batchnorm::reference::random::Random;

use crate::engine::{Array, Numbers, Source, Written, WrittenInput};
use crate::excerpt::{beginning_of, excerpt};
use crate::samples::Samples;

/// Samples of the user's as the inputs of a model.
pub struct Inputs<'i> {
    samples: &'i Samples,
    /// For each input of the samples that of the model.
    inputs: Vec<&'i WrittenInput>,
}

impl<'i> Inputs<'i> {
    /// Finds each input of the model among the samples'.
    ///
    /// # Errors
    /// Names that the model does not have; inputs that are not there; shapes that do not fit.
    pub fn of(samples: &'i Samples, written: &'i Written) -> Result<Inputs<'i>, String> {
        let names = || listed(written.inputs.iter().map(|input| excerpt(&input.name)));
        let mut inputs = Vec::new();
        for own in samples.inputs() {
            let input = match (&own.name, &written.inputs[..]) {
                // (One array needs no name.)
                (_, [only]) if samples.inputs().len() == 1 => only,
                (Some(name), all) => all.iter().find(|input| input.name == *name).ok_or_else(|| {
                    format!(
                        "--data: expected arrays by the names of the model's inputs ({}), got {}",
                        names(),
                        excerpt(name)
                    )
                })?,
                (None, _) => {
                    return Err(format!(
                        "--data: the model has {} inputs ({}); give an .npz with an array for each, by these names",
                        written.inputs.len(),
                        names()
                    ));
                }
            };
            if let Some(shape) = &input.shape {
                let fits =
                    |(declared, got): (&Option<i64>, &usize)| declared.is_none_or(|declared| declared == *got as i64);
                if shape.len() != own.shape.len() + 1 || !shape[1..].iter().zip(&own.shape).all(fits) {
                    return Err(does_not_fit(input, shape, &own.shape, samples.are_pictures()));
                }
            }
            inputs.push(input);
        }
        let missing = written.inputs.iter().find(|input| !inputs.iter().any(|known| known.name == input.name));
        match missing {
            Some(input) => {
                Err(format!("--data: no array for the model's input {}; it has {}", excerpt(&input.name), names()))
            }
            None => Ok(Inputs { samples, inputs }),
        }
    }
}

fn does_not_fit(input: &WrittenInput, shape: &[Option<i64>], got: &[usize], are_pictures: bool) -> String {
    let lengths = |length: &Option<i64>| length.map_or_else(|| String::from("any"), |length| length.to_string());
    let mend = if are_pictures {
        "; say by a recipe what size and order pictures are to have (--recipe, --resize, --crop, --layout)"
    } else {
        ""
    };
    format!(
        "--data: expected samples of shape [{}] for the model's input {}, got {}{mend}",
        listed(shape.iter().skip(1).map(lengths)),
        excerpt(&input.name),
        beginning_of(got)
    )
}

/// The first of some words, and how many more there are.
fn listed(words: impl ExactSizeIterator<Item = String>) -> String {
    let more = words.len().saturating_sub(LISTED);
    let first = words.take(LISTED).collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// Words of a list that are said.
const LISTED: usize = 8;

impl Source for Inputs<'_> {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
        let count = places.len();
        let values = self.samples.read(places).map_err(|error| error.to_string())?;
        let inputs = self.inputs.iter().zip(self.samples.inputs()).zip(values);
        let array = |((input, own), values): ((&&WrittenInput, &crate::samples::InputShape), Vec<f32>)| {
            let shape = std::iter::once(count).chain(own.shape.iter().copied()).collect();
            let numbers = if input.is_whole { Numbers::I32(whole(input, &values)?) } else { Numbers::F32(values) };
            Ok((input.name.clone(), Array { shape, numbers }))
        };
        inputs.map(array).collect()
    }
}

/// Whole numbers, of numbers that are whole.
fn whole(input: &WrittenInput, values: &[f32]) -> Result<Vec<i32>, String> {
    let of = |&value: &f32| {
        let whole = value as i32;
        if whole as f32 == value {
            Ok(whole)
        } else {
            Err(format!("{}: expected whole numbers, got {value}", excerpt(&input.name)))
        }
    };
    values.iter().map(of).collect()
}

/// Normal random numbers as the inputs of a model.
pub struct RandomInputs<'i> {
    inputs: Vec<(&'i str, Vec<usize>)>,
    samples: usize,
    seed: u64,
}

impl<'i> RandomInputs<'i> {
    /// For a model that says the shapes of its inputs.
    ///
    /// # Errors
    /// Shapes that are open, or not said.
    pub fn of(written: &'i Written, samples: usize, seed: u64) -> Result<RandomInputs<'i>, String> {
        let shape = |input: &'i WrittenInput| {
            let lengths = input.shape.as_ref().and_then(|shape| shape.get(1..)).map(|shape| {
                shape
                    .iter()
                    .map(|length| length.and_then(|length| usize::try_from(length).ok()))
                    .collect::<Option<Vec<_>>>()
            });
            match lengths.flatten() {
                Some(shape) if !input.is_whole => Ok((input.name.as_str(), shape)),
                _ => Err(format!(
                    "{}: random data need an input of floating point whose shape the model says; give some by --data",
                    excerpt(&input.name)
                )),
            }
        };
        let inputs = written.inputs.iter().map(shape).collect::<Result<Vec<_>, _>>()?;
        Ok(RandomInputs { inputs, samples, seed })
    }
}

impl Source for RandomInputs<'_> {
    fn len(&self) -> usize {
        self.samples
    }

    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
        let mut values = Vec::new();
        for (name, shape) in &self.inputs {
            let length: usize = shape.iter().product();
            let numbers = places
                .clone()
                .flat_map(|place| Random::new(self.seed.wrapping_add(place as u64)).normals_f32(length, 0.0, 1.0));
            let shape = std::iter::once(places.len()).chain(shape.iter().copied()).collect();
            values.push(((*name).to_owned(), Array::floats(shape, numbers.collect())));
        }
        Ok(values)
    }
}
