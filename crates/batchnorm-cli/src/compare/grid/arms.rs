//! The arms of a grid: its named arms, with each value of each setting that varies.

use batchnorm_lab::grid::{Arm, NAMED, name};

use crate::compare::preset::{Form, Named};
use crate::compare::words::{Words, same_setting, setting, whole};
use crate::failure::Failure;
use crate::flags::{are_distinct, expected};

/// Flags of `train` that a cell cannot have: its seed is the grid's, and it leaves no file.
const NOT_OF_CELLS: [&str; 15] = [
    "help",
    "seed",
    "output",
    "restart",
    "json",
    "log",
    "tensorboard",
    "save-every",
    "description",
    "outline",
    "threads",
    "patience",
    "from",
    "average",
    "validation",
];

/// A setting that varies, and its values.
pub struct Varied {
    pub setting: String,
    pub values: Vec<String>,
}

impl Varied {
    /// Of `norm=none,batch`; with semicolons between values that have commas.
    pub fn parse(flag: &str, text: &str) -> Result<Varied, Failure> {
        let what = "a setting of `train` and its values, such as norm=none,batch (with ; between values that have commas, in quotes)";
        let Some((_, values)) = text.split_once('=').filter(|(_, values)| !values.is_empty()) else {
            return Err(expected(flag, what, format!("`{text}`")));
        };
        let setting = setting(text);
        refuse_if_not_of_cells(flag, setting)?;
        let sign = if values.contains(';') { ';' } else { ',' };
        let values: Vec<String> = values.split(sign).map(|value| value.trim().to_owned()).collect();
        if !are_distinct(&values) {
            return Err(expected(flag, "values that differ", format!("`{text}`")));
        }
        Ok(Varied { setting: setting.to_owned(), values })
    }

    /// The flag of a value.
    pub fn flag(&self, value: &str) -> Words {
        [format!("--{}={value}", self.setting)].into_iter().collect()
    }
}

/// The arms of a grid with their flags of `train`, in order.
pub fn arms(form: &Form) -> Result<Vec<(Arm, Words)>, Failure> {
    type At = Vec<(String, String)>;
    let mut arms: Vec<(At, Words)> = vec![(At::new(), Words::default())];
    if !form.arms.is_empty() {
        let named = |arm: &Named| (vec![(NAMED.to_owned(), arm.name.clone())], arm.flags.clone());
        arms = form.arms.iter().map(named).collect();
    }
    let mut settings: Vec<String> = Vec::new();
    for text in &form.vary {
        let varied = Varied::parse("--vary", text)?;
        if form.arms.iter().any(|arm| arm.flags.has(&varied.setting)) {
            let what = format!("a setting that the preset's arms ({}) do not say themselves", names(form));
            return Err(expected("--vary", what, varied.setting));
        }
        if settings.contains(&varied.setting) {
            return Err(expected("--vary", "each setting once", format!("{} twice", varied.setting)));
        }
        let product = arms.iter().flat_map(|(at, flags)| {
            varied.values.iter().map(|value| {
                let at = at.iter().cloned().chain([(varied.setting.clone(), value.clone())]).collect();
                (at, flags.changed_by(&varied.flag(value)))
            })
        });
        arms = product.collect();
        settings.push(varied.setting);
    }
    let varies =
        |setting: &str| settings.iter().any(|known| known == setting) || (setting == NAMED && !form.arms.is_empty());
    let along = form.beside.iter().map(|setting| ("--beside", setting));
    for (flag, setting) in along.chain(form.over.iter().map(|setting| ("--over", setting))) {
        if !varies(whole(setting)) {
            return Err(expected(flag, format!("a setting that varies ({})", settings.join(", ")), setting));
        }
    }
    let all: Vec<At> = arms.iter().map(|(at, _)| at.clone()).collect();
    let made = |(at, flags): &(At, Words)| {
        let against = against(form, &all, at).into_iter().filter(|other| *other != at).map(|at| name(at.iter()));
        (Arm { name: name(at.iter()), against: against.collect(), at: at.clone() }, flags.clone())
    };
    Ok(arms.iter().map(made).collect())
}

/// Where the arms are that one is measured against: by its own word, along each setting that is compared, or the first.
fn against<'a>(
    form: &Form,
    all: &'a [Vec<(String, String)>],
    at: &[(String, String)],
) -> Vec<&'a Vec<(String, String)>> {
    let but_for = |setting: &str, other: &[(String, String)]| {
        at.iter().zip(other).all(|(one, other)| one.0 == setting || one == other)
    };
    let own = form.arms.iter().find(|arm| at.first().is_some_and(|(of, value)| of == NAMED && *value == arm.name));
    if let Some(against) = own.and_then(|arm| arm.against.as_ref()) {
        return all.iter().filter(|other| against.contains(&other[0].1) && but_for(NAMED, other)).collect();
    }
    match form.beside.is_empty() {
        true => all.first().into_iter().collect(),
        false => {
            form.beside.iter().filter_map(|setting| all.iter().find(|other| but_for(whole(setting), other))).collect()
        }
    }
}

