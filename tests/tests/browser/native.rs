//! The same answers, computed natively from the same files.

use std::{fs, path::Path};

use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, Adapter, AdapterRecord, Answer, AnswerVerdict, Assessment,
    GUARD_FILE, Guard, GuardList, Inquiry, Model, RECORD_FILE, RankSlice, Safeguards,
    SamplerConfig, Session, SoloExchange, UndecidedRule, logits_digest, self_test_tokens,
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
        let safeguards =
            Safeguards { guard: Some(&self.guard), undecided: self.rule.as_ref(), approved: None };
        let inquiry = Inquiry::new(&mut self.session, safeguards, question, sampler);
        let outcome = inquiry.and_then(Inquiry::finish).expect("an answer");
        let confidence = outcome.confidence.map(|confidence| confidence.to_string());
        let Assessment { verdict, unverified, .. } = outcome.assessment;
        Shown {
            outcome: if outcome.stop.is_none() { "not-asked" } else { "answered" }.into(),
            text: verdict.instead().unwrap_or(outcome.answer.trim_start()).to_owned(),
            adapter,
            verdict: code(verdict),
            confidence,
            unverified: unverified.join(", "),
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
