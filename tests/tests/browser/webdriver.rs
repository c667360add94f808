//! A headless Chromium, driven over WebDriver. The interface is synchronous: a test reads as what a
//! user does and sees.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use ::bench::Chromium;
use fantoccini::{Locator, elements::Element, error::CmdError, wd::WindowHandle};
use serde_json::{Value, json};

/// Generous, because the machine may be busy; nothing that works takes this long.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// A browser with a fresh profile, which ends with this value.
pub struct Browser(Chromium);

/// One exchange of the chat, as the page shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// `answered`, `not-asked` or `failed`.
    pub outcome: String,
    /// The answer's text.
    pub text: String,
    /// The line that names the adapter.
    pub adapter: String,
    /// How the answer is marked.
    pub verdict: String,
    /// How sure the model was.
    pub confidence: Option<String>,
    /// Values that no record states, joined.
    pub unverified: String,
}

/// An error panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The error's code.
    pub code: String,
    /// Headline.
    pub title: String,
    /// What happened.
    pub detail: String,
    /// What to do.
    pub next_step: String,
}

impl Browser {
    /// Starts the driver and a browser.
    ///
    /// # Panics
    /// One of them is missing: with a hint on how to install it.
    pub fn start() -> Self {
        Self(Chromium::start().unwrap_or_else(|error| panic!("no browser: {error:#}")))
    }

    /// Opens an address.
    pub fn visit(&self, url: &str) {
        self.wait(self.0.client().goto(url));
    }

    /// Opens an address and waits until questions can be asked.
    pub fn visit_ready(&self, url: &str) {
        self.visit(url);
        self.wait_ready();
    }

    /// Empties the browser's store, so that the next visit is a first one.
    pub fn forget(&self) {
        self.async_script(
            "const done = arguments[arguments.length - 1];
             caches.keys()
                 .then((names) => Promise.all(names.map((name) => caches.delete(name))))
                 .then(done);",
        );
    }

    /// Waits until questions can be asked.
    pub fn wait_ready(&self) {
        self.until("the page is ready", || (self.root("state") == "ready").then_some(()));
    }

    /// The value of a `data-` attribute of the root element, named in camel case; empty if absent.
    pub fn root(&self, name: &str) -> String {
        let script = "return document.documentElement.dataset[arguments[0]] ?? ''";
        text(&self.script(script, vec![json!(name)]))
    }

    /// Types into a field.
    pub fn type_into(&self, id: &str, keys: &str) {
        self.wait(self.find(id).send_keys(keys));
    }

    /// Types a question, sends it with the Enter key, and waits for the end of the answer.
    pub fn ask(&self, question: &str) -> Shown {
        let before = self.count("exchange");
        self.type_into("question", &format!("{question}\n"));
        self.answer(before, question)
    }

    /// Waits for the end of the answer that follows `before` others.
    pub fn answer(&self, before: usize, question: &str) -> Shown {
        let read = "
            const exchanges = document.querySelectorAll('[data-testid=exchange]');
            const last = exchanges[exchanges.length - 1];
            if (exchanges.length <= arguments[0] || last.dataset.outcome === 'streaming') return null;
            const part = (id) => last.querySelector(`[data-testid=${id}]`);
            return {
                outcome: last.dataset.outcome,
                text: part('answer').textContent,
                adapter: part('answer-adapter')?.textContent ?? '',
                verdict: part('answer-mark')?.dataset.verdict ?? '',
                confidence: part('answer-confidence')?.dataset.confidence ?? null,
                unverified: part('answer-unverified')?.querySelector('b').textContent ?? '',
            };";
        let shown = self.until(&format!("{question:?} is answered"), || {
            let shown = self.script(read, vec![json!(before)]);
            (!shown.is_null()).then_some(shown)
        });
        self.wait_ready();
        Shown {
            outcome: text(&shown["outcome"]),
            text: text(&shown["text"]),
            adapter: text(&shown["adapter"]),
            verdict: text(&shown["verdict"]),
            confidence: shown["confidence"].as_str().map(str::to_owned),
            unverified: text(&shown["unverified"]),
        }
    }

    /// Chooses a published version and waits until it answers.
    pub fn choose_adapter(&self, version: &str) {
        self.wait(self.find("adapter-select").select_by_value(version));
        self.until(&format!("adapter {version} is in use"), || {
            (self.root("adapter") == version && self.root("state") == "ready").then_some(())
        });
    }

    /// Chooses an option of a list.
    pub fn choose(&self, id: &str, value: &str) {
        self.wait(self.find(id).select_by_value(value));
    }

