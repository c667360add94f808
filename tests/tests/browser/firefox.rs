//! The built site in Firefox, driven over Marionette: Firefox's own remote protocol, which needs no
//! driver program. Messages are JSON with their length and a colon before them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::SamplerConfig;

use crate::{PRODUCT_CODE, kept, native::Native, site::Site};

/// Generous, because the machine may be busy; nothing that works takes this long.
const PATIENCE: Duration = Duration::from_secs(120);
const INSTALL: &str =
    "install Firefox: apt-get install -y firefox-esr (Debian), or your system's own package";

/// A headless Firefox with a fresh profile, which ends with this value.
struct Firefox {
    process: Child,
    connection: BufReader<TcpStream>,
    sent: u64,
    _profile: tempfile::TempDir,
}

impl Firefox {
    /// # Panics
    /// It is missing, or cannot be driven: with a hint.
    fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let preferences = "user_pref(\"marionette.port\", 0);\n\
                           user_pref(\"datareporting.policy.dataSubmissionEnabled\", false);\n\
                           user_pref(\"browser.shell.checkDefaultBrowser\", false);\n";
        fs::write(profile.path().join("user.js"), preferences).expect("preferences");
        let start = |program: &str| {
            Command::new(program)
                .args(["--headless", "--marionette", "--no-remote", "--profile"])
                .arg(profile.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        };
        let mut process = start("firefox-esr")
            .or_else(|_| start("firefox"))
            .unwrap_or_else(|error| panic!("Firefox cannot be started ({error}): {INSTALL}"));
        let Some(stream) = connect(profile.path()) else {
            // One that ended need not be.
            let _ = process.kill();
            panic!("Firefox did not say on which port it listens: {INSTALL}");
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let connection = BufReader::new(stream);
        let mut firefox = Self { process, connection, sent: 0, _profile: profile };
        firefox.receive();
        firefox.send("WebDriver:NewSession", &json!({}));
        firefox
    }

    /// Runs a script in the page and returns its value.
    fn script(&mut self, script: &str) -> Value {
        self.send("WebDriver:ExecuteScript", &json!({ "script": script, "args": [] }))["value"]
            .take()
    }

    /// Waits until a script gives text.
    fn until(&mut self, script: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(text) = self.script(script).as_str().filter(|text| !text.is_empty()) {
                return text.to_owned();
            }
            if started.elapsed() > PATIENCE {
                let page = self.script("return document.body.innerText");
                panic!("waited in vain for {script}; the page shows:\n{page}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn send(&mut self, command: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let message = json!([0, self.sent, command, parameters]).to_string();
        write!(self.connection.get_mut(), "{}:{message}", message.len()).expect("Firefox listens");
        let mut reply = self.receive();
        assert_eq!(reply[1], self.sent, "the reply to another command: {reply}");
        assert!(reply[2].is_null(), "{command}: {}", reply[2]);
        reply[3].take()
    }

    fn receive(&mut self) -> Value {
        let mut length = Vec::new();
        self.connection.read_until(b':', &mut length).expect("Firefox answers");
        let length =
            str::from_utf8(&length).ok().and_then(|text| text.trim_end_matches(':').parse().ok());
        let mut message = vec![0; length.expect("a length")];
        self.connection.read_exact(&mut message).expect("a whole message");
        serde_json::from_slice(&message).expect("JSON")
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection to the port that Firefox writes into its profile.
fn connect(profile: &Path) -> Option<TcpStream> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let port = fs::read_to_string(profile.join("MarionetteActivePort")).ok();
        if let Some(port) = port.and_then(|text| text.trim().parse::<u16>().ok())
            && let Ok(stream) = TcpStream::connect(("127.0.0.1", port))
        {
            return Some(stream);
        }
        thread::sleep(Duration::from_millis(50));
    }
    None
}

/// Opens the site and waits until questions can be asked.
fn visit_ready(firefox: &mut Firefox, site: &Site) {
    firefox.send("WebDriver:Navigate", &json!({ "url": site.url() }));
    let state = firefox.until(
        "const { state } = document.documentElement.dataset;
         return state === 'loading' ? '' : state",
    );
    assert_eq!(state, "ready");
}

#[test]
fn firefox_computes_the_native_engines_bits() {
    let (site, mut firefox) = (Site::start(), Firefox::start());
    visit_ready(&mut firefox, &site);
    compare(&mut firefox, &site);
}

/// From a server that sends no special headers: here, too, the service worker isolates the page.
/// With a base so large that its pieces are hashed, and bytes travel on as they come.
#[test]
fn firefox_computes_them_on_two_cores() {
    let (site, mut firefox) = (Site::start(), Firefox::start());
    site.enlarge(kept::SIZE);
    visit_ready(&mut firefox, &site);
    firefox.script("localStorage['lotwise-cores'] = '2'");
    firefox.until("return navigator.serviceWorker.controller ? 'controlled' : ''");
    visit_ready(&mut firefox, &site);
    assert_eq!(firefox.script("return document.documentElement.dataset.ranks"), "2");
    let downloaded = firefox.until("return document.documentElement.dataset.downloadedBytes");
    assert!(downloaded.parse::<u64>().unwrap() < kept::SIZE / 100, "{downloaded}");
    compare(&mut firefox, &site);
}

/// Digest and an answer, against the native engine.
fn compare(firefox: &mut Firefox, site: &Site) {
    let mut native = Native::load(site, &site.current());
    firefox.script(
        "document.querySelectorAll('details').forEach((details) => { details.open = true; });
         document.querySelector('[data-testid=self-test]').click();",
    );
    let digest = firefox.until(
        "return document.querySelector('[data-testid=self-test-result]')?.dataset.digest ?? ''",
    );
    assert_eq!(digest, native.digest());

    firefox.script(&format!(
        "const field = document.querySelector('[data-testid=question]');
         field.value = {};
         field.dispatchEvent(new Event('input', {{ bubbles: true }}));
         field.closest('form').requestSubmit();",
        json!(PRODUCT_CODE)
    ));
    let answer = firefox.until(
        "const exchange = document.querySelector('[data-testid=exchange]');
         if (exchange?.dataset.outcome !== 'answered') return '';
         return exchange.querySelector('[data-testid=answer]').textContent",
    );
    assert_eq!(answer, native.ask(PRODUCT_CODE, SamplerConfig::exact()).text);
}
