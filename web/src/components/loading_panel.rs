//! What is being loaded, and how much of it is there.

use yew::prelude::*;

use crate::{
    format,
    progress::{Progress, Source, Stage},
};

/// Properties of [`LoadingPanel`].
#[derive(Properties, PartialEq)]
pub struct LoadingPanelProps {
    /// Progress so far.
    pub progress: Progress,
}

fn words(progress: &Progress) -> String {
    match (progress.stage, progress.current()) {
        (Stage::Starting, _) => "Starting the engine".into(),
        (Stage::Measuring, _) => "Measuring how many processor cores are quickest".into(),
        (Stage::Merging, _) => "Merging the adapter".into(),
        (Stage::Loading, None) => "Verifying".into(),
        (Stage::Loading, Some(file)) => {
            let verb = match file.source {
                Some(Source::Kept) => "Reading",
                Some(Source::Network) | None => "Downloading",
            };
            let (done, total) = (format::bytes(file.done), format::bytes(file.total));
            format!("{verb} {}: {done} of {total}", file.name)
        }
    }
}

/// The progress of a load.
#[component]
pub fn LoadingPanel(props: &LoadingPanelProps) -> Html {
    let progress = &props.progress;
    html! {
        <section class="panel loading-panel" aria-label="Loading">
            <p role="status">{ words(progress) }</p>
            <progress data-testid="progress" aria-label="Loaded"
                value={progress.done().to_string()} max={progress.total().max(1).to_string()} />
            if progress.downloads() {
                <p class="hint">
                    { "Only on the first visit. Afterwards the files are kept in this browser." }
                </p>
            }
        </section>
    }
}
