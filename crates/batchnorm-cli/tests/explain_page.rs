//! The page of `batchnorm explain` in a browser: every number it shows, with settings moved by its controls, is the
//! library's to the printed digit; keyboard, widths, light and dark; and without a script what is there from the start.

mod browser;
#[path = "support/explained.rs"]
mod explained;
// The program's own way to write numbers: its tests hold it against numbers written by hand.
#[path = "../src/explain/figure.rs"]
#[allow(dead_code)]
mod figure;
mod markup;
mod support;

use browser::{Browser, WIDTHS};
use explained::{Expected, Page, Setting, subjects, untouched};
use figure::{DIGITS, on_page};
use markup::{attributes, tags_are_closed};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use support::folder;

/// A grid of settings, each with something moved.
fn settings(page: &Page) -> Vec<Setting> {
    let x = page.numbers("x", "values");
    let of = |name: &str, chosen: usize| {
        let values = page.numbers(name, "values");
        if values.len() == 1 { values[0] } else { values[chosen] }
    };
    let mut settings = vec![untouched(page)];
    let epsilons = ["1e-12", "0.00001", "1e-3", "0.5", "7.25", "1e2", "0"];
    let upstreams = ["given", "ones", "xhat", "one"];
    let gammas = ["1", "-0.75", "1e-3", "2.5", "0", "1e6"];
    let betas = ["0", "-3", "0.1", "1e4"];
    let shifts = [0.0, 0.37, -2.5, 1e3, -1e-6];
    let most = if x.len() > 100 { 8 } else { 42 };
    for k in 0..most {
        let chosen = (k * 5 + k / 3) % x.len();
        let mut setting = Setting {
            chosen,
            x: x[chosen].to_string(),
            epsilon: of("epsilon", 0).to_string(),
            gamma: of("gamma", chosen).to_string(),
            beta: of("beta", chosen).to_string(),
            upstream: upstreams[k % 4],
        };
        // One thing at a time first, then all of them.
        let all = k > 24;
        if all || k % 4 == 0 {
            setting.x = (x[chosen] + shifts[k % shifts.len()]).to_string();
        }
        if all || k % 4 == 1 {
            setting.epsilon = epsilons[k % epsilons.len()].to_owned();
        }
        if all || k % 4 == 2 {
            setting.gamma = gammas[k % gammas.len()].to_owned();
        }
        if all || k % 4 == 3 {
            setting.beta = betas[k % betas.len()].to_owned();
        }
        settings.push(setting);
    }
    settings
}

/// The page with a script of the test's own, which must end with `leave(what)`.
fn scripted(page: &Page, script: &str) -> String {
    let script = format!(
        "<script>addEventListener('load', () => {{\n\
         const find = (id) => document.getElementById(id);\n\
         const send = (element, kind) => element.dispatchEvent(new Event(kind, {{ bubbles: true }}));\n\
         const leave = (what) => {{ const left = document.createElement('pre'); left.id = 'left'; \
         left.textContent = 'LE' + 'FT' + JSON.stringify(what) + 'LE' + 'FT'; document.body.append(left); }};\n\
         const texts = () => [...document.querySelectorAll('[data-v]')].map((element) => element.textContent);\n\
         const fields = () => Object.fromEntries(['chosen', 'x-field', 'epsilon-field', 'gamma-field', 'beta-field', 'upstream']\
         .map((id) => [id, find(id).value]));\n{script}\n}});</script></body>"
    );
    page.html.replace("</body>", &script)
}

/// What is left in a document that a browser opened, without a word on the console.
fn left_in(browser: &Browser, path: &Path, address: &str) -> Value {
    let address = format!("{}{address}", path.display());
    let shown = browser.open(Path::new(&address), &["--dump-dom", "--virtual-time-budget=3000"]);
    let console: Vec<&str> = shown.log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:?}");
    let left = shown.document.split("LEFT").nth(1).unwrap_or_else(|| panic!("the script left nothing: {}", shown.log));
    let left = left.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&");
    serde_json::from_str(&left).unwrap()
}

