//! The audit log as a table, for spreadsheets. The log itself is the JSONL: only that can be
//! verified.

use shared::{AuditRecord, Result};

const COLUMNS: [&str; 24] = [
    "sequence",
    "time",
    "question",
    "read_as",
    "withdrawn",
    "answer",
    "verdict",
    "confidence",
    "stop",
    "adapter_version",
    "adapter_sha256",
    "base_sha256",
    "engine_version",
    "engine_sha256",
    "engine_ranks",
    "decoding",
    "temperature",
    "top_p",
    "top_k",
    "max_new_tokens",
    "no_repeat_ngram_size",
    "seed",
    "previous",
    "hash",
];

/// One row for each line of the log, under a header. Row ends are CRLF (RFC 4180).
///
/// # Errors
/// A line that is no record: the log is broken there.
pub fn table(lines: &[String]) -> Result<String> {
    let mut table = row(&COLUMNS.map(str::to_owned));
    for line in lines {
        let AuditRecord { sequence, event, previous, hash, .. } =
            AuditRecord::parse(line.as_bytes())?;
        let sampler = event.sampler;
        table += &row(&[
            sequence.to_string(),
            event.time,
            event.question,
            event.read_as.unwrap_or_default(),
            event.withdrawn.unwrap_or_default(),
            event.answer,
            word(&event.verdict),
            event.confidence.map_or_else(String::new, |score| score.to_string()),
            event.stop.map_or_else(String::new, |stop| word(&stop)),
            event.adapter.version,
            event.adapter.sha256,
            event.base_sha256,
            event.engine.version,
            event.engine.sha256,
            event.engine.ranks.map_or_else(String::new, |ranks| ranks.to_string()),
            word(&event.decoding),
            sampler.temperature.to_string(),
            sampler.top_p.to_string(),
            sampler.top_k.to_string(),
            sampler.max_new_tokens.to_string(),
            sampler.no_repeat_ngram_size.to_string(),
            sampler.seed.to_string(),
            previous,
            hash,
        ]);
    }
    Ok(table)
}

/// The name of a value, as the JSONL has it.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).expect("a name has no map with odd keys");
    value.as_str().unwrap_or_default().to_owned()
}

fn row(cells: &[String; COLUMNS.len()]) -> String {
    cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// Quoted where it has to be. What a spreadsheet would run as a formula gets an apostrophe in
/// front, which makes it text there.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use shared::{
        AnswerVerdict, AuditAdapter, AuditEngine, AuditEvent, AuditHead, Decoding, SamplerConfig,
        StopReason,
    };

    use super::*;

    fn line(question: &str) -> String {
        let event = AuditEvent {
            time: "2025-04-14T08:30:00Z".into(),
            question: question.into(),
            read_as: None,
            withdrawn: None,
            answer: "No, \"never\".".into(),
            tokens: vec![1, 2],
            verdict: AnswerVerdict::NoRecord,
            confidence: Some(0.75),
            stop: Some(StopReason::EndToken),
            adapter: AuditAdapter { version: "v1".into(), sha256: "a".repeat(64) },
            base_sha256: "b".repeat(64),
            engine: AuditEngine { version: "0.1.0".into(), sha256: "c".repeat(64), ranks: None },
            sampler: SamplerConfig::production(),
            decoding: Decoding::Free,
        };
        AuditRecord::after(&AuditHead::default(), event).unwrap().to_line().unwrap()
    }

    #[test]
    fn a_row_holds_the_record() {
        let table = table(&[line("Who?")]).unwrap();
        let rows: Vec<&str> = table.split("\r\n").collect();
        assert_eq!(rows.len(), 3, "{table}");
        assert!(rows[0].starts_with("sequence,time,question,read_as,withdrawn,answer,verdict,"));
        let start =
            "1,2025-04-14T08:30:00Z,Who?,,,\"No, \"\"never\"\".\",no_record,0.75,end_token,v1,";
        assert!(rows[1].starts_with(start), "{}", rows[1]);
        assert!(rows[1].contains(",free,0.3,0.85,40,150,3,0,"), "{}", rows[1]);
    }

    #[test]
    fn formulas_and_line_breaks_stay_text() {
        assert_eq!(quoted("=1+1"), "'=1+1");
        assert_eq!(quoted("@x,\ny"), "\"'@x,\ny\"");
        assert_eq!(quoted("plain - text"), "plain - text");
    }

    #[test]
    fn rejects_a_line_that_was_changed() {
        assert!(table(&[line("Who?").replace("Who?", "Whom?")]).is_err());
    }
}
