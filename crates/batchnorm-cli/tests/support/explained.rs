//! A page of `batchnorm explain` as text, and the numbers it must show with some settings, from the library.

use crate::figure::{DIGITS, on_page};
use crate::support::{done, noise, run};
use batchnorm::reference::graph::{Graph, Join};
use batchnorm::reference::{compact, rows};
use batchnorm_io::npy;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A page, and what the program says of the same subject.
pub struct Page {
    pub path: PathBuf,
    pub html: String,
    pub said: Value,
    /// Significant digits of each node's values, as the page's script has them.
    digits: HashMap<String, usize>,
    pub arguments: Vec<String>,
}

impl Page {
    pub fn new(folder: &Path, arguments: &[&str]) -> Page {
        let html = done(&run(folder, &[&["explain", "--html", "-"], arguments].concat())).to_owned();
        let said = serde_json::from_str(done(&run(folder, &[&["explain", "--json"], arguments].concat()))).unwrap();
        let start = html.find("id=\"data\">").unwrap() + "id=\"data\">".len();
        let data: Value = serde_json::from_str(html[start..].split_once("</script>").unwrap().0).unwrap();
        let nodes = data["nodes"].as_array().unwrap().iter();
        let digits =
            nodes.map(|node| (node["name"].as_str().unwrap().to_owned(), node["digits"].as_u64().unwrap() as usize));
        let (digits, path) = (digits.collect(), folder.join("page.html"));
        std::fs::write(&path, &html).unwrap();
        Page { path, html, said, digits, arguments: arguments.iter().map(|&argument| argument.to_owned()).collect() }
    }

