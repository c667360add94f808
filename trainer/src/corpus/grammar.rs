//! The language of the synthetic corpus, read from the data files under `trainer/corpus/`.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What a field's values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Date,
    Time,
    Duration,
    Person,
    Code,
    Lot,
    Document,
    Page,
    Percent,
    Mass,
    Volume,
    Count,
    Temperature,
    Humidity,
    Ph,
    Pressure,
    Speed,
    Length,
    Concentration,
    Ppm,
    Ratio,
    Force,
    Room,
    Equipment,
    Material,
    Product,
    Site,
    Choice,
    Text,
}

/// One fact that a batch record may hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Unique name.
    pub key: String,
    /// What its values look like.
    pub kind: Kind,
    /// Noun phrases for it, the official one first.
    pub names: Vec<String>,
    /// Noun phrases kept for tests.
    #[serde(default)]
    pub heldout_names: Vec<String>,
    /// Wordings of its own, with `{b}` for the batch.
    #[serde(default)]
    pub questions: Vec<String>,
    /// Answer sentences of its own, with `{b}` and `{v}`.
    #[serde(default)]
    pub answers: Vec<String>,
    /// Values of a `choice` or `text` field.
    #[serde(default)]
    pub values: Vec<String>,
}

/// Question templates of one style, with `{f}` and `{b}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionGroup {
    /// Register: formal, casual, keyword ...
    pub style: String,
    /// Kinds of field it suits; empty for all.
    pub kinds: Vec<Kind>,
    /// Templates to train on.
    pub templates: Vec<String>,
    /// Templates kept for tests.
    #[serde(default)]
    pub heldout: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionFile {
    batch_refs: Vec<String>,
    group: Vec<QuestionGroup>,
}

/// An answer sentence with `{f}` or `{F}`, `{b}` and `{v}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerStyle {
    /// Kinds of field it suits; empty for all.
    pub kinds: Vec<Kind>,
    /// The sentence.
    pub template: String,
}

/// Small talk around a question.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chatter {
    pub greetings: Vec<String>,
    pub politeness_prefix: Vec<String>,
    pub politeness_suffix: Vec<String>,
    pub thanks: Vec<String>,
    pub fillers: Vec<String>,
}

/// Word lists from which names and values are combined.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    pub first_names: Vec<String>,
    pub last_names: Vec<String>,
    pub name_syllables: Vec<String>,
    pub titles: Vec<String>,
    pub product_prefixes: Vec<String>,
    pub product_stems: Vec<String>,
    pub product_suffixes: Vec<String>,
    pub dosage_forms: Vec<String>,
    pub strengths_units: Vec<String>,
    pub chemical_words: Vec<String>,
    pub equipment_nouns: Vec<String>,
    pub equipment_makers: Vec<String>,
    pub material_names: Vec<String>,
    pub site_names: Vec<String>,
    pub departments: Vec<String>,
    pub document_prefixes: Vec<String>,
    pub room_prefixes: Vec<String>,
    pub adjectives: Vec<String>,
    pub nouns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFile {
    field: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFile {
    style: Vec<AnswerStyle>,
}

/// Everything the generator can say.
#[derive(Clone, Debug)]
pub struct Grammar {
    /// All fields, the common ones first.
    pub fields: Vec<Field>,
    /// How many of the fields are common ones.
    pub core: usize,
    /// Generic question templates.
    pub groups: Vec<QuestionGroup>,
    /// Ways of naming a batch, with `{id}`.
    pub batch_refs: Vec<String>,
    /// Answer sentences.
    pub answers: Vec<AnswerStyle>,
    /// Small talk.
    pub chatter: Chatter,
    /// Word lists.
    pub words: Words,
}

/// The files are part of the program: a retrain needs them for question augmentation.
macro_rules! corpus_file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../corpus/", $name)))
    };
}

/// How many of [`FIELD_FILES`], from the start, hold what nearly every record has.
const CORE_FILES: usize = 5;

