//! What an answer is worth, in a word, with the line that says what it means.

use shared::AnswerVerdict;
use yew::prelude::*;

/// Properties of [`Mark`].
#[derive(Properties, PartialEq)]
pub struct MarkProps {
    /// The mark.
    pub verdict: AnswerVerdict,
}

/// Stable identifier, as in the `data-verdict` attribute.
fn code(verdict: AnswerVerdict) -> &'static str {
    match verdict {
        AnswerVerdict::Matched => "matched",
        AnswerVerdict::Unverified => "unverified",
        AnswerVerdict::LacksField => "lacks-field",
        AnswerVerdict::Undecided => "undecided",
        AnswerVerdict::LeftOpen => "left-open",
        AnswerVerdict::NoRecord => "no-record",
        AnswerVerdict::UnknownBatch => "unknown-batch",
        AnswerVerdict::Unchecked => "unchecked",
    }
}

/// The mark under an answer. Its meaning unfolds; where the answer does not stand, it is unfolded
/// from the start.
#[component]
pub fn Mark(props: &MarkProps) -> Html {
    let line = props.verdict.explanation();
    let (word, meaning) = line.split_once(": ").unwrap_or((line, line));
    let warns = !props.verdict.stands();
    html! {
        <details class={classes!("mark", code(props.verdict))} open={warns}
            data-testid="answer-mark" data-verdict={code(props.verdict)}>
            <summary>{ word }</summary>
            <p data-testid="answer-meaning">{ sentence(meaning) }</p>
        </details>
    }
}

/// With a capital letter in front.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
