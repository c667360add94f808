//! The page: one component that holds the state and wires the others to the engine.
//!
//! # For tests
//! The document's root element carries everything a test waits for or reads:
//! - `data-state`: `loading`, `ready`, `answering` or `error`; `data-error`: the error's code.
//! - `data-build`, `data-adapter` (version in use), `data-adapter-origin`.
//! - numbers of this visit (absent until known): `data-downloaded-bytes`, `data-memory-bytes`,
//!   `data-ready-ms`, `data-merge-ms`, `data-first-token-ms`, `data-open-to-first-token-ms`,
//!   `data-tokens-per-second`; see [`crate::state::Metrics`].
//!
//! Elements are found by `data-testid`: `question`, `send`, `stop`, `new-chat`, `exchange` (with
//! `data-outcome`: `streaming`, `answered`, `not-asked`, `failed`), within it `asked`, `answer`,
//! `answer-adapter`, `answer-confidence` (with `data-min-probability`), `answer-speed` (with
//! `data-tokens`, `data-seconds`), `answer-verified` or `answer-unverified`, `guard-note`, `failure`; `starter`, `adapter-select`, `adapter-files`, `progress`, `error-panel` (with
//! `data-error`), `error-title`, `error-detail`, `error-action`, `intended-use`, `about`,
//! `self-test`, `self-test-result` (with `data-digest`), `setting-` followed by the sampler field's
//! name, and `preset-exact`, `preset-production`. Two panels stand in `index.html` itself, for when
//! there is no app: `no-simd` and `page-stopped`.

mod actions;
mod drop;
mod link;
mod root;
pub(crate) mod window;

use std::rc::Rc;

use web_sys::HtmlTextAreaElement;
use yew::prelude::*;

use actions::Actions;
use link::EngineLink;

use crate::{
    components::{
        About, AdapterPanel, Composer, Conversation, ErrorPanel, Header, IntendedUse, LoadingPanel,
        SettingsPanel, Starters,
    },
    error::Recovery,
    protocol::ToEngine,
    state::{Action, Phase, State, Switching},
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
    let shown = use_reducer(Shown::default);
    let link = {
        let dispatcher = shown.dispatcher();
        use_memo((), move |()| EngineLink::new(move |action| dispatcher.dispatch(action)))
    };
    let panel_open = use_state(|| false);

    {
        let link = link.clone();
        use_effect_with((), move |()| link.start(ToEngine::UseCurrent, Vec::new()));
    }
    root::use_published(&shown.0);
    let actions = Actions::new(&shown, &link);
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
        <div class={classes!("page", dropping.over.then_some("dropping"))}
            ondragover={dropping.on_over} ondragleave={dropping.on_leave} ondrop={dropping.on_drop}>
            <Header loaded={state.loaded.clone()} panel_open={*panel_open}
                on_toggle_panel={toggle_panel} on_new_chat={actions.new_chat} />
            <IntendedUse />
            <div class="columns">
                <main class="conversation">
                    <Conversation exchanges={state.chat.clone()}>
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
                    <Composer {field} can_ask={state.can_ask()} answering={state.answering.is_some()}
                        on_ask={actions.ask} on_stop={actions.stop} />
                </main>
                <aside id="side" class={classes!("side", panel_open.then_some("open"))}
                    aria-label="Adapter, settings and versions">
                    <AdapterPanel catalog={state.catalog.clone()} loaded={state.loaded.clone()}
                        enabled={state.switching() != Switching::NotNow} on_version={actions.use_version} on_files={actions.use_files} />
                    <SettingsPanel settings={state.settings.clone()} on_change={actions.change_settings} />
                    <About loaded={state.loaded.clone()} metrics={state.metrics}
                        digest={state.digest.clone()} can_test={state.can_ask()}
                        recorded_digest={state.recorded_digest().map(str::to_owned)}
                        on_self_test={actions.self_test} />
                </aside>
            </div>
        </div>
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
