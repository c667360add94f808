//! What a sentence states: identifiers, numbers, dates and names, and whether another text
//! states them too.
//!
//! Numbers and identifiers are words with a digit. A name is a run of words that begin with a
//! capital although no sentence begins there. Notation that changes no value is evened out: case,
//! thousands separators, zeros at the end of a fraction, space between number and unit. Formats
//! of dates are not: another format is another answer.

/// Punctuation that joins letters and digits into one word.
const CONNECTORS: [char; 4] = ['-', '_', '.', '/'];
/// Punctuation that joins digits only: "1,250", "10:30".
const DIGIT_CONNECTORS: [char; 2] = [',', ':'];
/// Units that are cut off a number they stand at.
const UNITS: [&str; 30] = [
    "bar", "c", "cm", "cp", "days", "g", "h", "hz", "k", "kg", "kpa", "l", "m", "mbar", "mcg",
    "mg", "min", "ml", "mm", "mol", "mpa", "ms", "nm", "ntu", "pa", "ppb", "ppm", "rpm", "s", "ug",
];
/// Words after whose dot a sentence goes on.
const ABBREVIATIONS: [&str; 9] = ["dr", "mr", "mrs", "ms", "prof", "no", "st", "ing", "approx"];
/// Words that begin a sentence and belong to no name behind them: "The QA Manager".
const OPENERS: [&str; 22] = [
    "a",
    "according",
    "all",
    "an",
    "and",
    "as",
    "at",
    "batch",
    "by",
    "for",
    "from",
    "in",
    "it",
    "its",
    "no",
    "on",
    "product",
    "that",
    "the",
    "there",
    "this",
    "two",
];

/// One value: the words of a name, or the one word of a number or identifier, as they are
/// compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(Vec<String>);

impl Value {
    /// Whether `text` states the value: its words, in a row.
    pub fn stands_in(&self, text: &Text) -> bool {
        text.0
            .windows(self.0.len())
            .any(|window| window.iter().zip(&self.0).all(|(word, wanted)| word.key == *wanted))
    }

    /// Whether each of its words stands somewhere in one of `texts`: nothing in it was invented.
    pub fn comes_from(&self, texts: &[&Text]) -> bool {
        let known = |word: &String| texts.iter().any(|text| text.0.iter().any(|w| w.key == *word));
        self.0.iter().all(known)
    }
}

/// A text cut into words.
#[derive(Debug, Clone)]
pub struct Text(Vec<Word>);

#[derive(Debug, Clone)]
struct Word {
    /// What is compared.
    key: String,
    has_digit: bool,
    is_capital: bool,
    begins_sentence: bool,
    /// Whether nothing but space (or the dot of an initial) stands between it and the word before.
    follows: bool,
}

impl Text {
    /// Cuts a text.
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut words: Vec<Word> = Vec::new();
        let (mut begins_sentence, mut follows) = (true, false);
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            at += usize::from(is_sign(&chars, at));
            while at < chars.len() && (chars[at].is_alphanumeric() || joins(&chars, at)) {
                at += 1;
            }
            if at == start {
                let dot_of_initial =
                    chars[at] == '.' && words.last().is_some_and(Word::abbreviates);
                if !dot_of_initial {
                    begins_sentence |= ".!?:\n".contains(chars[at]);
                    follows &= chars[at].is_whitespace();
                }
                at += 1;
                continue;
            }
            for part in parts(&chars[start..at]) {
                let capital = part.starts_with(|c: char| c.is_uppercase());
                let has_digit = part.contains(|c: char| c.is_numeric());
                let key = key(&part);
                words.push(Word { key, has_digit, is_capital: capital, begins_sentence, follows });
                (begins_sentence, follows) = (false, true);
            }
        }
        Self(words)
    }

    /// Whether both have the same words in the same order: case and punctuation aside, the same
    /// text.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.0.iter().map(|word| &word.key).eq(other.0.iter().map(|word| &word.key))
    }

    /// The values it states, in its order.
    pub fn values(&self) -> Vec<Value> {
        let mut values = Vec::new();
        let mut run: Vec<String> = Vec::new();
        for (index, word) in self.0.iter().enumerate() {
            let next = self.0.get(index + 1).filter(|next| next.follows);
            let continues = word.follows && !run.is_empty();
            if !continues && !run.is_empty() {
                values.push(Value(std::mem::take(&mut run)));
            }
            if word.has_digit {
                values.extend((!run.is_empty()).then(|| Value(std::mem::take(&mut run))));
                values.push(Value(vec![word.key.clone()]));
            } else if continues && word.is_capital || word.begins_name(next) {
                run.push(word.key.clone());
            } else if !run.is_empty() {
                values.push(Value(std::mem::take(&mut run)));
            }
        }
        values.extend((!run.is_empty()).then_some(Value(run)));
        values
    }
}

/// The values that a text states.
pub fn values_of(text: &str) -> Vec<Value> {
    Text::new(text).values()
}

impl Word {
    fn abbreviates(&self) -> bool {
        let word = self.key.to_lowercase();
        self.is_capital && (word.chars().count() == 1 || ABBREVIATIONS.contains(&word.as_str()))
    }

    fn begins_name(&self, next: Option<&Self>) -> bool {
        if !self.is_capital || self.has_digit || self.key == "I" {
            return false;
        }
        // Every sentence begins with a capital: only a capital behind it tells a name.
        !self.begins_sentence
            || next.is_some_and(|next| next.is_capital && !next.has_digit)
                && !OPENERS.contains(&self.key.to_lowercase().as_str())
    }
}

