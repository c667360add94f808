//! What was measured, as a table and as JSON.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::statistics::median;

/// The engine that the others are compared with.
pub const OURS: &str = "lotwise";

/// Everything that a benchmark found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What ran the benchmark.
    pub machine: String,
    /// One entry for every model and number of threads.
    pub cases: Vec<Case>,
}

/// One model on one number of threads.
#[derive(Debug, Serialize)]
pub struct Case {
    /// The model's file name.
    pub model: String,
    /// Number of threads.
    pub threads: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub decode_tokens: usize,
    /// The digest of the native engine's logits.
    pub native_digest: Option<String>,
    /// The engines, ours first.
    pub engines: Vec<Engine>,
}

/// One engine's runs.
#[derive(Debug, Serialize)]
pub struct Engine {
    /// Name.
    pub name: String,
    /// Tokens of the prompt per second, for each run.
    pub prefill_tps: Vec<f64>,
    /// Generated tokens per second, for each run.
    pub decode_tps: Vec<f64>,
    /// Everything that its page or program said, for each run.
    pub said: Vec<Value>,
    /// Why there is nothing more.
    pub error: Option<String>,
}

impl Engine {
    /// An engine that has not run yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prefill_tps: Vec::new(),
            decode_tps: Vec::new(),
            said: Vec::new(),
            error: None,
        }
    }

    /// Notes the `runs` of a page or program, or that it failed: then the engine is not asked
    /// again.
    pub fn note(&mut self, said: Result<Value>) {
        let said = match said {
            Ok(said) => said,
            Err(error) => {
                self.error = Some(format!("{error:#}"));
                return;
            }
        };
        let runs = said["runs"].as_array().cloned().unwrap_or_default();
        for run in &runs {
            match (run["prefill_tps"].as_f64(), run["decode_tps"].as_f64()) {
                (Some(prefill), Some(decode)) => {
                    self.prefill_tps.push(prefill);
                    self.decode_tps.push(decode);
                }
                _ => self.error = Some(format!("a run without numbers: {run}")),
            }
        }
        if runs.is_empty() {
            self.error = Some(format!("no runs: {said}"));
        }
        self.said.push(said);
    }
}

impl Case {
    fn ours(&self) -> Option<&Engine> {
        self.engines.iter().find(|engine| engine.name == OURS)
    }

    /// Digests of our engine's logits that are not the native engine's.
    fn wrong_digests(&self) -> Vec<String> {
        let Some((expected, ours)) = self.native_digest.as_ref().zip(self.ours()) else {
            return Vec::new();
        };
        let digest = |said: &Value| said["digest"].as_str().unwrap_or("none").to_owned();
        ours.said.iter().map(digest).filter(|digest| digest != expected).collect()
    }
}

impl Report {
    /// Medians, and how many times as fast as each other engine ours is.
    pub fn table(&self) -> String {
        let mut table = format!("\n{}\n", self.machine);
        for case in &self.cases {
            let _ = writeln!(
                table,
                "\n{}, {} thread(s), {} + {} tokens\n{:<16} {:>5} {:>10} {:>10} {:>10} {:>10}",
                case.model,
                case.threads,
                case.prompt_tokens,
                case.decode_tokens,
                "engine",
                "runs",
                "prefill/s",
                "decode/s",
                "ours is x",
                "ours is x"
            );
            for engine in &case.engines {
                let cell = |value: Option<f64>| match value {
                    Some(value) if value < 100.0 => format!("{value:.1}"),
                    Some(value) => format!("{value:.0}"),
                    None => "-".into(),
                };
                let (prefill, decode) = (median(&engine.prefill_tps), median(&engine.decode_tps));
                let ratio = |ours: Option<f64>, theirs: Option<f64>| {
                    cell(ours.zip(theirs).map(|(ours, theirs)| ours / theirs))
                };
                let ours = case.ours();
                let _ = writeln!(
                    table,
                    "{:<16} {:>5} {:>10} {:>10} {:>10} {:>10}",
                    engine.name,
                    engine.decode_tps.len(),
                    cell(prefill),
                    cell(decode),
                    ratio(ours.and_then(|ours| median(&ours.prefill_tps)), prefill),
                    ratio(ours.and_then(|ours| median(&ours.decode_tps)), decode),
                );
                if let Some(error) = &engine.error {
                    let _ = writeln!(table, "    failed: {error}");
                }
            }
            match (&case.native_digest, case.wrong_digests()) {
                (Some(digest), wrong) if wrong.is_empty() => {
                    let _ =
                        writeln!(table, "logits: those of the native engine, {}", &digest[..16]);
                }
                (Some(digest), wrong) => {
                    let _ = writeln!(table, "LOGITS DIFFER: native {digest}, page {wrong:?}");
                }
                (None, _) => {}
            }
        }
        table
    }

    /// # Errors
    /// Our engine failed or computed other logits than natively.
    pub fn check(&self) -> Result<()> {
        for case in &self.cases {
            let wrong = case.wrong_digests();
            if !wrong.is_empty() {
                bail!("{}: logits differ from the native engine's", case.model);
            }
            if let Some(error) = case.ours().and_then(|ours| ours.error.as_ref()) {
                bail!("{}: {error}", case.model);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn case(digest: &str) -> Case {
        let mut ours = Engine::new(OURS);
        ours.note(Ok(json!({"digest": digest, "runs": [
            {"prefill_tps": 100.0, "decode_tps": 10.0},
            {"prefill_tps": 300.0, "decode_tps": 30.0},
            {"prefill_tps": 200.0, "decode_tps": 20.0}]})));
        let mut peer = Engine::new("peer");
        peer.note(Ok(json!({"runs": [{"prefill_tps": 10.0, "decode_tps": 4.0}]})));
        let mut broken = Engine::new("broken");
        broken.note(Ok(json!({"runs": []})));
        Case {
            model: "model".into(),
            threads: 1,
            prompt_tokens: 8,
            decode_tokens: 2,
            native_digest: Some("0123456789abcdef01".into()),
            engines: vec![ours, peer, broken],
        }
    }

    #[test]
    fn ratios_are_those_of_medians() {
        let report = Report { machine: "here".into(), cases: vec![case("0123456789abcdef01")] };
        let table = report.table();
        let peer = table.lines().find(|line| line.starts_with("peer")).unwrap();
        let cells: Vec<_> = peer.split_whitespace().collect();
        assert_eq!(cells, ["peer", "1", "10.0", "4.0", "20.0", "5.0"]);
        assert!(table.contains("failed: no runs"), "{table}");
        report.check().unwrap();
    }

    #[test]
    fn rejects_other_logits_and_failures_of_ours() {
        let report = Report { machine: String::new(), cases: vec![case("ff")] };
        assert!(report.table().contains("LOGITS DIFFER"));
        assert!(report.check().unwrap_err().to_string().contains("logits"));
        let mut failed = case("0123456789abcdef01");
        failed.engines[0].note(Err(anyhow::anyhow!("out of memory")));
        let report = Report { machine: String::new(), cases: vec![failed] };
        assert!(report.check().unwrap_err().to_string().contains("out of memory"));
    }
}
