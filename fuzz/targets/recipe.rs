//! Any bytes as a recipe, in whichever of the three formats: nothing panics, hangs or takes more memory than a file of this size should.
//! A recipe that reads can be said in a line, and is the same again when it is read from what it is written as.

#![no_main]

use batchnorm_fuzz::{files, memory};
use batchnorm_model::recipe::Recipe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: memory::make_room_for_panics(), |bytes: &[u8]| {
    memory::limited(bytes.len(), || reads(bytes))
});

fn reads(bytes: &[u8]) {
    let path = files::put("recipe", bytes);
    let of_text = str::from_utf8(bytes).map(Recipe::parse);
    let recipe = match (Recipe::read(&path), of_text) {
        (Ok(of_file), Ok(Ok(of_text))) => {
            assert_eq!(of_file, of_text, "of a file and of its text");
            of_file
        }
        (Err(error), Ok(Err(of_text))) => {
            let (said, of_text) = (error.to_string(), of_text.to_string());
            assert!(!of_text.is_empty() && said.ends_with(&of_text), "{said:?} and {of_text:?}");
            return;
        }
        (Err(error), Err(_)) => {
            assert!(error.to_string().contains("UTF-8"), "{error}");
            return;
        }
        (of_file, of_text) => panic!("{of_file:?} of a file, {of_text:?} of its text"),
    };
    recipe.check().expect("a recipe that was checked when it was read");
    let said = recipe.to_string();
    assert!(!said.is_empty() && !said.contains(char::is_control), "{said:?}");
    let written = recipe.to_toml();
    let again = Recipe::parse(&written).unwrap_or_else(|error| panic!("{error}, of our own\n{written}"));
    assert_eq!(again, recipe, "read from\n{written}");
    assert_eq!(again.to_toml(), written);
}
