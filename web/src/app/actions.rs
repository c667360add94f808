//! What the user can do, as callbacks that change the state and tell the engine.

use std::rc::Rc;

use web_sys::File;
use yew::prelude::*;

use super::{
    EngineLink, Shown,
    journal::{Command, Journal},
    window,
};
use crate::{
    error::Recovery,
    protocol::ToEngine,
    state::{Action, SelfTesting, Settings, SettingsChange, State, Switching},
};

/// One callback for each thing that the user can do.
pub struct Actions {
    /// Asks a question.
    pub ask: Callback<String>,
    /// Stops the answer, if there is one.
    pub stop: Callback<()>,
    /// Clears the chat, stopping the answer in it.
    pub new_chat: Callback<()>,
    /// Answers from another published version.
    pub use_version: Callback<String>,
    /// Answers from an adapter of this computer.
    pub use_files: Callback<Vec<File>>,
    /// The button of an error panel.
    pub recover: Callback<Recovery>,
    /// Runs the self-test.
    pub self_test: Callback<()>,
    /// Downloads the self-test's report.
    pub download_report: Callback<()>,
    /// Has the journal do something.
    pub journal: Callback<Command>,
    /// Changes the answer settings.
    pub change_settings: Callback<SettingsChange>,
}

impl Actions {
    /// The callbacks for the state as it is shown now.
    pub fn new(
        shown: &UseReducerHandle<Shown>,
        link: &Rc<EngineLink>,
        journal: &Rc<Journal>,
    ) -> Self {
        let act = |run: fn(&UseReducerHandle<Shown>, &EngineLink)| {
            let (shown, link) = (shown.clone(), link.clone());
            Callback::from(move |()| run(&shown, &link))
        };
        Self {
            ask: with(shown, link, ask),
            stop: act(stop),
            new_chat: act(|shown, link| {
                stop(shown, link);
                shown.dispatch(Action::ChatCleared);
            }),
            use_version: with(shown, link, |shown, link, version| {
                switch(shown, link, ToEngine::UseVersion { version }, Vec::new());
            }),
            use_files: with(shown, link, |shown, link, files: Vec<File>| {
                if !files.is_empty() {
                    switch(shown, link, ToEngine::UseLocal, files);
                }
            }),
            recover: with(shown, link, |shown, link, recovery| match recovery {
                Recovery::RestartEngine => {
                    shown.dispatch(Action::Restarted);
                    link.start(shown.0.settings.cores, ToEngine::UseCurrent, Vec::new());
                }
                Recovery::ReloadPage => window::reload(),
                Recovery::Dismiss => shown.dispatch(Action::NoticeDismissed),
            }),
            self_test: act(|shown, link| {
                if shown.0.can_ask() {
                    shown.dispatch(Action::SelfTestRequested);
                    link.post(&ToEngine::SelfTest, &[]);
                }
            }),
            download_report: act(|shown, _| download_report(&shown.0)),
            journal: {
                let journal = journal.clone();
                Callback::from(move |command| journal.command(command))
            },
            change_settings: with(shown, link, |shown, link, change| {
                if let SettingsChange::Cores(cores) = change {
                    window::keep_cores(cores);
                    // After a failure the next engine is started on them.
                    if shown.0.switching() == Switching::InPlace {
                        shown.dispatch(Action::SwitchRequested);
                        link.post(&ToEngine::UseCores { cores }, &[]);
                    }
                }
                shown.dispatch(Action::Settings(change));
            }),
        }
    }
}

fn with<T: 'static>(
    shown: &UseReducerHandle<Shown>,
    link: &Rc<EngineLink>,
    run: fn(&UseReducerHandle<Shown>, &EngineLink, T),
) -> Callback<T> {
    let (shown, link) = (shown.clone(), link.clone());
    Callback::from(move |value| run(&shown, &link, value))
}

fn ask(shown: &UseReducerHandle<Shown>, link: &EngineLink, question: String) {
    if shown.0.can_ask() {
        let (id, settings) = (shown.0.next_id(), shown.0.settings.clone());
        let Settings { sampler, decoding, .. } = settings;
        let at_ms = window::now_ms();
        shown.dispatch(Action::Asked { id, question: question.clone(), at_ms });
        link.post(&ToEngine::Ask { id, question, sampler, decoding }, &[]);
    }
}

/// A browser that saves nothing says so itself.
fn download_report(state: &State) {
    if let SelfTesting::Ended(report) = &state.self_test {
        let name = format!("lotwise-self-test-{}.json", report.time.replace(':', ""));
        if let Err(error) = window::download(&name, "application/json", &report.to_json()) {
            web_sys::console::error_2(&"the report was not downloaded".into(), &error);
        }
    }
}

fn stop(shown: &UseReducerHandle<Shown>, link: &EngineLink) {
    if let Some(id) = shown.0.answering {
        link.post(&ToEngine::Stop { id }, &[]);
    }
}

/// Has `load` done by the engine that runs, or after a failure by a new one.
fn switch(shown: &UseReducerHandle<Shown>, link: &EngineLink, load: ToEngine, files: Vec<File>) {
    match shown.0.switching() {
        Switching::InPlace => {
            shown.dispatch(Action::SwitchRequested);
            link.post(&load, &files);
        }
        Switching::Restart => {
            shown.dispatch(Action::Restarted);
            link.start(shown.0.settings.cores, load, files);
        }
        Switching::NotNow => {}
    }
}