    fn node(&self, name: &str) -> Option<&Value> {
        self.said["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name)
    }

    pub fn numbers(&self, name: &str, what: &str) -> Vec<f64> {
        self.node(name).unwrap()[what].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    /// The page's keys with the texts they show, in order, as the file has them.
    pub fn shown(&self) -> Vec<(String, String)> {
        let element = |rest: &str| {
            let (key, rest) = rest.split_once('"').unwrap();
            let (_, rest) = rest.split_once('>').unwrap();
            (key.replace("&gt;", ">"), rest.split_once('<').unwrap().0.to_owned())
        };
        self.html.split(" data-v=\"").skip(1).map(element).collect()
    }

    fn rms(&self) -> bool {
        self.said["layer"] == "rms"
    }
}

/// What is set: texts of the fields, which are read as they are.
#[derive(Debug, Clone)]
pub struct Setting {
    pub chosen: usize,
    pub x: String,
    pub epsilon: String,
    pub gamma: String,
    pub beta: String,
    pub upstream: &'static str,
}

/// The numbers for a setting, from the library.
pub struct Expected<'p> {
    page: &'p Page,
    graph: Graph<f64>,
    jacobian: Vec<f64>,
    chosen: usize,
    /// Whether all is as at the start, where the layer's own numbers stand.
    start: bool,
}

impl Expected<'_> {
    pub fn new<'p>(page: &'p Page, setting: &Setting) -> Expected<'p> {
        let [mut x, mut gamma, mut beta] = ["x", "gamma", "beta"].map(|name| page.numbers(name, "values"));
        let parameters: Vec<u64> =
            page.said["parameters"].as_array().unwrap().iter().map(|parameter| parameter.as_u64().unwrap()).collect();
        let number = |text: &str| text.replace('\u{2212}', "-").parse::<f64>().unwrap_or_else(|_| panic!("{text:?}"));
        let before = (x.clone(), gamma.clone(), beta.clone());
        x[setting.chosen] = number(&setting.x);
        for (values, text) in [(&mut gamma, &setting.gamma), (&mut beta, &setting.beta)] {
            let many = values.len() > 1;
            for (i, value) in values.iter_mut().enumerate() {
                if !many || parameters[i] == parameters[setting.chosen] {
                    *value = number(text);
                }
            }
        }
        let epsilon = number(&setting.epsilon);
        let start = before == (x.clone(), gamma.clone(), beta.clone())
            && epsilon == page.said["epsilon"].as_f64().unwrap()
            && setting.upstream == "given";
        let constants =
            (page.said["mode"] == "eval").then(|| ["mean", "variance"].map(|name| page.numbers(name, "values")[0]));
        let mut graph = match (page.said["layer"].as_str().unwrap(), constants) {
            ("batch", None) => Graph::batch(&x, gamma[0], beta[0], epsilon),
            ("batch", Some([mean, variance])) => Graph::evaluation(&x, gamma[0], beta[0], mean, variance, epsilon),
            ("rms", _) => Graph::rms_row(&x, &gamma, &beta, epsilon).unwrap(),
            _ => Graph::row(&x, &gamma, &beta, epsilon).unwrap(),
        };
        let n = x.len();
        let dy: Vec<f64> = match setting.upstream {
            "given" => page.numbers("y", "gradient"),
            "ones" => vec![1.0; n],
            "xhat" => graph.get("normalized").unwrap().values.clone(),
            _ => (0..n).map(|i| f64::from(u8::from(i == setting.chosen))).collect(),
        };
        graph.backward(&dy).unwrap();
        let jacobian = graph.jacobian();
        let expected = Expected { page, graph, jacobian, chosen: setting.chosen, start };
        expected.agrees_with_closed_forms(&x, &gamma, epsilon, &dy, constants);
        expected
    }

    /// The graph is not alone in what it says.
    fn agrees_with_closed_forms(
        &self,
        x: &[f64],
        gamma: &[f64],
        epsilon: f64,
        dy: &[f64],
        constants: Option<[f64; 2]>,
    ) {
        let dx = match (self.page.said["layer"].as_str().unwrap(), constants) {
            ("batch", None) => compact::backward(x, gamma[0], epsilon, dy).dx,
            ("batch", Some([mean, variance])) => compact::backward_eval(x, gamma[0], mean, variance, epsilon, dy).dx,
            ("rms", _) => rows::rms_backward(x, gamma, epsilon, dy).dx,
            _ => rows::backward(x, gamma, epsilon, dy).dx,
        };
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let r = self.graph.get("inverse").unwrap().values[0];
        // Deviations are as good as the mean beside them allows.
        let scale = largest(gamma) * r * largest(dy) * (1.0 + largest(x) * r);
        for (graph, closed) in self.graph.get("x").unwrap().gradient.iter().zip(&dx) {
            let both_none = graph.is_nan() && closed.is_nan();
            assert!(both_none || (graph - closed).abs() <= 1e-12 * scale, "{graph} for {closed}");
        }
    }

    fn values(&self, name: &str, gradient: bool) -> Vec<f64> {
        let what = if gradient { "gradient" } else { "values" };
        if self.start {
            return self.page.numbers(name, what);
        }
        let node = self.graph.get(name).unwrap();
        if gradient { node.gradient.clone() } else { node.values.clone() }
    }

    /// What a key shows.
    fn text(&self, key: &str) -> String {
        let parts: Vec<&str> = key.split(' ').collect();
        let element = |part: &str| match part {
            "i" => self.chosen,
            "r" | "c" => 0,
            other => other.parse().unwrap(),
        };
        let at = |values: &[f64], part: &str| if values.len() == 1 { values[0] } else { values[element(part)] };
        let edge = |name: &str| {
            let (from, to) = name.split_once('>').unwrap();
            let (from, to) = (self.graph.find(from).unwrap(), self.graph.find(to).unwrap());
            self.graph.edges().iter().find(move |edge| (edge.from, edge.to) == (from, to)).unwrap()
        };
        let (value, digits) = match parts[..] {
            ["v", name, i] => (at(&self.values(name, false), i), self.page.digits[name]),
            ["g", name, i] => (at(&self.values(name, true), i), DIGITS),
            ["l", name, i] => {
                let edge = edge(name);
                (if edge.join == Join::EachToOne { edge.local[0] } else { edge.local_at(element(i)) }, DIGITS)
            }
            ["f", name, i] => (at(&edge(name).gradient, i), DIGITS),
            ["n", i] => (element(i) as f64 + 1.0, DIGITS),
            ["j", i, l] => (self.jacobian[element(i) * self.graph.count() + element(l)], DIGITS),
            ["d", name] => (self.direction(name), DIGITS),
            ["s", statistic, name] => (self.statistic(statistic, name), self.page.digits[name]),
            _ => panic!("unknown key {key:?}"),
        };
        on_page(value, digits)
    }

    fn direction(&self, name: &str) -> f64 {
        let values = |name: &str| self.graph.get(name).unwrap().values.clone();
        let (dx, xhat) = (self.values("x", true), values("normalized"));
        let dy = self.graph.get("y").unwrap().gradient.clone();
        let gamma = values("gamma");
        let sum = |terms: Vec<f64>| terms.into_iter().fold(0.0, |sum, term| sum + term);
        let products: Vec<f64> = dx.iter().zip(&xhat).map(|(dx, xhat)| dx * xhat).collect();
        match name {
            "constant" => sum(dx),
            "constant_size" => sum(dx.iter().map(|dx| dx.abs()).collect()),
            "stretch" => sum(products),
            "stretch_size" => sum(products.iter().map(|product| product.abs()).collect()),
            "along" => {
                let gamma = |i: usize| if gamma.len() == 1 { gamma[0] } else { gamma[i] };
                values("inverse")[0] * sum((0..dy.len()).map(|i| gamma(i) * dy[i] * xhat[i]).collect())
            }
            _ => {
                let v = values(if self.page.rms() { "mean_square" } else { "variance" })[0];
                let epsilon = values("epsilon")[0];
                epsilon / (v + epsilon)
            }
        }
    }

    fn statistic(&self, statistic: &str, name: &str) -> f64 {
        let values = self.values(name, false);
        let n = values.len() as f64;
        let sum = |terms: Vec<f64>| terms.into_iter().fold(0.0, |sum, term| sum + term);
        let mean = sum(values.clone()) / n;
        if mean.is_nan() {
            return mean;
        }
        match statistic {
            "least" => values.iter().copied().fold(f64::INFINITY, f64::min),
            "largest" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            "mean" => mean,
            _ => (sum(values.iter().map(|value| (value - mean) * (value - mean)).collect()) / n).sqrt(),
        }
    }

    /// Panics unless texts are what keys show; how many there are.
    pub fn check(&self, shown: &[(String, String)], what: &str) -> usize {
        let mut known = HashMap::new();
        for (key, text) in shown {
            let expected = known.entry(key.clone()).or_insert_with(|| self.text(key));
            let bare = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
            assert_eq!(bare, expected, "{key}, {what}, {:?}", self.page.arguments);
        }
        known.len()
    }
}

