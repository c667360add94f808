//! Every path through the reducer.

use super::*;
use shared::AnswerVerdict;

use crate::cores::Cores;
use crate::protocol::{AdapterInfo, BaseInfo, LoadCost, Origin, Suggestion, tests::event};
use crate::self_test::{Check, tests::report};

fn loaded(version: &str) -> Loaded {
    Loaded {
        base: BaseInfo { name: "base".into(), ..BaseInfo::default() },
        adapter: AdapterInfo {
            version: version.into(),
            sha256: "a".repeat(64),
            ..AdapterInfo::default()
        },
        cost: LoadCost {
            downloaded_bytes: 3_000_000,
            total_ms: 400.0,
            merge_ms: 80.0,
            memory_bytes: 1 << 24,
        },
        kernels: "scalar".into(),
        ranks: 1,
    }
}

fn received(message: ToPage) -> Action {
    Action::Received { message, at_ms: 1000.0 }
}

fn ready() -> State {
    State::default().apply(received(ToPage::Ready(Box::new(loaded("v1")))))
}

fn asked(state: State) -> State {
    let id = state.next_id();
    state.apply(Action::Asked { id, question: "Who approved VOY756?".into(), at_ms: 2000.0 })
}

fn token(id: QuestionId, text: &str) -> Action {
    Action::Received { message: ToPage::Token { id, text: text.into() }, at_ms: 2050.0 }
}

fn summary(ending: Ending) -> Summary {
    Summary {
        tokens: 10,
        seconds: 0.1,
        first_token_seconds: 0.02,
        verdict: AnswerVerdict::Matched,
        confidence: Some(0.97),
        unverified: Vec::new(),
        corrections: Vec::new(),
        read_as: None,
        on_record: Vec::new(),
        likeliest: None,
        ending,
        memory_bytes: 1 << 25,
    }
}

fn answered(id: QuestionId, ending: Ending) -> Action {
    received(ToPage::Answered { id, summary: summary(ending), event: event() })
}

fn error() -> SiteError {
    SiteError::EngineStopped { reason: "panicked at row 3".into() }
}

#[test]
fn a_visit_from_opening_to_answer() {
    let mut state = State::default();
    assert_eq!(state.label(), "loading");
    assert!(!state.can_ask());

    let mut progress = Progress::new([("base".into(), 100)]);
    progress.advance(0, 40, crate::progress::Source::Network);
    state = state.apply(received(ToPage::Started)).apply(received(ToPage::Progress(progress)));
    assert!(matches!(&state.phase, Phase::Loading(shown) if shown.done() == 40));

    state = state.apply(received(ToPage::Ready(Box::new(loaded("v1")))));
    assert_eq!(state.label(), "ready");
    assert_eq!(state.metrics.ready_ms, Some(1000.0));

    state = asked(state);
    assert_eq!((state.label(), state.answering), ("answering", Some(1)));
    for piece in ["Dr. ", "Weber", "."] {
        state = state.apply(token(1, piece));
    }
    state = state.apply(answered(1, Ending::Complete));
    assert_eq!(state.label(), "ready");
    let exchange = &state.chat[0];
    assert_eq!((exchange.adapter.as_str(), exchange.adapter_sha256.len()), ("v1", 64));
    assert!(matches!(&exchange.outcome, Outcome::Answered { text, .. } if text == "Dr. Weber."));
    assert_eq!(state.metrics.first_token_ms, Some(50.0));
    assert_eq!(state.metrics.open_to_first_token_ms, Some(2050.0));
    assert_eq!(state.metrics.tokens_per_second, Some(100.0));
    assert_eq!(state.metrics.memory_bytes, 1 << 25);
}

#[test]
fn what_was_written_before_a_question_is_asked_again_is_void() {
    let mut state = asked(ready());
    let again = || received(ToPage::AskedAgain { id: 1 });
    for action in [token(1, "Dr. Nobody"), again(), token(1, "Dr. Weber.")] {
        state = state.apply(action);
    }
    state = state.apply(answered(1, Ending::Complete)).apply(again());
    let outcome = &state.chat[0].outcome;
    assert!(matches!(outcome, Outcome::Answered { text, .. } if text == "Dr. Weber."));
}

#[test]
fn nothing_is_asked_before_ready_or_twice_at_once() {
    let loading = asked(State::default());
    assert!(loading.chat.is_empty());

    let state = asked(asked(ready()));
    assert_eq!(state.chat.len(), 1);
    assert_eq!(state.next_id(), 2);
}

#[test]
fn a_question_under_a_used_number_is_ignored() {
    let state = asked(ready()).apply(received(ToPage::Guarded {
        id: 1,
        unknown: vec![],
        suggestions: vec![],
        event: event(),
    }));
    let again = state.clone().apply(Action::Asked {
        id: 1,
        question: "double click".into(),
        at_ms: 2001.0,
    });
    assert_eq!(again, state);
}

