//! Telephone numbers: one form (E.164) for what people write in many.
//!
//! Promise: the numbering plans of all countries, as libphonenumber knows them; a number that fits none
//! is never made to fit.
//! Absent on purpose: guesses at the country of a single number. Whoever asks says where `030 123456` was
//! written down, or lets [`home`] read it from numbers that carry their country.

use rlibphonenumber::{PHONE_NUMBER_UTIL as PLANS, PhoneNumber, PhoneNumberFormat, Region};

/// A number that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// `+` and digits, the country first.
    pub e164: String,
    /// As it is written within its country.
    pub national: String,
    /// The country whose plan has it, two letters (ISO 3166).
    pub region: Option<String>,
    /// Its country's plan has such a number.
    pub valid: bool,
    /// It is as long as numbers of its country are.
    pub possible: bool,
}

/// Reads a number; `home` is the country (two letters) of numbers that name none.
///
/// `None` when it is no number or names no country and there is no `home`.
pub fn read(text: &str, home: Option<&str>) -> Option<Phone> {
    let number = parse(text, home)?;
    let written = |format| PLANS.format(&number, format).into_owned();
    Some(Phone {
        e164: written(PhoneNumberFormat::E164),
        national: written(PhoneNumberFormat::National),
        region: PLANS.get_region_for_number(&number).map(|region| region.to_string()),
        valid: PLANS.is_valid_number(&number),
        possible: PLANS.is_possible_number(&number),
    })
}

fn parse(text: &str, home: Option<&str>) -> Option<PhoneNumber> {
    let home: Option<Region> = home.and_then(|home| home.parse().ok());
    PLANS.parse(text, home).ok()
}

/// The number in the form `+` and digits when its country's plan has it.
pub fn e164(text: &str, home: Option<&str>) -> Option<String> {
    let number = parse(text, home)?;
    PLANS.is_valid_number(&number).then(|| PLANS.format(&number, PhoneNumberFormat::E164).into_owned())
}

/// The country of more than half of the valid numbers that name theirs; none when there is no such.
pub fn home<'a>(numbers: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for text in numbers.filter(|text| text.starts_with('+')) {
        let region = parse(text, None).and_then(|number| PLANS.get_region_for_number(&number));
        region.into_iter().for_each(|region| *counts.entry(region.to_string()).or_default() += 1);
    }
    let all: usize = counts.values().sum();
    counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| 2 * count > all).map(|(region, _)| region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_written_in_many_ways_is_one() {
        for text in ["+49 30 901820", "0049 30 901820", "030 / 90 18 20", "(030) 90-1820", "+49 (0)30 901820"] {
            assert_eq!(e164(text, Some("DE")).as_deref(), Some("+4930901820"), "{text}");
        }
        assert_eq!(e164("030 901820", None), None, "whose 030?");
        assert_eq!(e164("030 901820", Some("nowhere")), None);
        assert_eq!(e164("12", Some("DE")), None);
    }

    #[test]
    fn a_number_says_its_country_and_whether_the_plan_has_it() {
        let read = |text| read(text, Some("GB")).unwrap();
        let phone = read("020 7946 0018");
        assert_eq!((phone.e164.as_str(), phone.national.as_str()), ("+442079460018", "020 7946 0018"));
        assert_eq!((phone.region.as_deref(), phone.valid), (Some("GB"), true));
        let short = read("+44 7400 1216");
        assert_eq!((short.valid, short.region), (false, None));
        assert!(super::read("call me", Some("GB")).is_none());
    }

    #[test]
    fn numbers_that_name_their_country_say_where_home_is() {
        assert_eq!(home(["+4930901820", "+41212345668", "+49 89 233 00", "030 1"].into_iter()).as_deref(), Some("DE"));
        assert_eq!(home(["+4930901820", "+41212345668"].into_iter()), None);
        assert_eq!(home(["030 901820", "+1"].into_iter()), None);
    }
}
