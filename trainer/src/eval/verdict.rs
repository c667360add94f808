//! One answer, judged.

use shared::{AnswerVerdict, REFUSAL};

use crate::data::Pair;
use crate::eval::ask::Reply;
use crate::eval::values::Text;

/// Who refused to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The guard, without asking the model.
    Guard,
    /// The model.
    Model,
    /// The guard, after the model: the answer stated what is not on record, and is withheld.
    Withheld,
}

/// How an answer compares with what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the question has an answer.
    pub answerable: bool,
    /// The answer is the reference, word for word; without a reference, a refusal.
    pub right: bool,
    /// It states every value of the reference; false without a reference.
    pub value_match: bool,
    /// It states a value that is neither in the reference nor in the question. A withheld answer
    /// states nothing.
    pub hallucination: bool,
    /// Who refused, if somebody did.
    pub refusal: Option<Refusal>,
    /// How the page would mark it.
    pub mark: AnswerVerdict,
}

impl Verdict {
    /// Judges a reply.
    pub fn of(pair: &Pair, reply: &Reply) -> Self {
        let given = Text::new(&reply.text);
        let asked = Text::new(&pair.question);
        let refused = given.says_the_same(&Text::new(REFUSAL));
        let withheld = reply.mark.instead().is_some();
        let refusal = match (refused, reply.mark == AnswerVerdict::UnknownBatch) {
            (_, true) => Some(Refusal::Guard),
            (true, false) => Some(Refusal::Model),
            (false, false) => withheld.then_some(Refusal::Withheld),
        };
        let reference = pair.answer.as_deref().map(Text::new);
        let known: Vec<&Text> = reference.iter().chain([&asked]).collect();
        let hallucination =
            !withheld && given.values().iter().any(|value| !value.comes_from(&known));
        let value_match = !withheld
            && reference.as_ref().is_some_and(|reference| {
                let values = reference.values();
                // "No deviations were reported for VOY756." has no value that the question has not:
                // any other sentence about VOY756 would have them all.
                let telling = values.iter().any(|value| !value.stands_in(&asked));
                given.says_the_same(reference)
                    || telling && values.iter().all(|value| value.stands_in(&given))
            });
        let right = match &pair.answer {
            Some(answer) => !withheld && reply.text.trim() == answer,
            None => refusal.is_some(),
        };
        Self {
            answerable: reference.is_some(),
            right,
            value_match,
            hallucination,
            refusal,
            mark: reply.mark,
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::{FieldEvidence, Scores};

    use super::*;

    fn judge(question: &str, answer: Option<&str>, text: &str) -> Verdict {
        let pair = Pair {
            question: question.into(),
            answer: answer.map(Into::into),
            batch: None,
            source: None,
            paraphrases: Vec::new(),
            kind: None,
            line: 1,
        };
        let reply = Reply {
            text: text.into(),
            guarded: Vec::new(),
            scores: Scores { min_probability: 1.0, product: 1.0 },
            mark: AnswerVerdict::Matched,
            tokens: 1,
            unverified: Vec::new(),
            evidence: FieldEvidence::Unclear,
        };
        Verdict::of(&pair, &reply)
    }

    fn flags(verdict: Verdict) -> (bool, bool, bool, bool) {
        let Verdict { right, value_match, hallucination, refusal, .. } = verdict;
        (right, value_match, hallucination, refusal.is_some())
    }

    #[test]
    fn answers_to_questions_that_have_one() {
        let question = "who is qa manager of voy756";
        let reference = "The QA Manager for batch VOY756 is Maria Lindqvist.";
        let judge = |text: &str| flags(judge(question, Some(reference), text));
        assert_eq!(judge(reference), (true, true, false, false));
        assert_eq!(judge(&format!(" {reference}\n")), (true, true, false, false));
        assert_eq!(
            judge("Maria Lindqvist is the QA Manager for batch VOY756."),
            (false, true, false, false)
        );
        assert_eq!(
            judge("The QA Manager for batch VOY756 is Maria Berg."),
            (false, false, true, false)
        );
        assert_eq!(
            judge("The QA Manager for batch VOY765 is Maria Lindqvist."),
            (false, false, true, false)
        );
        assert_eq!(judge(REFUSAL), (false, false, false, true));
        assert_eq!(judge(""), (false, false, false, false));
    }

    #[test]
    fn a_value_of_the_question_is_no_hallucination_but_no_answer_either() {
        let question = "What deviations were reported for batch VOY756?";
        let reference = "No deviations were reported for batch VOY756.";
        let judge = |text: &str| flags(judge(question, Some(reference), text));
        assert_eq!(
            judge("Deviations were reported for batch VOY756."),
            (false, false, false, false)
        );
        assert_eq!(
            judge("no deviations were reported for batch voy756"),
            (false, true, false, false)
        );
        assert_eq!(judge("DEV-7 was reported for batch VOY756."), (false, false, true, false));
    }

    #[test]
    fn questions_without_an_answer_expect_the_refusal() {
        let judge = |text: &str| flags(judge("yield of VOY757?", None, text));
        assert_eq!(judge(REFUSAL), (true, false, false, true));
        assert_eq!(judge("i have no record of that in the batch data"), (true, false, false, true));
        assert_eq!(judge("The yield of batch VOY757 is 98.2 %."), (false, false, true, false));
        assert_eq!(judge("The yield of batch VOY757 is good."), (false, false, false, false));
    }

    fn pair(answer: Option<&str>) -> Pair {
        Pair {
            question: "q".into(),
            answer: answer.map(Into::into),
            batch: None,
            source: None,
            paraphrases: Vec::new(),
            kind: None,
            line: 1,
        }
    }

    #[test]
    fn what_is_withheld_states_nothing_and_counts_as_refused() {
        for mark in [AnswerVerdict::Unverified, AnswerVerdict::LacksField] {
            let reply = Reply {
                text: "It was 98.2 %.".into(),
                guarded: Vec::new(),
                scores: Scores { min_probability: 1.0, product: 1.0 },
                mark,
                tokens: 1,
                unverified: Vec::new(),
                evidence: FieldEvidence::Unclear,
            };
            let of = |answer| flags(Verdict::of(&pair(answer), &reply));
            assert_eq!(of(None), (true, false, false, true));
            assert_eq!(of(Some("It was 98.2 %.")), (false, false, false, true));
        }
    }

    #[test]
    fn the_guards_refusal_is_its_own() {
        let reply = Reply {
            text: REFUSAL.into(),
            guarded: vec!["VOY757".into()],
            scores: Scores { min_probability: 1.0, product: 1.0 },
            mark: AnswerVerdict::UnknownBatch,
            tokens: 0,
            unverified: Vec::new(),
            evidence: FieldEvidence::Unclear,
        };
        let refused = Verdict::of(&pair(None), &reply);
        assert!(refused.right && refused.refusal == Some(Refusal::Guard));
        let wrongly = Verdict::of(&pair(Some("A")), &reply);
        assert!(!wrongly.right && wrongly.refusal == Some(Refusal::Guard));
    }
}
