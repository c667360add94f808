//! Phrasing a question: template, field name, batch reference, small talk, slips.

use rand_chacha::ChaCha8Rng;

use super::grammar::{Field, Grammar};
use super::rng::Choose as _;

/// Which half of the language is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Split {
    /// What the model is trained on.
    Train,
    /// Templates that are kept from training, and for this share of the questions names too.
    Heldout {
        /// 0 to 1.
        names: f64,
    },
}

/// How much a question is distorted.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// Probability of any distortion at all.
    pub rate: f64,
    /// Probability of a slip of the finger on top.
    pub typos: f64,
}

/// Who or what a question is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A batch identifier, which may be dressed up ("lot no. VOY756").
    Batch(&'a str),
    /// A product name, which stands for its batch.
    Product(&'a str),
}

impl Grammar {
    /// Asks for `field` of `subject` in one of the many ways of `split`.
    pub fn question(
        &self,
        field: &Field,
        subject: Subject<'_>,
        split: Split,
        noise: Noise,
        rng: &mut ChaCha8Rng,
    ) -> String {
        let reference = match subject {
            // The two plainest forms are also the most frequent ones in practice.
            Subject::Batch(id) if rng.chance(0.35) => format!("batch {id}"),
            Subject::Batch(id) if rng.chance(0.35) => id.to_owned(),
            Subject::Batch(id) => rng.pick(&self.batch_refs).replace("{id}", id),
            Subject::Product(name) => name.to_owned(),
        };
        self.noisy(self.wording(field, split, rng).replace("{b}", &reference), noise, rng)
    }

    /// A question as people write it: in a hurry, with slips.
    pub fn noisy(&self, text: String, noise: Noise, rng: &mut ChaCha8Rng) -> String {
        let mut text = text;
        if rng.chance(noise.rate) {
            text = self.distort(text, rng);
        }
        if rng.chance(noise.typos) {
            text = typo(&text, rng);
        }
        text
    }

    fn wording(&self, field: &Field, split: Split, rng: &mut ChaCha8Rng) -> String {
        let heldout_names = match split {
            Split::Train => None,
            Split::Heldout { names } => Some(names),
        };
        let heldout = heldout_names.is_some();
        if !heldout && !field.questions.is_empty() && rng.chance(0.5) {
            return rng.pick(&field.questions).clone();
        }
        let groups: Vec<_> = self
            .groups
            .iter()
            .filter(|g| g.kinds.is_empty() || g.kinds.contains(&field.kind))
            .filter(|g| !heldout || !g.heldout.is_empty())
            .collect();
        // Groups made for this kind of field are few: without weight they'd hardly be heard.
        let weights: Vec<f64> = groups
            .iter()
            .map(|g| {
                let count = if heldout { g.heldout.len() } else { g.templates.len() };
                count as f64 * if g.kinds.is_empty() { 1.0 } else { 2.0 }
            })
            .collect();
        let group = groups[rng.weighted(&weights)];
        let template = rng.pick(if heldout { &group.heldout } else { &group.templates });
        let names = match heldout_names {
            Some(share) if !field.heldout_names.is_empty() && rng.chance(share) => {
                &field.heldout_names
            }
            _ => &field.names,
        };
        let name = if rng.chance(0.25) { &names[0] } else { rng.pick(names) };
        template.replace("{f}", name)
    }

    /// One or two of the things people do to a sentence when they are in a hurry.
    fn distort(&self, text: String, rng: &mut ChaCha8Rng) -> String {
        let mut text = text;
        for _ in 0..rng.weighted(&[0.0, 0.7, 0.3]) {
            text = match rng.weighted(&[3.0, 3.0, 1.5, 1.0, 1.0, 0.7, 4.0]) {
                0 => text.to_lowercase(),
                1 => typo(&text, rng),
                2 => text.trim_end_matches(['?', '.', '!']).to_owned(),
                3 => {
                    let list =
                        [&self.chatter.greetings, &self.chatter.politeness_prefix][rng.int(0, 1)];
                    let prefix = rng.pick(list);
                    format!("{prefix} {text}")
                }
                4 => {
                    let list =
                        [&self.chatter.politeness_suffix, &self.chatter.thanks][rng.int(0, 1)];
                    let suffix = rng.pick(list);
                    format!("{text} {suffix}")
                }
                5 => format!("{} {text}", rng.pick(&self.chatter.fillers)),
                _ => telegram(&text, rng),
            };
        }
        text
    }
}

/// Words that a hurried writer leaves out.
const SMALL_WORDS: [&str; 24] = [
    "a", "an", "are", "did", "do", "does", "for", "from", "has", "have", "in", "is", "it", "me",
    "of", "on", "please", "that", "the", "there", "this", "to", "was", "were",
];

/// The same words as notes: small words dropped, the order turned round somewhere, with a mark at
/// the seam or none. What is left says the same to anybody who knows the field.
fn telegram(text: &str, rng: &mut ChaCha8Rng) -> String {
    let dropped = if rng.chance(0.5) { 0.8 } else { 0.3 };
    let mut words: Vec<&str> = text
        .split(' ')
        .filter(|w| {
            !(SMALL_WORDS.binary_search(&w.to_lowercase().as_str()).is_ok() && rng.chance(dropped))
        })
        .collect();
    if words.len() < 2 || rng.chance(0.35) {
        return words.join(" ");
    }
    let seam = rng.int(1, words.len() - 1);
    words.rotate_left(seam);
    let (head, tail) = words.split_at(words.len() - seam);
    let head = head.join(" ");
    let head = head.trim_end_matches(['?', '.', '!', ',', ':']);
    let mark = rng.word(&[" ", " ", " ", ", ", ": ", " - ", " / ", " = "]);
    let end = rng.word(&["", "", "?", "??", " ?"]);
    format!("{head}{mark}{}{end}", tail.join(" "))
}

/// One slip of the finger in a plain word; identifiers and numbers stay as they are.
fn typo(text: &str, rng: &mut ChaCha8Rng) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let plain: Vec<usize> = words
        .iter()
        .enumerate()
        .filter(|(_, w)| w.len() >= 4 && w.bytes().all(|b| b.is_ascii_lowercase()))
        .map(|(i, _)| i)
        .collect();
    if plain.is_empty() {
        return text.to_owned();
    }
    let word = &mut words[*rng.pick(&plain)];
    let mut bytes = word.clone().into_bytes();
    let at = rng.int(0, bytes.len() - 2);
    // Swapped and lost letters are what fingers do most.
    match rng.weighted(&[4.0, 3.0, 1.5, 1.5]) {
        0 => bytes.swap(at, at + 1),
        1 => drop(bytes.remove(at + 1)),
        2 => bytes.insert(at, bytes[at]),
        _ => bytes[at] = b'a' + rng.int(0, 25) as u8,
    }
    *word = String::from_utf8(bytes).expect("ASCII stays ASCII");
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::rng::stream;
    use super::*;

    #[test]
    fn distortions_never_touch_an_identifier() {
        let grammar = Grammar::load().unwrap();
        let mut rng = stream(3, "test", 0);
        for _ in 0..3000 {
            let field = rng.pick(&grammar.fields).clone();
            let question = grammar.question(
                &field,
                Subject::Batch("VOY756"),
                Split::Train,
                Noise { rate: 1.0, typos: 0.5 },
                &mut rng,
            );
            assert!(question.to_uppercase().contains("VOY756"), "{question}");
        }
    }

    #[test]
    fn small_words_are_sorted_for_the_search() {
        assert!(SMALL_WORDS.is_sorted());
    }
}
