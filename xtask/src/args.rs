//! The command line.

use anyhow::{Result, bail};

/// Port of the demo's server.
const PORT: u16 = 8080;

/// What `--help` says.
pub const USAGE: &str = "\
Developer commands of Lotwise.

cargo demo [--no-serve] [--port N]
    Trains the sample adapter, evaluates and publishes it, builds the site and serves it on
    127.0.0.1 (port 8080, or N; 0 for any). Installs trunk and wasm-bindgen if they are missing.

cargo verify
    Format, lints (native and WebAssembly), all tests (native, WebAssembly, browser).
    As root on Debian it installs Chromium, its driver, Firefox and Node.js if they are missing.

cargo xtask setup
    Installs what is missing of the above, and nothing else.

cargo xtask dist
    Builds the site into web/dist.

cargo xtask bench train [--steps N] [--threads N] [--shape embedded|smollm2-135m]
    Our trainer and PEFT in turn on the sample data: examples/s, tokens/s, peak memory, same
    losses. Needs Python 3; its packages go into target/bench/venv, or come with the Python that
    LOTWISE_PYTHON names.

cargo xtask interop
    Adapters between the trainer and PEFT, both ways, and trainer/scripts/train_peft.py on one and
    two processes; ends with the built site (web/dist) answering from adapters that PEFT trained.
    Needs Python 3 as bench train does.

cargo xtask serve [--port N]
    Serves web/dist as it is.

cargo xtask bench browser [--shapes 135m,1b] [--threads 1,2] [--runs 5] ...
    Measures the built site's engine in a headless Chromium beside wllama, candle and
    onnxruntime-web, and beside native llama.cpp, on model files with random weights, and compares
    the logits with the native engine's. Needs Node.js with npm, and Python 3 for onnxruntime.
    `cargo xtask bench browser --help` tells all options, such as leaving engines out.
";

/// A command with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Say what there is.
    Help,
    /// Train, publish, build, serve.
    Demo {
        /// Whether to serve at the end.
        serve: bool,
        /// Port to serve on; 0 for any.
        port: u16,
    },
    /// Benchmarks, with the arguments behind `bench`.
    Bench(Vec<String>),
    /// All checks.
    Verify,
    /// Install tools, browser and Node.js.
    Setup,
    /// Compare the trainer with PEFT.
    BenchTrain(crate::bench::Options),
    /// Prove that adapters go to PEFT and back.
    Interop,
    /// Build the site.
    Dist,
    /// Serve the built site.
    Serve {
        /// Port to serve on; 0 for any.
        port: u16,
    },
}

/// Reads the arguments behind `cargo xtask`.
///
/// # Errors
/// An unknown command or option, an option that the command does not have, or a bad port.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command> {
    let name = arguments.next().unwrap_or_else(|| "--help".into());
    if name == "bench" {
        let arguments: Vec<String> = arguments.collect();
        return match arguments.split_first() {
            Some((what, options)) if what == "train" => parse_bench_train(options),
            _ => Ok(Command::Bench(arguments)),
        };
    }
    let (mut serve, mut port) = (true, PORT);
    while let Some(argument) = arguments.next() {
        match (name.as_str(), argument.as_str()) {
            (_, "-h" | "--help") => return Ok(Command::Help),
            ("demo", "--no-serve") => serve = false,
            ("demo" | "serve", "--port") => {
                let value = arguments.next().unwrap_or_default();
                port = match value.parse() {
                    Ok(port) => port,
                    Err(_) => bail!("--port: expected 0 to 65535, found {value:?}"),
                };
            }
            _ => bail!("{name}: unknown option {argument:?}\n\n{USAGE}"),
        }
    }
    Ok(match name.as_str() {
        "-h" | "--help" | "help" => Command::Help,
        "demo" => Command::Demo { serve, port },
        "verify" => Command::Verify,
        "setup" => Command::Setup,
        "interop" => Command::Interop,
        "dist" => Command::Dist,
        "serve" => Command::Serve { port },
        _ => bail!("unknown command {name:?}\n\n{USAGE}"),
    })
}

fn parse_bench_train(options: &[String]) -> Result<Command> {
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let mut bench = crate::bench::Options { steps: 5, threads, shape: None };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let value = options.next().map(String::as_str).unwrap_or_default();
        let number = || match value.parse() {
            Ok(number @ 1..=1000) => Ok(number),
            _ => bail!("{option}: expected 1 to 1000, found {value:?}"),
        };
        match option.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--steps" => bench.steps = number()?,
            "--threads" => bench.threads = number()?,
            "--shape" => bench.shape = Some(value.to_owned()),
            _ => bail!("bench train: unknown option {option:?}\n\n{USAGE}"),
        }
    }
    Ok(Command::BenchTrain(bench))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command> {
        super::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_commands_and_options() {
        assert_eq!(parse("").unwrap(), Command::Help);
        assert_eq!(parse("demo").unwrap(), Command::Demo { serve: true, port: PORT });
        assert_eq!(
            parse("demo --no-serve --port 0").unwrap(),
            Command::Demo { serve: false, port: 0 }
        );
        assert_eq!(parse("interop").unwrap(), Command::Interop);
        assert_eq!(parse("serve --port 9000").unwrap(), Command::Serve { port: 9000 });
        let bench = crate::bench::Options { steps: 2, threads: 3, shape: Some("x".into()) };
        assert_eq!(
            parse("bench train --steps 2 --threads 3 --shape x").unwrap(),
            Command::BenchTrain(bench)
        );
        assert_eq!(parse("verify --help").unwrap(), Command::Help);
        let arguments = vec!["browser".to_owned(), "--help".to_owned()];
        assert_eq!(parse("bench browser --help").unwrap(), Command::Bench(arguments));
    }

    #[test]
    fn rejects_what_it_does_not_know() {
        for (line, said) in [
            ("deploy", "unknown command"),
            ("verify --no-serve", "unknown option"),
            ("demo --fast", "unknown option"),
            ("demo --port", "--port"),
            ("serve --port 70000", "70000"),
            ("bench train --steps 0", "--steps"),
            ("bench train --fast", "unknown option"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