#[test]
fn questions_are_trimmed_and_bounded() {
    assert_eq!(State::accept_question("  Who?\n"), Some("Who?".into()));
    assert_eq!(State::accept_question(" \n\t "), None);
    let longest = "é".repeat(MAX_QUESTION_CHARS);
    assert_eq!(State::accept_question(&longest), Some(longest.clone()));
    assert_eq!(State::accept_question(&format!("{longest}é")), None);
}

#[test]
fn the_guard_answers_without_the_model() {
    let unknown = vec!["ZZZ999".to_owned()];
    let state = asked(ready()).apply(received(ToPage::Guarded {
        id: 1,
        unknown: unknown.clone(),
        suggestions: vec![],
        event: event(),
    }));
    assert_eq!(state.label(), "ready");
    assert_eq!(state.chat[0].outcome, Outcome::NotAsked { unknown, suggestions: vec![] });
}

#[test]
fn a_suggestion_takes_the_place_of_the_unknown_word() {
    let suggestion = |word: &str| Suggestion { instead_of: word.into(), batch: "VOY756".into() };
    let mut exchange = asked(ready()).chat.remove(0);
    exchange.question = "Müller: who approved voy757?".into();
    let reworded = exchange.reworded(&suggestion("VOY757"));
    assert_eq!(reworded.as_deref(), Some("Müller: who approved VOY756?"));
    assert_eq!(exchange.reworded(&suggestion("VOY 757")), None);
}

#[test]
fn a_stopped_answer_keeps_its_text() {
    let state = asked(ready()).apply(token(1, "Dr.")).apply(answered(1, Ending::Stopped));
    let Outcome::Answered { text, summary } = &state.chat[0].outcome else { panic!() };
    assert_eq!((text.as_str(), ending_words(summary)), ("Dr.", Some("stopped by you")));
}

#[test]
fn a_long_question_shows_how_much_of_it_is_read_until_the_answer_begins() {
    let reading = |done| received(ToPage::Reading { id: 1, done, total: 150 });
    let shown = |state: &State| match &state.chat[0].outcome {
        Outcome::Streaming(answer) => answer.reading,
        _ => None,
    };
    let state = asked(ready());
    assert_eq!(shown(&state), None);
    let state = state.apply(reading(64)).apply(reading(128));
    assert_eq!(shown(&state), Some((128, 150)));
    let stopped = state.clone().apply(answered(1, Ending::Stopped));
    assert!(matches!(&stopped.chat[0].outcome, Outcome::Answered { text, .. } if text.is_empty()));
    assert_eq!(shown(&state.apply(token(1, "Dr."))), None);
    // Cleared away meanwhile.
    assert!(asked(ready()).apply(Action::ChatCleared).apply(reading(64)).chat.is_empty());
}

#[test]
fn a_new_chat_during_an_answer_ignores_the_rest_of_it() {
    let state = asked(ready()).apply(Action::ChatCleared);
    assert!(state.chat.is_empty() && state.can_ask());
    let state = asked(state).apply(token(1, "late")).apply(token(2, "right"));
    assert!(matches!(&state.chat[0].outcome, Outcome::Streaming(a) if a.text == "right"));
    let state = state.apply(answered(1, Ending::Stopped));
    assert_eq!(state.answering, Some(2));
}

#[test]
fn a_failed_question_leaves_the_engine_usable() {
    let error = SiteError::QuestionTooLong { tokens: 600, limit: 512 };
    let state =
        asked(ready()).apply(received(ToPage::QuestionFailed { id: 1, error: error.clone() }));
    assert!(state.can_ask());
    assert_eq!(state.chat[0].outcome, Outcome::Failed { text: String::new(), error });
}

#[test]
fn a_lost_engine_fails_the_open_answer_and_the_first_cause_stays() {
    let state = asked(ready())
        .apply(token(1, "Dr."))
        .apply(received(ToPage::Failed(error())))
        .apply(Action::EngineLost(SiteError::OutOfMemory { what: "later".into() }));
    assert_eq!(state.label(), "error");
    assert_eq!(state.phase, Phase::Failed(error()));
    assert_eq!(state.answering, None);
    assert_eq!(state.chat[0].outcome, Outcome::Failed { text: "Dr.".into(), error: error() });

    let state = state.apply(Action::Restarted);
    assert_eq!(state.label(), "loading");
    assert_eq!(state.chat.len(), 1, "the chat survives a restart");
}

