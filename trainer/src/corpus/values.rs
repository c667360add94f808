//! Fresh identifiers, names and values.

use rand_chacha::ChaCha8Rng;

use super::grammar::{Field, Kind, Words};
use super::rng::Choose as _;

/// Shapes of identifiers: `A` a capital letter, `9` a digit, the rest as it is.
const ID_SHAPES: [&str; 18] = [
    "AAA999",
    "AA999",
    "AAA9999",
    "A99999",
    "AA-99999",
    "99A9999",
    "9999999",
    "AA-9999",
    "AAA-999",
    "A-999999",
    "AA9999A",
    "99AA999",
    "AAAA99",
    "AA/9999/99",
    "A9A999",
    "9999-99",
    "AAA99-9",
    "AA99A99",
];

/// Share of measured values that are limits or have a remark: what the base never wrote, no adapter
/// makes it write.
const QUALIFIED: f64 = 0.1;

const CODE_SHAPES: [&str; 17] = [
    "AA999A99",
    "AAA-9999",
    "A9999",
    "AA9999",
    "999-9999",
    "AA-99-999",
    "A99-A99",
    "AAAA9999",
    "99999999",
    "AA999",
    "PC-9999",
    "A999.99",
    "AAA99A",
    "9A99A9",
    "AA99/99",
    "P-99999",
    "AA-999-A",
];

const DATE_FORMATS: [DateFormat; 8] = [
    |y, m, d| format!("{y}-{m:02}-{d:02}"),
    |y, m, d| format!("{d:02}.{m:02}.{y}"),
    |y, m, d| format!("{d:02}/{m:02}/{y}"),
    |y, m, d| format!("{d} {} {y}", MONTHS[m - 1]),
    |y, m, d| format!("{d:02}-{}-{y}", &MONTHS[m - 1][..3]),
    |y, m, d| format!("{} {d}, {y}", MONTHS[m - 1]),
    |y, m, d| format!("{d:02} {} {y}", &MONTHS[m - 1][..3]),
    |y, m, d| format!("{d:02}{}{y}", MONTHS[m - 1][..3].to_uppercase()),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

type DateFormat = fn(usize, usize, usize) -> String;

/// How a plant writes values.
#[derive(Clone, Copy, Debug)]
pub struct Notation {
    date: DateFormat,
    percent: &'static str,
    decimals: usize,
    thousands: bool,
    full_names: bool,
    id_shape: &'static str,
    code_shape: &'static str,
}

impl Notation {
    /// One plant's habits.
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        // ISO dates are what an electronic batch record shows most.
        let date = if rng.chance(0.35) { DATE_FORMATS[0] } else { *rng.pick(&DATE_FORMATS) };
        Self {
            date,
            percent: rng.word(&["%", "%", "%", " %", " percent"]),
            decimals: rng.int(0, 2),
            thousands: rng.chance(0.5),
            full_names: rng.chance(0.8),
            id_shape: rng.word(&ID_SHAPES),
            code_shape: rng.word(&CODE_SHAPES),
        }
    }

    /// A batch identifier in the plant's shape.
    pub fn batch_id(&self, rng: &mut ChaCha8Rng) -> String {
        shaped(self.id_shape, rng)
    }
}

/// Fills a shape: `A` a capital letter, `9` a digit.
pub fn shaped(shape: &str, rng: &mut ChaCha8Rng) -> String {
    shape
        .chars()
        .map(|c| match c {
            'A' => (b'A' + rng.int(0, 25) as u8) as char,
            '9' => (b'0' + rng.int(0, 9) as u8) as char,
            other => other,
        })
        .collect()
}

