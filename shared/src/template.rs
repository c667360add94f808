//! Jinja as chat templates use it: the environment of Hugging Face's `apply_chat_template`.

use std::io;

use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::Result;

/// One turn of a conversation.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Message<'a> {
    pub(crate) role: &'a str,
    pub(crate) content: &'a str,
}

/// Renders `messages`; with `generate`, up to where the assistant's answer begins.
///
/// Conventions are those of
/// [transformers](https://huggingface.co/docs/transformers/chat_templating): `messages`,
/// `add_generation_prompt`, `bos_token`, `eos_token`, `raise_exception`, `tojson` without HTML
/// escapes, `break` and `continue`, Python's string methods, trimmed blocks. There is no
/// `strftime_now`: a prompt must not depend on the day.
///
/// # Errors
/// The template does not parse, or calls `raise_exception`.
pub(crate) fn render(
    source: &str,
    messages: &[Message<'_>],
    generate: bool,
    bos_token: &str,
    eos_token: &str,
) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |message: String| -> std::result::Result<Value, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_filter("tojson", to_json);
    let template = environment.template_from_named_str("chat_template", source)?;
    Ok(template.render(context! {
        messages,
        add_generation_prompt => generate,
        bos_token,
        eos_token,
    })?)
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn to_json(value: Value, options: Kwargs) -> std::result::Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent {
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)),
    };
    let failed = |problem: String| minijinja::Error::new(ErrorKind::BadSerialization, problem);
    written.map_err(|source| failed(source.to_string()))?;
    String::from_utf8(out).map_err(|source| failed(source.to_string()))
}

/// `", "` and `": "`, as Python separates.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNS: [Message<'static>; 2] = [
        Message { role: "system", content: "Be brief." },
        Message { role: "user", content: "Who?" },
    ];

    fn rendered(source: &str) -> Result<String> {
        render(source, &TURNS, true, "<s>", "</s>")
    }

    #[test]
    fn chatml_renders_as_transformers_does() {
        let source = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
        let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(rendered(source).unwrap(), expected);
    }

    #[test]
    fn blocks_on_their_own_lines_leave_no_space() {
        let source = "{{ bos_token }}\n{% for m in messages %}\n    {% if m.role == 'user' %}\n[{{ m.content | trim }}]{{ eos_token }}\n    {% endif %}\n{% endfor %}\n";
        assert_eq!(rendered(source).unwrap(), "<s>\n[Who?]</s>\n");
    }

    #[test]
    fn python_methods_and_loop_controls_work() {
        let source = "{% for m in messages %}{% if m.role.startswith('sys') %}{% continue %}{% endif %}{{ m.content.strip('?').upper() }}{% break %}{% endfor %}";
        assert_eq!(rendered(source).unwrap(), "WHO");
    }

    #[test]
    fn tojson_is_python_s() {
        assert_eq!(rendered("{{ {'a': [1, '<é>']} | tojson }}").unwrap(), r#"{"a": [1, "<é>"]}"#);
        assert_eq!(rendered("{{ {'a': 1} | tojson(indent=2) }}").unwrap(), "{\n  \"a\": 1\n}");
    }

    #[test]
    fn rejects_what_the_template_rejects() {
        let error = rendered("{{ raise_exception('no system role') }}").unwrap_err();
        assert!(error.to_string().contains("no system role"), "{error}");
        assert!(rendered("{% for %}").is_err());
    }
}
