//! A page with the styles of what reports alone have: digits, their answers, what was asked.

use batchnorm_page::{Page, Style};

const STYLE: Style = Style { everywhere: include_str!("style.css"), phone: include_str!("phone.css") };

/// A page with a head and sections.
pub fn page(title: &str, head: &str, sections: &str) -> String {
    Page { title, head, sections, style: STYLE }.html()
}
