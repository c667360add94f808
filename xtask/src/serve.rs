//! A static file server for one folder on 127.0.0.1: for looking at the site and for its browser
//! tests. Unless asked for, it sends no special headers: the site must work from any server.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Longest request head that is read, in bytes.
const MAX_HEAD: u64 = 16 << 10;
/// A connection that says nothing for this long is closed.
const PATIENCE: Duration = Duration::from_secs(10);

const ISOLATION: &str = "Cross-Origin-Opener-Policy: same-origin\r\n\
                         Cross-Origin-Embedder-Policy: require-corp\r\n";

/// A running server; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the files below `root` on `port` of 127.0.0.1; port 0 takes any that is free.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(root: impl Into<PathBuf>, port: u16) -> io::Result<Self> {
        Self::start_with(root.into(), port, "")
    }

    /// As [`Self::start`], with the headers that isolate its pages from other origins: only then
    /// does a browser lend them memory that workers share.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start_isolated(root: impl Into<PathBuf>, port: u16) -> io::Result<Self> {
        Self::start_with(root.into(), port, ISOLATION)
    }

    fn start_with(root: PathBuf, port: u16, headers: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (root, stop) = (Arc::<Path>::from(root), stop.clone());
            move || accept(&listener, &root, headers, &stop)
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// The address of the folder, with a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // Only a panic ends it, which has been reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, root: &Arc<Path>, headers: &'static str, stop: &Arc<AtomicBool>) {
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        // A connection that broke off before it was taken is the browser's business.
        let Ok(stream) = stream else { continue };
        let (root, stop) = (root.clone(), stop.clone());
        thread::spawn(move || {
            // The other side has gone: nobody is left to tell.
            let _ = answer(&stream, &root, headers, &stop);
        });
    }
}

/// Answers one request; every connection carries one.
fn answer(mut stream: &TcpStream, root: &Path, headers: &str, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = read_request(stream)?;
    // A browser may have opened the connection in advance, while the server still ran.
    if stop.load(Ordering::SeqCst) {
        return Ok(());
    }
    let reply = reply(root, &request);
    let (kind, length) = match &reply.body {
        Body::File(file, kind) => (*kind, file.metadata()?.len()),
        Body::Text(text) => ("text/plain; charset=utf-8", text.len() as u64),
    };
    let mut head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}",
        reply.status
    );
    if let Some(location) = &reply.location {
        head += &format!("Location: {location}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if request.starts_with("HEAD ") {
        return Ok(());
    }
    match reply.body {
        Body::File(file, _) => io::copy(&mut file.take(length), &mut stream).map(drop),
        Body::Text(text) => stream.write_all(text.as_bytes()),
    }
}

/// The request line, once the whole head has arrived.
fn read_request(stream: &TcpStream) -> io::Result<String> {
    let mut head = BufReader::new(stream.take(MAX_HEAD));
    let mut request = String::new();
    head.read_line(&mut request)?;
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    Ok(request)
}

struct Reply {
    status: &'static str,
    location: Option<String>,
    body: Body,
}

