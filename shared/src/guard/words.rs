//! Cutting text into words that may be identifiers, and their shapes.

use std::ops::Range;

/// Characters that stand inside identifiers.
const CONNECTORS: [char; 4] = ['-', '_', '.', '/'];

/// Suffixes that make a number a quantity ("250mg", "30C") rather than an identifier.
const UNITS: [&str; 56] = [
    "A", "BAR", "C", "CM", "CFU", "D", "DAYS", "F", "G", "H", "HR", "HRS", "HZ", "IU", "K", "KG",
    "KHZ", "KN", "KPA", "KV", "KW", "L", "LB", "M", "M2", "M3", "MBAR", "MCG", "MG", "MIN", "MINS",
    "ML", "MM", "MOL", "MPA", "N", "ND", "NM", "NTU", "PA", "PPB", "PPM", "PSI", "RD", "RPM", "S",
    "SEC", "ST", "TH", "UG", "UL", "UM", "V", "W", "X", "YR",
];

/// A word of a text: letters and digits with single connectors inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Upper case, as written otherwise.
    pub(crate) text: String,
    /// Where it stands in its text, in bytes.
    pub(crate) place: Range<usize>,
    /// The letters-and-digits runs of `text`, as byte ranges.
    atoms: Vec<(usize, usize)>,
    /// Written with a capital although no sentence begins here: a name, most likely.
    pub(crate) is_name: bool,
}

impl Word {
    fn new(word: &str, start: usize, begins_sentence: bool) -> Self {
        let text = word.to_uppercase();
        let place = start..start + word.len();
        let atoms = atoms(&text);
        let is_name = !begins_sentence && word.starts_with(char::is_uppercase);
        Self { text, place, atoms, is_name }
    }

    /// Whether an answer states something with it: it has a digit, or it is a name.
    pub(crate) fn is_value(&self) -> bool {
        self.is_name || has_digit(&self.text)
    }

    /// The whole word and every part of it that connectors delimit, longest first, at most eight
    /// atoms long: "BRS_VOY756.PDF", "BRS_VOY756", "VOY756.PDF", "BRS", "VOY756", "PDF".
    pub(crate) fn parts(&self) -> Vec<&str> {
        let mut parts = vec![self.text.as_str()];
        for width in (1..=self.atoms.len().min(8)).rev() {
            for window in self.atoms.windows(width) {
                parts.push(&self.text[window[0].0..window[width - 1].1]);
            }
        }
        parts.dedup();
        parts
    }

    /// The parts between `_`, `.` and `/`: what could be an identifier of its own in a file name
    /// or a list. A hyphen joins, so the "ABC123" of "SOP-ABC123-04" is none.
    pub(crate) fn groups(&self) -> Vec<&str> {
        let mut groups = vec![self.text.as_str()];
        groups.extend(self.text.split(['_', '.', '/']));
        groups.dedup();
        groups
    }
}

/// The words of `text`, in upper case. A connector belongs to a word only between two letters or
/// digits: "VOY756...", "VOY756--expired" and "(RM-2231)," hold no stray one.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut begun = None;
    let mut begins_sentence = true;
    let mut before = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let joins = CONNECTORS.contains(&c)
            && before.is_some_and(char::is_alphanumeric)
            && chars.peek().is_some_and(|(_, next)| next.is_alphanumeric());
        before = Some(c);
        if c.is_alphanumeric() || joins {
            begun.get_or_insert(at);
            continue;
        }
        if let Some(start) = begun.take() {
            words.push(Word::new(&text[start..at], start, begins_sentence));
            begins_sentence = false;
        }
        begins_sentence |= ".!?:\n".contains(c);
    }
    if let Some(start) = begun {
        words.push(Word::new(&text[start..], start, begins_sentence));
    }
    words
}

fn atoms(text: &str) -> Vec<(usize, usize)> {
    let mut atoms = Vec::new();
    let mut start = 0;
    for part in text.split(CONNECTORS) {
        if !part.is_empty() {
            atoms.push((start, start + part.len()));
        }
        start += part.len() + 1;
    }
    atoms
}

