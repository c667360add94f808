//! Finding out what a user's question asks for, so that it can be asked in other words.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use shared::{FieldIndex, singular};

use crate::corpus::{Field, Grammar, Kind};
use crate::data::{Pair, find_ignoring_case, named_batch, replace_ignoring_case};

/// Words that carry no meaning of their own in a question about a field.
const STOP_WORDS: [&str; 42] = [
    "a", "an", "and", "any", "are", "at", "be", "been", "by", "did", "do", "does", "for", "from",
    "give", "given", "had", "has", "have", "in", "is", "it", "listed", "me", "of", "on", "please",
    "record", "recorded", "reported", "shown", "stated", "tell", "that", "the", "there", "to",
    "was", "were", "what", "which", "with",
];
/// Words that a name leaves out, but that tell one question from another: "how many vials were
/// filled" from "which vials were filled".
const ASKING_WORDS: [&str; 6] = ["how", "many", "much", "when", "where", "who"];
/// Words that tell the reader to answer: "state the homogeniser speed".
const COMMANDS: [&str; 5] = ["confirm", "indicate", "provide", "specify", "state"];
/// Words that a finding may have or not: "the hardness result", "the hardness".
const FINDING_WORDS: [&str; 4] = ["finding", "outcome", "result", "value"];

/// Begins the key of a field that the grammar doesn't know.
pub(crate) const OWN: &str = "own: ";

/// Words that tell one of several fields of a kind from the others, as numbers do.
const ORDINALS: [&str; 4] = ["first", "last", "second", "third"];

/// What a pair is about.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The batch identifier or product name as the question writes it.
    pub subject: String,
    /// Whether the subject is a batch identifier (else a product name).
    pub by_batch: bool,
    /// The field, the user's own name for it first; `None` if the question wasn't understood.
    pub field: Option<Field>,
}

/// Looks fields up by the ways of asking for them.
pub struct Recogniser<'g> {
    grammar: &'g Grammar,
    names: BTreeMap<String, usize>,
    questions: BTreeMap<String, usize>,
    /// The fields by the words of their names, as readers' questions are looked into.
    index: FieldIndex,
    /// Generic templates as the text before, between and after their two slots.
    templates: Vec<Template>,
    /// Names, names without words of a finding, questions.
    by_content: [ByContent; 3],
    /// What has been looked up: the same wordings come for many batches.
    known: RefCell<HashMap<String, Option<Field>>>,
}

struct Template {
    parts: [String; 3],
    field_first: bool,
}

impl<'g> Recogniser<'g> {
    /// Prepares the grammar for look-ups.
    pub fn new(grammar: &'g Grammar) -> Self {
        let mut names = BTreeMap::new();
        let mut questions = BTreeMap::new();
        for (index, field) in grammar.fields.iter().enumerate() {
            for name in &field.names {
                names.insert(normalised(name), index);
            }
            for question in &field.questions {
                questions.insert(normalised(question), index);
            }
        }
        let templates = grammar
            .groups
            .iter()
            .flat_map(|group| &group.templates)
            .filter_map(|template| Template::parse(&normalised(template)))
            .collect();
        let index = FieldIndex::new(&grammar.field_list());
        let by_content = [
            by_content(&names, &[&STOP_WORDS, &ASKING_WORDS]),
            by_content(&names, &[&STOP_WORDS, &ASKING_WORDS, &FINDING_WORDS]),
            by_content(&questions, &[&STOP_WORDS]),
        ];
        let known = RefCell::default();
        Self { grammar, names, questions, index, templates, by_content, known }
    }

    /// Takes a pair apart by its question.
    pub fn topic(&self, pair: &Pair) -> Option<Topic> {
        let (subject, by_batch) = self.subject(pair)?;
        let field = self.field(&skeleton(&pair.question, &subject));
        Some(Topic { subject, by_batch, field })
    }

    /// The grammar's field that most of a pair's paraphrases ask for, called as `topic` does first.
    /// None if two are named as often, or if one of several paraphrases alone names any: it may be
    /// misread.
    pub fn field_of_paraphrases(&self, pair: &Pair, topic: &Topic) -> Option<Field> {
        let mut named: BTreeMap<String, (usize, Field)> = BTreeMap::new();
        let subject = &topic.subject;
        let about_it =
            pair.paraphrases.iter().filter(|text| find_ignoring_case(text, subject).is_some());
        for field in about_it.filter_map(|text| self.field(&skeleton(text, subject))) {
            if !field.is_own() {
                named.entry(field.key.clone()).or_insert((0, field)).0 += 1;
            }
        }
        let most = named.values().map(|(count, _)| *count).max()?;
        if most == 1 && pair.paraphrases.len() > 1 {
            return None;
        }
        let mut first = named.into_values().filter(|(count, _)| *count == most);
        let (Some((_, mut field)), None) = (first.next(), first.next()) else { return None };
        let own = topic.field.iter().flat_map(|own| own.names.first());
        field.names.splice(0..0, own.cloned());
        Some(field)
    }

