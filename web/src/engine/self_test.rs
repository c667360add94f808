//! The self-test: files read again, digest of the merged model, golden questions.

use shared::{Error, SamplerConfig, SelfTest};

use super::{
    library::{Library, Listed},
    load::{Answering, Identity},
    ranks::answer_failed,
    scope,
};
use crate::{
    BUILD,
    error::SiteError,
    protocol::Loaded,
    self_test::{Check, SelfTestReport},
};

/// What is known of the adapter before it is tested.
#[derive(Default)]
pub struct Expected {
    /// Base and published files of the adapter, with the hashes of the site's lists.
    pub files: Vec<Listed>,
    /// The digest that the adapter had when it was evaluated.
    pub digest: Option<String>,
    /// What its record wants repeated.
    pub record: Option<SelfTest>,
}

/// Tests what is loaded. A check that fails is part of the report, not an error.
///
/// # Errors
/// `AnswerFailed`: the model computes nothing at all; else a rank is lost.
pub async fn self_test(
    library: &Library,
    expected: &Expected,
    loaded: &Loaded,
    answering: Answering<'_>,
) -> Result<SelfTestReport, SiteError> {
    let mut files = Vec::new();
    for file in &expected.files {
        let found = match library.hash(file).await {
            Ok(sha256) => sha256,
            Err(error) => error.to_string(),
        };
        files.push(Check::new(&*file.path, Some(file.entry.sha256.clone()), found));
    }
    if files.iter().all(|check| !check.what.starts_with("adapters/")) {
        // From this computer: there is no list to hold it against.
        files.push(Check::new("adapter_model.safetensors", None, loaded.adapter.sha256.clone()));
    }

    let (session, ranks) = (answering.session, answering.ranks);
    let (found, _) = ranks.self_test(session.model()).await?;
    let digest = Check::new("logits of a fixed prompt", expected.digest.clone(), found);

    let mut golden = Vec::new();
    for question in expected.record.iter().flat_map(|record| &record.questions) {
        let found = match session.answer(&question.question, SamplerConfig::exact()) {
            Ok(answer) => answer.text,
            Err(error @ Error::Exchange { .. }) => {
                return Err(ranks.failure(error, answer_failed).await);
            }
            Err(error) => error.to_string(),
        };
        golden.push(Check::new(&*question.question, Some(question.answer.clone()), found));
        answering.yielder.give_way().await;
    }

    let Identity { engine, .. } = answering.identity;
    Ok(SelfTestReport {
        format_version: SelfTestReport::FORMAT_VERSION,
        outcome: SelfTestReport::outcome(&files, &digest, &golden),
        time: crate::now::utc_time(),
        site: scope::site_address(),
        browser: scope::browser(),
        engine,
        build: BUILD.to_owned(),
        kernels: loaded.kernels.clone(),
        base: loaded.base.clone(),
        adapter: loaded.adapter.clone(),
        files,
        digest,
        golden,
    })
}
