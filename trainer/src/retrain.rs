//! Whether a new adapter may replace the current one.

use std::fmt::Write as _;

use crate::eval::{FileReport, Metrics};

/// What every file of questions has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// Least share of exact answers.
    pub min_exact_match: f64,
    /// Largest share of answers with made-up values.
    pub max_hallucination: f64,
    /// Least share of refusals where there is no answer.
    pub min_refusal: f64,
    /// By how much each share may be worse than the current adapter's.
    pub allowance: f64,
}

/// What the gate found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// One line per figure: new, current, and what it had to reach.
    pub table: String,
    /// Why the new adapter may not be published; empty if it may.
    pub reasons: Vec<String>,
}

/// Rounding must not decide.
const EPSILON: f64 = 1e-9;

impl Gate {
    /// Compares the reports on the same files; `current` is empty where nothing is published.
    pub fn decide(&self, new: &[FileReport], current: &[FileReport]) -> Decision {
        let mut decision = Decision::default();
        for file in new {
            let old = current.iter().find(|old| old.file == file.file).map(|old| &old.metrics);
            let _ = writeln!(decision.table, "{}: {} questions", file.file, file.metrics.questions);
            for (name, limit, is_floor, of) in self.figures() {
                let Some(found) = of(&file.metrics) else { continue };
                let before = old.and_then(of);
                let said = before.map_or("-".into(), percent);
                let side = if is_floor { "at least" } else { "at most" };
                let _ = writeln!(
                    decision.table,
                    "  {name:14} {:>8}   current {said:>8}   {side} {}",
                    percent(found),
                    percent(limit)
                );
                // A figure that should be small is compared with its sign turned.
                let sign = if is_floor { 1.0 } else { -1.0 };
                if sign * found + EPSILON < sign * limit {
                    decision.reasons.push(format!(
                        "{}: {name} is {}, required is {side} {}",
                        file.file,
                        percent(found),
                        percent(limit)
                    ));
                }
                if let Some(before) = before
                    && sign * found + self.allowance + EPSILON < sign * before
                {
                    decision.reasons.push(format!(
                        "{}: {name} is {}, the current adapter has {}: more than the allowed {} \
                         worse",
                        file.file,
                        percent(found),
                        percent(before),
                        percent(self.allowance)
                    ));
                }
            }
        }
        decision
    }

    fn figures(&self) -> [Figure; 3] {
        [
            ("exact match", self.min_exact_match, true, |metrics| metrics.exact_match),
            ("hallucination", self.max_hallucination, false, |metrics| metrics.hallucination),
            ("refusal", self.min_refusal, true, |metrics| metrics.refusal),
        ]
    }
}

/// Name, limit, whether that is the least (and not the most) allowed, and where it is found.
type Figure = (&'static str, f64, bool, fn(&Metrics) -> Option<f64>);

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::eval::Verdict;

    const GATE: Gate =
        Gate { min_exact_match: 0.5, max_hallucination: 0.25, min_refusal: 0.5, allowance: 0.1 };

    /// `right` of ten answerable questions answered, `invented` of the others made up.
    fn report(right: usize, invented: usize) -> Vec<FileReport> {
        let verdicts: Vec<Verdict> = (0..10)
            .map(|i| Verdict {
                answerable: true,
                right: i < right,
                value_match: i < right,
                hallucination: i >= 10 - invented,
                refusal: None,
                mark: shared::AnswerVerdict::Matched,
            })
            .collect();
        vec![FileReport {
            file: "q.jsonl".into(),
            sha256: "0".repeat(64),
            metrics: Metrics::of(&verdicts),
            kinds: BTreeMap::new(),
            batches: BTreeMap::new(),
            fields: BTreeMap::new(),
        }]
    }

    #[test]
    fn as_good_as_required_and_as_before_may_be_published() {
        for (new, current) in [
            (report(5, 2), Vec::new()),
            (report(8, 1), report(8, 1)),
            // Exactly the allowance worse, and much better.
            (report(8, 2), report(9, 1)),
            (report(10, 0), report(5, 2)),
        ] {
            let decision = GATE.decide(&new, &current);
            assert!(decision.reasons.is_empty(), "{:?}", decision.reasons);
            assert_eq!(decision.table.lines().count(), 3, "{}", decision.table);
        }
    }

    #[test]
    fn every_shortfall_is_a_reason() {
        let decision = GATE.decide(&report(4, 3), &[]);
        assert_eq!(decision.reasons.len(), 2, "{:?}", decision.reasons);
        assert!(decision.reasons[0].contains("exact match is 40.0 %, required is at least 50.0 %"));
        assert!(decision.reasons[1].contains("hallucination is 30.0 %, required is at most 25.0"));
        let decision = GATE.decide(&report(7, 2), &report(9, 0));
        assert_eq!(decision.reasons.len(), 2, "{:?}", decision.reasons);
        assert!(decision.reasons[0].contains("is 70.0 %, the current adapter has 90.0 %"));
        assert!(decision.reasons[1].contains("is 20.0 %, the current adapter has 0.0 %"));
    }

    #[test]
    fn a_file_that_the_current_adapter_was_not_asked_has_only_its_limits() {
        let mut current = report(10, 0);
        current[0].file = "other.jsonl".into();
        assert!(GATE.decide(&report(5, 0), &current).reasons.is_empty());
    }
}