    /// The batch as the question names it, or else what stands in the batch's place.
    fn subject(&self, pair: &Pair) -> Option<(String, bool)> {
        if let Some(batch) = named_batch(pair) {
            return Some((batch, true));
        }
        let (_, subject) = self
            .templates
            .iter()
            .filter_map(|t| t.split(&normalised(&pair.question)))
            .find(|(field, _)| self.names.contains_key(field.as_str()))?;
        let at = find_ignoring_case(&pair.question, &subject)?;
        Some((pair.question[at..at + subject.len()].to_owned(), false))
    }

    fn field(&self, skeleton: &str) -> Option<Field> {
        let skeleton = normalised(skeleton);
        if let Some(known) = self.known.borrow().get(&skeleton) {
            return known.clone();
        }
        let field = self.look_up(&skeleton);
        self.known.borrow_mut().insert(skeleton, field.clone());
        field
    }

    fn look_up(&self, skeleton: &str) -> Option<Field> {
        if let Some(&index) = self.questions.get(skeleton) {
            return Some(self.grammar.fields[index].clone());
        }
        let mut own_words = None;
        let named = self.templates.iter().filter_map(|template| template.split(skeleton));
        let named = named.filter(|(name, rest)| rest == "{b}" && !name.contains("{b}"));
        let found = self.covered(skeleton).map(|index| self.grammar.fields[index].clone());
        for (name, _) in named {
            if let Some(&index) = self.names.get(&name)
                && found.as_ref().is_none_or(|field| field.key == self.grammar.fields[index].key)
            {
                return Some(named_first(&self.grammar.fields[index], &name));
            }
            // The shortest reading: its template explains most of the question.
            if own_words.as_ref().is_none_or(|words: &String| name.len() < words.len()) {
                own_words = Some(name);
            }
        }
        if found.is_some() {
            return found;
        }
        let asked = self.index.asked(&skeleton.replace("{b}", " "));
        let ordinal =
            |word: &str| ORDINALS.contains(&word) || word.chars().all(|c| c.is_ascii_digit());
        let plain = !skeleton.split(' ').any(ordinal);
        if let (1, true, true, Some(&only)) =
            (asked.fields.len(), asked.whole, plain, asked.fields.first())
        {
            return Some(self.grammar.fields[usize::from(only)].clone());
        }
        // A field of the user's own: it can be asked for in any generic way.
        let own_words = own_words.map(|words| without_stop_words(&words).to_owned());
        own_words
            .filter(|words| !words.is_empty() && words.split(' ').count() <= 6)
            .map(|words| custom(&words))
    }

    /// The only field whose name says all that the question says, or else the only one with a
    /// question of these content words.
    fn covered(&self, skeleton: &str) -> Option<usize> {
        self.by_content.iter().find_map(|(left_out, fields)| {
            let content = content_words(skeleton, left_out);
            let fields = fields.get(&content).filter(|_| !content.is_empty())?;
            let one = fields.len() == 1;
            one.then(|| fields.first().copied()).flatten()
        })
    }
}

