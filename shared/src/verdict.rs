//! How an answer is marked, the same in the terminal, in the evaluation and on the page.

use serde::{Deserialize, Serialize};

use crate::{Error, Guard, REFUSAL, Result, Scores};

/// What stands in place of an answer that is [`AnswerVerdict::Unverified`].
pub const WITHHELD: &str = "No answer: what the model wrote is not on record for this batch.";

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerVerdict {
    /// The records state it, word for word, and every value in it for the batch in question.
    Matched,
    /// They don't: it is withheld.
    Unverified,
    /// They don't, and the question names what other batches have on record and this one has not
    /// ([`Guard::lacks`]): it is withheld, and the refusal stands in its place.
    LacksField,
    /// The model was too unsure, by the adapter's own threshold.
    Undecided,
    /// The model refused, but the batch has something on record that the question may call otherwise
    /// ([`Guard::leaves_open`]): no threshold lets that stand.
    LeftOpen,
    /// The model says that there is no record of it.
    NoRecord,
    /// The question names only batches that no record has; the model was not asked.
    UnknownBatch,
    /// The adapter brings no list of values to hold it against.
    Unchecked,
}

impl AnswerVerdict {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Matched,
        Self::Unverified,
        Self::LacksField,
        Self::Undecided,
        Self::LeftOpen,
        Self::NoRecord,
        Self::UnknownBatch,
        Self::Unchecked,
    ];

    /// One line for the reader.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Matched => {
                "Matched: this answer is on record for the batch in question, word for word. \
                 It may still be the wrong field."
            }
            Self::Unverified => {
                "Unverified: what the model answered is not on record for the batch in question, so \
                 it is withheld."
            }
            Self::LacksField => {
                "No record: the question names something that this batch has no record of, unlike \
                 others. What the model wrote is not on record for this batch either, so it is \
                 withheld."
            }
            Self::Undecided => {
                "Undecided: the model was not sure enough. Look it up in the batch record."
            }
            Self::LeftOpen => {
                "Left open: the model knows no record that answers this question, but this batch has \
                 some in words of their own, which the question may mean. Look it up in the batch \
                 record."
            }
            Self::NoRecord => {
                "No record: the model knows no record that answers this question. The batch may \
                 still have one, in other words."
            }
            Self::UnknownBatch => {
                "Unknown batch or product: no record has what the question is about, so the model \
                 was not asked."
            }
            Self::Unchecked => {
                "Unchecked: this adapter brings no list of recorded values to hold answers against."
            }
        }
    }

    /// Whether the answer stands as one: a reader may take it as what the records say, subject to
    /// the intended use.
    pub const fn stands(self) -> bool {
        matches!(self, Self::Matched | Self::LacksField | Self::NoRecord | Self::UnknownBatch)
    }

    /// What stands in place of the model's answer, where that is withheld.
    pub const fn instead(self) -> Option<&'static str> {
        match self {
            Self::Unverified => Some(WITHHELD),
            Self::LacksField => Some(REFUSAL),
            _ => None,
        }
    }
}

/// An answer's mark and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The mark.
    pub verdict: AnswerVerdict,
    /// The values of the answer that are not on record for the batch, in upper case.
    pub unverified: Vec<String>,
    /// What the question's words say to it.
    pub evidence: FieldEvidence,
}

