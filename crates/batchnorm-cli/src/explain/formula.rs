//! The formulas of `reference::graph`, which are texts there, as trees: to be shown as MathML, with names or with the
//! numbers put in.
//!
//! ```text
//! formula = sum, such as  1/n sum q_i   or   sqrt(v + eps)   or   -1 / d^2
//! sum     = ["-"] term { ("+" | "-") term }
//! term    = factor { ["/"] factor }              factors side by side are multiplied
//! factor  = ( number | name | "(" sum ")" | "sqrt" "(" sum ")" | "sum" factor ) [ "^2" ]
//! name    = letters [ "_i" ]
//! ```

/// A formula.
#[derive(Debug, Clone, PartialEq)]
pub enum Formula {
    /// A number as it stands.
    Number(String),
    /// A node's value; that at i where it is indexed.
    Name {
        symbol: String,
        indexed: bool,
    },
    /// dL / d of a node's value.
    Gradient {
        symbol: String,
        indexed: bool,
    },
    /// The sum over all i.
    Sum(Box<Formula>),
    Root(Box<Formula>),
    Square(Box<Formula>),
    Negative(Box<Formula>),
    Product(Box<Formula>, Box<Formula>),
    Quotient(Box<Formula>, Box<Formula>),
    Plus(Box<Formula>, Box<Formula>),
    Minus(Box<Formula>, Box<Formula>),
}

use Formula::{Minus, Name, Negative, Number, Plus, Product, Quotient, Root, Square, Sum};

impl Formula {
    /// The tree of a text, or `None` where it is none.
    pub fn parse(text: &str) -> Option<Formula> {
        let mut rest = Tokens { text, at: 0 };
        let formula = sum(&mut rest)?;
        rest.next().is_none().then_some(formula)
    }

    /// The tree of what stands behind `=` in a text.
    pub fn right_side(text: &str) -> Option<Formula> {
        Formula::parse(text.split_once('=')?.1)
    }

    fn is_one(&self) -> bool {
        matches!(self, Number(text) if text == "1")
    }

    /// The product of two, without factors of 1.
    pub fn times(self, other: Formula) -> Formula {
        match other {
            one if one.is_one() => self,
            Negative(one) if one.is_one() => Negative(Box::new(self)),
            Negative(other) => Negative(Box::new(self.times(*other))),
            other => Product(Box::new(self), Box::new(other)),
        }
    }

    /// The sum of several; of none, 0.
    pub fn total(terms: Vec<Formula>) -> Formula {
        let join = |left: Formula, right: Formula| match right {
            Negative(right) => Minus(Box::new(left), right),
            right => Plus(Box::new(left), Box::new(right)),
        };
        terms.into_iter().reduce(join).unwrap_or(Number(String::from("0")))
    }
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Tokens<'t> {
    fn peek(&self) -> Option<&'t str> {
        let rest = self.text[self.at..].trim_start();
        let first = rest.chars().next()?;
        let word = |part: fn(char) -> bool| &rest[..rest.find(|c| !part(c)).unwrap_or(rest.len())];
        Some(match first {
            'a'..='z' => word(|c| c.is_ascii_lowercase() || c == '_'),
            '0'..='9' => word(|c| c.is_ascii_digit()),
            _ => &rest[..first.len_utf8()],
        })
    }

    fn next(&mut self) -> Option<&'t str> {
        let token = self.peek()?;
        let blank = self.text.len() - self.at - self.text[self.at..].trim_start().len();
        self.at += blank + token.len();
        Some(token)
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.next();
        }
        found
    }
}

fn sum(rest: &mut Tokens) -> Option<Formula> {
    let negative = rest.take("-");
    let mut left = term(rest)?;
    if negative {
        left = Negative(Box::new(left));
    }
    loop {
        if rest.take("+") {
            left = Plus(Box::new(left), Box::new(term(rest)?));
        } else if rest.take("-") {
            left = Minus(Box::new(left), Box::new(term(rest)?));
        } else {
            return Some(left);
        }
    }
}

fn term(rest: &mut Tokens) -> Option<Formula> {
    let mut left = factor(rest)?;
    loop {
        if rest.take("/") {
            left = Quotient(Box::new(left), Box::new(factor(rest)?));
        } else if rest
            .peek()
            .is_some_and(|token| token == "(" || token.starts_with(|c: char| c.is_ascii_alphanumeric()))
        {
            left = Product(Box::new(left), Box::new(factor(rest)?));
        } else {
            return Some(left);
        }
    }
}