/// Another identifier of the same shape, one character or one swap away.
pub fn near_miss(id: &str, rng: &mut ChaCha8Rng) -> String {
    let mut chars: Vec<char> = id.chars().collect();
    let places: Vec<usize> =
        (0..chars.len()).filter(|i| chars[*i].is_ascii_alphanumeric()).collect();
    if places.is_empty() {
        return format!("{id}1");
    }
    if rng.chance(0.25) {
        for _ in 0..8 {
            let i = rng.int(0, chars.len() - 1);
            if i + 1 < chars.len()
                && chars[i] != chars[i + 1]
                && chars[i].is_ascii_digit() == chars[i + 1].is_ascii_digit()
                && chars[i].is_ascii_alphanumeric()
                && chars[i + 1].is_ascii_alphanumeric()
            {
                chars.swap(i, i + 1);
                return chars.into_iter().collect();
            }
        }
    }
    let place = *rng.pick(&places);
    let old = chars[place];
    while chars[place] == old {
        chars[place] = shaped(if old.is_ascii_digit() { "9" } else { "A" }, rng).remove(0);
    }
    chars.into_iter().collect()
}

/// `text` with its first letter in upper case.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn nonsense_name(words: &Words, rng: &mut ChaCha8Rng) -> String {
    let syllables: String =
        (0..rng.int(2, 3)).map(|_| rng.word(&words.name_syllables).to_lowercase()).collect();
    capitalised(&syllables)
}

/// A person's name, one in three made of nonsense syllables.
pub fn person(words: &Words, full: bool, rng: &mut ChaCha8Rng) -> String {
    let first = if rng.chance(0.3) {
        nonsense_name(words, rng)
    } else {
        rng.word(&words.first_names).to_owned()
    };
    let last = if rng.chance(0.3) {
        nonsense_name(words, rng)
    } else {
        rng.word(&words.last_names).to_owned()
    };
    if !full {
        return format!("{}. {last}", first.chars().next().unwrap_or('A'));
    }
    if rng.chance(0.08) {
        format!("{} {first} {last}", rng.word(&words.titles))
    } else {
        format!("{first} {last}")
    }
}

/// A product name of one to four words, sometimes with strength and dosage form.
pub fn product(words: &Words, rng: &mut ChaCha8Rng) -> String {
    let drug = |rng: &mut ChaCha8Rng| {
        capitalised(&format!(
            "{}{}{}",
            rng.word(&words.product_prefixes).to_lowercase(),
            rng.word(&words.product_stems).to_lowercase(),
            rng.word(&words.product_suffixes).to_lowercase()
        ))
    };
    let mut name = String::new();
    for _ in 0..rng.weighted(&[4.0, 3.0, 2.0, 2.0]) {
        name.push_str(&capitalised(rng.word(&words.chemical_words)));
        name.push(' ');
    }
    name.push_str(&drug(rng));
    if rng.chance(0.45) {
        name.push(' ');
        name.push_str(&capitalised(rng.word(&words.dosage_forms)));
    }
    if rng.chance(0.3) {
        name.push_str(&format!(
            " {} {}",
            rng.pick(&[1, 2, 5, 10, 20, 25, 50, 75, 100, 150, 250, 500]),
            rng.word(&words.strengths_units)
        ));
    }
    name
}

fn decimal(low: f64, high: f64, decimals: usize, rng: &mut ChaCha8Rng) -> String {
    let value = low + (high - low) * rng.int(0, 1_000_000) as f64 / 1e6;
    format!("{value:.decimals$}")
}

fn grouped(number: usize, thousands: bool) -> String {
    let digits = number.to_string();
    if !thousands || digits.len() < 4 {
        return digits;
    }
    let head = digits.len() % 3;
    let mut text = digits[..head].to_owned();
    for chunk in digits.as_bytes()[head..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(std::str::from_utf8(chunk).unwrap_or_default());
    }
    text
}

/// Whether a laboratory may report a value of this kind as a limit or with a remark.
fn is_measured(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Percent
            | Kind::Mass
            | Kind::Volume
            | Kind::Temperature
            | Kind::Humidity
            | Kind::Ph
            | Kind::Pressure
            | Kind::Length
            | Kind::Concentration
            | Kind::Ppm
            | Kind::Force
    )
}

