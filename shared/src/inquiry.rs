//! A question from what was typed to the mark under its answer, the same course in the
//! evaluation, in the terminal, in the replay of a log and on the page.

use std::sync::Arc;

use crate::exchange::{Exchange, SoloExchange};
use crate::{
    AnswerTrie, AnswerVerdict, Assessment, ConfidenceScore, Correction, FieldEvidence, Guard,
    GuardVerdict, OnRecord, REFUSAL, Reading, Result, SamplerConfig, Scores, Session, Step,
    StopReason, UndecidedRule,
};

/// What an adapter brings to hold questions and answers against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Safeguards<'a> {
    /// Refuses questions unasked, has refusals asked once more, and checks answers.
    pub guard: Option<&'a Guard>,
    /// How unsure is too unsure.
    pub undecided: Option<&'a UndecidedRule>,
    /// The only possible answers, in approved-answers mode.
    pub approved: Option<&'a Arc<AnswerTrie>>,
}

/// A question under way.
///
/// The guard reads it first: slips are mended, and what names only unknown batches is refused
/// unasked. What the model refuses although it is on record, or answers with what is not, is asked
/// once more, in the records' own words ([`Guard::second_reading`]).
#[derive(Debug)]
pub struct Inquiry<'a, E: Exchange = SoloExchange> {
    session: &'a mut Session<E>,
    safeguards: Safeguards<'a>,
    sampler: SamplerConfig,
    reading: Reading,
    /// The unknown words for which the model is not asked.
    unasked: Option<Vec<String>>,
    read_as: Option<String>,
    withdrawn: Option<String>,
    answer: String,
    /// How much of the answer has been handed out.
    shown: usize,
}

/// What a step of an [`Inquiry`] brought.
#[derive(Debug)]
pub enum Progress {
    /// A token.
    Token {
        /// The text that can be shown now. What may become a refusal, and so may have to be asked
        /// once more, is held back.
        text: String,
    },
    /// A part of a long question has been read, see [`Step::Question`].
    Question {
        /// Tokens read.
        done: usize,
        /// Tokens of the question.
        total: usize,
    },
    /// The model refused, or its answer is not on record, and the question is asked once more, in
    /// these words. What has been handed out is void; of a refusal that is nothing.
    ReadAs(String),
    /// Nothing more comes.
    End(Box<Outcome>),
}

/// What came of a question.
#[derive(Debug)]
pub struct Outcome {
    /// The answer; the refusal where the model was not asked.
    pub answer: String,
    /// What of it no [`Progress::Token`] has brought since the last [`Progress::ReadAs`].
    pub held_back: String,
    /// Its tokens, without the end token.
    pub tokens: Vec<u32>,
    /// How sure the model was.
    pub scores: Scores,
    /// The score that the adapter's rule compares; `None` where nothing was said, or a refusal
    /// stands in place of what was.
    pub confidence: Option<f32>,
    /// Why it ended; `None` if the model was not asked.
    pub stop: Option<StopReason>,
    /// The unknown words for which the model was not asked; none if the question names nothing, or
    /// was asked.
    pub unknown: Vec<String>,
    /// Slips that were mended, and the product that was read as its batch.
    pub corrections: Vec<Correction>,
    /// The words in which it was asked once more.
    pub read_as: Option<String>,
    /// The answer before that, unless it was the refusal.
    pub withdrawn: Option<String>,
    /// The mark, and what led to it.
    pub assessment: Assessment,
    /// Where the model refused, or its answer is withheld: questions that the records do answer about
    /// the batch ([`Guard::questions_on_record`]), but not the one that was asked.
    pub on_record: Vec<String>,
    /// The one of them that is most likely meant ([`OnRecord::likeliest`]).
    pub likeliest: Option<String>,
}

