//! A page of HTML with its styles.

use crate::markup::escape;
use crate::style;

/// A page.
///
/// ```
/// use batchnorm_page::{Page, Style, markup};
///
/// let head = markup::paragraph("Of 3 layers 1 has a finding.");
/// let page = Page { title: "a < b", head: &head, sections: "", style: Style::default() }.html();
/// assert!(page.contains("<h1>a &lt; b</h1>\n<p>Of 3 layers 1 has a finding.</p>"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Its title, a text.
    pub title: &'a str,
    /// HTML below the title.
    pub head: &'a str,
    /// HTML of its sections ([`markup::section`](crate::markup::section)).
    pub sections: &'a str,
    /// Rules for what this page alone has.
    pub style: Style<'a>,
}

/// Rules of CSS beside those that every page has. Colours are there by name: `var(--ink)`, `--ground`, `--soft`, `--faint` and `--c0` to `--c5`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style<'a> {
    /// For every screen and for paper.
    pub everywhere: &'a str,
    /// For small screens: the content of a media rule.
    pub phone: &'a str,
}

impl Page<'_> {
    /// The page as a file.
    pub fn html(&self) -> String {
        let Page { title, head, sections, style: own } = self;
        let title = escape(title);
        let (chart, screen, phone, print) = (style::CHART, style::SCREEN, style::PHONE, style::PRINT);
        let parts = style::of_parts(head) + &style::of_parts(sections);
        let style = format!(
            "{chart}{screen}{parts}{}@media screen and (max-width: 44rem) {{\n{phone}{}}}\n{print}",
            own.everywhere, own.phone
        );
        // The policy makes browsers refuse any request, should one ever slip in.
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<h1>{title}</h1>\n{head}</header>\n{sections}</main>\n</body>\n</html>\n"
        )
    }
}
