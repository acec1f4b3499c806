//! Pages of HTML that need nothing else: no network, no script, no second file.
//!
//! In the order in which a page is made:
//!
//! 1. [`Axis`]: where a value stands between two edges, and the values worth a mark;
//! 2. [`Chart`]: [lines](Line) with their ranges and [ribbons](Ribbon) over two axes; [`Bars`]: a bar for each of some names;
//! 3. [`markup`]: tables, figures, sections: text escaped, tags closed;
//! 4. [`Page`]: all of it with its styles.
//!
//! All functions are pure: the same values give the same bytes. Texts are escaped where they enter; what is called HTML
//! in a signature is not.
//!
//! A page is right in light, in dark, on paper and on a phone, for its colours come from one style sheet and its charts
//! scale. It is right without colour, for lines differ by dash pattern and areas by hatching. And it is right for those who do not
//! see it: charts are pictures with a title and a description, and [`Chart::figure`] puts their numbers into a table
//! that the keyboard opens.
//!
//! ```
//! use batchnorm_page::markup::{Table, section};
//! use batchnorm_page::{Axis, Bar, Bars, Chart, Fill, Page, Ribbon, Style};
//!
//! // What a file says of three channels, and what was measured: from where to where each goes.
//! let (stored, measured) = ([(-1.0, 1.0), (0.2, 0.9), (0.0, 3.0)], [(-1.5, 1.2), (0.1, 1.0), (0.5, 2.5)]);
//! let mut numbers = Table::new("Mean less and plus one deviation", ["Channel", "Stored", "Measured"]);
//! for (channel, (stored, measured)) in stored.iter().zip(&measured).enumerate() {
//!     let cells = [(channel + 1).to_string(), format!("{stored:?}"), format!("{measured:?}")];
//!     numbers.row(cells.iter().map(String::as_str));
//! }
//! let bands = Chart {
//!     description: String::from("Stored and measured overlap in every channel."),
//!     ribbons: vec![
//!         Ribbon::new("stored", 1, Fill::Plain, stored),
//!         Ribbon::new("measured", 2, Fill::Hatched, measured),
//!     ],
//!     ..Chart::new(
//!         "bands-1",
//!         "conv1.norm: what is stored and what was measured",
//!         Axis::index("channel", 1, 3),
//!         Axis::linear("value", stored.iter().chain(&measured).flat_map(|&(low, high)| [low, high])),
//!     )
//! };
//!
//! let gaps = Bars {
//!     description: String::from("conv2.norm is furthest off, 0.8, then conv1.norm, 0.3."),
//!     bars: vec![Bar::new("conv2.norm", 0.8, "0.80"), Bar::new("conv1.norm", 0.3, "0.30")],
//!     ..Bars::new("gaps", "Gap of each layer", Axis::between("gap", 0.0, 1.0))
//! };
//!
//! let sections = [
//!     section("ranking", "Which layers are off", &batchnorm_page::markup::figure(&gaps.svg(), "The larger, the further off.")),
//!     section("channels", "Channel by channel", &bands.figure("conv1.norm, channels in the file's order.", numbers)),
//! ];
//! let page = Page { title: "A model", head: "", sections: &sections.concat(), style: Style::default() }.html();
//! assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<details>"));
//! ```

mod area;
mod axis;
mod bars;
mod chart;
mod labels;
pub mod markup;
mod page;
mod picture;
mod ribbon;
mod style;

pub use area::Fill;
pub use axis::{Axis, mark};
pub use bars::{Bar, Bars};
pub use chart::{Chart, Line, NARROW, WIDE, figures, key};
pub use page::{Page, Style};
pub use ribbon::Ribbon;
pub use style::STYLES;