/// Fields by the content words of their names or questions, and the words left out of these.
type ByContent = (&'static [&'static [&'static str]], HashMap<Vec<String>, BTreeSet<usize>>);

fn by_content(
    texts: &BTreeMap<String, usize>,
    left_out: &'static [&'static [&'static str]],
) -> ByContent {
    let mut fields: HashMap<Vec<String>, BTreeSet<usize>> = HashMap::new();
    for (text, &index) in texts {
        fields.entry(content_words(text, left_out)).or_default().insert(index);
    }
    (left_out, fields)
}

impl Template {
    fn parse(template: &str) -> Option<Self> {
        let (field, batch) = (template.find("{f}")?, template.find("{b}")?);
        let (first, second) = (field.min(batch), field.max(batch));
        let parts = [&template[..first], &template[first + 3..second], &template[second + 3..]]
            .map(str::to_owned);
        Some(Self { parts, field_first: field < batch })
    }

    /// `(field, batch)` if `question` has the template's form.
    fn split(&self, question: &str) -> Option<(String, String)> {
        let [before, between, after] = &self.parts;
        let inner = question.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
        if between.trim().is_empty() {
            return None;
        }
        let (first, second) = inner.split_once(between.as_str())?;
        let (first, second) = (first.trim().to_owned(), second.trim().to_owned());
        if first.is_empty() || second.is_empty() {
            return None;
        }
        Some(if self.field_first { (first, second) } else { (second, first) })
    }
}

fn skeleton(question: &str, subject: &str) -> String {
    without_noun(&replace_ignoring_case(question, subject, "{b}"))
}

fn named_first(field: &Field, name: &str) -> Field {
    let mut field = field.clone();
    let own = field.names.iter().position(|n| normalised(n) == name);
    if let Some(own) = own {
        let own = field.names.remove(own);
        field.names.insert(0, own);
    }
    field
}

impl Field {
    /// Whether it is known only by the user's words for it.
    pub(super) fn is_own(&self) -> bool {
        self.key.starts_with(OWN)
    }
}

/// A field known only by the user's words for it.
fn custom(words: &str) -> Field {
    Field {
        key: format!("{OWN}{words}"),
        kind: Kind::Text,
        names: vec![words.to_owned()],
        heldout_names: Vec::new(),
        questions: Vec::new(),
        answers: Vec::new(),
        values: Vec::new(),
    }
}

/// Without the words around the name: "what deviations were reported" to "deviations".
fn without_stop_words(words: &str) -> &str {
    let mut words = words;
    while let Some((first, rest)) = words.split_once(' ')
        && [&STOP_WORDS[..], &ASKING_WORDS, &COMMANDS].iter().any(|list| list.contains(&first))
    {
        words = rest;
    }
    while let Some((rest, last)) = words.rsplit_once(' ')
        && STOP_WORDS.contains(&last)
    {
        words = rest;
    }
    words
}

/// The words of a text but those of the lists, in the singular and in alphabetical order.
fn content_words(text: &str, left_out: &[&[&str]]) -> Vec<String> {
    let words = text.split(' ').filter(|word| !word.is_empty() && *word != "{b}").map(singular);
    let mut words: Vec<String> =
        words.filter(|word| !left_out.iter().any(|list| list.contains(&word.as_str()))).collect();
    words.sort_unstable();
    words
}

/// Lower case, single spaces, no final mark.
pub(super) fn normalised(text: &str) -> String {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_end_matches(['?', '.', '!', ' ']).to_owned()
}

/// Drops the noun before the batch: "for batch {b}" to "for {b}".
fn without_noun(skeleton: &str) -> String {
    let mut text = skeleton.to_owned();
    for noun in
        ["batch no. ", "batch number ", "lot number ", "lot no. ", "the batch ", "batch ", "lot "]
    {
        if let Some(at) = find_ignoring_case(&text, &format!("{noun}{{b}}")) {
            text.replace_range(at..at + noun.len(), "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(question: &str, batch: Option<&str>) -> Topic {
        let grammar = Grammar::load().unwrap();
        let pair = Pair {
            question: question.into(),
            answer: Some("x".into()),
            batch: batch.map(str::to_owned),
            source: None,
            paraphrases: Vec::new(),
            kind: None,
            line: 1,
        };
        Recogniser::new(&grammar).topic(&pair).unwrap()
    }

    #[test]
    fn known_fields_are_recognised_in_several_forms() {
        let of = |question: &str| topic(question, Some("VOY756")).field.unwrap().key;
        assert_eq!(of("What is the product code for batch VOY756?"), "product_code");
        assert_eq!(of("Who is the QA Manager for batch VOY756?"), "qa_manager");
        assert_eq!(of("What is the percent yield for batch voy756"), "percent_yield");
        assert_eq!(of("What deviations were reported for batch VOY756?"), "deviations");
        assert_eq!(of("On which page is the yield of batch VOY756 recorded?"), "page_yield");
        assert_eq!(of("How many deviations were reported for batch VOY756?"), "deviation_count");
        assert_eq!(of("What is the hardness result for batch VOY756?"), "hardness");
        assert_eq!(of("What is the total impurity result for batch VOY756?"), "total_impurities");
        assert_eq!(of("In which room was batch VOY756 manufactured?"), "room_number");
    }

    #[test]
    fn a_field_is_recognised_by_the_words_of_its_names() {
        let of = |question: &str| topic(question, Some("VOY756")).field.map(|field| field.key);
        let reject = "How many vials of VOY756 did visual inspection reject?";
        assert_eq!(of(reject).as_deref(), Some("inspection_rejects"));
        let aggregates = Some("aggregates");
        assert_eq!(of("HMW aggregates of VOY756 by SEC?").as_deref(), aggregates);
        assert_ne!(of("HMW aggregates of VOY756 by SEC, second run?").as_deref(), aggregates);
        assert_ne!(of("HMW aggregates of VOY756 by SEC at month 6?").as_deref(), aggregates);
    }

    #[test]
    fn the_users_own_name_comes_first() {
        let field = topic("What is the item code for batch VOY756?", Some("VOY756")).field.unwrap();
        assert_eq!(field.names[0], "item code");
    }

    #[test]
    fn a_product_can_stand_for_the_batch() {
        let topic = topic(
            "What is the batch number for Nitroso Aryl Piperazine Quetiapine?",
            Some("VOY756"),
        );
        assert_eq!(topic.subject, "Nitroso Aryl Piperazine Quetiapine");
        assert!(!topic.by_batch);
        assert_eq!(topic.field.unwrap().key, "batch_number");
    }

    #[test]
    fn an_unknown_field_keeps_the_users_words() {
        let field = topic("What is the frobnication index for batch VOY756?", Some("VOY756"))
            .field
            .unwrap();
        assert_eq!(
            (field.key.as_str(), field.names),
            ("own: frobnication index", vec!["frobnication index".to_owned()])
        );
        let command = topic("State the frobnication index set for VOY756.", Some("VOY756"));
        assert_eq!(command.field.unwrap().names, ["frobnication index set"]);
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        assert!(
            topic(
                "VOY756: how come the mixer hummed all through the second shift on Tuesday?",
                Some("VOY756")
            )
            .field
            .is_none()
        );
    }
}
