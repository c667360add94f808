//! The page: one component that holds the state and wires the others to the engine.
//!
//! # For tests
//! The document's root element carries everything a test waits for or reads:
//! - `data-state`: `loading`, `ready`, `answering` or `error`; `data-error`: the error's code.
//! - `data-build`, `data-adapter` (version in use), `data-adapter-origin`, `data-ranks`.
//! - numbers of this visit (absent until known): `data-downloaded-bytes`, `data-memory-bytes`,
//!   `data-ready-ms`, `data-merge-ms`, `data-first-token-ms`, `data-open-to-first-token-ms`,
//!   `data-tokens-per-second`; see [`crate::state::Metrics`].
//!
//! Elements are found by `data-testid`: `question`, `send`, `stop`, `new-chat`, `exchange` (with
//! `data-outcome`: `streaming`, `answered`, `not-asked`, `failed`), within it `asked`, `reading`, `answer`,
//! `answer-mark` (with `data-verdict`), `answer-meaning`, `answer-unverified`, `answer-adapter`,
//! `answer-confidence` (with `data-confidence`), `answer-speed` (with `data-tokens`,
//! `data-seconds`), `read-as`, `asked-again`, `guard-note`, `suggestion`, `correct`, `corrected`, `failure`; `starter`, `adapter-select`, `adapter-files`, `progress`, `error-panel` (with
//! `data-error`), `error-title`, `error-detail`, `error-action`, `intended-use`, `about`,
//! `self-test`, `self-test-result` (with `data-outcome`, `data-digest`), `audit` (with `data-log`,
//! `data-entries`), `corrections` (with `data-count`), those of their buttons and forms, `setting-` followed by the sampler field's
//! name or by `cores` or `approved`, and `preset-exact`, `preset-production`. Two panels stand in `index.html` itself, for when
//! there is no app: `no-simd` and `page-stopped`.

mod actions;
mod database;
mod drop;
pub(crate) mod journal;
mod link;
mod root;
pub(crate) mod window;

use std::rc::Rc;

use web_sys::HtmlTextAreaElement;
use yew::prelude::*;

use actions::Actions;
use journal::Journal;
use link::EngineLink;

use crate::{
    components::{
        About, AdapterPanel, AuditPanel, Composer, Conversation, CorrectionsPanel, ErrorPanel,
        Evidence, Header, IntendedUse, LoadingPanel, SelfTestPanel, SettingsPanel, Starters,
    },
    error::Recovery,
    protocol::ToEngine,
    state::{Action, Log, Phase, SelfTesting, State, Switching},
};

/// [`State`] under Yew's reducer interface.
#[derive(Clone, PartialEq, Default)]
struct Shown(State);

impl Reducible for Shown {
    type Action = Action;

    fn reduce(self: Rc<Self>, action: Action) -> Rc<Self> {
        Rc::new(Self(Rc::unwrap_or_clone(self).0.apply(action)))
    }
}

/// Starts the page in the `#app` element.
///
/// # Panics
/// Without an element `#app`, which `index.html` has.
pub fn mount() {
    root::show_panics();
    root::set("build", crate::BUILD);
    let place = root::document().get_element_by_id("app").expect("index.html has #app");
    yew::Renderer::<App>::with_root(place).render();
}

