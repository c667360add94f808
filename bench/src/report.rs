//! What was measured, as a table and as JSON.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::statistics::median;

/// The engine that the others are compared with.
pub const OURS: &str = "lotwise";
/// The same engine without a browser.
pub const NATIVE: &str = "lotwise-native";
/// Largest distance of a peer's logits from ours, relative to their length. Peers round
/// activations more coarsely or in other places; a wrong rotation or a forgotten layer is off by
/// the logits' whole length.
const FAR: f64 = 0.25;

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
    /// How far its logits are from ours, relative to their length, if it tells them.
    pub logits_off: Option<f64>,
    /// Everything else that its page or program said, for each run.
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
            logits_off: None,
            said: Vec::new(),
            error: None,
        }
    }

    /// Notes the `runs` of a page or program, or that it failed: then the engine is not asked
    /// again. Of its `logits`, the distance from `expected` is kept.
    pub fn note(&mut self, said: Result<Value>, expected: &[f32]) {
        let mut said = match said {
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
        let logits = said.as_object_mut().and_then(|said| said.remove("logits"));
        if let Some(logits) = logits.as_ref().and_then(Value::as_array) {
            let off = distance(logits, expected);
            if off.is_none_or(|off| off > FAR) {
                self.error = Some(format!("computes something else: logits are off by {off:?}"));
            }
            self.logits_off = off;
        }
        self.said.push(said);
    }

    /// Of the bandwidth at which one core reads, the share that decoding needs for the weights, and
    /// that bandwidth in GB/s; `None` unless a page has told both. Medians of the runs.
    fn share_of_bandwidth(&self) -> Option<(f64, f64)> {
        let told = |name: &str| -> Vec<f64> {
            self.said.iter().filter_map(|said| said[name].as_f64()).collect()
        };
        let of = |name| median(&told(name));
        let (packed, ranks, gbps) = (of("packed_bytes")?, of("ranks")?, of("read_gbps")?);
        Some((median(&self.decode_tps)? * packed / ranks / (gbps * 1e9), gbps))
    }
}

/// Length of the difference over length, of as many values as `found` has; `None` if these are no
/// numbers, or more than expected.
fn distance(found: &[Value], expected: &[f32]) -> Option<f64> {
    let expected = expected.get(..found.len())?;
    let (mut off, mut length) = (0.0, 0.0);
    for (found, &expected) in found.iter().zip(expected) {
        let expected = f64::from(expected);
        off += (found.as_f64()? - expected).powi(2);
        length += expected.powi(2);
    }
    (length > 0.0).then(|| (off / length).sqrt())
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
                "\n{}, {} thread(s), {} + {} tokens\n{:<16} {:>5} {:>10} {:>10} {:>10} {:>10} {:>8}",
                case.model,
                case.threads,
                case.prompt_tokens,
                case.decode_tokens,
                "engine",
                "runs",
                "prefill/s",
                "decode/s",
                "ours is x",
                "ours is x",
                "logits"
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
                    "{:<16} {:>5} {:>10} {:>10} {:>10} {:>10} {:>8}",
                    engine.name,
                    engine.decode_tps.len(),
                    cell(prefill),
                    cell(decode),
                    ratio(ours.and_then(|ours| median(&ours.prefill_tps)), prefill),
                    ratio(ours.and_then(|ours| median(&ours.decode_tps)), decode),
                    engine.logits_off.map_or("-".into(), |off| format!("{:.1} %", 100.0 * off)),
                );
                if let Some(error) = &engine.error {
                    let _ = writeln!(table, "    failed: {error}");
                }
            }
            if let Some((share, gbps)) = case.ours().and_then(Engine::share_of_bandwidth) {
                let share = 100.0 * share;
                let _ = writeln!(
                    table,
                    "decode takes weights at {share:.0} % of the {gbps:.1} GB/s that one core reads"
                );
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

    fn peer_said(logits: Value) -> Value {
        json!({"runs": [{"prefill_tps": 10.0, "decode_tps": 4.0}], "logits": logits})
    }

    #[test]
    fn a_peer_that_computes_something_else_has_failed() {
        for (logits, expected) in [
            (json!([-3.0, 4.0]), vec![3.0, 4.0]),
            (json!([3.0, "x"]), vec![3.0, 4.0]),
            (json!([3.0, 4.0]), vec![3.0]),
        ] {
            let mut peer = Engine::new("peer");
            peer.note(Ok(peer_said(logits)), &expected);
            assert!(peer.error.is_some());
        }
    }

    fn case(digest: &str) -> Case {
        let mut ours = Engine::new(OURS);
        ours.note(
            Ok(json!({"digest": digest, "runs": [
            {"prefill_tps": 100.0, "decode_tps": 10.0},
            {"prefill_tps": 300.0, "decode_tps": 30.0},
            {"prefill_tps": 200.0, "decode_tps": 20.0}],
            "packed_bytes": 5e8, "ranks": 2, "read_gbps": 10.0})),
            &[],
        );
        let mut peer = Engine::new("peer");
        peer.note(Ok(peer_said(json!([3.0, 4.4]))), &[3.0, 4.0]);
        let mut broken = Engine::new("broken");
        broken.note(Ok(json!({"runs": []})), &[]);
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
        assert_eq!(cells, ["peer", "1", "10.0", "4.0", "20.0", "5.0", "8.0", "%"]);
        assert!(table.contains("failed: no runs"), "{table}");
        // 20 tokens/s of 500 MB over two ranks are 5 of 10 GB/s.
        assert!(table.contains("at 50 % of the 10.0 GB/s"), "{table}");
        report.check().unwrap();
    }

    #[test]
    fn rejects_other_logits_and_failures_of_ours() {
        let report = Report { machine: String::new(), cases: vec![case("ff")] };
        assert!(report.table().contains("LOGITS DIFFER"));
        assert!(report.check().unwrap_err().to_string().contains("logits"));
        let mut failed = case("0123456789abcdef01");
        failed.engines[0].note(Err(anyhow::anyhow!("out of memory")), &[]);
        let report = Report { machine: String::new(), cases: vec![failed] };
        assert!(report.check().unwrap_err().to_string().contains("out of memory"));
    }
}
