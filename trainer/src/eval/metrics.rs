//! Many verdicts, counted.

use serde::Serialize;
use shared::AnswerVerdict;

use crate::eval::bounds::{at_least, at_most};
use crate::eval::verdict::{Refusal, Verdict};

/// Counts and fractions over a set of questions. A fraction of no questions is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// Questions asked.
    pub questions: usize,
    /// Those not answered in the words of the reference, or not refused although they should be.
    pub wrong: usize,
    /// Of the questions with an answer: answered in its very words.
    pub exact_match: Option<f64>,
    /// Of the same: every value of the reference stands in the answer.
    pub value_match: Option<f64>,
    /// Of all questions: the answer states a value that is neither in reference nor question.
    pub hallucination: Option<f64>,
    /// Of the questions without an answer: refused.
    pub refusal: Option<f64>,
    /// Questions with an answer.
    pub answerable: usize,
    /// Questions without one.
    pub unanswerable: usize,
    /// Questions that the guard refused without asking the model.
    pub guard_refused: usize,
    /// Questions that the model refused itself.
    pub model_refused: usize,
    /// Questions refused although they have an answer.
    pub false_refusals: usize,
    /// Answers that the page withholds, because they state what is not on record, and in whose place
    /// no refusal stands.
    pub unverified: usize,
    /// Answers that the page would mark as undecided or left open.
    pub undecided: usize,
    /// Answers and refusals that the page lets stand: neither unverified nor undecided nor unchecked.
    pub standing: usize,
    /// Of those, the wrong ones.
    pub standing_wrong: usize,
    /// What the fractions promise beyond this sample.
    pub bounds: Bounds,
}

/// Bounds of the fractions, 95 % confidence, one-sided, Clopper-Pearson.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bounds {
    /// How they were computed.
    pub method: &'static str,
    /// Lower bound of `exact_match`.
    pub exact_match_at_least: Option<f64>,
    /// Lower bound of `value_match`.
    pub value_match_at_least: Option<f64>,
    /// Upper bound of `hallucination`.
    pub hallucination_at_most: Option<f64>,
    /// Lower bound of `refusal`.
    pub refusal_at_least: Option<f64>,
    /// Upper bound of the share of wrong answers among those that stand.
    pub standing_wrong_at_most: Option<f64>,
}

impl Metrics {
    /// The four shares by name.
    pub fn shares(&self) -> [(&'static str, Option<f64>); 4] {
        [
            ("exact_match", self.exact_match),
            ("value_match", self.value_match),
            ("hallucination", self.hallucination),
            ("refusal", self.refusal),
        ]
    }

    /// Counts verdicts.
    pub fn of<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Self {
        let verdicts: Vec<&Verdict> = verdicts.into_iter().collect();
        let count = |test: fn(&Verdict) -> bool| verdicts.iter().filter(|v| test(v)).count();
        let questions = verdicts.len();
        let answerable = count(|v| v.answerable);
        let unanswerable = questions - answerable;
        let exact = count(|v| v.answerable && v.right);
        let valued = count(|v| v.value_match);
        let invented = count(|v| v.hallucination);
        let refused = count(|v| !v.answerable && v.refusal.is_some());
        let standing = count(|v| v.mark.stands());
        let standing_wrong = count(|v| v.mark.stands() && !v.right);
        let of = |hits: usize, n: usize| (n > 0).then(|| hits as f64 / n as f64);
        let bound = |bound: fn(usize, usize) -> f64, hits, n| (n > 0).then(|| bound(hits, n));
        Self {
            questions,
            wrong: count(|v| !v.right),
            exact_match: of(exact, answerable),
            value_match: of(valued, answerable),
            hallucination: of(invented, questions),
            refusal: of(refused, unanswerable),
            answerable,
            unanswerable,
            guard_refused: count(|v| v.refusal == Some(Refusal::Guard)),
            model_refused: count(|v| v.refusal == Some(Refusal::Model)),
            false_refusals: count(|v| v.answerable && v.refusal.is_some()),
            unverified: count(|v| v.mark == AnswerVerdict::Unverified),
            undecided: count(|v| {
                matches!(v.mark, AnswerVerdict::Undecided | AnswerVerdict::LeftOpen)
            }),
            standing,
            standing_wrong,
            bounds: Bounds {
                method: "Clopper-Pearson, one-sided, 95 %",
                exact_match_at_least: bound(at_least, exact, answerable),
                value_match_at_least: bound(at_least, valued, answerable),
                hallucination_at_most: bound(at_most, invented, questions),
                refusal_at_least: bound(at_least, refused, unanswerable),
                standing_wrong_at_most: bound(at_most, standing_wrong, standing),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: Verdict = Verdict {
        answerable: true,
        right: true,
        value_match: true,
        hallucination: false,
        refusal: None,
        mark: AnswerVerdict::Matched,
    };

    #[test]
    fn counts_by_hand() {
        let model = Some(Refusal::Model);
        let unknown = Verdict { answerable: false, value_match: false, ..RIGHT };
        let verdicts = [
            RIGHT,
            RIGHT,
            Verdict { right: false, mark: AnswerVerdict::Undecided, ..RIGHT },
            Verdict { right: false, value_match: false, refusal: model, ..RIGHT },
            Verdict {
                right: false,
                value_match: false,
                hallucination: true,
                mark: AnswerVerdict::Unverified,
                ..RIGHT
            },
            Verdict { refusal: Some(Refusal::Guard), ..unknown },
            Verdict { refusal: model, ..unknown },
            Verdict { right: false, hallucination: true, ..unknown },
        ];
        let metrics = Metrics::of(&verdicts);
        assert_eq!((metrics.questions, metrics.answerable, metrics.unanswerable), (8, 5, 3));
        assert_eq!(metrics.wrong, 4);
        assert_eq!(metrics.exact_match, Some(0.4));
        assert_eq!(metrics.value_match, Some(0.6));
        assert_eq!(metrics.hallucination, Some(0.25));
        assert_eq!(metrics.refusal, Some(2.0 / 3.0));
        assert_eq!((metrics.guard_refused, metrics.model_refused), (1, 2));
        assert_eq!((metrics.false_refusals, metrics.unverified), (1, 1));
        assert_eq!((metrics.undecided, metrics.standing, metrics.standing_wrong), (1, 6, 2));
        assert_eq!(metrics.bounds.standing_wrong_at_most, Some(at_most(2, 6)));
        assert_eq!(metrics.bounds.hallucination_at_most, Some(at_most(2, 8)));
        assert_eq!(metrics.bounds.refusal_at_least, Some(at_least(2, 3)));
    }

    #[test]
    fn a_fraction_of_nothing_is_null() {
        let json = serde_json::to_value(Metrics::of(&[RIGHT])).unwrap();
        assert!(json["refusal"].is_null() && json["bounds"]["refusal_at_least"].is_null());
        assert_eq!(json["exact_match"], 1.0);
        assert!(serde_json::to_value(Metrics::of([])).unwrap()["hallucination"].is_null());
    }
}
