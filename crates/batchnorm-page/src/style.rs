//! The style sheets, in the order in which a page has them.

/// Colours and dash patterns of the style sheet; further lines take them again.
pub const STYLES: usize = 6;

/// Colours, lines and text of charts: the part of the style that a picture alone needs.
pub const CHART: &str = include_str!("chart.css");
/// Everything else of a page.
pub const SCREEN: &str = include_str!("screen.css");
/// Rules for small screens.
pub const PHONE: &str = include_str!("phone.css");
/// Rules for paper.
pub const PRINT: &str = include_str!("print.css");

/// What not every page has: the text by which it is found, and its rules.
const PARTS: [(&str, &str); 2] =
    [("class=\"edge ", include_str!("areas.css")), ("<details>", include_str!("details.css"))];

/// The rules of those parts that are in some HTML. (Text cannot be taken for them: it has no tags and no quotes once it is escaped.)
pub fn of_parts(html: &str) -> String {
    PARTS.iter().filter(|(found_by, _)| html.contains(found_by)).map(|(_, rules)| *rules).collect()
}