/// The names of a form's named arms.
fn names(form: &Form) -> String {
    form.arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>().join("; ")
}

/// Refuses flags behind -- that arms say themselves: nothing would come of them.
pub fn refuse_if_varied(form: &Form, flags: &Words) -> Result<(), Failure> {
    for name in flags.names() {
        if form.arms.iter().any(|arm| arm.flags.has(name)) {
            let what = format!("flags that the preset's arms ({}) do not say themselves", names(form));
            return Err(expected("behind --", what, format!("--{name}")));
        }
        if form.vary.iter().chain(&form.tune).any(|vary| same_setting(setting(vary), name)) {
            let what =
                format!("flags that do not vary (--vary {name}=VALUE,... or --tune changes the values of those)");
            return Err(expected("behind --", what, format!("--{name}")));
        }
    }
    Ok(())
}

/// Refuses flags that cells cannot have.
pub fn refuse_if_not_of_cells(place: &str, flag: &str) -> Result<(), Failure> {
    match NOT_OF_CELLS.contains(&flag) {
        true => {
            let but = NOT_OF_CELLS.map(|flag| format!("--{flag}")).join(", ");
            Err(expected(place, format!("flags of `train` but {but}"), format!("--{flag}")))
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::preset::{PRESETS, preset};

    fn made(form: Form) -> Vec<(String, String, Vec<String>)> {
        let made = arms(&form).unwrap_or_else(|failure| panic!("{failure}"));
        made.into_iter().map(|(arm, words)| (arm.name, arm.against.join("; "), words.to_vec())).collect()
    }

    #[test]
    fn arms_are_compared_along_a_setting_or_with_the_first() {
        let vary = vec![String::from("norm=none,batch"), String::from("lr=0.1,1")];
        let first = made(Form { vary: vary.clone(), ..Form::default() });
        let against = |arms: &[(String, String, Vec<String>)]| {
            arms.iter().map(|(_, against, _)| against.clone()).collect::<Vec<_>>()
        };
        let none = "norm none, learning-rate 0.1";
        assert_eq!(against(&first), ["", none, none, none]);
        assert_eq!(first[3].2, ["--norm=batch", "--learning-rate=1"]);
        let along = made(Form { vary, beside: vec![String::from("norm")], ..Form::default() });
        assert_eq!(against(&along), ["", "", none, "norm none, learning-rate 1"]);
        let both = made(Form {
            vary: vec![String::from("norm=none,batch"), String::from("lr=0.1,1")],
            beside: vec!["norm".into(), "lr".into()],
            ..Form::default()
        });
        assert_eq!(against(&both)[3], "norm none, learning-rate 1; norm batch, learning-rate 0.1");
    }

    #[test]
    fn named_arms_may_say_with_whom_they_are_compared() {
        let named = |name: &str, against: Option<&str>| Named {
            name: name.to_owned(),
            flags: [format!("--hidden={name}")].into_iter().collect(),
            against: against.map(|name| vec![name.to_owned()]),
        };
        let form =
            Form { arms: vec![named("10", None), named("20", None), named("30", Some("20"))], ..Form::default() };
        let arms = made(form);
        assert_eq!(arms[1].1, "10");
        assert_eq!((arms[2].0.as_str(), arms[2].1.as_str()), ("30", "20"));
    }

    #[test]
    fn every_preset_is_read_and_its_published_figures_are_of_its_arms() {
        for (name, _) in PRESETS {
            let preset = preset(name).unwrap_or_else(|failure| panic!("{failure}"));
            let arms = arms(&preset.full).unwrap_or_else(|failure| panic!("{name}: {failure}"));
            for published in &preset.published {
                assert!(arms.iter().any(|(arm, _)| arm.name == published.arm), "{name}: {}", published.arm);
            }
            for against in preset.full.arms.iter().flat_map(|arm| arm.against.iter().flatten()) {
                assert!(preset.full.arms.iter().any(|arm| arm.name == *against), "{name}: {against}");
            }
            super::super::arms::arms(&preset.full.clone().changed_by(preset.quick))
                .unwrap_or_else(|failure| panic!("{name}: {failure}"));
            assert!(preset.question.ends_with('?') && !preset.claims.is_empty(), "{name}");
        }
    }
}
