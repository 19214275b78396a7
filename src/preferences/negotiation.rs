//! Which language to speak with somebody: what they chose, else what their browser asks for, else what stands where
//! nobody chose (RFC 9110 section 12.5.4; of each, lookup as in RFC 4647 section 3.4, then filtering as in 3.3.1).

use serde::Serialize;

use crate::preferences::fields::find_language;

/// No header of people is longer.
const MOST_RANGES: usize = 32;

/// Where a language comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LanguageSource {
    /// The person chose it.
    Own,
    /// The browser asks for it.
    AcceptLanguage,
    /// A role has it.
    Role,
    /// The installation, or the program, has it.
    Default,
    /// The application speaks nothing that was asked for: its first language.
    Supported,
}

/// The languages that a header asks for, the most wanted first; what is none is passed over.
pub fn accepted(header: &str) -> Vec<String> {
    let mut ranges: Vec<(u32, String)> = header
        .split(',')
        .take(MOST_RANGES)
        .filter_map(|item| {
            let (range, quality) = item.split_once(';').unwrap_or((item, "q=1"));
            let quality = quality.trim().strip_prefix(['q', 'Q'])?.strip_prefix('=')?.trim().parse::<f32>().ok()?;
            let thousandths = (quality.clamp(0.0, 1.0) * 1000.0).round() as u32;
            (thousandths > 0).then_some(())?;
            Some((thousandths, find_language(range.trim())?))
        })
        .collect();
    ranges.sort_by_key(|(thousandths, _)| std::cmp::Reverse(*thousandths));
    ranges.into_iter().map(|(_, range)| range).collect()
}

/// A language that an application speaks.
#[derive(Debug, Clone)]
pub struct Spoken {
    written: String,
    canonical: String,
}

impl Spoken {
    /// Reads one, in whichever of its spellings; `None`: it is no language tag.
    pub fn read(written: &str) -> Option<Self> {
        find_language(written).map(|canonical| Self { written: written.to_owned(), canonical })
    }
}

/// Of a language in its canonical form, what of it the application speaks, as the application writes it: the same or less of it,
/// else the first that is more of it. An empty list: it speaks all.
pub fn spoken(wanted: &str, supported: &[Spoken]) -> Option<String> {
    if supported.is_empty() {
        return Some(wanted.to_owned());
    }
    let is_more = |one: &&Spoken| one.canonical.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('-'));
    lookup(wanted, supported).or_else(|| supported.iter().find(is_more).map(|one| one.written.clone()))
}

fn lookup(wanted: &str, supported: &[Spoken]) -> Option<String> {
    let mut range = wanted;
    loop {
        if let Some(found) = supported.iter().find(|one| one.canonical == range) {
            return Some(found.written.clone());
        }
        range = range.rsplit_once('-')?.0;
        // A single letter begins an extension, which goes with it.
        if range.rsplit_once('-').is_some_and(|(_, last)| last.len() == 1) {
            range = range.rsplit_once('-')?.0;
        }
    }
}

/// Decides: `own` is what the person chose, `otherwise` what stands where nobody chose.
pub fn negotiate(
    own: Option<&str>,
    header: &str,
    otherwise: (&str, LanguageSource),
    supported: &[Spoken],
) -> (String, LanguageSource) {
    let wanted = own.map(|own| (own.to_owned(), LanguageSource::Own)).into_iter();
    let asked = accepted(header).into_iter().map(|range| (range, LanguageSource::AcceptLanguage));
    let last = (otherwise.0.to_owned(), otherwise.1);
    let found = wanted
        .chain(asked)
        .chain([last.clone()])
        .find_map(|(language, source)| spoken(&language, supported).map(|language| (language, source)));
    found.or_else(|| supported.first().map(|first| (first.written.clone(), LanguageSource::Supported))).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: Option<&str>, header: &str, supported: &[&str], expected: (&str, LanguageSource)) {
        let supported: Vec<Spoken> = supported.iter().map(|one| Spoken::read(one).unwrap()).collect();
        let (language, source) = negotiate(own, header, ("en", LanguageSource::Default), &supported);
        assert_eq!((language.as_str(), source), expected, "{own:?} {header:?} {supported:?}");
    }

    #[test]
    fn a_choice_counts_most_then_the_browser_then_the_default() {
        use LanguageSource::*;
        check(Some("fr"), "de", &[], ("fr", Own));
        check(None, "de-AT,de;q=0.8,en;q=0.5", &[], ("de-AT", AcceptLanguage));
        check(None, "de;q=0.2, pt-BR;q=0.9, *;q=0.1", &[], ("pt-BR", AcceptLanguage));
        check(None, "", &[], ("en", Default));
        check(None, "*, xx, de;q=0, ;;;, de;q=x", &[], ("en", Default));
        check(None, "de-AT-1996, fr", &["de", "fr"], ("de", AcceptLanguage));
        check(None, "zh-Hant-TW", &["zh-Hant", "zh"], ("zh-Hant", AcceptLanguage));
        check(None, "de-u-co-phonebk", &["de"], ("de", AcceptLanguage));
        check(Some("fr"), "de", &["de", "en"], ("de", AcceptLanguage));
        check(Some("fr"), "es", &["it"], ("it", Supported));
        check(Some("it"), "de", &["de", "it-CH"], ("it-CH", Own));
        check(None, "fi, de;q=0.5", &["fil", "fi-FI", "de"], ("fi-FI", AcceptLanguage));
        check(None, "zh-TW", &["zh-Hant", "zh"], ("zh", AcceptLanguage));
        check(None, "es", &["it", "en"], ("en", Default));
        // Whichever spelling either uses, the application is answered in its own.
        check(None, "iw", &["iw", "en"], ("iw", AcceptLanguage));
        check(None, "he", &["iw", "en"], ("iw", AcceptLanguage));
        check(None, "in-ID", &["id", "en"], ("id", AcceptLanguage));
        check(Some("fil"), "", &["en", "tl"], ("tl", Own));
        check(None, "DE-at", &["EN", "De"], ("De", AcceptLanguage));
        check(None, "de;Q=0.5, fr; q=0.4", &["fr", "de"], ("de", AcceptLanguage));
    }
}