impl<'a, E: Exchange> Inquiry<'a, E> {
    /// Begins with a question as it was typed.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn new(
        session: &'a mut Session<E>,
        safeguards: Safeguards<'a>,
        question: &str,
        sampler: SamplerConfig,
    ) -> Result<Self> {
        let as_typed = || Reading { question: question.to_owned(), corrections: Vec::new() };
        let reading = safeguards.guard.map_or_else(as_typed, |guard| guard.read(question));
        let unasked = match safeguards.guard.map(|guard| guard.check(&reading.question)) {
            Some(GuardVerdict::Unknown(words)) => Some(words),
            _ => {
                let approved = safeguards.approved.cloned();
                session.ask_among(&reading.question, sampler.clone(), approved)?;
                None
            }
        };
        Ok(Self {
            session,
            safeguards,
            sampler,
            reading,
            unasked,
            read_as: None,
            withdrawn: None,
            answer: String::new(),
            shown: 0,
        })
    }

    /// Reads on or generates the next token.
    ///
    /// # Errors
    /// As [`Session::step`].
    pub fn step(&mut self) -> Result<Progress> {
        if let Some(unknown) = &self.unasked {
            return Ok(Progress::End(self.refused_unasked(unknown).into()));
        }
        match self.session.step()? {
            Step::Token { text, .. } => {
                self.answer += &text;
                let text = if self.may_be_asked_again() { String::new() } else { self.rest() };
                Ok(Progress::Token { text })
            }
            Step::Question { done, total } => Ok(Progress::Question { done, total }),
            Step::End(stop) => {
                let Some(again) = self.second_reading(stop) else {
                    return Ok(Progress::End(self.outcome(stop).into()));
                };
                let approved = self.safeguards.approved.cloned();
                self.session.ask_among(&again, self.sampler.clone(), approved)?;
                let answer = std::mem::take(&mut self.answer);
                self.withdrawn = Some(answer).filter(|answer| answer.trim() != REFUSAL);
                self.shown = 0;
                self.read_as = Some(again.clone());
                Ok(Progress::ReadAs(again))
            }
        }
    }

    /// Steps to the end.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn finish(mut self) -> Result<Outcome> {
        loop {
            if let Progress::End(outcome) = self.step()? {
                return Ok(*outcome);
            }
        }
    }

    /// Ends the answer under way, as [`Session::cancel`] does.
    pub fn cancel(&mut self) {
        self.session.cancel();
    }

    /// The tokens of the answer so far, without the end token.
    pub fn tokens(&self) -> &[u32] {
        if self.unasked.is_some() { &[] } else { self.session.tokens() }
    }

    /// Slips that were mended, and the product that was read as its batch.
    pub fn corrections(&self) -> &[Correction] {
        &self.reading.corrections
    }

    /// The words in which the question is asked once more, if it is.
    pub fn read_as(&self) -> Option<&str> {
        self.read_as.as_deref()
    }

    fn may_be_asked_again(&self) -> bool {
        let first = self.safeguards.guard.is_some() && self.read_as.is_none();
        first && REFUSAL.starts_with(self.answer.trim())
    }

    /// What of the answer has not been handed out.
    fn rest(&mut self) -> String {
        let rest = self.answer[self.shown..].to_owned();
        self.shown = self.answer.len();
        rest
    }

    /// The question to ask once more, where the first answer has come to its own end. `None` where
    /// the other question cannot be asked, or is the same.
    fn second_reading(&self, stop: StopReason) -> Option<String> {
        let first = stop == StopReason::EndToken && self.read_as.is_none();
        let guard = self.safeguards.guard.filter(|_| first)?;
        let again = guard.second_reading(&self.reading.question, &self.answer)?;
        (again != self.reading.question && self.session.can_be_asked(&again)).then_some(again)
    }

    fn outcome(&mut self, stop: StopReason) -> Outcome {
        let scores = self.session.scores();
        let rule = self.safeguards.undecided;
        let score = rule.map_or(ConfidenceScore::MinProbability, |rule| rule.score);
        let said = !self.session.tokens().is_empty() || stop == StopReason::EndToken;
        let assessment = Assessment::of(
            self.safeguards.guard,
            rule,
            &self.reading.question,
            self.read_as.as_deref(),
            &self.answer,
            stop == StopReason::EndToken,
            scores,
        );
        let none = self.answer.trim() == REFUSAL || assessment.verdict.instead().is_some();
        let guard = self.safeguards.guard.filter(|_| none);
        let OnRecord { mut questions, likeliest } = guard.map_or_else(OnRecord::default, |guard| {
            guard.questions_on_record(&self.reading.question)
        });
        // What has just been asked is not offered.
        let is_new = |asked: &String| {
            *asked != self.reading.question && self.read_as.as_ref() != Some(asked)
        };
        questions.retain(is_new);
        let likeliest = likeliest.filter(is_new);
        Outcome {
            held_back: self.rest(),
            answer: self.answer.clone(),
            tokens: self.session.tokens().to_vec(),
            scores,
            confidence: (said && assessment.verdict != AnswerVerdict::LacksField)
                .then(|| scores.get(score)),
            stop: Some(stop),
            unknown: Vec::new(),
            corrections: self.reading.corrections.clone(),
            read_as: self.read_as.clone(),
            withdrawn: self.withdrawn.clone(),
            assessment,
            on_record: questions,
            likeliest,
        }
    }

    fn refused_unasked(&self, unknown: &[String]) -> Outcome {
        Outcome {
            answer: REFUSAL.to_owned(),
            held_back: REFUSAL.to_owned(),
            tokens: Vec::new(),
            scores: Scores::NOTHING_SAID,
            confidence: None,
            stop: None,
            unknown: unknown.to_vec(),
            corrections: self.reading.corrections.clone(),
            read_as: None,
            withdrawn: None,
            assessment: Assessment {
                verdict: AnswerVerdict::UnknownBatch,
                unverified: Vec::new(),
                evidence: FieldEvidence::Unclear,
            },
            on_record: Vec::new(),
            likeliest: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, RankSlice};
    use crate::testing::TinyBase;
    use crate::{AskingWord, Base, GuardList, KnownField};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn session() -> Session {
        let base = Base::from_bytes(TinyBase::default().gguf().unwrap()).unwrap();
        Session::new(Model::load(&base, RankSlice::SOLO).unwrap(), base.prompt).unwrap()
    }

    /// Knows one batch and one field of it, which the records ask for by `wording`.
    fn guard(wording: &str) -> Guard {
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        let mut field = KnownField::new(AskingWord::Who, ["shift boss"], []);
        field.wording = Some(wording.into());
        let field = list.fields.add(field);
        list.add_recorded("VOY756", field).unwrap();
        Guard::new(&list).unwrap()
    }

    fn only(answers: &[&str], session: &Session) -> Arc<AnswerTrie> {
        let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
        Arc::new(AnswerTrie::new(&answers, session.prompt()).unwrap())
    }

    fn at_most(max_new_tokens: usize) -> SamplerConfig {
        SamplerConfig { max_new_tokens, ..SamplerConfig::exact() }
    }

    /// All texts handed out, how often the question was asked once more, and the outcome.
    fn run(mut inquiry: Inquiry<'_>) -> (String, usize, Outcome) {
        let (mut shown, mut again) = (String::new(), 0);
        loop {
            match inquiry.step().unwrap() {
                Progress::Token { text } => shown += &text,
                Progress::Question { .. } => {}
                Progress::ReadAs(_) => {
                    again += 1;
                    shown.clear();
                }
                Progress::End(outcome) => return (shown + &outcome.held_back, again, *outcome),
            }
        }
    }

    /// A model that can only refuse is asked twice where the guard knows better, once elsewhere.
    #[test]
    fn what_the_guard_finds_on_record_is_asked_again() {
        let mut session = session();
        let refusal = only(&[REFUSAL], &session);
        let ask = |session: &mut Session, guard, question: &str, approved, most| {
            let safeguards = Safeguards { guard, approved, undecided: None };
            let inquiry = Inquiry::new(session, safeguards, question, at_most(most)).unwrap();
            let (shown, again, outcome) = run(inquiry);
            assert_eq!((shown, again), (outcome.answer.clone(), outcome.read_as.iter().count()));
            outcome
        };
        let known = guard("Who led the shift for {b}?");
        let (guarded, refuses) = (Some(&known), Some(&refusal));
        let twice = ask(&mut session, guarded, "shift boss VOY756", refuses, 64);
        assert_eq!((twice.answer.trim(), twice.stop), (REFUSAL, Some(StopReason::EndToken)));
        assert_eq!(twice.read_as.as_deref(), Some("Who led the shift for VOY756?"));
        assert_eq!(twice.on_record, [""; 0], "it has just been refused");
        // Its words contradict the refusal; once they have chosen the field, they say nothing.
        assert_eq!(known.evidence("shift boss VOY756", REFUSAL), FieldEvidence::Contradicts);
        assert_eq!(twice.assessment.evidence, FieldEvidence::Unclear);
        let mut once = |guard, question: &str, approved, most| {
            let outcome = ask(&mut session, guard, question, approved, most);
            assert_eq!(outcome.read_as, None, "{question}");
            outcome
        };
        let other = once(guarded, "yield VOY756", refuses, 64);
        assert_eq!(other.on_record, ["Who led the shift for VOY756?"]);
        once(None, "shift boss VOY756", refuses, 64);
        let same = guard("Who was the shift boss of {b}?");
        once(Some(&same), "Who was the shift boss of VOY756?", refuses, 64);
        // It does not refuse.
        let answered = once(guarded, "shift boss VOY756", None, 64);
        assert_eq!(answered.on_record, [""; 0]);
        // An answer that the limit ends is no refusal, and what has no room is not asked.
        let cut = once(guarded, "shift boss VOY756", refuses, twice.tokens.len());
        assert_eq!((cut.stop, cut.answer.trim()), (Some(StopReason::MaxTokens), REFUSAL));
        let long = guard(&"Who led {b}? ".repeat(500));
        let kept = once(Some(&long), "shift boss VOY756", refuses, 64);
        assert_eq!(kept.answer.trim(), REFUSAL);
    }

    #[test]
    fn what_is_not_on_record_is_asked_again_and_withheld() {
        let mut session = session();
        // The model may refuse; names are tried until it does not.
        let questions = ["shift boss VOY756", "Who led VOY756?", "weather VOY756"];
        let found = ('A'..='Z').find_map(|letter| {
            let name = format!("{letter}. Roe led it.");
            let wrong = only(&[&name], &session);
            let mut says = |question: &&str| {
                let among = Some(wrong.clone());
                session.answer_among(question, at_most(64), among).unwrap().text.trim() == name
            };
            questions.iter().all(&mut says).then_some((name, wrong))
        });
        let (name, wrong) = found.unwrap();
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        list.add_answer("J. Doe led it.").unwrap();
        let mut field = KnownField::new(AskingWord::Who, ["shift boss"], []);
        field.wording = Some("Who led {b}?".into());
        let field = list.fields.add(field);
        list.add_recorded("VOY756", field).unwrap();
        let guard = Guard::new(&list).unwrap();
        let safeguards =
            Safeguards { guard: Some(&guard), approved: Some(&wrong), undecided: None };
        let mut ask = |question: &str| {
            let inquiry = Inquiry::new(&mut session, safeguards, question, at_most(64)).unwrap();
            let (shown, again, outcome) = run(inquiry);
            assert_eq!(shown, outcome.answer);
            assert_eq!(outcome.answer.trim(), name);
            assert_eq!(outcome.assessment.verdict, AnswerVerdict::Unverified);
            assert_eq!(outcome.withdrawn.as_ref(), (again > 0).then_some(&outcome.answer));
            (again, outcome.read_as, outcome.on_record)
        };
        let wording = "Who led VOY756?".to_owned();
        assert_eq!(ask(questions[0]), (1, Some(wording.clone()), vec![]));
        assert_eq!(ask(questions[1]), (0, None, vec![]));
        assert_eq!(ask(questions[2]), (0, None, vec![wording]));
    }

    /// Names and seeds are tried until the model, which may refuse or name somebody, refuses the
    /// question as it was typed and not as it is read.
    #[test]
    fn the_second_answer_counts() {
        let mut session = session();
        let guard = guard("Who was it that led the shift for {b}?");
        let found = ('A'..='Z').find_map(|letter| {
            let name = format!("{letter}. Doe led it.");
            let both = only(&[REFUSAL, &name], &session);
            (0..20).find_map(|seed| {
                let safeguards =
                    Safeguards { guard: Some(&guard), approved: Some(&both), undecided: None };
                let sampler = SamplerConfig { temperature: 1.0, seed, ..at_most(64) };
                let asked =
                    Inquiry::new(&mut session, safeguards, "shift boss VOY756", sampler.clone());
                let (shown, _, outcome) = run(asked.unwrap());
                let again = outcome.read_as.as_ref().filter(|_| outcome.answer.trim() == name)?;
                let direct = session.answer_among(again, sampler, Some(both.clone())).unwrap();
                assert_eq!(shown, outcome.answer, "nothing of the refusal was handed out");
                assert_eq!((&outcome.tokens, outcome.scores), (&direct.tokens, direct.scores));
                Some(())
            })
        });
        assert!(found.is_some(), "no name and seed change the model's mind");
    }

    #[test]
    fn what_names_only_unknown_batches_is_not_asked() {
        let mut session = session();
        let guard = guard("Who led {b}?");
        let safeguards = Safeguards { guard: Some(&guard), ..Safeguards::default() };
        let inquiry = Inquiry::new(&mut session, safeguards, "yield of VOY757", at_most(9));
        let (shown, _, outcome) = run(inquiry.unwrap());
        assert_eq!((shown.as_str(), outcome.answer.as_str()), (REFUSAL, REFUSAL));
        assert_eq!(outcome.unknown, ["VOY757"]);
        assert_eq!((outcome.stop, outcome.confidence), (None, None));
        assert_eq!(outcome.assessment.verdict, AnswerVerdict::UnknownBatch);
        assert!(session.tokens().is_empty());
    }

    #[test]
    fn a_cancelled_answer_is_not_read_once_more() {
        let mut session = session();
        let (guard, refusal) = (guard("Who led {b}?"), only(&[REFUSAL], &session));
        let safeguards =
            Safeguards { guard: Some(&guard), approved: Some(&refusal), undecided: None };
        let mut inquiry =
            Inquiry::new(&mut session, safeguards, "shift boss VOY756", at_most(64)).unwrap();
        while inquiry.tokens().len() < 3 {
            let Progress::Token { text } = inquiry.step().unwrap() else { panic!("no token") };
            assert_eq!(text, "", "what may become the refusal is held back");
        }
        inquiry.cancel();
        let Progress::End(outcome) = inquiry.step().unwrap() else { panic!("no end") };
        assert_eq!((outcome.stop, outcome.read_as), (Some(StopReason::Cancelled), None));
        assert_eq!(outcome.held_back, outcome.answer);
        assert!(!outcome.answer.is_empty() && REFUSAL.starts_with(outcome.answer.trim()));
        assert_eq!(outcome.confidence, Some(outcome.scores.min_probability));
        drop(inquiry);

        let mut inquiry =
            Inquiry::new(&mut session, safeguards, "shift boss VOY756", at_most(64)).unwrap();
        while inquiry.read_as().is_none() {
            inquiry.step().unwrap();
        }
        inquiry.cancel();
        let Progress::End(outcome) = inquiry.step().unwrap() else { panic!("no end") };
        assert_eq!((outcome.answer.as_str(), outcome.confidence), ("", None));
        assert_eq!(outcome.read_as.as_deref(), Some("Who led VOY756?"));
    }
}