const FIELD_FILES: [(&str, &str); 12] = [
    corpus_file!("fields/identity.toml"),
    corpus_file!("fields/yields.toml"),
    corpus_file!("fields/people.toml"),
    corpus_file!("fields/dates.toml"),
    corpus_file!("fields/quality.toml"),
    corpus_file!("fields/solid_dose.toml"),
    corpus_file!("fields/sterile.toml"),
    corpus_file!("fields/api.toml"),
    corpus_file!("fields/biologics.toml"),
    corpus_file!("fields/packaging.toml"),
    corpus_file!("fields/lab.toml"),
    corpus_file!("fields/logistics.toml"),
];

fn without_slots(text: &str) -> String {
    text.replace("{f}", " ").replace("{b}", " ").replace("{id}", " ")
}

fn parse<T: for<'de> Deserialize<'de>>((name, text): (&str, &str)) -> Result<T> {
    toml::from_str(text).with_context(|| format!("trainer/corpus/{name}"))
}

impl Grammar {
    /// Reads and checks the built-in files.
    pub fn load() -> Result<Self> {
        let mut fields = Vec::new();
        let mut core = 0;
        for (index, file) in FIELD_FILES.into_iter().enumerate() {
            fields.extend(parse::<FieldFile>(file)?.field);
            if index + 1 == CORE_FILES {
                core = fields.len();
            }
        }
        let questions: QuestionFile = parse(corpus_file!("questions.toml"))?;
        let answers: AnswerFile = parse(corpus_file!("answers.toml"))?;
        let grammar = Self {
            fields,
            core,
            groups: questions.group,
            batch_refs: questions.batch_refs,
            answers: answers.style,
            chatter: parse(corpus_file!("chatter.toml"))?,
            words: parse(corpus_file!("values.toml"))?,
        };
        grammar.check()?;
        Ok(grammar)
    }

    /// Everything that questions are made of in training, `{f}`, `{b}` and `{id}` taken out.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let fields =
            self.fields.iter().flat_map(|field| field.names.iter().chain(&field.questions));
        fields.map(|text| without_slots(text)).chain(self.filler())
    }

    /// What stands around a field in questions, `{f}`, `{b}` and `{id}` taken out.
    pub fn filler(&self) -> impl Iterator<Item = String> {
        let templates = self.groups.iter().flat_map(|group| &group.templates);
        let chatter = &self.chatter;
        let chatter = [
            &chatter.greetings,
            &chatter.politeness_prefix,
            &chatter.politeness_suffix,
            &chatter.thanks,
            &chatter.fillers,
        ];
        templates
            .chain(&self.batch_refs)
            .chain(chatter.into_iter().flatten())
            .map(|text| without_slots(text))
    }

    fn check(&self) -> Result<()> {
        let mut keys = std::collections::BTreeSet::new();
        for field in &self.fields {
            ensure!(keys.insert(&field.key), "field `{}` is defined twice", field.key);
            ensure!(!field.names.is_empty(), "field `{}` has no names", field.key);
            ensure!(
                field.questions.iter().all(|q| q.contains("{b}")),
                "a question of field `{}` does not name the batch with {{b}}",
                field.key
            );
            let listed = matches!(field.kind, Kind::Choice | Kind::Text);
            ensure!(
                listed != field.values.is_empty(),
                "field `{}`: values go with kind choice or text",
                field.key
            );
        }
        for template in self.groups.iter().flat_map(|g| g.templates.iter().chain(&g.heldout)) {
            ensure!(
                template.contains("{f}") && template.contains("{b}"),
                "question template {template:?} lacks {{f}} or {{b}}"
            );
        }
        for style in &self.answers {
            ensure!(
                style.template.contains("{v}"),
                "answer template {:?} lacks {{v}}",
                style.template
            );
        }
        ensure!(
            self.batch_refs.iter().all(|r| r.contains("{id}")),
            "a batch reference lacks {{id}}"
        );
        Ok(())
    }
}