impl Assessment {
    /// Judges what the model answered. A value that no record states outweighs doubt, and doubt
    /// outweighs everything else: the guard's, who knows what words cannot tell, before the model's.
    ///
    /// `read_as` is the question that was answered, where it was read once more
    /// ([`Guard::second_reading`]); `ended` is whether the answer came to its own end.
    pub fn of(
        guard: Option<&Guard>,
        rule: Option<&UndecidedRule>,
        question: &str,
        read_as: Option<&str>,
        answer: &str,
        ended: bool,
        scores: Scores,
    ) -> Self {
        let evidence = guard.map_or(FieldEvidence::Unclear, |guard| match read_as {
            None => guard.evidence(question, answer),
            Some(_) => guard.evidence_of_second(question, answer),
        });
        let unverified = guard.map_or_else(Vec::new, |guard| guard.unverified(question, answer));
        let refused = answer.trim() == REFUSAL;
        let withheld = guard.is_some_and(|guard| guard.withholds(&unverified, answer));
        let verdict = if withheld && ended && guard.is_some_and(|guard| guard.lacks(question)) {
            AnswerVerdict::LacksField
        } else if withheld {
            AnswerVerdict::Unverified
        } else if refused && guard.is_some_and(|guard| guard.leaves_open(question)) {
            AnswerVerdict::LeftOpen
        } else if rule.is_some_and(|rule| rule.undecided(scores, evidence)) {
            AnswerVerdict::Undecided
        } else if refused {
            AnswerVerdict::NoRecord
        } else if guard.is_some() {
            AnswerVerdict::Matched
        } else {
            AnswerVerdict::Unchecked
        };
        Self { verdict, unverified, evidence }
    }
}

/// What the words of a question say to its answer, see [`Guard::evidence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldEvidence {
    /// They name the field that the answer is about, or make it likely; to a refusal, one that the
    /// batch lacks.
    Agrees,
    /// Both the names in them and each word by itself do the former.
    AgreesTwice,
    /// They name no field that the grammar knows, or leave open whether that is all they ask for, and
    /// make nothing likely.
    Unclear,
    /// They name another field, or make another likely; to a refusal, one that the batch has.
    Contradicts,
}

/// A measure of how sure the model was of a whole answer; all lie between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfidenceScore {
    /// The probability of the least probable token, the end token included.
    MinProbability,
    /// The product of all tokens' probabilities: that of the whole answer.
    Product,
}

/// When an answer counts as undecided: chosen on validation questions, kept with the adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndecidedRule {
    /// What is compared.
    pub score: ConfidenceScore,
    /// How many times likelier an answer counts as right if the question's words agree, and less
    /// likely if they contradict; 1 without regard to them.
    #[serde(default = "no_odds", skip_serializing_if = "is_no_odds")]
    pub evidence_odds: f32,
    /// An answer that scores less, once its words are weighed in, is undecided; 0 to 1.
    pub below: f32,
    /// Validation questions it was chosen on.
    pub questions: u64,
    /// SHA-256 of those questions.
    pub questions_sha256: String,
    /// The share of them that are not undecided with it.
    pub coverage: f64,
    /// The share of wrong answers among those, and what it was to be at most.
    pub wrong: f64,
    /// The highest share of wrong answers that it was to leave.
    pub wrong_at_most: f64,
}

const fn no_odds() -> f32 {
    1.0
}

fn is_no_odds(odds: &f32) -> bool {
    *odds == no_odds()
}

/// Beyond this a record is taken for damaged: evidence would be all that counts.
const MOST_ODDS: f32 = 1e6;

impl FieldEvidence {
    /// The probability that an answer is right, once evidence is in: its odds are `odds` times as
    /// high, or as low (Bayes' rule). Additions, products and quotients alone, whose bits are the
    /// same everywhere.
    pub fn weigh(self, probability: f32, odds: f32) -> f32 {
        let (right, wrong) = match self {
            Self::Agrees => (odds * probability, 1.0 - probability),
            Self::AgreesTwice => (odds * odds * probability, 1.0 - probability),
            Self::Unclear => return probability,
            Self::Contradicts => (probability, odds * (1.0 - probability)),
        };
        right / (right + wrong)
    }
}