fn with_script(browser: &Browser, page: &Page, script: &str, address: &str) -> Value {
    let path = page.path.with_file_name("scripted.html");
    std::fs::write(&path, scripted(page, script)).unwrap();
    left_in(browser, &path, address)
}

/// Several pages at once, each in a frame of its own: a browser takes longer to start than to work.
fn with_scripts(browser: &Browser, folder: &Path, pages: &[(Page, String)]) -> Vec<Value> {
    let frames: String = pages
        .iter()
        .map(|(page, script)| scripted(page, script).replace('&', "&amp;").replace('"', "&quot;"))
        .map(|content| format!("<iframe srcdoc=\"{content}\"></iframe>"))
        .collect();
    let collect = "addEventListener('load', () => { \
        const left = [...document.querySelectorAll('iframe')].map((frame) => \
          JSON.parse(frame.contentDocument.getElementById('left').textContent.slice(4, -4))); \
        document.body.textContent = 'LE' + 'FT' + JSON.stringify(left) + 'LE' + 'FT'; })";
    let path = folder.join("frames.html");
    let around = format!("<!DOCTYPE html><meta charset=utf-8><script>{collect}</script><body>{frames}</body></html>");
    std::fs::write(&path, around).unwrap();
    serde_json::from_value(left_in(browser, &path, "")).unwrap()
}

fn pairs(page: &Page, texts: &Value) -> Vec<(String, String)> {
    let texts: Vec<String> = serde_json::from_value(texts.clone()).unwrap();
    let keys = page.shown();
    assert_eq!(texts.len(), keys.len());
    keys.into_iter().map(|(key, _)| key).zip(texts).collect()
}

#[test]
fn every_number_is_the_librarys_to_the_printed_digit_from_the_start_without_a_script() {
    let folder = folder();
    for arguments in subjects(folder.path()) {
        let page = Page::new(folder.path(), &arguments);
        let shown = page.shown();
        let count = Expected::new(&page, &untouched(&page)).check(&shown, "the file");
        // Each node's values and gradients, each edge, the statistics, the sums, the Jacobian's entry.
        let each = page.numbers("x", "values").len();
        assert!(count > 6 * 2 * each + 30, "{count} of {arguments:?}");
    }
}

#[test]
fn every_number_is_the_librarys_to_the_printed_digit_with_every_setting() {
    let Some(browser) = Browser::find_or_say("the page of explain") else { return };
    let folder = folder();
    let subjects = subjects(folder.path());
    let pages = subjects.iter().map(|arguments| {
        let page = Page::new(folder.path(), arguments);
        let fields = |setting: &Setting| {
            json!([
                ["chosen", setting.chosen.to_string()],
                ["x-field", setting.x],
                ["epsilon-field", setting.epsilon],
                ["gamma-field", setting.gamma],
                ["beta-field", setting.beta],
                ["upstream", setting.upstream],
            ])
        };
        let script = format!(
            "const left = [texts()];\n\
             for (const setting of {}) {{\n\
               find('reset').click();\n\
               for (const [id, value] of setting) {{ find(id).value = value; send(find(id), 'input'); }}\n\
               left.push(texts());\n\
             }}\n\
             find('reset').click(); find('chosen').value = '0'; send(find('chosen'), 'input');\n\
             left.push(texts());\n\
             leave(left);",
            settings(&page).iter().map(fields).collect::<Value>()
        );
        (page, script)
    });
    let pages: Vec<(Page, String)> = pages.collect();
    for ((page, _), left) in pages.iter().zip(with_scripts(&browser, folder.path(), &pages)) {
        let (settings, left) = (settings(page), left.as_array().unwrap());
        assert_eq!(left.len(), settings.len() + 2);
        let at_start = Expected::new(page, &untouched(page));
        at_start.check(&pairs(page, &left[0]), "as loaded");
        at_start.check(&pairs(page, &left[left.len() - 1]), "back at the start");
        let mut moved = HashSet::new();
        for (setting, texts) in settings.iter().zip(&left[1..]) {
            Expected::new(page, setting).check(&pairs(page, texts), &format!("{setting:?}"));
            moved.insert(texts.to_string());
        }
        assert!(moved.len() > settings.len() / 2, "settings do something: {:?}", page.arguments);
    }
}

