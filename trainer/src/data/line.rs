//! One line to one pair. Reasons for refusal are texts for the user to act on.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::Pair;

/// The longest question, characters.
const MAX_QUESTION: usize = 2_000;
/// The longest answer, characters.
const MAX_ANSWER: usize = 8_000;
/// The longest batch, source or kind, characters.
const MAX_LABEL: usize = 200;
/// The most paraphrases of a question.
const MAX_PARAPHRASES: usize = 256;

const FORMS: &str = r#"expected {"question", "answer"}, {"messages"} or {"prompt", "completion"}"#;
const OPTIONAL: [&str; 4] = ["batch", "source", "paraphrases", "kind"];

/// A line as read.
pub(super) struct Line {
    pub(super) pair: Pair,
    /// Keys that nothing uses.
    pub(super) ignored_keys: Vec<String>,
    /// Whether it brought a system prompt of its own.
    pub(super) system_message: bool,
}

/// The two sides of a pair, in whatever form they stand.
struct Sides {
    question: String,
    answer: Option<String>,
    system_message: bool,
    used: &'static [&'static str],
}

pub(super) fn parse_line(line: &[u8], number: usize) -> Result<Line, String> {
    let text = std::str::from_utf8(line).map_err(|error| {
        format!("not UTF-8 at byte {} of the line: save the file as UTF-8", error.valid_up_to() + 1)
    })?;
    if text.trim_start().starts_with('[') {
        return Err("starts a JSON array: write one object a line, without [ ] around them".into());
    }
    let Object(object) = serde_json::from_str(text).map_err(|error| json_reason(&error))?;
    let sides = sides(&object)?;
    let question = content("question", &sides.question, MAX_QUESTION)?;
    let answer = sides.answer.map(|answer| content("answer", &answer, MAX_ANSWER)).transpose()?;
    let paraphrases = paraphrases(&object, &question)?;
    let pair = Pair {
        question,
        answer,
        batch: label(&object, "batch")?,
        source: label(&object, "source")?,
        paraphrases,
        kind: label(&object, "kind")?,
        line: number,
    };
    let known =
        |key: &&String| sides.used.contains(&key.as_str()) || OPTIONAL.contains(&key.as_str());
    let ignored_keys = object.keys().filter(|key| !known(key)).cloned().collect();
    Ok(Line { pair, ignored_keys, system_message: sides.system_message })
}

fn sides(object: &Map<String, Value>) -> Result<Sides, String> {
    let forms: Vec<&str> = ["question", "messages", "prompt"]
        .into_iter()
        .filter(|key| object.contains_key(*key))
        .collect();
    match forms[..] {
        ["question"] => two_texts(object, &["question", "answer"]),
        ["prompt"] => two_texts(object, &["prompt", "completion"]),
        ["messages"] => conversation(&object["messages"]),
        [] if object.is_empty() => Err(format!("an empty object; {FORMS}")),
        [] => {
            let keys: Vec<&str> = object.keys().map(String::as_str).collect();
            Err(format!("no question; {FORMS}, found only {}", keys.join(", ")))
        }
        _ => Err(format!("has {} at once; {FORMS}", forms.join(" and "))),
    }
}

fn two_texts(
    object: &Map<String, Value>,
    keys: &'static [&'static str; 2],
) -> Result<Sides, String> {
    let question = text(keys[0], &object[keys[0]])?.to_owned();
    let answer = match object.get(keys[1]) {
        None => {
            let [_, answer] = keys;
            return Err(format!("no {answer}; write null if the records have no answer"));
        }
        Some(Value::Null) => None,
        Some(value) => Some(text(keys[1], value)?.to_owned()),
    };
    Ok(Sides { question, answer, system_message: false, used: keys })
}

fn conversation(messages: &Value) -> Result<Sides, String> {
    let expected = "messages: expected one message of the user and one of the assistant, \
                    at most a system message before them";
    let messages = messages
        .as_array()
        .ok_or_else(|| format!("messages should be an array, but is {}", type_name(messages)))?;
    let mut turns = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let field = |key: &str| {
            let name = format!("messages[{index}].{key}");
            text(&name, message.get(key).unwrap_or(&Value::Null)).map(str::to_owned)
        };
        turns.push((field("role")?, field("content")?));
    }
    let roles: Vec<&str> = turns.iter().map(|(role, _)| role.as_str()).collect();
    let system_message = roles.first() == Some(&"system");
    let rest = &roles[usize::from(system_message)..];
    if rest != ["user", "assistant"] {
        let found = if roles.is_empty() { "none".into() } else { roles.join(", ") };
        return Err(format!("{expected}; found {found}"));
    }
    let mut contents =
        turns.into_iter().skip(usize::from(system_message)).map(|(_, content)| content);
    let question = contents.next().unwrap_or_default();
    Ok(Sides { question, answer: contents.next(), system_message, used: &["messages"] })
}

fn paraphrases(object: &Map<String, Value>, question: &str) -> Result<Vec<String>, String> {
    let list = match object.get("paraphrases") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => {
            return Err(format!("paraphrases should be an array, but is {}", type_name(other)));
        }
    };
    if list.len() > MAX_PARAPHRASES {
        return Err(format!("{} paraphrases; at most {MAX_PARAPHRASES} are read", list.len()));
    }
    let mut paraphrases: Vec<String> = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let name = format!("paraphrases[{index}]");
        let paraphrase = content(&name, text(&name, value)?, MAX_QUESTION)?;
        if paraphrase != question && !paraphrases.contains(&paraphrase) {
            paraphrases.push(paraphrase);
        }
    }
    Ok(paraphrases)
}

fn label(object: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => content(key, text(key, value)?, MAX_LABEL).map(Some),
    }
}

/// A text without the space around it, if it can be used.
fn content(name: &str, text: &str, longest: usize) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{name} is empty"));
    }
    let characters = text.chars().count();
    if characters > longest {
        return Err(format!("{name} has {characters} characters; at most {longest} are read"));
    }
    match text.chars().find(|&c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        None => Ok(text.to_owned()),
        Some(c) => Err(format!("{name} holds the control character U+{:04X}", c as u32)),
    }
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("{name} should be text, but is {}", type_name(value)))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null or missing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The parser's complaint without its line number, which is always 1 here.
fn json_reason(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match whole.strip_suffix(&place) {
        Some(reason) => format!("not a JSON object: {reason}, column {}", error.column()),
        None => format!("not a JSON object: {whole}"),
    }
}

/// A JSON object that has no key twice, where [`Map`] would keep the last in silence.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object in { }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if map.contains_key(&key) {
                        return Err(A::Error::custom(format!("key {key:?} appears twice")));
                    }
                    map.insert(key, value);
                }
                Ok(Object(map))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}