#[test]
fn switching_adapters_loads_and_a_refused_one_leaves_the_old() {
    let state = ready().apply(Action::SwitchRequested);
    assert_eq!(state.label(), "loading");
    let switched = state.clone().apply(received(ToPage::Ready(Box::new(loaded("v2")))));
    assert_eq!(switched.loaded.unwrap().adapter.version, "v2");
    assert_eq!(switched.metrics.ready_ms, Some(1000.0));

    let refusal = SiteError::BadAdapter { adapter: "v9".into(), reason: "shape".into() };
    let state = state.apply(received(ToPage::Declined(refusal.clone())));
    assert_eq!(state.label(), "ready");
    assert_eq!(state.notice, Some(refusal));
    assert_eq!(state.loaded.as_ref().unwrap().adapter.version, "v1");
    assert_eq!(state.apply(Action::NoticeDismissed).notice, None);
}

#[test]
fn no_switch_while_answering_and_a_new_engine_after_a_failure() {
    let state = asked(ready());
    assert_eq!(state.switching(), Switching::NotNow);
    assert_eq!(state.clone().apply(Action::SwitchRequested), state);
    assert_eq!(ready().switching(), Switching::InPlace);
    assert_eq!(ready().apply(Action::EngineLost(error())).switching(), Switching::Restart);
    assert_eq!(State::default().switching(), Switching::NotNow);
}

#[test]
fn each_answer_names_the_adapter_that_gave_it() {
    let state = asked(ready()).apply(answered(1, Ending::Complete)).apply(Action::SwitchRequested);
    let mut local = loaded("trial");
    local.adapter.origin = Origin::Local;
    let state = asked(state.apply(received(ToPage::Ready(Box::new(local)))));
    let adapters: Vec<_> = state.chat.iter().map(|e| (e.adapter.as_str(), e.origin)).collect();
    assert_eq!(adapters, [("v1", Origin::Published), ("trial", Origin::Local)]);
}

#[test]
fn a_self_test_belongs_to_one_adapter() {
    let digest = Check::new("digest", Some("aa".into()), "aa".into());
    let report = Box::new(report(Vec::new(), digest, Vec::new()));
    let running = ready().apply(Action::SelfTestRequested);
    assert!(!running.can_ask(), "the engine is busy");
    let ended = running.clone().apply(received(ToPage::SelfTested(report.clone())));
    assert_eq!(ended.self_test, SelfTesting::Ended(report));
    assert!(ended.can_ask());
    let other = ended.apply(received(ToPage::Ready(Box::new(loaded("v2")))));
    assert_eq!(other.self_test, SelfTesting::NotRun);

    let failed = running.clone().apply(received(ToPage::Declined(error())));
    assert_eq!((failed.self_test, failed.notice), (SelfTesting::NotRun, Some(error())));
    let restarted = running.apply(Action::EngineLost(error())).apply(Action::Restarted);
    assert_eq!(restarted.self_test, SelfTesting::NotRun);
}

#[test]
fn a_loss_in_the_journal_becomes_a_notice() {
    let lost = SiteError::NotKept { what: "the audit log".into(), reason: "no room".into() };
    let state = ready().apply(Action::Journal(JournalChange::Lost(lost.clone())));
    assert_eq!((state.notice, state.journal.lost), (Some(lost), 1));
    let state = ready().apply(Action::Journal(JournalChange::NotLogged));
    assert_eq!((state.notice, state.journal.log), (None, Log::Off));
}

#[test]
fn presets_are_recognised_and_own_values_are_not_one() {
    let mut state = State::default();
    assert_eq!(state.settings.preset(), Some(Preset::Exact));
    state = state.apply(Action::Settings(SettingsChange::Preset(Preset::Production)));
    assert_eq!(state.settings.preset(), Some(Preset::Production));
    let mut own = state.settings.sampler.clone();
    own.max_new_tokens = 7;
    state = state.apply(Action::Settings(SettingsChange::Sampler(own.clone())));
    assert_eq!((state.settings.preset(), state.settings.sampler), (None, own));
}

#[test]
fn the_number_of_cores_is_a_setting_and_no_preset() {
    let mut state = State::default();
    assert_eq!(state.settings.cores, Cores::Automatic);
    state = state.apply(Action::Settings(SettingsChange::Cores(Cores::Exactly(2))));
    state = state.apply(Action::Settings(SettingsChange::Preset(Preset::Exact)));
    assert_eq!(
        (state.settings.cores, state.settings.preset()),
        (Cores::Exactly(2), Some(Preset::Exact))
    );
}

#[test]
fn metrics_become_attributes_only_when_known() {
    let names = |state: &State| {
        state.metrics.entries().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&State::default()), ["downloadedBytes", "memoryBytes"]);
    assert_eq!(names(&ready()), ["downloadedBytes", "memoryBytes", "readyMs", "mergeMs"]);
}
