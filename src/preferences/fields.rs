//! The fields of preferences, by section, and the forms of those that real tables decide about.

use std::sync::LazyLock;

use icu_locale::{LanguageIdentifier, Locale, LocaleCanonicalizer, LocaleExpander};
use iso_currency::Currency;
use jiff::tz::TimeZoneDatabase;
use language_tags::LanguageTag;

use crate::kernel::catalogue::{Catalogue, Field, Rule};
use crate::kernel::fault::{FieldError, Malformed};
use crate::kernel::sheet::Sheet;

/// The sections that have routes of their own.
pub const SECTIONS: [&str; 5] = ["theme", "notifications", "locale", "accessibility", "privacy"];
/// The days of a week, from Monday.
pub const WEEKDAYS: &[&str] = &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The most categories of one channel.
const MOST_CATEGORIES: usize = 50;
const CHANNELS: [&str; 4] = ["email", "push", "sms", "in_app"];
const FREQUENCIES: &[&str] = &["immediate", "hourly", "daily", "weekly"];

/// Every field.
pub const FIELDS: Catalogue = Catalogue(&[
    one_of("theme.mode", "Light, dark, or as the system is.", &["light", "dark", "system"], r#""system""#),
    form("theme.accent_color", "A colour such as #3366ff.", color, "color", ""),
    field("theme.font_family", "The name of a font.", Rule::Line(100), ""),
    field("theme.font_scale", "How large text is.", Rule::Number(0.5, 3.0), "1.0"),
    one_of("theme.density", "How much stands on a page.", &["compact", "comfortable", "spacious"], r#""comfortable""#),
    flag("notifications.email.enabled", "Whether e-mail is sent.", "true"),
    one_of("notifications.email.frequency", "How often at most.", FREQUENCIES, r#""immediate""#),
    flag("notifications.email.categories.*", "Whether this kind is wanted.", ""),
    flag("notifications.push.enabled", "Whether devices are notified.", "true"),
    one_of("notifications.push.frequency", "How often at most.", FREQUENCIES, r#""immediate""#),
    flag("notifications.push.categories.*", "Whether this kind is wanted.", ""),
    flag("notifications.sms.enabled", "Whether text messages are sent.", "false"),
    one_of("notifications.sms.frequency", "How often at most.", FREQUENCIES, r#""immediate""#),
    flag("notifications.sms.categories.*", "Whether this kind is wanted.", ""),
    flag("notifications.in_app.enabled", "Whether the application shows them.", "true"),
    one_of("notifications.in_app.frequency", "How often at most.", FREQUENCIES, r#""immediate""#),
    flag("notifications.in_app.categories.*", "Whether this kind is wanted.", ""),
    flag("notifications.quiet_hours.enabled", "Whether there are hours without notifications.", "false"),
    form("notifications.quiet_hours.start", "When they begin, in the person's own zone.", hour, "time", r#""22:00""#),
    form(
        "notifications.quiet_hours.end",
        "When they end; not after the beginning: the next day.",
        hour,
        "time",
        r#""07:00""#,
    ),
    field(
        "notifications.quiet_hours.days",
        "On which days they begin.",
        Rule::Several(WEEKDAYS),
        r#"["monday","tuesday","wednesday","thursday","friday","saturday","sunday"]"#,
    ),
    form("locale.language", "A language (BCP 47) such as de or pt-BR.", language, "bcp47", r#""en""#),
    form("locale.timezone", "A time zone (IANA) such as Europe/Berlin.", timezone, "iana-timezone", r#""UTC""#),
    form("locale.date_format", "How dates look, such as DD.MM.YYYY.", date_format, "date-pattern", r#""YYYY-MM-DD""#),
    one_of("locale.time_format", "How times look.", &["12h", "24h"], r#""24h""#),
    one_of("locale.first_day_of_week", "On which day a week begins.", WEEKDAYS, r#""monday""#),
    one_of(
        "locale.number_format",
        "How numbers look.",
        &["1,234.56", "1.234,56", "1 234,56", "1'234.56", "1234.56", "1234,56", "12,34,567.89"],
        r#""1,234.56""#,
    ),
    form("locale.currency", "A currency (ISO 4217) such as EUR.", currency, "iso4217", r#""USD""#),
    flag("accessibility.reduced_motion", "Whether nothing should move.", "false"),
    flag("accessibility.high_contrast", "Whether colours should differ more.", "false"),
    flag("accessibility.screen_reader", "Whether pages are read aloud.", "false"),
    flag("accessibility.captions", "Whether sound should be written out.", "false"),
    flag("accessibility.keyboard_only", "Whether there is no pointer.", "false"),
    flag("accessibility.large_text", "Whether text should be larger.", "false"),
    flag("accessibility.simple_language", "Whether language should be plain.", "false"),
    one_of(
        "accessibility.color_vision",
        "How colours are seen.",
        &["typical", "protanopia", "deuteranopia", "tritanopia", "achromatopsia"],
        r#""typical""#,
    ),
    flag("privacy.show_online_status", "Whether others see that the person is there.", "true"),
    flag("privacy.show_last_seen", "Whether others see when the person was there.", "false"),
    flag("privacy.discoverable", "Whether the application may suggest the person to others.", "false"),
    flag("privacy.read_receipts", "Whether others see what was read.", "true"),
    flag("privacy.personalization", "Whether the application may adapt to what the person does.", "false"),
    one_of("privacy.messages_from", "Who may write.", &["everyone", "contacts", "nobody"], r#""everyone""#),
]);

const fn field(path: &'static str, about: &'static str, rule: Rule, default: &'static str) -> Field {
    Field { path, about, rule, default }
}

const fn flag(path: &'static str, about: &'static str, default: &'static str) -> Field {
    field(path, about, Rule::Flag, default)
}

const fn one_of(
    path: &'static str,
    about: &'static str,
    words: &'static [&'static str],
    default: &'static str,
) -> Field {
    field(path, about, Rule::OneOf(words), default)
}

const fn form(
    path: &'static str,
    about: &'static str,
    parse: fn(&str) -> Result<String, Malformed>,
    format: &'static str,
    default: &'static str,
) -> Field {
    field(path, about, Rule::Form(parse, format), default)
}

/// What is wrong with preferences as a whole.
pub fn complaints(sheet: &Sheet) -> Vec<FieldError> {
    let branches = CHANNELS.map(|channel| format!("notifications.{channel}.categories"));
    let is_long = |branch: &String| sheet.below(branch).count() > MOST_CATEGORIES;
    let complaint = |branch| FieldError::new(branch, format!("expected at most {MOST_CATEGORIES}"));
    branches.into_iter().filter(is_long).map(complaint).collect()
}

/// The time zones that ship with this program (IANA).
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The time zone of this name.
pub fn find_zone(name: &str) -> Option<jiff::tz::TimeZone> {
    ZONES.get(name).ok()
}

fn timezone(text: &str) -> Result<String, Malformed> {
    let wrong = || Malformed::new("expected a time zone of the IANA database such as Europe/Berlin");
    let zone = find_zone(text).ok_or_else(wrong)?;
    zone.iana_name().map(str::to_owned).ok_or_else(wrong)
}

/// Reads a language tag (RFC 5646) in its canonical form (UTS 35). Its language is one that CLDR knows; script, region and
/// variants are in IANA's registry of subtags, as of 2021, none of them for private use.
pub fn find_language(text: &str) -> Option<String> {
    const MOST_BYTES: usize = 64;
    if text.len() > MOST_BYTES || text.contains('_') {
        return None;
    }
    LanguageTag::parse(text).ok()?.validate().ok()?;
    let mut locale = Locale::try_from_str(text).ok()?;
    LocaleCanonicalizer::new_extended().canonicalize(&mut locale);
    if locale.id.language.is_unknown() {
        return None;
    }
    let mut bare = LanguageIdentifier::from(locale.id.language);
    // What likely subtags can be told of is a language.
    let is_known = LocaleExpander::new_extended().maximize(&mut bare) == icu_locale::TransformResult::Modified;
    let is_private = locale.id.script.is_some_and(|script| is_private_script(script.as_str()))
        || locale.id.region.is_some_and(|region| is_private_region(region.as_str()));
    (is_known && !is_private).then(|| locale.to_string())
}

/// Codes that say nothing to others: those for private use (ISO 15924), and that of a script that is not known.
fn is_private_script(script: &str) -> bool {
    ("Qaaa"..="Qabx").contains(&script) || script == "Zzzz"
}

/// The same of regions (ISO 3166-1), but for Kosovo's, whose meaning is agreed upon.
fn is_private_region(region: &str) -> bool {
    region != "XK"
        && (("QM"..="QZ").contains(&region) || ("XA"..="XZ").contains(&region) || ["AA", "ZZ"].contains(&region))
}

fn language(text: &str) -> Result<String, Malformed> {
    find_language(text).ok_or_else(|| Malformed::new("expected a language tag (BCP 47) such as de or pt-BR"))
}

/// A currency that people pay with: one that another took the place of was, and is not chosen any more.
fn currency(text: &str) -> Result<String, Malformed> {
    let known = Currency::from_code(text).filter(|currency| !currency.is_special());
    let known = known.ok_or_else(|| Malformed::new("expected the code of a currency (ISO 4217) such as EUR"))?;
    match known.is_superseded() {
        None => Ok(known.code().to_owned()),
        Some(newer) => Err(Malformed(format!("{} took the place of this currency", newer.code()))),
    }
}

fn color(text: &str) -> Result<String, Malformed> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
    let is_color = digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_color.then(|| text.to_ascii_lowercase()).ok_or_else(|| Malformed::new("expected a colour such as #3366ff"))
}

/// Minutes after midnight of a time such as `22:00`.
pub fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

fn hour(text: &str) -> Result<String, Malformed> {
    minutes(text).map(|_| text.to_owned()).ok_or_else(|| Malformed::new("expected a time such as 22:00"))
}

/// A pattern of day, month and year, each once (`D` to `DD`, `M` to `MMMM`, `YY` or `YYYY`), and what stands between.
fn date_format(text: &str) -> Result<String, Malformed> {
    const WORDS: [&str; 9] = ["D", "DD", "M", "MM", "MMM", "MMMM", "YY", "YYYY", "dddd"];
    let mut words: Vec<&str> = text.split(['-', '/', '.', ',', ' ']).filter(|word| !word.is_empty()).collect();
    let is_known = text.len() <= 30 && words.iter().all(|word| WORDS.contains(word));
    words.retain(|word| *word != "dddd");
    let mut letters: Vec<char> = words.iter().filter_map(|word| word.chars().next()).collect();
    letters.sort_unstable();
    if is_known && letters == ['D', 'M', 'Y'] {
        return Ok(text.to_owned());
    }
    Err(Malformed::new("expected day, month and year, each once, such as YYYY-MM-DD or D MMMM YYYY"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Result<String, Malformed>, good: &[(&str, &str)], bad: &[&str]) {
        for (text, kept) in good {
            assert_eq!(rule(text).as_deref(), Ok(*kept), "{text}");
        }
        for text in bad {
            assert!(rule(text).is_err(), "{text:?} should be refused, not {:?}", rule(text));
        }
    }

    #[test]
    fn every_field_has_a_place_of_its_own() {
        assert!(FIELDS.is_in_order());
    }

    #[test]
    fn languages_are_those_of_the_tables_in_their_usual_spelling() {
        check(
            language,
            &[
                ("de", "de"),
                ("EN-us", "en-US"),
                ("zh-hans-cn", "zh-Hans-CN"),
                ("iw", "he"),
                ("gsw", "gsw"),
                ("es-419", "es-419"),
                ("de-DE-u-co-phonebk", "de-DE-u-co-phonebk"),
                ("sr-Latn", "sr-Latn"),
                ("en-AQ", "en-AQ"),
                ("en-XK", "en-XK"),
                ("de-1996", "de-1996"),
                ("sl-rozaj-biske", "sl-biske-rozaj"),
            ],
            &[
                "",
                "x",
                "german",
                "en_US",
                "zz",
                "qq-DE",
                "en-ZZ",
                "en-QX",
                "en-999",
                "und",
                "de--DE",
                "12",
                "en-US-",
                "i-klingon",
                "de-Qqaa",
                "de-Qaaa",
                "de-Zzzz",
                "en-Abcd-US",
                "en-XA",
                "de-foobar1",
                "en-1996",
                "de-1996-1996",
            ],
        );
    }

    #[test]
    fn zones_and_currencies_are_those_of_the_tables() {
        check(
            timezone,
            &[
                ("Europe/Berlin", "Europe/Berlin"),
                ("europe/berlin", "Europe/Berlin"),
                ("UTC", "UTC"),
                ("America/Argentina/Ushuaia", "America/Argentina/Ushuaia"),
            ],
            &[
                "",
                "Berlin",
                "Europe/Atlantis",
                "+01:00",
                "CEST-1",
                "localtime",
                "posix/Europe/Berlin",
                "../etc/passwd",
                "/etc/localtime",
            ],
        );
        check(
            currency,
            &[("EUR", "EUR"), ("JPY", "JPY"), ("CHF", "CHF")],
            &["", "eur", "EURO", "ABC", "XXX", "XTS", "€", "HRK", "ZWL"],
        );
    }

    #[test]
    fn colours_times_and_patterns() {
        check(color, &[("#3366FF", "#3366ff")], &["", "red", "#fff", "#3366f", "#3366fg", "3366ff"]);
        check(
            hour,
            &[("00:00", "00:00"), ("23:59", "23:59")],
            &["", "24:00", "7:00", "07:60", "0700", "+7:00", "07:00:00"],
        );
        check(
            date_format,
            &[
                ("YYYY-MM-DD", "YYYY-MM-DD"),
                ("DD/MM/YYYY", "DD/MM/YYYY"),
                ("D MMMM YYYY", "D MMMM YYYY"),
                ("dddd, D MMM YY", "dddd, D MMM YY"),
            ],
            &["", "YYYY", "YYYY-MM", "DD-DD-YYYY", "<b>", "YYYY-MM-DD HH", "%Y-%m-%d"],
        );
    }

    #[test]
    fn every_default_keeps_the_rule_of_its_field() {
        for field in FIELDS.0.iter().filter(|field| !field.default.is_empty()) {
            let object = Sheet::from_iter([(field.path.into(), field.default.into())]).object();
            let sheet = Sheet::default().merged(&FIELDS.read(&object).unwrap());
            assert_eq!(sheet.json(field.path), Some(field.default), "{}", field.path);
        }
    }
}