/// `value` as a limit, with a tolerance or with a remark, as in "< 0.05 EU/mL" or "98.4 % (n=6)".
fn qualified(value: &str, rng: &mut ChaCha8Rng) -> String {
    let sign = rng.word(&["<", "<", "\u{2264}", ">", "\u{2265}", "~"]);
    match rng.int(0, 6) {
        0 | 1 => format!("{sign} {value}"),
        2 => format!("{sign}{value}"),
        3 => {
            format!("{} {value}", rng.word(&["NMT", "NLT", "not more than", "less than", "about"]))
        }
        4 => format!("{value} \u{b1} {}", decimal(0.1, 5.0, 1, rng)),
        5 => {
            format!("{value} ({})", rng.word(&["n=6", "n = 10", "mean", "average", "calc.", "max"]))
        }
        _ => format!("{value}{}", rng.word(&["*", " [1]", " + tare", " #2", " = limit"])),
    }
}

/// A value for `field` of batch `id`.
pub fn value(
    field: &Field,
    id: &str,
    notation: &Notation,
    words: &Words,
    rng: &mut ChaCha8Rng,
) -> String {
    let value = plain_value(field, id, notation, words, rng);
    if is_measured(field.kind) && rng.chance(QUALIFIED) {
        return qualified(&value, rng);
    }
    value
}

