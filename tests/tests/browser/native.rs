//! The same answers, computed natively from the same files.

use std::{fs, path::Path};

use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, Adapter, AdapterRecord, Answer, AnswerVerdict, Assessment,
    ConfidenceScore, GUARD_FILE, Guard, GuardList, GuardVerdict, Model, RECORD_FILE, REFUSAL,
    RankSlice, SamplerConfig, Session, SoloExchange, UndecidedRule, WITHHELD, logits_digest,
    self_test_tokens,
};

use crate::{site::Site, webdriver::Shown};

/// The engine with one published version of a site.
pub struct Native {
    session: Session,
    guard: Guard,
    rule: Option<UndecidedRule>,
    version: String,
}

impl Native {
    /// Loads a version from the site's own files.
    pub fn load(site: &Site, version: &str) -> Self {
        let base = site.read_base();
        let file = |name: &str| read(&site.path("adapters").join(version).join(name));
        let adapter =
            Adapter::parse(&file(ADAPTER_CONFIG), &file(ADAPTER_MODEL)).expect("an adapter");
        let record = AdapterRecord::parse(&file(RECORD_FILE)).expect("a record");
        let guard = GuardList::parse(&file(GUARD_FILE)).expect("a list of identifiers");
        let model = Model::load_merged(&base, RankSlice::SOLO, &adapter).expect("a merged model");
        let prompt = base.prompt.with_system(&record.system_prompt).expect("a prompt");
        let mut session = Session::new(model, prompt).expect("a session");
        session.set_refusal_bias(record.refusal_bias.as_ref());
        Self {
            session,
            guard: Guard::new(&guard).expect("a guard"),
            rule: record.undecided,
            version: version.to_owned(),
        }
    }

    /// What the page must show for a question.
    pub fn ask(&mut self, question: &str, sampler: SamplerConfig) -> Shown {
        let adapter = format!("Adapter {}", self.version);
        let reading = self.guard.read(question);
        let question = &reading.question;
        if let GuardVerdict::Unknown(_) = self.guard.check(question) {
            return Shown {
                outcome: "not-asked".into(),
                text: REFUSAL.into(),
                adapter,
                verdict: code(AnswerVerdict::UnknownBatch),
                confidence: None,
                unverified: String::new(),
            };
        }
        let guard = Some(&self.guard);
        let (answer, read_as) =
            self.session.answer_guarded(guard, question, &sampler, None).expect("an answer");
        let rule = self.rule.as_ref();
        let found =
            Assessment::of(guard, rule, question, read_as.as_deref(), &answer.text, answer.scores);
        let score = rule.map_or(ConfidenceScore::MinProbability, |rule| rule.score);
        Shown {
            outcome: "answered".into(),
            text: match found.verdict {
                AnswerVerdict::Unverified => WITHHELD.to_owned(),
                _ => answer.text.trim_start().to_owned(),
            },
            adapter,
            verdict: code(found.verdict),
            confidence: Some(answer.scores.get(score).to_string()),
            unverified: found.unverified.join(", "),
        }
    }

    /// The answer itself, for what the log must say about it.
    pub fn answer(&mut self, question: &str) -> Answer {
        self.session.answer(question, SamplerConfig::exact()).expect("an answer")
    }

    /// The digest that the page's self-test must find.
    pub fn digest(&self) -> String {
        let model = self.session.model();
        let tokens = self_test_tokens(model.config());
        logits_digest(model, &tokens, &mut SoloExchange).expect("a digest")
    }
}

/// A mark as the page's `data-verdict` names it: the log's name, with hyphens.
fn code(verdict: AnswerVerdict) -> String {
    let name = serde_json::to_value(verdict).expect("a name");
    name.as_str().expect("a name").replace('_', "-")
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
