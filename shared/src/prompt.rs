//! Question to token ids, through the model's own chat template.
//!
//! Training and serving share this one renderer, so a prompt can't differ between them. All
//! questions share a prefix (begin token, system prompt, opening of the user's turn), which the
//! engine computes once.

use crate::template::{self, Message};
use crate::{Error, Result, Tokenizer, hash};

/// The system prompt of our own base.
pub const SYSTEM_PROMPT: &str = "You are a pharmaceutical batch record assistant. Provide precise, factual answers based only on the batch data. Keep responses concise and accurate.";

/// The chat template of our own base: `<|system|>\n{system}<|end|>\n<|user|>\n{question}<|end|>\n`
/// `<|assistant|>\n{answer}<|end|>`.
pub const CHAT_TEMPLATE: &str = concat!(
    r"{% for message in messages %}",
    r"{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>' }}",
    r"{% if message['role'] != 'assistant' %}{{ '\n' }}{% endif %}",
    r"{% endfor %}",
    r"{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
);

/// The one sentence that answers a question no record can answer.
pub const REFUSAL: &str = "I have no record of that in the batch data.";

/// Questions that differ from the first character on: what their prompts share, all share. The
/// rest make sure that ids don't depend on what follows the prefix.
const PROBES: [&str; 6] = ["What is it?", "7", "3.5 %", "\"a\" b", "batch", "Änderung"];

/// A chat template, a system prompt and the tokenizer they are for.
#[derive(Debug, Clone)]
pub struct PromptFormat {
    template: String,
    system: String,
    tokenizer: Tokenizer,
    prefix: String,
    prefix_ids: Vec<u32>,
}

/// A question and its answer as ids, to follow [`PromptFormat::prefix_ids`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptPair {
    /// From the question to the opening of the assistant's turn.
    pub question: Vec<u32>,
    /// The answer and the end token: what is trained on.
    pub answer: Vec<u32>,
}

impl PromptFormat {
    /// Prepares a chat template (Jinja, by the conventions of Hugging Face's
    /// `apply_chat_template`) with a system prompt.
    ///
    /// # Errors
    /// The template does not parse, fails or leaves the question out.
    pub fn new(template: &str, system: &str, tokenizer: Tokenizer) -> Result<Self> {
        let mut format = Self {
            template: template.to_owned(),
            system: system.to_owned(),
            tokenizer,
            prefix: String::new(),
            prefix_ids: Vec::new(),
        };
        let (prefix, prefix_ids) = format.find_prefix()?;
        format.prefix = prefix;
        format.prefix_ids = prefix_ids;
        Ok(format)
    }

