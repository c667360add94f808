//! The grammar's fields as the guard knows them.

use shared::{AskingWord, FieldList, KnownField};

use super::grammar::{Field, Grammar, Kind};

impl Grammar {
    /// All fields, in their order, by the wordings that training may use.
    pub fn field_list(&self) -> FieldList {
        let mut list = FieldList::default();
        for field in &self.fields {
            list.add(field.to_known());
        }
        list.add_filler(self.filler());
        list
    }
}

impl Field {
    /// Its wordings, none of them the records'.
    pub fn to_known(&self) -> KnownField {
        let names = self.names.iter().map(String::as_str);
        let questions = self.questions.iter().map(String::as_str);
        KnownField::new(self.kind.asked_by(), names, questions)
    }
}

impl Kind {
    /// The question word that can ask for such values.
    fn asked_by(self) -> AskingWord {
        match self {
            Self::Person => AskingWord::Who,
            Self::Date | Self::Time => AskingWord::When,
            Self::Duration
            | Self::Percent
            | Self::Mass
            | Self::Volume
            | Self::Count
            | Self::Temperature
            | Self::Humidity
            | Self::Ph
            | Self::Pressure
            | Self::Speed
            | Self::Length
            | Self::Concentration
            | Self::Ppm
            | Self::Ratio
            | Self::Force => AskingWord::HowMuch,
            Self::Room | Self::Site | Self::Equipment | Self::Document => AskingWord::Where,
            Self::Choice | Self::Text => AskingWord::Any,
            Self::Code | Self::Lot | Self::Page | Self::Material | Self::Product => {
                AskingWord::Other
            }
        }
    }
}