    /// Whether the browser keeps a file whose address contains `part`.
    pub fn keeps(&self, part: &str) -> bool {
        let urls = self.async_script(
            "const done = arguments[arguments.length - 1];
             caches.keys()
                 .then((names) => Promise.all(names.map((name) => caches.open(name))))
                 .then((caches) => Promise.all(caches.map((cache) => cache.keys())))
                 .then((keys) => done(keys.flat().map((request) => request.url)));",
        );
        urls.as_array().is_some_and(|urls| urls.iter().any(|url| text(url).contains(part)))
    }

    /// Opens adapter files of this computer, and waits until they are in use or refused.
    pub fn open_adapter(&self, files: &[PathBuf]) {
        let before = (self.root("adapter"), self.root("error"));
        let list: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        self.wait(self.find("adapter-files").send_keys(&list.join("\n")));
        self.until("the adapter is in use or refused", || {
            let now = (self.root("adapter"), self.root("error"));
            (now != before && self.root("state") == "ready").then_some(())
        });
    }

    /// Waits for an error panel.
    pub fn panel(&self) -> Panel {
        let read = "
            const panel = document.querySelector('[data-testid=error-panel]');
            if (!panel) return null;
            return [panel.dataset.error, ...['[data-testid=error-title]',
                '[data-testid=error-detail]', '.next-step'].map((s) => panel.querySelector(s).textContent)];";
        let shown = self.until("an error is shown", || {
            let shown = self.script(read, vec![]);
            (!shown.is_null()).then_some(shown)
        });
        Panel {
            code: text(&shown[0]),
            title: text(&shown[1]),
            detail: text(&shown[2]),
            next_step: text(&shown[3]),
        }
    }

    /// Opens a tab and goes there; tells which tabs are there now.
    pub fn open_tab(&self) -> Vec<WindowHandle> {
        let tab = self.wait(self.0.client().new_window(true)).handle;
        self.go_to(&tab);
        self.wait(self.0.client().windows())
    }

    /// Goes to a tab.
    pub fn go_to(&self, tab: &WindowHandle) {
        self.wait(self.0.client().switch_to_window(tab.clone()));
    }

    /// Unfolds the panels at the side, so that what is in them can be clicked.
    pub fn unfold(&self) {
        self.script("document.querySelectorAll('details').forEach((d) => d.open = true)", vec![]);
    }

    /// Clicks what downloads a file, and returns the file.
    pub fn download(&self, id: &str) -> Vec<u8> {
        self.click(id);
        let file = self.until(&format!("{id} has downloaded a file"), || {
            let files = fs::read_dir(self.0.downloads()).expect("the folder of downloads");
            let mut paths = files.map(|file| file.expect("a file").path());
            // While it is being written it has another ending, or is still empty.
            paths.find(|path| {
                path.extension()
                    .is_some_and(|end| ["json", "jsonl", "csv"].iter().any(|e| end == *e))
                    && fs::metadata(path).is_ok_and(|file| file.len() > 0)
            })
        });
        let bytes = fs::read(&file).expect("the downloaded file");
        fs::remove_file(&file).expect("the downloaded file is removed");
        bytes
    }

    /// The value of a `data-` attribute, named in camel case, of an element; empty if absent.
    pub fn data(&self, id: &str, name: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.dataset[arguments[1]] ?? ''";
        text(&self.script(script, vec![json!(selector(id)), json!(name)]))
    }

    /// The text of an element, folded or not; empty if absent.
    pub fn text(&self, id: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.textContent ?? ''";
        text(&self.script(script, vec![json!(selector(id))]))
    }

    /// Clicks an element.
    pub fn click(&self, id: &str) {
        self.wait(self.find(id).click());
    }

    /// How many elements have this id now.
    pub fn count(&self, id: &str) -> usize {
        self.wait(self.0.client().find_all(Locator::Css(&selector(id)))).len()
    }

    /// Waits until `check` gives a value.
    ///
    /// # Panics
    /// It gives none for a long time: with what the page shows instead.
    pub fn until<T>(&self, what: &str, check: impl Fn() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(value) = check() {
                return value;
            }
            if started.elapsed() > PATIENCE {
                let page = self.script("return document.body.innerText", vec![]);
                panic!("waited in vain until {what}; the page shows:\n{}", text(&page));
            }
            thread::sleep(POLL);
        }
    }

    /// Runs a script in the page and returns its value.
    pub fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.wait(self.0.client().execute(script, arguments))
    }

    /// Runs a script that hands its value to the function which is its last argument.
    pub fn async_script(&self, script: &str) -> Value {
        self.wait(self.0.client().execute_async(script, vec![]))
    }

    fn find(&self, id: &str) -> Element {
        self.wait(self.0.client().find(Locator::Css(&selector(id))))
    }

    #[track_caller]
    fn wait<T>(&self, command: impl Future<Output = Result<T, CmdError>>) -> T {
        self.0.run(command).unwrap_or_else(|error| panic!("WebDriver: {error}"))
    }
}

fn selector(id: &str) -> String {
    format!("[data-testid='{id}']")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