/// The fields as the page begins.
pub fn untouched(page: &Page) -> Setting {
    let first = |name: &str| page.numbers(name, "values")[0].to_string();
    Setting {
        chosen: 0,
        x: first("x"),
        epsilon: first("epsilon"),
        gamma: first("gamma"),
        beta: first("beta"),
        upstream: "given",
    }
}

/// Arrays to explain, and the flags for them.
pub fn subjects(folder: &Path) -> Vec<Vec<&'static str>> {
    let save = |name: &str, shape: &[usize], values: &[f64]| {
        std::fs::write(folder.join(name), npy::encode(shape, values).unwrap()).unwrap();
    };
    save("far.npy", &[7, 1], &noise(7, 1e4, 1));
    save("two.npy", &[2, 1], &[1.0, 3.0]);
    save("still.npy", &[4, 1], &[3.0; 4]);
    save("many.npy", &[128, 1], &noise(128, -0.3, 2));
    save("rows.npy", &[3, 4, 3], &noise(36, 0.5, 3));
    save("dy.npy", &[3, 4, 3], &noise(36, 0.1, 4));
    let rows = ["--input", "rows.npy", "--gradient", "dy.npy", "--row", "2", "--beta", "-0.5,0.25,0,1"];
    vec![
        vec![],
        vec!["--input", "far.npy", "--gamma", "-1.3", "--beta", "1e4"],
        vec!["--input", "two.npy"],
        vec!["--input", "still.npy", "--epsilon", "0.25"],
        vec!["--input", "many.npy"],
        vec!["--input", "far.npy", "--mode", "eval", "--running-mean", "9999.5", "--running-var", "0.75"],
        [&rows[..], &["--layer", "group", "--groups", "2", "--gamma", "1.5,-1,0.5,2"]].concat(),
        vec!["--input", "rows.npy", "--layer", "norm", "--gamma", "2"],
        [&rows[..], &["--layer", "instance", "--gamma", "1,2,3,4"]].concat(),
        vec!["--input", "rows.npy", "--layer", "rms", "--row", "1"],
    ]
}