#[test]
fn sliders_and_addresses_set_what_fields_do() {
    let Some(browser) = Browser::find_or_say("the page of explain") else { return };
    let folder = folder();
    for arguments in [vec![], vec!["--layer", "group", "--groups", "2", "--gamma", "1,2,3,4"]] {
        let page = Page::new(folder.path(), &arguments);
        let script = "const left = [];\n\
            const values = find('chosen').options.length;\n\
            for (const [k, along] of [0, 137, 500, 641, 1000].entries()) {\n\
              find('chosen').value = String(k % values); send(find('chosen'), 'input');\n\
              for (const name of ['x', 'epsilon', 'gamma', 'beta']) {\n\
                const slider = find(name + '-slider');\n\
                slider.value = String((along + 90 * name.length) % 1001); send(slider, 'input');\n\
                left.push([fields(), texts()]);\n\
              }\n\
              if (along !== 1000) find('reset').click();\n\
            }\n\
            setTimeout(() => { left.push(location.hash); leave(left); }, 500);";
        let left = with_script(&browser, &page, script, "");
        let setting = |fields: &Value| {
            let of = |id: &str| fields[id].as_str().unwrap().to_owned();
            Setting {
                chosen: of("chosen").parse().unwrap(),
                x: of("x-field"),
                epsilon: of("epsilon-field"),
                gamma: of("gamma-field"),
                beta: of("beta-field"),
                upstream: "given",
            }
        };
        let mut seen = HashSet::new();
        let states = left.as_array().unwrap();
        for state in &states[..20] {
            let setting = setting(&state[0]);
            Expected::new(&page, &setting).check(&pairs(&page, &state[1]), &format!("{setting:?}"));
            seen.insert(format!("{setting:?}"));
        }
        assert!(seen.len() > 12, "{seen:?}");
        // The address that the last one left gives the same page again.
        let (state, address) = (&states[19], states[20].as_str().unwrap());
        assert!(address.starts_with('#') && address.contains("beta"), "{address}");
        let again = with_script(&browser, &page, "leave([fields(), texts()]);", address);
        assert_eq!((&again[0], &again[1]), (&state[0], &state[1]));
    }
    // An address with nonsense in it is the start.
    let page = Page::new(folder.path(), &[]);
    let nonsense = "#chosen=99&x.77=1&gamma=much&epsilon=-1&upstream=none&node=constructor&=&%E0%A4&x";
    let again = with_script(&browser, &page, "leave(texts());", nonsense);
    Expected::new(&page, &untouched(&page)).check(&pairs(&page, &again), "nonsense");
}

