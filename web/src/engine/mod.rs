//! The engine worker: loads base and adapter, and answers, one command after the other.
//!
//! Bytes never leave it. `library` reads the site's files from the browser's `store` or the server
//! and verifies them; `merge` makes a model of base and adapter while they arrive; `load` puts a
//! session together; `answer` runs it one token at a time and gives way between two, so that a Stop
//! is heard. On several cores this worker is rank 0: `probe` measures whether that pays, `ranks`
//! are the workers beside it, each a `follower`, and through an `exchange` they share activations.

mod adapter;
mod answer;
mod bench;
mod exchange;
mod fetch;
mod follower;
mod hasher;
mod inbox;
mod library;
mod lists;
mod load;
mod merge;
mod packer;
mod probe;
mod ranks;
mod reporter;
mod scope;
mod self_test;
mod store;

use wasm_bindgen_futures::spawn_local;

use crate::{
    error::{Recovery, SiteError},
    protocol::{ToEngine, ToPage},
};
use inbox::Inbox;
use lists::Wanted;
use load::Engine;

/// Runs the worker: the engine itself, or one of its followers.
pub fn start() {
    if scope::global().name() == follower::NAME {
        return follower::start();
    }
    report_panics();
    let inbox = Inbox::default();
    let sender = inbox.clone();
    scope::listen(move |message, files| sender.push((message, files)));
    spawn_local(serve(inbox));
    scope::post(&ToPage::Started);
}

async fn serve(inbox: Inbox) {
    let mut engine = Engine::new(scope::site_address()).await;
    loop {
        let (command, files) = inbox.next().await;
        match command {
            ToEngine::UseCores { cores } => engine.use_cores(cores).await,
            ToEngine::UseCurrent => engine.load(Wanted::Current).await,
            ToEngine::UseVersion { version } => engine.load(Wanted::Version(version)).await,
            ToEngine::UseLocal => engine.load(Wanted::Local(files)).await,
            ToEngine::Ask { id, question, sampler, decoding } => {
                let how = answer::How { sampler, decoding };
                answer::answer(engine.answering(), &inbox, id, &question, how).await;
            }
            ToEngine::SelfTest => scope::post(&match engine.self_test().await {
                Ok(report) => ToPage::SelfTested(Box::new(report)),
                Err(error) if error.recovery() == Recovery::RestartEngine => ToPage::Failed(error),
                Err(error) => ToPage::Declined(error),
            }),
            ToEngine::Bench { parameters } => {
                scope::post(&match bench::bench(&parameters, engine.yielder()).await {
                    Ok(result) => ToPage::Benched(result),
                    Err(error) => ToPage::BenchFailed { words: error.in_words() },
                });
            }
            // Its answer has ended already.
            ToEngine::Stop { .. } => {}
        }
    }
}

fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        scope::post(&ToPage::Failed(SiteError::EngineStopped { reason: panic.to_string() }));
    }));
}