/// The whole page.
#[component(App)]
fn app() -> Html {
    let shown = use_reducer(|| {
        let mut state = State::default();
        state.settings.cores = window::kept_cores();
        Shown(state)
    });
    let journal = {
        let dispatcher = shown.dispatcher();
        use_memo((), move |()| Journal::new(move |action| dispatcher.dispatch(action)))
    };
    let link = {
        let journal = Rc::clone(&journal);
        use_memo((), move |()| EngineLink::new(move |action| journal.receive(action)))
    };
    let panel_open = use_state(|| false);

    {
        let link = link.clone();
        let journal = Rc::clone(&journal);
        let cores = shown.0.settings.cores;
        use_effect_with((), move |()| {
            journal.open();
            link.start(cores, ToEngine::UseCurrent, Vec::new());
        });
    }
    root::use_published(&shown.0);
    let actions = Actions::new(&shown, &link, &journal);
    window::use_escape(actions.stop.clone());

    let field = use_node_ref();
    let fill = {
        let field = field.clone();
        Callback::from(move |text: String| fill_field(&field, &text))
    };
    let dropping = drop::use_drop(actions.use_files.clone());
    let toggle_panel = {
        let panel_open = panel_open.clone();
        Callback::from(move |()| panel_open.set(!*panel_open))
    };

    let state = &shown.0;
    let welcome = state.chat.is_empty() && state.phase == Phase::Ready;
    html! {
        <>
        <div class={classes!("page", dropping.over.then_some("dropping"))}
            ondragover={dropping.on_over} ondragleave={dropping.on_leave} ondrop={dropping.on_drop}>
            <Header loaded={state.loaded.clone()} panel_open={*panel_open}
                on_toggle_panel={toggle_panel} on_new_chat={actions.new_chat} />
            <IntendedUse />
            <div class="columns">
                <main class="conversation">
                    <Conversation exchanges={state.chat.clone()} journal={state.journal.clone()}
                        can_ask={state.can_ask()} on_ask={actions.ask.clone()}
                        on_journal={actions.journal.clone()}>
                        if welcome {
                            <Starters on_choose={fill} />
                        }
                    </Conversation>
                    if let Phase::Loading(progress) = &state.phase {
                        <LoadingPanel progress={progress.clone()} />
                    }
                    if let Phase::Failed(error) = &state.phase {
                        <ErrorPanel error={error.clone()} recovery={error.recovery()}
                            on_recover={actions.recover.clone()} />
                    }
                    if let Some(error) = &state.notice {
                        <ErrorPanel error={error.clone()} recovery={Recovery::Dismiss}
                            on_recover={actions.recover} />
                    }
                    { log_note(&state.journal.log) }
                    <Composer {field} can_ask={state.can_ask()} answering={state.answering.is_some()}
                        on_ask={actions.ask} on_stop={actions.stop} />
                </main>
                <aside id="side" class={classes!("side", panel_open.then_some("open"))}
                    aria-label="Adapter, settings and versions">
                    <AdapterPanel catalog={state.catalog.clone()} loaded={state.loaded.clone()}
                        enabled={state.switching() != Switching::NotNow} on_version={actions.use_version} on_files={actions.use_files} />
                    <SettingsPanel settings={state.settings.clone()} on_change={actions.change_settings}
                        approved_answers={state.loaded.as_ref().is_some_and(|l| l.adapter.approved_answers)}
                        offer={window::offer()} busy={state.switching() == Switching::NotNow} />
                    <AuditPanel journal={state.journal.clone()} on_command={actions.journal.clone()} />
                    <CorrectionsPanel corrections={state.journal.corrections.clone()}
                        on_command={actions.journal} />
                    <SelfTestPanel self_test={state.self_test.clone()} can_test={state.can_ask()}
                        on_run={actions.self_test} on_download={actions.download_report}
                        on_print={|()| window::print()} />
                    <About loaded={state.loaded.clone()} metrics={state.metrics}
                        program={state.program.clone()} />
                </aside>
            </div>
        </div>
        if let SelfTesting::Ended(report) = &state.self_test {
            <Evidence report={(**report).clone()} />
        }
        </>
    }
}

/// A line where answers are not logged: nobody should find that out afterwards.
fn log_note(log: &Log) -> Html {
    match log {
        Log::Opening | Log::On => Html::default(),
        Log::Off => html! {
            <p class="log-note" role="status" data-testid="log-note">
                { "The audit log is off: answers are not recorded." }
            </p>
        },
        Log::Unavailable(_) => html! {
            <p class="log-note" role="status" data-testid="log-note">
                { "This browser keeps no audit log here, as in some private windows: answers are \
                   not recorded. See \u{201c}Audit log\u{201d} for the reason." }
            </p>
        },
    }
}

/// Puts `text` into the question field and the cursor behind it.
fn fill_field(field: &NodeRef, text: &str) {
    if let Some(field) = field.cast::<HtmlTextAreaElement>() {
        field.set_value(text);
        // A field that cannot take the focus is still there to be clicked.
        let _ = field.focus();
    }
}