#[test]
fn it_is_worked_by_keyboard_and_says_what_it_shows() {
    let Some(browser) = Browser::find_or_say("the page of explain") else { return };
    let folder = folder();
    let page = Page::new(folder.path(), &[]);
    let script = "
        const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
        const link = (name) => document.querySelector(`a.node[data-node=${name}]`);
        const visible = () => [...document.querySelectorAll('.detail')].filter((detail) => !detail.hidden).map((detail) => detail.dataset.node);
        const left = { start: visible(), reachable: [...document.querySelectorAll('a.node[tabindex=\"0\"]')].length, way: [] };
        link('x').focus();
        for (let k = 0; k < 9; k++) { press('ArrowDown'); left.way.push(document.activeElement.dataset.node); }
        left.shown = visible();
        left.current = [...document.querySelectorAll('a.node[aria-current=true]')].map((node) => node.dataset.node);
        press('ArrowUp'); press('ArrowRight'); left.right = document.activeElement.dataset.node;
        press('Enter'); left.heading = document.activeElement.id;
        link('variance').dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }));
        left.clicked = visible();
        left.links = [...document.querySelectorAll('.link.own')].map((edge) => edge.dataset.link);
        find('heat-box').focus();
        press('ArrowDown'); press('ArrowDown'); press('ArrowRight'); press('ArrowUp');
        left.entry = document.querySelector('.entry').textContent.trim();
        for (let k = 0; k < 20; k++) press('ArrowRight');
        left.edge = document.querySelector('.entry').textContent.trim();
        find('epsilon-field').value = 'little'; send(find('epsilon-field'), 'input');
        left.invalid = [find('epsilon-field').getAttribute('aria-invalid'), find('message').textContent];
        send(find('epsilon-field'), 'change');
        left.mended = [find('epsilon-field').value, find('epsilon-field').getAttribute('aria-invalid'), find('message').textContent];
        left.slider = find('epsilon-slider').getAttribute('aria-valuetext');
        const still = [find('still').hidden];
        for (const i of [0, 1, 2, 3, 4, 5, 6, 7]) {
          find('chosen').value = String(i); send(find('chosen'), 'input');
          find('x-field').value = '4'; send(find('x-field'), 'input');
          still.push(find('still').hidden);
        }
        left.still = still;
        find('reset').click();
        find('beta-field').value = '2'; send(find('beta-field'), 'input');
        document.querySelector('[data-strip=x] [data-i=\"4\"]').dispatchEvent(new MouseEvent('click', { bubbles: true }));
        left.dot = find('chosen').value;
        // Who does not see: names of all that can be reached.
        left.nameless = [...document.querySelectorAll('input, select, button, a, [tabindex=\"0\"]')]
          .filter((element) => !(element.labels?.length || element.getAttribute('aria-label') || element.textContent.trim())).length;
        setTimeout(() => { left.said = find('said').textContent; left.hash = location.hash; leave(left); }, 700);";
    let left = with_script(&browser, &page, script, "");
    assert_eq!(left["start"], json!(["x"]));
    assert_eq!(left["reachable"], 1, "one stop for Tab");
    let way = left["way"].as_array().unwrap();
    assert_eq!(way[0], "mean");
    assert_eq!(way[1], "centered");
    assert_eq!(way[8], "y", "{way:?}");
    assert_eq!((&left["shown"], &left["current"]), (&json!(["y"]), &json!(["y"])));
    assert_eq!(left["right"], "beta");
    assert_eq!(left["heading"], "title-beta");
    assert_eq!(left["clicked"], json!(["variance"]));
    assert_eq!(left["hash"], "#chosen=5&beta=2&node=variance");
    assert_eq!(left["links"], json!(["squared>variance", "variance>deviation"]));
    let entry = |r: usize, c: usize| {
        let value = page.said["jacobian"][r][c].as_f64().unwrap();
        format!("\u{2202}y{} / \u{2202}x{} = {}", r + 1, c + 1, on_page(value, DIGITS))
    };
    assert_eq!(left["entry"], entry(1, 1));
    assert_eq!(left["edge"], entry(1, 7));
    assert_eq!(left["invalid"], json!(["true", "\u{3b5}: expected a number from 0 to 1e100."]));
    assert_eq!(left["mended"], json!(["0.00001", null, ""]));
    assert_eq!(left["slider"], "0.00001");
    // The example's last value is 4 from the start.
    assert_eq!(left["still"], json!([true, true, true, true, true, true, true, false, false]));
    assert_eq!(left["dot"], "4");
    assert_eq!(left["nameless"], 0);
    let said = left["said"].as_str().unwrap();
    assert!(said.starts_with("mean 5, variance 4; value 5: x 9, y 5, gradient "), "{said}");
}

