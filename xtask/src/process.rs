//! Other programs: run, watched, stopped.

use std::{
    fs,
    io::{BufRead, BufReader, Write, pipe, stdout},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// How much of a log is shown when its program failed.
const TAIL_LINES: usize = 40;

/// Tells programs that run in the background to end.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends them.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs a program with this terminal as its own.
///
/// # Errors
/// It cannot be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command.status().with_context(|| format!("start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

/// Runs a program with its output appended to a log, until it ends or is cancelled.
///
/// # Errors
/// It cannot be started, was cancelled, or fails: then with the end of its log.
pub fn run_logged(command: &mut Command, log: &Path, cancel: &Cancel) -> Result<()> {
    let line = line(command);
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))?;
    writeln!(file, "$ {line}").with_context(|| format!("write {}", log.display()))?;
    let start = file.metadata().with_context(|| log.display().to_string())?.len();
    let errors = file.try_clone().with_context(|| log.display().to_string())?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("start `{line}`"))?;
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("wait for `{line}`"))? {
            if status.success() {
                return Ok(());
            }
            let said = fs::read(log).with_context(|| format!("read {}", log.display()))?;
            let said = said.get(start as usize..).unwrap_or_default();
            bail!("`{line}` failed ({status}):\n{}", tail(&String::from_utf8_lossy(said)));
        }
        if cancel.is_cancelled() {
            child.kill().with_context(|| format!("stop `{line}`"))?;
            child.wait().with_context(|| format!("wait for `{line}`"))?;
            bail!("`{line}` was stopped");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a program, shows its output and hands every line of it to `on_line`. Returns whether it
/// succeeded.
///
/// # Errors
/// It cannot be started or read.
pub fn run_watched(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<bool> {
    let shown = line(command);
    let (reader, writer) = pipe().context("make a pipe")?;
    let errors = writer.try_clone().context("make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("start `{shown}`"))?;
    // The command keeps its ends of the pipe open, and the reader would wait for them for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).with_context(|| format!("read `{shown}`"))? > 0 {
        stdout().write_all(&bytes).context("write to the terminal")?;
        on_line(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    Ok(child.wait().with_context(|| format!("wait for `{shown}`"))?.success())
}

/// Runs a program with this terminal for its messages, and returns what it prints.
///
/// # Errors
/// It cannot be started or fails.
pub fn read(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("start `{line}`"))?;
    ensure!(output.status.success(), "`{line}` failed ({})", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a program prints, or `None` if it is not there or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_shows_its_own_log_only() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("logs/tools.log");
        run_logged(&mut shell("echo first"), &log, &Cancel::default()).unwrap();
        let failed = run_logged(&mut shell("echo second >&2; exit 3"), &log, &Cancel::default());
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("second") && !error.contains("\nfirst"), "{error}");
        let all = fs::read_to_string(&log).unwrap();
        assert!(all.contains("first") && all.contains("second"), "{all}");
    }

    #[test]
    fn a_cancelled_program_ends() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::default();
        cancel.cancel();
        let started = Instant::now();
        let ended = run_logged(&mut shell("exec sleep 60"), &folder.path().join("log"), &cancel);
        assert!(ended.unwrap_err().to_string().contains("stopped"));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn both_streams_are_watched_in_order() {
        let mut lines = Vec::new();
        let watch = |line: &str| lines.push(line.to_owned());
        assert!(!run_watched(&mut shell("echo a; echo b >&2; echo c; exit 1"), watch).unwrap());
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn what_a_program_prints_is_read() {
        assert_eq!(read(&mut shell("echo a; echo b")).unwrap(), "a\nb\n");
        let error = read(&mut shell("exit 7")).unwrap_err().to_string();
        assert!(error.contains("exit 7"), "{error}");
    }

    #[test]
    fn a_missing_program_has_no_output() {
        assert_eq!(output(&mut Command::new("no-such-program")), None);
        assert_eq!(output(&mut shell("exit 1")), None);
        assert_eq!(output(&mut shell("echo yes")).as_deref(), Some("yes"));
    }

    #[test]
    fn a_tail_is_the_end() {
        let text: String = (0..100).map(|line| format!("{line}\n")).collect();
        let tail = tail(&text);
        assert!(tail.starts_with("60\n") && tail.ends_with("\n99"), "{tail}");
        assert_eq!(super::tail("one"), "one");
    }
}
