//! The `svg` element around a chart's content: in a page, and as a file of its own.

use crate::markup::escape;
use crate::style;

/// A picture with its texts for those who do not see it.
pub struct Picture<'a> {
    pub id: &'a str,
    pub title: &'a str,
    pub description: &'a str,
    pub width: f64,
    pub height: f64,
    pub content: String,
}

impl Picture<'_> {
    /// An element of a page, whose style it takes.
    pub fn inline(&self) -> String {
        let Picture { width, height, content, .. } = self;
        let (id, title, text) = (escape(self.id), escape(self.title), escape(self.description));
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-text\">\n<title id=\"{id}-title\">{title}</title>\n\
             <desc id=\"{id}-text\">{text}</desc>\n{content}</svg>\n"
        )
    }

    /// A file with its own style and ground.
    pub fn alone(&self) -> String {
        let Picture { width, height, content, .. } = self;
        let (title, text) = (escape(self.title), escape(self.description));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {width} {height}\" \
             width=\"{}\" height=\"{}\" role=\"img\" aria-labelledby=\"title text\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"text\">{text}</desc>\n<style>\n{}{}</style>\n\
             <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{content}</svg>\n",
            1.6 * width,
            1.6 * height,
            style::CHART,
            style::of_parts(content)
        )
    }
}