fn factor(rest: &mut Tokens) -> Option<Formula> {
    let inner = match rest.next()? {
        "(" => bracketed(rest)?,
        "sqrt" => {
            rest.take("(").then_some(())?;
            Root(Box::new(bracketed(rest)?))
        }
        "sum" => Sum(Box::new(factor(rest)?)),
        number if number.starts_with(|c: char| c.is_ascii_digit()) => Number(number.to_owned()),
        name if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
            let (symbol, indexed) = name.strip_suffix("_i").map_or((name, false), |symbol| (symbol, true));
            Name { symbol: symbol.to_owned(), indexed }
        }
        _ => return None,
    };
    if !rest.take("^") {
        return Some(inner);
    }
    rest.take("2").then(|| Square(Box::new(inner)))
}

fn bracketed(rest: &mut Tokens) -> Option<Formula> {
    let inner = sum(rest)?;
    rest.take(")").then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchnorm::reference::graph::{Graph, Join, Node};

    /// The value of a formula at i.
    fn evaluated(formula: &Formula, graph: &Graph<f64>, i: usize) -> f64 {
        let of = |formula: &Formula| evaluated(formula, graph, i);
        match formula {
            Number(text) => text.parse().expect("a number"),
            Name { symbol, .. } if symbol == "n" => graph.count() as f64,
            Name { symbol, indexed } => {
                let node: &Node<f64> =
                    graph.nodes().iter().find(|node| node.symbol == symbol).expect("a node of that symbol");
                assert_eq!(node.each, *indexed, "the index of {symbol}");
                if node.each { node.values[i] } else { node.values[0] }
            }
            Formula::Gradient { .. } => unreachable!("no formula of the core has one"),
            Sum(inner) => (0..graph.count()).map(|i| evaluated(inner, graph, i)).sum(),
            Root(inner) => of(inner).sqrt(),
            Square(inner) => of(inner) * of(inner),
            Negative(inner) => -of(inner),
            Product(left, right) => of(left) * of(right),
            Quotient(left, right) => of(left) / of(right),
            Plus(left, right) => of(left) + of(right),
            Minus(left, right) => of(left) - of(right),
        }
    }

    #[test]
    fn every_formula_of_the_core_says_what_the_core_computes() {
        let (x, dy) = ([0.5, -1.25, 3.0, 0.75], [1.0, -0.5, 0.25, 0.5]);
        let (gamma, beta) = ([1.5, -1.0, 0.5, 2.0], [0.5, 0.0, -1.0, 0.25]);
        let mut graphs = [
            Graph::batch(&x, 1.5, 0.5, 0.01),
            Graph::evaluation(&x, 1.5, 0.5, 0.25, 2.0, 0.01),
            Graph::row(&x, &gamma, &beta, 0.01).unwrap(),
            Graph::rms_row(&x, &gamma, &beta, 0.01).unwrap(),
        ];
        let mut checked = 0;
        let close = |got: f64, expected: f64, text: &str| {
            assert!((got - expected).abs() <= 1e-15 * expected.abs().max(1.0), "{text}: {got} for {expected}");
        };
        for graph in &mut graphs {
            graph.backward(&dy).unwrap();
            for node in graph.nodes() {
                let Some(formula) = Formula::right_side(node.formula) else {
                    assert_eq!(node.formula, node.symbol, "a leaf");
                    continue;
                };
                for (i, &value) in node.values.iter().enumerate() {
                    close(evaluated(&formula, graph, i), value, node.formula);
                    checked += 1;
                }
            }
            for edge in graph.edges() {
                let formula = Formula::parse(edge.formula).unwrap_or_else(|| panic!("{} is no formula", edge.formula));
                for i in 0..if edge.join == Join::EachToOne { 1 } else { graph.nodes()[edge.to].values.len() } {
                    close(evaluated(&formula, graph, i), edge.local_at(i), edge.formula);
                    checked += 1;
                }
            }
        }
        assert!(checked > 150, "{checked}");
    }

    #[test]
    fn what_is_no_formula_is_none() {
        for text in ["", "+", "x +", "(x", "x)", "sqrt x", "x^3", "sum", "2 $", "/ x", "x_i = m"] {
            assert_eq!(Formula::parse(text), None, "{text}");
        }
        let name = |symbol: &str| Name { symbol: symbol.into(), indexed: false };
        let minus = |inner| Negative(Box::new(inner));
        let one = || Number(String::from("1"));
        assert_eq!(name("a").times(one()), name("a"));
        assert_eq!(name("a").times(minus(one())), minus(name("a")));
        assert_eq!(Formula::total(vec![name("a"), minus(name("b"))]), Minus(Box::new(name("a")), Box::new(name("b"))));
    }
}