enum Body {
    File(File, &'static str),
    Text(&'static str),
}

impl Reply {
    fn text(status: &'static str) -> Self {
        Self { status, location: None, body: Body::Text(status) }
    }
}

/// What to answer to a request line such as `GET /adapters/index.json HTTP/1.1`.
fn reply(root: &Path, request: &str) -> Reply {
    let mut words = request.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Reply::text("400 Bad Request");
    };
    if !matches!(method, "GET" | "HEAD") {
        return Reply::text("405 Method Not Allowed");
    }
    let address = target.split(['?', '#']).next().unwrap_or_default();
    let Some(mut path) = below(root, address) else {
        return Reply::text("404 Not Found");
    };
    if path.is_dir() {
        if !address.ends_with('/') {
            let location = Some(format!("{address}/"));
            return Reply { location, ..Reply::text("301 Moved Permanently") };
        }
        path.push("index.html");
    }
    match File::open(&path) {
        Ok(file) if fs::metadata(&path).is_ok_and(|data| data.is_file()) => {
            Reply { status: "200 OK", location: None, body: Body::File(file, kind(&path)) }
        }
        _ => Reply::text("404 Not Found"),
    }
}

/// The path below `root` that a URL path names; `None` if it would leave `root`.
fn below(root: &Path, address: &str) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for part in address.strip_prefix('/')?.split('/').filter(|part| !part.is_empty()) {
        let part = percent_decoded(part)?;
        if part.starts_with('.') || part.contains(['/', '\\', ':', '\0']) {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("secret", "outside");
        write("site/index.html", "<p>start</p>");
        write("site/app.wasm", "\0asm");
        write("site/adapters/index.json", "{}");
        write("site/a b.txt", "spaced");
        write("site/.hidden", "hidden");
        folder
    }

    fn ask(server: &Server, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn files_come_with_their_type_and_length() {
        let folder = site();
        let server = Server::start(folder.path().join("site"), 0).unwrap();
        for (request, kind, body) in [
            ("GET /", "text/html; charset=utf-8", "<p>start</p>"),
            ("GET /index.html?v=1", "text/html; charset=utf-8", "<p>start</p>"),
            ("GET /app.wasm", "application/wasm", "\0asm"),
            ("GET /adapters/index.json", "application/json", "{}"),
            ("GET /a%20b.txt", "application/octet-stream", "spaced"),
        ] {
            let (head, found) = ask(&server, request);
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{request}: {head}");
            assert!(head.contains(&format!("Content-Type: {kind}\r\n")), "{request}: {head}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            assert_eq!(found, body, "{request}");
        }
        let (head, body) = ask(&server, "HEAD /index.html");
        assert!(!head.contains("Cross-Origin"), "{head}");
        assert!(head.contains("Content-Length: 12\r\n") && body.is_empty(), "{head}\n{body}");
    }

    #[test]
    fn a_folder_is_asked_for_with_a_slash() {
        let folder = site();
        let server = Server::start(folder.path(), 0).unwrap();
        let (head, _) = ask(&server, "GET /site");
        assert!(head.contains("301 Moved") && head.ends_with("Location: /site/"), "{head}");
        assert_eq!(ask(&server, "GET /site/").1, "<p>start</p>");
    }

    #[test]
    fn pages_are_isolated_on_request() {
        let folder = site();
        let server = Server::start_isolated(folder.path().join("site"), 0).unwrap();
        let (head, body) = ask(&server, "GET /");
        assert!(head.ends_with(ISOLATION.trim_end()), "{head}");
        assert_eq!(body, "<p>start</p>");
    }

    #[test]
    fn rejects_what_is_not_in_the_folder() {
        let folder = site();
        let server = Server::start(folder.path().join("site"), 0).unwrap();
        for (request, status) in [
            ("GET /missing.json", "404"),
            ("GET /adapters/", "404"),
            ("GET /../secret", "404"),
            ("GET /%2e%2e/secret", "404"),
            ("GET /..%2fsecret", "404"),
            ("GET /.hidden", "404"),
            ("GET /%zz", "404"),
            ("GET index.html", "404"),
            ("POST /index.html", "405"),
            ("GET", "400"),
        ] {
            // A lone method must stay alone: the version would be taken for the address.
            let (head, body) = if request == "GET" {
                let mut stream = TcpStream::connect(server.address).unwrap();
                stream.write_all(b"GET\r\n\r\n").unwrap();
                let mut reply = String::new();
                stream.read_to_string(&mut reply).unwrap();
                (reply, String::new())
            } else {
                ask(&server, request)
            };
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
            assert!(!body.contains("outside") && !body.contains("hidden"), "{request}");
        }
    }

    #[test]
    fn a_dropped_server_answers_nobody() {
        let folder = site();
        let server = Server::start(folder.path().join("site"), 0).unwrap();
        let address = server.address;
        let mut waiting = TcpStream::connect(address).unwrap();
        drop(server);
        assert!(TcpStream::connect(address).is_err());
        let mut reply = String::new();
        // Whether the request can still be sent or not, there is no answer to it.
        let _ = waiting.write_all(b"GET / HTTP/1.1\r\n\r\n");
        let _ = waiting.read_to_string(&mut reply);
        assert_eq!(reply, "");
    }
}