impl UndecidedRule {
    /// Whether an answer with these scores is undecided.
    pub fn undecided(&self, scores: Scores, evidence: FieldEvidence) -> bool {
        let certainty = evidence.weigh(scores.get(self.score), self.evidence_odds);
        certainty.is_nan() || certainty < self.below
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Value`], naming the field.
    pub fn validate(&self) -> Result<()> {
        if !(1.0..=MOST_ODDS).contains(&self.evidence_odds) {
            return Err(Error::Value {
                name: "undecided.evidence_odds".into(),
                expected: format!("1 to {MOST_ODDS}"),
                found: self.evidence_odds.to_string(),
            });
        }
        let shares = [
            ("coverage", self.coverage),
            ("wrong", self.wrong),
            ("wrong_at_most", self.wrong_at_most),
        ];
        for (name, share) in [("below", f64::from(self.below))].into_iter().chain(shares) {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::Value {
                    name: format!("undecided.{name}"),
                    expected: "0 to 1".into(),
                    found: share.to_string(),
                });
            }
        }
        crate::hash::check_sha256("undecided.questions_sha256", &self.questions_sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GuardList;

    fn rule(score: ConfidenceScore, below: f32) -> UndecidedRule {
        UndecidedRule {
            score,
            evidence_odds: 9.0,
            below,
            questions: 200,
            questions_sha256: "a".repeat(64),
            coverage: 0.95,
            wrong: 0.003,
            wrong_at_most: 0.003,
        }
    }

    fn scores(min_probability: f32, product: f32) -> Scores {
        Scores { min_probability, product }
    }

    #[test]
    fn the_heavier_doubt_wins() {
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        list.add_facts("VOY756", "Batch VOY756 yielded 98.5 %.").unwrap();
        list.add_answer("It yielded 98.5 %.").unwrap();
        let guard = Guard::new(&list).unwrap();
        let rule = rule(ConfidenceScore::MinProbability, 0.9);
        let of = |guard, rule, answer: &str, min| {
            Assessment::of(guard, rule, "yield of VOY756?", None, answer, true, scores(min, 0.0))
                .verdict
        };
        let (right, wrong) = ("It yielded 98.5 %.", "It yielded 98.6 %.");
        assert_eq!(of(Some(&guard), Some(&rule), right, 0.9), AnswerVerdict::Matched);
        assert_eq!(of(Some(&guard), Some(&rule), right, 0.89), AnswerVerdict::Undecided);
        assert_eq!(of(Some(&guard), None, right, 0.01), AnswerVerdict::Matched);
        assert_eq!(of(Some(&guard), Some(&rule), wrong, 0.1), AnswerVerdict::Unverified);
        assert_eq!(of(Some(&guard), Some(&rule), REFUSAL, 0.95), AnswerVerdict::NoRecord);
        assert_eq!(of(Some(&guard), Some(&rule), REFUSAL, 0.5), AnswerVerdict::Undecided);
        assert_eq!(of(None, Some(&rule), right, 1.0), AnswerVerdict::Unchecked);
        assert_eq!(of(None, Some(&rule), right, 0.2), AnswerVerdict::Undecided);
        let found =
            Assessment::of(Some(&guard), None, "VOY756?", None, wrong, true, scores(1.0, 1.0));
        assert_eq!(found.unverified, ["98.6"]);
        let found = Assessment::of(
            Some(&guard),
            None,
            "VOY756?",
            None,
            "It was 98.5 %.",
            true,
            scores(1.0, 1.0),
        );
        assert_eq!((found.verdict, found.unverified), (AnswerVerdict::Unverified, vec![]));
    }

    #[test]
    fn a_refusal_does_not_stand_where_the_batch_has_something_in_own_words() {
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        let own = crate::KnownField::new(crate::AskingWord::Any, [], ["nD20 of {b}"]);
        let field = list.fields.add(own);
        list.fields.fields[field].own_words = true;
        list.add_recorded("VOY756", field).unwrap();
        list.add_answer("It is 1.3330.").unwrap();
        list.add_facts("VOY756", "It is 1.3330.").unwrap();
        let guard = Guard::new(&list).unwrap();
        let of = |question, answer| {
            let sure = scores(1.0, 1.0);
            Assessment::of(Some(&guard), None, question, None, answer, true, sure).verdict
        };
        assert_eq!(of("RI of VOY756", REFUSAL), AnswerVerdict::LeftOpen);
        assert_eq!(of("RI of VOY756", "It is 1.3330."), AnswerVerdict::Matched);
        assert_eq!(of("RI", REFUSAL), AnswerVerdict::NoRecord);
    }

    #[test]
    fn what_the_batch_lacks_is_refused_in_place_of_what_is_not_on_record() {
        let mut list = GuardList::build(["VOY756", "KLM120"], [], &"ab".repeat(16)).unwrap();
        let field = list.fields.add(crate::KnownField::new(crate::AskingWord::Any, ["mood"], []));
        list.add_recorded("KLM120", field).unwrap();
        list.add_answer("Nice.").unwrap();
        list.classifier = Some(crate::FieldClassifier::new(vec![field], &[].into()).unwrap());
        let guard = Guard::new(&list).unwrap();
        let of = |question, answer| {
            let sure = scores(1.0, 1.0);
            Assessment::of(Some(&guard), None, question, None, answer, true, sure).verdict
        };
        let lacks = of("mood of VOY756", "Bad.");
        assert_eq!((lacks, lacks.instead()), (AnswerVerdict::LacksField, Some(REFUSAL)));
        assert!(lacks.stands());
        assert_eq!(of("mood of VOY756", "Nice."), AnswerVerdict::Matched);
        let cut = scores(1.0, 1.0);
        let cut = Assessment::of(Some(&guard), None, "mood of VOY756", None, "Ba", false, cut);
        assert_eq!(cut.verdict, AnswerVerdict::Unverified);
        assert_eq!(of("mood of VOY756", REFUSAL), AnswerVerdict::NoRecord);
        let unverified = of("mood of KLM120", "Bad.");
        assert_eq!((unverified, unverified.instead()), (AnswerVerdict::Unverified, Some(WITHHELD)));
        assert!(!unverified.stands());
    }

    #[test]
    fn the_rule_compares_its_own_score() {
        let product = rule(ConfidenceScore::Product, 0.5);
        let unclear = FieldEvidence::Unclear;
        assert!(!product.undecided(scores(0.1, 0.5), unclear));
        assert!(product.undecided(scores(0.9, 0.49), unclear));
        for evidence in [FieldEvidence::Agrees, unclear, FieldEvidence::Contradicts] {
            assert!(
                product.undecided(scores(0.9, f32::NAN), evidence),
                "no number is no confidence"
            );
        }
    }

    #[test]
    fn evidence_multiplies_the_odds() {
        let rule = rule(ConfidenceScore::Product, 0.5);
        assert!(!rule.undecided(scores(1.0, 0.125), FieldEvidence::Agrees));
        assert!(rule.undecided(scores(1.0, 0.75), FieldEvidence::Contradicts));
        assert_eq!(FieldEvidence::Agrees.weigh(0.25, 9.0), 0.75);
        assert_eq!(FieldEvidence::Contradicts.weigh(0.75, 9.0), 0.25);
        assert_eq!(FieldEvidence::AgreesTwice.weigh(0.5, 3.0), 0.9);
        assert_eq!(FieldEvidence::Unclear.weigh(0.3, 9.0), 0.3);
        let all = [
            FieldEvidence::Agrees,
            FieldEvidence::AgreesTwice,
            FieldEvidence::Unclear,
            FieldEvidence::Contradicts,
        ];
        for evidence in all {
            assert_eq!((evidence.weigh(0.0, 9.0), evidence.weigh(1.0, 9.0)), (0.0, 1.0));
            assert_eq!(evidence.weigh(0.3, 1.0), 0.3);
        }
    }

    #[test]
    fn rejects_shares_that_are_none() {
        let spoil = |change: fn(&mut UndecidedRule)| {
            let mut rule = rule(ConfidenceScore::Product, 0.5);
            rule.validate().unwrap();
            change(&mut rule);
            assert!(rule.validate().is_err(), "{rule:?}");
        };
        spoil(|rule| rule.evidence_odds = 0.5);
        spoil(|rule| rule.evidence_odds = f32::NAN);
        spoil(|rule| rule.below = 1.5);
        spoil(|rule| rule.below = f32::NAN);
        spoil(|rule| rule.coverage = -0.1);
        spoil(|rule| rule.wrong = f64::INFINITY);
        spoil(|rule| rule.questions_sha256.clear());
    }
}
