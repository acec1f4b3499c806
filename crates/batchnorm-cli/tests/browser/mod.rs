//! A page in headless Chromium. Where there is none, a test says so and passes.

// Not every test uses all of it.
#![allow(dead_code)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// Widths of a small phone, a phone, a tablet, a window.
pub const WIDTHS: [u32; 4] = [320, 390, 768, 1280];
/// A page is shown in a second or two; this is for machines that are busy.
const LIMIT: Duration = Duration::from_secs(120);

/// What a page did in the browser.
pub struct Shown {
    pub status: ExitStatus,
    pub document: String,
    pub log: String,
}

pub struct Browser {
    program: PathBuf,
}

impl Browser {
    /// The browser named by CHROMIUM, or one on the path.
    pub fn find() -> Option<Browser> {
        let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
        let usual = ["chromium", "chromium-browser", "google-chrome"].map(PathBuf::from);
        let runs =
            |program: &PathBuf| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
        named.into_iter().chain(usual).find(runs).map(|program| Browser { program })
    }

    /// The browser, or `None` past a word on the harness's stderr, which shows nothing of a test that passes.
    pub fn find_or_say(what: &str) -> Option<Browser> {
        let browser = Browser::find();
        if browser.is_none() {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: {what} was not opened in a browser: no chromium on the path and none named by CHROMIUM"
            );
        }
        browser
    }

    /// Opens a file with a fresh profile, without any service of the browser's own.
    pub fn open(&self, page: &Path, arguments: &[&str]) -> Shown {
        let folder = tempfile::tempdir().unwrap();
        let (out, err) = (folder.path().join("out"), folder.path().join("err"));
        let mut child = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--enable-logging=stderr", "--v=0"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .expect("the browser starts");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > LIMIT {
                child.kill().unwrap();
                panic!("no answer from the browser; it said: {}", std::fs::read_to_string(&err).unwrap());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Shown { status, document: read(&out), log: read(&err) }
    }

    /// The lines a page put on the console.
    pub fn console(&self, page: &Path) -> Vec<String> {
        let shown = self.open(page, &["--dump-dom"]);
        assert!(shown.status.success() && shown.document.contains("</html>"), "{}", shown.log);
        shown.log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect()
    }

    /// Fails unless a page is silent, no wider than what it is shown on, and light or dark as is asked.
    pub fn shows(&self, path: &Path, page: &str) {
        assert_eq!(self.console(path), Vec::<String>::new());
        for (dark, ground) in [(false, "rgb(255, 255, 255)"), (true, "rgb(22, 23, 27)")] {
            let measures = self.measure(page, path.parent().expect("it is a file's"), dark);
            assert_eq!(measures.len(), WIDTHS.len());
            for ((frame, wanted, background), width) in measures.into_iter().zip(WIDTHS) {
                assert_eq!(frame, width);
                assert!(wanted <= width, "{wanted} wide in {width}, dark: {dark}");
                assert_eq!(background, ground, "dark: {dark}");
            }
        }
    }

    /// At each width, how wide the page wants to be, and its background. The page stands in a frame of that width,
    /// since a window has a least width of its own; the page around it measures.
    pub fn measure(&self, page: &str, folder: &Path, dark: bool) -> Vec<(u32, u32, String)> {
        let content = page.replace('&', "&amp;").replace('"', "&quot;");
        let frames: String = WIDTHS
            .iter()
            .map(|width| {
                format!("<iframe style=\"border:0;width:{width}px;height:800px\" srcdoc=\"{content}\"></iframe>")
            })
            .collect();
        let measure = "addEventListener('load', () => { \
            document.body.textContent = [...document.querySelectorAll('iframe')].map(frame => { \
              const page = frame.contentDocument; \
              return [frame.clientWidth, page.documentElement.scrollWidth, \
                      frame.contentWindow.getComputedStyle(page.body).backgroundColor].join(';'); \
            }).join('|') + '|'; })";
        let path = folder.join("frames.html");
        let around = format!(
            "<!DOCTYPE html><meta charset=utf-8><meta name=color-scheme content=\"light dark\">\
             <script>{measure}</script><body>{frames}</body></html>"
        );
        std::fs::write(&path, around).unwrap();
        let scheme = format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 });
        let shown = self.open(&path, &["--dump-dom", &scheme]);
        let start = shown.document.find("<body>").expect("a body") + "<body>".len();
        let rows = shown.document[start..].split('|').take(WIDTHS.len());
        let row = |row: &str| {
            let mut parts = row.split(';');
            let mut number = || parts.next().unwrap().parse().unwrap_or_else(|_| panic!("no measure: {row:.200}"));
            (number(), number(), parts.next().unwrap().to_owned())
        };
        rows.map(row).collect()
    }
}