/// What is compared and hashed: upper case, letters and digits only, so that "voy-756",
/// "VOY 756" and "VOY756" are one identifier.
pub(crate) fn key(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// A whole answer as it is compared: to the letter but for case, spaces and the stop at its end,
/// since "< 0.05" and "0.05" are two results.
pub(crate) fn sentence(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_uppercase).collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

/// Letters as `A`, digits as `9`, connectors as written: "VOY-756" is "AAA-999".
pub(crate) fn shape(text: &str) -> String {
    let class = |c: char| match c {
        c if c.is_numeric() => '9',
        c if c.is_alphabetic() => 'A',
        c => c,
    };
    text.chars().map(class).collect()
}

/// Runs of letters (two or more) and digits (three or more) in an upper-case word.
pub(crate) fn stems(text: &str) -> Vec<&str> {
    runs(text)
        .into_iter()
        .filter(|run| {
            let digits = run.starts_with(char::is_numeric);
            run.chars().count() >= if digits { 3 } else { 2 }
        })
        .collect()
}

fn runs(text: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut start = 0;
    let mut previous = None;
    for (at, c) in text.char_indices() {
        if previous.is_some_and(|p| p != class(c)) {
            runs.push(&text[start..at]);
            start = at;
        }
        previous = Some(class(c));
    }
    if start < text.len() {
        runs.push(&text[start..]);
    }
    runs.into_iter().filter(|run| run.starts_with(char::is_alphanumeric)).collect()
}

fn class(c: char) -> u8 {
    match c {
        c if c.is_numeric() => 0,
        c if c.is_alphabetic() => 1,
        _ => 2,
    }
}

/// Whether one character more, less or of another class makes the shapes equal, connectors aside:
/// "AAA99", "AAA99A" and "AAA-9999" are near "AAA999", "AA9" is not.
pub(crate) fn near(a: &str, b: &str) -> bool {
    let (a, b) = (shape(&key(a)), shape(&key(b)));
    let same = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let rest = |text: &str| text.chars().skip(same).collect::<Vec<_>>();
    let (a, b) = (rest(&a), rest(&b));
    let same = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    a.len() - same <= 1 && b.len() - same <= 1
}

/// Whether an upper-case word has a digit.
pub(crate) fn has_digit(text: &str) -> bool {
    text.contains(char::is_numeric)
}

/// Whether an upper-case word has no letter.
pub(crate) fn is_number(text: &str) -> bool {
    has_digit(text) && !text.contains(char::is_alphabetic)
}

/// Whether an upper-case word is a number with a unit, such as "250MG".
pub(crate) fn is_quantity(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    unit.len() < text.len() && UNITS.contains(&unit)
}

/// Whether an upper-case word is a date: three numbers with one kind of connector, or with a
/// month's name between the numbers.
pub(crate) fn is_date(text: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let number = |part: &str, lengths: &[usize]| {
        lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    ['-', '.', '/'].iter().any(|&connector| {
        let parts: Vec<&str> = text.split(connector).collect();
        let [first, second, third] = parts[..] else {
            return false;
        };
        let month = number(second, &[1, 2])
            || (second.is_ascii() && second.len() >= 3 && MONTHS.contains(&&second[..3]));
        month
            && (number(first, &[4]) && number(third, &[1, 2])
                || number(first, &[1, 2]) && number(third, &[2, 4]))
    })
}

/// The words of `text` that may identify something: those with a digit that are no quantity or
/// date. In upper case, each once, in order of appearance. For building a
/// [`GuardList`](crate::GuardList) from a training pair.
pub fn identifier_words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in words(text) {
        let candidate = has_digit(&word.text) && !is_quantity(&word.text) && !is_date(&word.text);
        if candidate && !found.contains(&word.text) {
            found.push(word.text);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_keep_connectors_inside_only() {
        assert_eq!(texts("What's in BRS_voy756.pdf?"), ["WHAT", "S", "IN", "BRS_VOY756.PDF"]);
        assert_eq!(texts("(RM-2231), -x- #B.7."), ["RM-2231", "X", "B.7"]);
        assert_eq!(texts("VOY756...done VOY757--ok"), ["VOY756", "DONE", "VOY757", "OK"]);
        assert_eq!(texts(" ... "), [""; 0]);
    }

    #[test]
    fn parts_are_longest_first() {
        let word = &words("BRS_VOY756.pdf")[0];
        assert_eq!(
            word.parts(),
            ["BRS_VOY756.PDF", "BRS_VOY756", "VOY756.PDF", "BRS", "VOY756", "PDF"]
        );
        assert_eq!(words("a-1_b-2")[0].groups(), ["A-1_B-2", "A-1", "B-2"]);
    }

    #[test]
    fn many_atoms_do_not_multiply() {
        let long = vec!["a"; 2000].join("-");
        assert!(words(&long)[0].parts().len() <= 8 * 2000 + 1);
    }

    #[test]
    fn shapes_and_stems() {
        assert_eq!(shape("VOY-756"), "AAA-999");
        assert_eq!(key("voy 7-56"), "VOY756");
        assert_eq!(stems("VOY756"), ["VOY", "756"]);
        assert_eq!(stems("B12-2304"), ["2304"]);
        assert!(near("AAA99", "AAA-999") && near("AAA999", "AAA999") && near("AA999", "AAA999"));
        assert!(near("AAA99A", "AAA999") && near("AAA999A", "AAA999"));
        assert!(!near("AA9", "AAA999") && !near("999AAA", "AAA999") && !near("AA99", "AAA999"));
    }

    #[test]
    fn dates_and_quantities_are_no_identifiers() {
        for date in ["2025-04-14", "14.04.2025", "4/14/25", "14-APR-2025", "1-JANUARY-24"] {
            assert!(is_date(date), "{date}");
        }
        for other in ["2025-0414", "12-34", "VOY-75-6", "14-ABC-2025", "1234-56-789", "1-É-25"] {
            assert!(!is_date(other), "{other}");
        }
        for quantity in ["5MG", "30C", "2.5ML", "12000RPM", "3RD"] {
            assert!(is_quantity(quantity), "{quantity}");
        }
        for other in ["MG", "5", "B12", "5XY"] {
            assert!(!is_quantity(other), "{other}");
        }
        assert_eq!(
            identifier_words("Lot rm-22, RM-22 of 2025-04-14 has 5mg at pH7; see voy756"),
            ["RM-22", "PH7", "VOY756"]
        );
    }
}