    /// The same template with another system prompt, such as the one an adapter records.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_system(&self, system: &str) -> Result<Self> {
        if system == self.system {
            return Ok(self.clone());
        }
        Self::new(&self.template, system, self.tokenizer.clone())
    }

    /// The whole prompt as text, up to where the answer begins. Space around the question is
    /// dropped.
    ///
    /// # Errors
    /// The template fails.
    pub fn render(&self, question: &str) -> Result<String> {
        self.render_messages(
            &[
                Message { role: "system", content: &self.system },
                Message { role: "user", content: question.trim() },
            ],
            true,
        )
    }

    /// The text that starts the prompt of every question.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The ids of [`Self::prefix`].
    pub fn prefix_ids(&self) -> &[u32] {
        &self.prefix_ids
    }

    /// The ids of a whole prompt: [`Self::prefix_ids`], then [`Self::encode_question`].
    ///
    /// # Errors
    /// As [`Self::encode_question`].
    pub fn encode(&self, question: &str) -> Result<Vec<u32>> {
        let mut ids = self.prefix_ids.clone();
        ids.extend(self.encode_question(question)?);
        Ok(ids)
    }

    /// The ids of what follows the prefix.
    ///
    /// # Errors
    /// The question contains the text of a control token, with which it could end its own turn
    /// and speak for the system.
    pub fn encode_question(&self, question: &str) -> Result<Vec<u32>> {
        self.refuse_control("question", question)?;
        let prompt = self.render(question)?;
        let rest = prompt.strip_prefix(&self.prefix).ok_or_else(|| Error::TemplateShape {
            problem: format!("the prompt of {question:?} starts unlike that of other questions"),
        })?;
        self.tokenizer.encode(rest)
    }

    /// The ids of a question and of its answer with the end token.
    ///
    /// # Errors
    /// As [`Self::encode_question`], for the answer too; [`Error::TemplateShape`] if the template
    /// does not put the answer right behind the prompt, or no end token behind the answer.
    pub fn encode_pair(&self, question: &str, answer: &str) -> Result<PromptPair> {
        self.refuse_control("answer", answer)?;
        let answer = answer.trim();
        let whole = self.render_messages(
            &[
                Message { role: "system", content: &self.system },
                Message { role: "user", content: question.trim() },
                Message { role: "assistant", content: answer },
            ],
            false,
        )?;
        let prompt = self.render(question)?;
        let end = self.tokenizer.eos_token();
        let follows = whole
            .strip_prefix(&prompt)
            .and_then(|rest| rest.strip_prefix(answer))
            .is_some_and(|rest| rest.starts_with(end));
        if !follows {
            return Err(Error::TemplateShape {
                problem: format!(
                    "it should render prompt, answer and {end}, but renders {whole:?}"
                ),
            });
        }
        let mut ids = self.tokenizer.encode(answer)?;
        ids.push(self.tokenizer.eos_id());
        Ok(PromptPair { question: self.encode_question(question)?, answer: ids })
    }

    /// SHA-256 of the template, hexadecimal.
    pub fn template_sha256(&self) -> String {
        hash::sha256_hex(self.template.as_bytes())
    }

    /// The template's source.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The system prompt.
    pub fn system_prompt(&self) -> &str {
        &self.system
    }

    /// The tokenizer that prompts are encoded with.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn render_messages(&self, messages: &[Message<'_>], generate: bool) -> Result<String> {
        template::render(
            &self.template,
            messages,
            generate,
            self.tokenizer.bos_token().unwrap_or(""),
            self.tokenizer.eos_token(),
        )
    }

    fn refuse_control(&self, what: &str, text: &str) -> Result<()> {
        match self.tokenizer.control_tokens().keys().find(|token| text.contains(token.as_str())) {
            None => Ok(()),
            Some(token) => Err(Error::Value {
                name: what.into(),
                expected: "text without the model's control tokens".into(),
                found: token.clone(),
            }),
        }
    }

    /// The longest shared start whose ids don't depend on what follows it. Candidates end behind
    /// a control token or a line end; the empty one always qualifies.
    fn find_prefix(&self) -> Result<(String, Vec<u32>)> {
        let prompts = PROBES.map(|probe| self.render(probe));
        let prompts: Vec<String> = prompts.into_iter().collect::<Result<_>>()?;
        for (probe, prompt) in PROBES.iter().zip(&prompts) {
            if !prompt.contains(probe) {
                return Err(Error::TemplateShape {
                    problem: format!("the question {probe:?} is not in its prompt {prompt:?}"),
                });
            }
        }
        let shared = prompts[1..]
            .iter()
            .fold(prompts[0].as_str(), |shared, prompt| common_prefix(shared, prompt));
        let mut ends = vec![0];
        ends.extend(shared.match_indices('\n').map(|(at, _)| at + 1));
        for token in self.tokenizer.control_tokens().keys() {
            ends.extend(shared.match_indices(token.as_str()).map(|(at, _)| at + token.len()));
        }
        ends.sort_unstable();
        for end in ends.into_iter().rev() {
            let (prefix, _) = shared.split_at(end);
            let ids = self.tokenizer.encode(prefix)?;
            let mut independent = true;
            for prompt in &prompts {
                let rest = self.tokenizer.encode(&prompt[end..])?;
                independent &= [ids.as_slice(), &rest].concat() == self.tokenizer.encode(prompt)?;
            }
            if independent {
                return Ok((prefix.to_owned(), ids));
            }
        }
        Ok((String::new(), Vec::new()))
    }
}

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.chars().zip(b.chars()).take_while(|(x, y)| x == y);
    let len = same.map(|(x, _)| x.len_utf8()).sum();
    &a[..len]
}

#[cfg(test)]
mod tests;
