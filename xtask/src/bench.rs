//! `cargo xtask bench train`: our trainer and PEFT, step by step in turn, on the same examples.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{process, python, workspace::Workspace};

const SHAPES: [&str; 2] = ["embedded", "smollm2-135m"];
/// Largest relative difference of a step's loss, and of its gradient's norm.
const TOLERANCE: f64 = 1e-3;
/// Steps that are not counted.
const WARM_UP: usize = 1;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Counted steps of each side.
    pub steps: usize,
    /// Threads of each side.
    pub threads: usize,
    /// Only this shape, if there is one.
    pub shape: Option<String>,
}

/// Runs the comparison and prints it.
///
/// # Errors
/// Python or one of its packages is missing, a side fails, or the losses differ.
pub fn train(workspace: &Workspace, options: &Options) -> Result<()> {
    let python = python::ensure(workspace)?;
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--release",
        "--quiet",
        "--package",
        "trainer",
        "--example",
        "train_bench",
    ]);
    process::run(cargo.current_dir(&workspace.root))?;
    let ours = workspace.target.join("release/examples/train_bench");
    if let Some(shape) = &options.shape {
        ensure!(
            SHAPES.contains(&shape.as_str()),
            "unknown shape {shape:?}: expected {}",
            SHAPES.join(" or ")
        );
    }
    let wanted = |shape: &&str| options.shape.as_deref().is_none_or(|only| only == *shape);
    for shape in SHAPES.into_iter().filter(wanted) {
        let folder = workspace.target.join("bench").join(shape);
        let steps = options.steps + WARM_UP;
        let mut prepare = Command::new(&ours);
        prepare.args(["prepare", shape]).arg(&folder).arg(steps.to_string());
        process::run(prepare.current_dir(&workspace.root))?;
        compare(shape, &ours, &python, &folder, options)?;
    }
    Ok(())
}

fn compare(
    shape: &str,
    ours: &Path,
    python: &Path,
    folder: &Path,
    options: &Options,
) -> Result<()> {
    let threads = options.threads.to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/train_peft.py");
    let mut trainer = Command::new(ours);
    trainer.arg("run").arg(folder).arg(&threads);
    let mut peft = Command::new(python);
    peft.arg(script).arg(folder).arg(&threads).env("OMP_NUM_THREADS", &threads);
    let mut sides = [Side::start("trainer", trainer)?, Side::start("PEFT", peft)?];
    for step in 0..options.steps + WARM_UP {
        let [a, b] = [sides[0].step()?, sides[1].step()?];
        for (name, a, b) in [("loss", a.loss, b.loss), ("gradient norm", a.norm, b.norm)] {
            ensure!(
                ((a - b) / b).abs() <= TOLERANCE,
                "{shape}, step {}: the {name} is {a} in the trainer and {b} in PEFT",
                step + 1
            );
        }
        if step >= WARM_UP {
            sides[0].steps.push(a);
            sides[1].steps.push(b);
        }
    }
    println!(
        "\n{shape}, {} threads, batch 2 x 8, median of {} steps in turn; losses and gradient \
         norms agree within {TOLERANCE}",
        options.threads, options.steps
    );
    println!("          s/step  examples/s  tokens/s  peak memory");
    let figures = sides.each_ref().map(Side::figures);
    for (side, figures) in sides.iter().zip(&figures) {
        println!(
            "{:8} {:>7.3} {:>11.2} {:>9.0} {:>9.0} MB",
            side.name,
            figures.seconds,
            figures.examples,
            figures.tokens,
            figures.peak / 1e6
        );
    }
    println!(
        "{:8} {:>19.2}x {:>8.2}x {:>10.0} %",
        "ratio",
        figures[0].examples / figures[1].examples,
        figures[0].tokens / figures[1].tokens,
        100.0 * figures[0].peak / figures[1].peak
    );
    println!(
        "tokens are those that each side sends through the model: PEFT pads and repeats the \
         system prompt, the trainer does not"
    );
    Ok(())
}

/// What a side said of a step.
#[derive(Debug, Clone, Copy)]
struct Step {
    loss: f64,
    norm: f64,
    seconds: f64,
    examples: f64,
    tokens: f64,
    peak: f64,
}

#[derive(Debug)]
struct Figures {
    seconds: f64,
    examples: f64,
    tokens: f64,
    peak: f64,
}

/// A process that trains when it is told to.
struct Side {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    steps: Vec<Step>,
}

impl Side {
    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            bail!("{name} has no pipes");
        };
        let output = BufReader::new(output);
        let mut side = Self { name, child, input, output, steps: Vec::new() };
        side.answer()?;
        Ok(side)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).with_context(|| format!("read {}", self.name))?;
        ensure!(!line.is_empty(), "{} ended; its message is above", self.name);
        Ok(line)
    }

    fn step(&mut self) -> Result<Step> {
        writeln!(self.input).with_context(|| format!("tell {} to go on", self.name))?;
        let line = self.answer()?;
        parse(&line).with_context(|| format!("{} said {line:?}", self.name))
    }

    fn figures(&self) -> Figures {
        let of = |value: fn(&Step) -> f64| median(self.steps.iter().map(value).collect());
        Figures {
            seconds: of(|step| step.seconds),
            examples: of(|step| step.examples / step.seconds),
            tokens: of(|step| step.tokens / step.seconds),
            peak: self.steps.iter().map(|step| step.peak).fold(0.0, f64::max),
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // It waits for input; nothing is lost. Whether it had ended already is no matter here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Option<Step> {
    let fields: HashMap<&str, f64> = line
        .split_whitespace()
        .map(|field| {
            field.split_once('=').and_then(|(key, value)| Some((key, value.parse().ok()?)))
        })
        .collect::<Option<_>>()?;
    let get = |key| fields.get(key).copied();
    Some(Step {
        loss: get("loss")?,
        norm: get("grad_norm")?,
        seconds: get("seconds")?,
        examples: get("examples")?,
        tokens: get("tokens")?,
        peak: get("peak")?,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_one_two_odd_and_even_counts() {
        assert!(median(Vec::new()).is_nan());
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![3.0, 1.0]), 2.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), 3.0);
    }

    #[test]
    fn a_step_is_read_whole_or_not_at_all() {
        let line = "loss=2.5 grad_norm=1e-1 seconds=0.5 examples=16 tokens=800 peak=1000\n";
        let step = parse(line).unwrap();
        assert_eq!((step.loss, step.norm, step.tokens), (2.5, 0.1, 800.0));
        assert!(parse("loss=2.5 grad_norm=1").is_none());
        assert!(parse(&line.replace("2.5", "x")).is_none());
    }
}