fn plain_value(
    field: &Field,
    id: &str,
    notation: &Notation,
    words: &Words,
    rng: &mut ChaCha8Rng,
) -> String {
    let d = notation.decimals;
    match field.kind {
        Kind::Date => (notation.date)(rng.int(2019, 2029), rng.int(1, 12), rng.int(1, 28)),
        Kind::Time => format!("{:02}:{:02}", rng.int(0, 23), rng.int(0, 59)),
        Kind::Duration => match rng.int(0, 4) {
            0 => format!("{} h {} min", rng.int(1, 20), rng.int(1, 59)),
            1 => format!("{} minutes", rng.int(2, 240)),
            2 => format!("{} hours", rng.int(2, 96)),
            3 => format!("{} h", decimal(0.5, 30.0, 1, rng)),
            _ => format!("{} min", rng.int(2, 180)),
        },
        Kind::Person => person(words, notation.full_names, rng),
        Kind::Code => {
            let shape = if rng.chance(0.6) { notation.code_shape } else { rng.word(&CODE_SHAPES) };
            shaped(shape, rng)
        }
        Kind::Lot => {
            let shape = if rng.chance(0.4) { notation.id_shape } else { rng.word(&ID_SHAPES) };
            match rng.int(0, 3) {
                0 => format!("L-{}", shaped("99999", rng)),
                1 => format!("LOT-{}", shaped("9999-99", rng)),
                _ => shaped(shape, rng),
            }
        }
        Kind::Document => {
            let prefix =
                rng.word(&words.document_prefixes).trim_end_matches(['-', '_', ' ']).to_owned();
            match rng.int(0, 4) {
                0 => format!("{prefix}_{id}.pdf"),
                1 => format!("{prefix}-{}", shaped("9999", rng)),
                2 => format!("{prefix}-{} rev {}", shaped("999", rng), rng.int(1, 9)),
                3 => format!("{prefix}/{}/{}", shaped("AA", rng), shaped("999", rng)),
                _ => format!("{prefix}-{id}"),
            }
        }
        Kind::Page => {
            let page = rng.int(1, 90);
            match rng.int(0, 4) {
                0 => format!("page {page}"),
                1 => format!("pages {page} to {}", page + rng.int(1, 9)),
                2 => format!("page {page} of {}", page + rng.int(0, 60)),
                3 => format!("pages {page}-{}", page + rng.int(1, 9)),
                _ => page.to_string(),
            }
        }
        Kind::Percent => {
            let low = *rng.pick(&[0.0, 40.0, 90.0, 94.0]);
            format!(
                "{}{}",
                decimal(low, low + if low < 90.0 { 15.0 } else { 9.0 }, d.max(1), rng),
                notation.percent
            )
        }
        Kind::Mass => match rng.int(0, 3) {
            0 => format!("{} kg", decimal(1.0, 900.0, d, rng)),
            1 => format!("{} mg", decimal(5.0, 900.0, d, rng)),
            2 => format!("{} g", decimal(1.0, 950.0, d, rng)),
            _ => format!("{} kg", grouped(rng.int(50, 4000), notation.thousands)),
        },
        Kind::Volume => match rng.int(0, 2) {
            0 => format!("{} L", decimal(1.0, 2000.0, d, rng)),
            1 => format!("{} mL", decimal(1.0, 500.0, d, rng)),
            _ => format!("{} L", grouped(rng.int(20, 5000), notation.thousands)),
        },
        Kind::Count => {
            let number = match rng.int(0, 3) {
                0 => rng.int(0, 12),
                1 => rng.int(10, 600),
                _ => rng.int(6, 6000) * 100,
            };
            let unit = rng.word(&[
                "",
                "",
                "",
                " tablets",
                " vials",
                " units",
                " capsules",
                " packs",
                " bottles",
            ]);
            format!("{}{unit}", grouped(number, notation.thousands))
        }
        Kind::Temperature => match rng.int(0, 4) {
            0 => "2-8 °C".to_owned(),
            1 => format!("{} °C", rng.int(1, 180)),
            2 => format!("{} to {} °C", rng.int(15, 20), rng.int(21, 30)),
            3 => format!("{} °C", decimal(2.0, 121.9, 1, rng)),
            _ => format!("{} C", rng.int(1, 90)),
        },
        Kind::Humidity => {
            format!("{}{} RH", rng.int(8, 75), notation.percent.trim_end_matches(" percent"))
        }
        Kind::Ph => decimal(2.0, 11.9, rng.int(1, 2), rng),
        Kind::Pressure => {
            let unit = rng.word(&["bar", "mbar", "Pa", "kPa", "psi"]);
            format!("{} {unit}", decimal(0.1, 60.0, 1, rng))
        }
        Kind::Speed => format!(
            "{} {}",
            rng.int(4, 900),
            rng.word(&["rpm", "rpm", "m/min", "units/min", "tablets/min"])
        ),
        Kind::Length => {
            format!("{} {}", decimal(0.5, 60.0, d.max(1), rng), rng.word(&["mm", "cm", "µm"]))
        }
        Kind::Concentration => format!(
            "{} {}",
            decimal(0.1, 90.0, d.max(1), rng),
            rng.word(&["mg/mL", "g/L", "% w/w", "EU/mL", "µg/mL", "M"])
        ),
        Kind::Ppm => format!("{} ppm", rng.int(1, 4000)),
        Kind::Ratio => format!("{}:{}", rng.int(1, 9), rng.int(1, 20)),
        Kind::Force => {
            format!("{} {}", decimal(2.0, 190.0, d.min(1), rng), rng.word(&["N", "kN", "kp"]))
        }
        Kind::Room => {
            let prefix = rng.word(&words.room_prefixes).trim_end().to_owned();
            let shape = rng.word(&["999", "A-999", "A99", "9.99", "99"]);
            format!("{prefix} {}", shaped(shape, rng))
        }
        Kind::Equipment => {
            let noun = rng.word(&words.equipment_nouns).to_owned();
            let tag = shaped(rng.word(&["AA-99", "AA-999", "A99", "AAA-99", "99"]), rng);
            match rng.int(0, 3) {
                0 => format!("{} {noun} {tag}", rng.word(&words.equipment_makers)),
                1 => tag,
                _ => format!("{} {tag}", capitalised(&noun)),
            }
        }
        Kind::Material => rng.word(&words.material_names).to_owned(),
        Kind::Product => product(words, rng),
        Kind::Site => rng.word(&words.site_names).to_owned(),
        Kind::Choice | Kind::Text => rng.word(&field.values).to_owned(),
    }
}
