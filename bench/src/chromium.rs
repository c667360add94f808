//! A headless Chromium, driven over WebDriver.

use std::{
    env,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

const INSTALL: &str = "install Chromium and its driver: apt-get install -y chromium chromium-driver \
                       (Debian), or your system's own packages";

/// A browser with a fresh profile, which ends with this value.
pub struct Chromium {
    runtime: Runtime,
    client: Client,
    _driver: Driver,
    downloads: tempfile::TempDir,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts the driver and a browser.
    ///
    /// # Errors
    /// One of them is missing: with a hint on how to install it.
    pub fn start() -> Result<Self> {
        let profile = tempfile::tempdir().context("make a folder for the profile")?;
        let downloads = tempfile::tempdir().context("make a folder for downloads")?;
        let driver = Driver::start()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut options = json!({ "args": [
            "--headless=new",
            // Root, as in most containers, has no sandbox; /dev/shm is small there.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            format!("--user-data-dir={}", profile.path().display()),
        ], "prefs": {
            "download.default_directory": downloads.path(),
            // Several files at once are no nuisance here.
            "profile.default_content_setting_values.automatic_downloads": 1,
        }});
        // Elsewhere the driver finds its own browser, such as Google Chrome.
        if let Some(chromium) = on_path("chromium") {
            options["binary"] = json!(chromium);
        }
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        let client = runtime
            .block_on(
                ClientBuilder::new(HttpConnector::new())
                    .capabilities(capabilities)
                    .connect(&driver.url),
            )
            .with_context(|| format!("start a browser session; {INSTALL}"))?;
        Ok(Self { runtime, client, _driver: driver, downloads, _profile: profile })
    }

    /// The session, for commands that [`Self::run`] runs.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a command to its end.
    pub fn run<T>(&self, command: impl Future<Output = T>) -> T {
        self.runtime.block_on(command)
    }

    /// Where the browser puts what a page downloads.
    pub fn downloads(&self) -> &Path {
        self.downloads.path()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Ends the browser; the driver alone would leave it running. A browser that has crashed
        // cannot be closed, and the driver ends in any case.
        let close = self.client.clone().close();
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(10), close).await });
    }
}

/// A running chromedriver.
struct Driver {
    process: Child,
    url: String,
}

impl Driver {
    fn start() -> Result<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start chromedriver; {INSTALL}"))?;
        let mut output = BufReader::new(process.stdout.take().context("its output is piped")?);
        let mut driver = Self { process, url: String::new() };
        let mut line = String::new();
        while driver.url.is_empty() {
            line.clear();
            if output.read_line(&mut line).context("read what chromedriver says")? == 0 {
                bail!("chromedriver did not say on which port it listens; {INSTALL}");
            }
            let said = "ChromeDriver was started successfully on port ";
            if let Some(port) = line.trim().strip_prefix(said) {
                driver.url = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
            }
        }
        // What else it says must go somewhere, or it would wait.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        Ok(driver)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file())
}