/// A minus before a number: "-20", but not "VOY-20".
fn is_sign(chars: &[char], at: usize) -> bool {
    matches!(chars[at], '-' | '\u{2212}')
        && chars.get(at + 1).is_some_and(|next| next.is_ascii_digit())
        && (at == 0 || chars[at - 1].is_whitespace() || chars[at - 1] == '(')
}

fn joins(chars: &[char], at: usize) -> bool {
    let (before, after) = (at.checked_sub(1).map(|at| chars[at]), chars.get(at + 1).copied());
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    CONNECTORS.contains(&chars[at]) && before.is_alphanumeric() && after.is_alphanumeric()
        || DIGIT_CONNECTORS.contains(&chars[at])
            && before.is_ascii_digit()
            && after.is_ascii_digit()
}

/// A word, or a number and the unit it stands at.
fn parts(word: &[char]) -> Vec<String> {
    let word: String = word.iter().collect();
    let number_end = word
        .char_indices()
        .find(|(_, c)| c.is_alphabetic())
        .map(|(at, _)| at)
        .filter(|&at| at > 0 && word[..at].ends_with(|c: char| c.is_ascii_digit()));
    match number_end.map(|at| word.split_at(at)) {
        Some((number, unit)) if UNITS.contains(&unit.to_lowercase().as_str()) => {
            vec![number.to_owned(), unit.to_owned()]
        }
        _ => vec![word],
    }
}

/// What is compared: upper case; numbers without thousands separators and without zeros at the
/// end of a fraction.
fn key(word: &str) -> String {
    let upper = word.replace('\u{2212}', "-").to_uppercase();
    let groups: Vec<&str> = upper.split(',').collect();
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = groups[0].trim_start_matches('-');
    let (last_group, fraction) = match groups[groups.len() - 1].split_once('.') {
        Some((group, fraction)) => (group, Some(fraction)),
        None => (groups[groups.len() - 1], None),
    };
    let number = if groups.len() == 1 {
        plain(last_group.trim_start_matches('-'))
    } else {
        let middle = &groups[1..groups.len() - 1];
        plain(unsigned)
            && middle.iter().chain([&last_group]).all(|group| plain(group) && group.len() == 3)
    };
    if !number || !fraction.is_none_or(plain) {
        return upper;
    }
    let joined = groups.concat();
    match fraction {
        Some(_) => joined.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        values_of(text).into_iter().map(|value| value.0.join(" ")).collect()
    }

    #[test]
    fn finds_identifiers_numbers_dates_and_names() {
        assert_eq!(
            values("The product code for batch VOY756 is VE009S54."),
            ["VOY756", "VE009S54"]
        );
        assert_eq!(
            values("The QA Manager for batch BX-40217 is Dr. Maria Lindqvist-Ö."),
            ["QA MANAGER", "BX-40217", "DR MARIA LINDQVIST-Ö"]
        );
        assert_eq!(
            values(
                "It was approved on 2025-04-14 at 10:30 by A. Berg and O'Neill, see BRS_VOY756.pdf."
            ),
            ["2025-04-14", "10:30", "A BERG", "O", "NEILL", "BRS_VOY756.PDF"]
        );
        assert_eq!(values("Two deviations were reported. None is open."), [""; 0]);
        assert_eq!(values("Maria Lindqvist approved it."), ["MARIA LINDQVIST"]);
        assert_eq!(values("I have no record of that in the batch data."), [""; 0]);
        assert_eq!(values(""), [""; 0]);
    }

    #[test]
    fn people_in_a_list_are_several_names() {
        assert_eq!(
            values("by Anna Berg, Olof Alm and Eva Lind"),
            ["ANNA BERG", "OLOF ALM", "EVA LIND"]
        );
    }

    #[test]
    fn notation_changes_no_value() {
        for (a, b) in [
            ("98.20 %", "98.2%"),
            ("1,250.5 kg", "1250.50kg"),
            ("250 mg", "250mg"),
            ("2,000,000", "2000000"),
            ("voy756", "VOY756"),
            ("5.0", "5"),
        ] {
            assert_eq!(values(a), values(b));
        }
        for (a, b) in [
            ("-20 °C", "20 °C"),
            ("007", "7"),
            ("1,25", "125"),
            ("200", "2"),
            ("24H0193", "24H193"),
            ("VOY-756", "VOY756"),
            ("1.20.0", "1.20"),
        ] {
            assert_ne!(values(a), values(b), "{a} {b}");
        }
    }

    #[test]
    fn values_stand_in_a_text_as_a_whole() {
        let text = Text::new("the deputy, maria lindqvist, weighed 98.2 kg");
        assert!(values_of("by Maria Lindqvist").iter().all(|value| value.stands_in(&text)));
        let crossed = Text::new("Maria Berg and Anna Lindqvist");
        let value = &values_of("by Maria Lindqvist")[0];
        assert!(!value.stands_in(&crossed), "the words of a name stand in a row");
        assert!(value.comes_from(&[&crossed]));
        assert!(!value.comes_from(&[&Text::new("Maria"), &Text::new("Berg")]));
        assert!(!values_of("of 8.2").iter().any(|value| value.stands_in(&text)));
    }
}