#[test]
fn it_stands_alone_and_is_well_formed_whatever_names_hold() {
    let folder = folder();
    let hostile = "</script><img src=x onerror=alert(1)> {{data}} & \"it's\".csv";
    let table = "\"</title><script>alert(2)</script>\"\n1\n2\n4\n";
    // A slash cannot be in a name.
    let name = hostile.replace('/', "\u{2215}");
    std::fs::write(folder.path().join(&name), table).unwrap();
    let mut all = subjects(folder.path());
    all.push(vec!["--input", Box::leak(name.clone().into_boxed_str())]);
    for arguments in all {
        let page = Page::new(folder.path(), &arguments).html;
        for request in
            ["http:", "https:", "//cdn", " src=", "url(h", "@import", "<link", "<iframe", "<img", "fetch(", "XMLHttp"]
        {
            assert!(!page.replace("&lt;img src=x", "").contains(request), "{request} in the page");
        }
        for href in attributes(&page, " href=\"") {
            assert!(href.starts_with("#node-"), "{href}");
        }
        assert!(page.contains("default-src 'none'"));
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("{{") || page.contains("{{data}} &amp; &quot;it&#39;s&quot;"), "a place was left open");
        tags_are_closed(&page);
        let ids = attributes(&page, " id=\"");
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "ids twice: {ids:?}");
        for name in attributes(&page, " aria-labelledby=\"").into_iter().chain(attributes(&page, " for=\"")) {
            assert!(ids.contains(&name), "{name} names nothing");
        }
        for href in attributes(&page, " href=\"#") {
            assert!(ids.contains(&href), "{href} leads nowhere");
        }
        for svg in page.split("<svg").skip(1) {
            let tag = &svg[..svg.find('>').unwrap()];
            assert!(tag.contains("role=\"") && tag.contains("aria-label"), "{tag}");
        }
        for table in page.split("<table>").skip(1) {
            assert!(
                table.starts_with("\n<caption>") && table.contains("scope=\"col\"") && table.contains("scope=\"row\"")
            );
        }
        assert!(page.len() < 1_000_000, "{} bytes", page.len());
    }
    let page = std::fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(
        page.contains(
            "&lt;\u{2215}script&gt;&lt;img src=x onerror=alert(1)&gt; {{data}} &amp; &quot;it&#39;s&quot;.csv"
        )
    );
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(2)&lt;/script&gt;"));
}

#[test]
fn a_browser_shows_it_without_complaint_at_every_width_in_light_and_dark() {
    let Some(browser) = Browser::find_or_say("the page of explain") else { return };
    let folder = folder();
    subjects(folder.path());
    for arguments in [&["--input", "far.npy", "--gamma", "-1.3", "--beta", "1e4"][..], &["--input", "many.npy"]] {
        let page = Page::new(folder.path(), arguments);
        assert_eq!(browser.console(&page.path), Vec::<String>::new(), "{arguments:?}");
        // One in light and one in dark: what fits does not depend on it.
        for (dark, ground) in [(false, "rgb(255, 255, 255)"), (true, "rgb(22, 23, 27)")] {
            if dark != (arguments.len() == 2) {
                continue;
            }
            let measures = browser.measure(&page.html, folder.path(), dark);
            assert_eq!(measures.len(), WIDTHS.len());
            for ((frame, wanted, background), width) in measures.into_iter().zip(WIDTHS) {
                assert_eq!(frame, width);
                assert!(wanted <= width, "{wanted} wide in {width}, dark: {dark}");
                assert_eq!(background, ground, "dark: {dark}");
            }
        }
    }
    // Without a script nothing that is said is hidden, and no control is there that does nothing.
    let page = Page::new(folder.path(), &[]).html;
    let details = attributes(&page, "<section class=\"detail\" id=\"");
    assert_eq!(details.len(), 13);
    assert!(
        page.split("<section class=\"detail\"").skip(1).all(|tag| !tag[..tag.find('>').unwrap()].contains("hidden"))
    );
    assert!(page.contains("<form id=\"controls\" class=\"controls\" hidden "));
}
