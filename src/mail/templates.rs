//! The texts of mails, filled in. What is filled in is escaped where the text is HTML.

use std::path::Path;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use crate::kernel::fault::{Fault, Kind};
use crate::mail::model::Occasion;

/// What the templates may name.
#[derive(Debug, Clone, Serialize)]
pub struct Words<'a> {
    /// The sign-in name.
    pub username: &'a str,
    /// Where the application's pages are.
    pub site: &'a str,
    /// The page that takes the token, with the token; empty for a mail without one.
    pub link: &'a str,
    /// The token alone; empty for a mail without one.
    pub token: &'a str,
    /// How long the token is good for, in words.
    pub lifetime: &'a str,
    /// When, for a mail about something that happened.
    pub moment: &'a str,
    /// The address that it was asked from, if known.
    pub ip_address: &'a str,
    /// What was unusual, in words; empty for other mails.
    pub reasons: &'a str,
    /// What was done about it, in words; empty for other mails.
    pub outcome: &'a str,
    /// With what program, as it calls itself; empty for other mails.
    pub program: &'a str,
}

/// A mail's texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// One line.
    pub subject: Box<str>,
    /// Plain.
    pub text: Box<str>,
    /// HTML.
    pub html: Box<str>,
}

/// A template that cannot be read, or filled in.
#[derive(Debug, thiserror::Error)]
#[error("the template {name} cannot be used: {cause}")]
pub struct TemplateError {
    name: String,
    cause: String,
}

impl Fault for TemplateError {
    fn kind(&self) -> Kind {
        Kind::Bug
    }
    fn code(&self) -> &'static str {
        "template-failed"
    }
}

/// The templates of every occasion.
#[derive(Debug)]
pub struct Templates(Environment<'static>);

impl Templates {
    /// Those that ship with the program, or in their place those of a folder.
    ///
    /// # Errors
    /// When one cannot be read or is none.
    pub fn load(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| {
            let is_html = Path::new(name).extension().is_some_and(|extension| extension == "html");
            if is_html { AutoEscape::Html } else { AutoEscape::None }
        });
        for occasion in Occasion::ALL {
            let (text, html) = occasion.shipped();
            for (ending, shipped) in [("txt", text), ("html", html)] {
                let name = format!("{}.{ending}", occasion.name());
                let own = folder.map(|folder| folder.join(&name)).filter(|file| file.exists());
                let source = own.map_or_else(|| Ok(shipped.to_owned()), std::fs::read_to_string);
                let source = source.map_err(|error| failed(&name, &error))?;
                environment.add_template_owned(name.clone(), source).map_err(|error| failed(&name, &error))?;
            }
        }
        Ok(Self(environment))
    }

    /// Fills in the texts of an occasion.
    ///
    /// # Errors
    /// When a template names what there is not.
    pub fn write(&self, occasion: Occasion, words: &Words<'_>) -> Result<Texts, TemplateError> {
        let filled = |ending: &str| {
            let name = format!("{}.{ending}", occasion.name());
            let template = self.0.get_template(&name).map_err(|error| failed(&name, &error))?;
            template.render(words).map_err(|error| failed(&name, &error))
        };
        let (plain, html) = (filled("txt")?, filled("html")?);
        let (subject, text) = plain.split_once('\n').unwrap_or((&plain, ""));
        // A subject is one line, whatever a name holds.
        let subject: String = subject.chars().filter(|c| !c.is_control()).collect();
        Ok(Texts { subject: subject.trim().into(), text: text.trim_start().into(), html: html.into() })
    }
}

fn failed(name: &str, cause: &dyn std::fmt::Display) -> TemplateError {
    TemplateError { name: name.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words<'static> = Words {
        username: "<b>ann</b>",
        site: "https://id.example",
        link: "https://id.example/x#token=ssm_mt_abc",
        token: "ssm_mt_abc",
        lifetime: "15 minutes",
        moment: "2026-01-31T12:00:00.000Z",
        ip_address: "192.0.2.1",
        reasons: "a new device",
        outcome: "You need to do nothing",
        program: "<i>Firefox</i>",
    };

    #[test]
    fn every_occasion_is_told_in_both_forms_and_names_are_no_markup() {
        let templates = Templates::load(None).unwrap();
        for occasion in Occasion::ALL {
            let texts = templates.write(*occasion, &WORDS).unwrap();
            assert!(!texts.subject.is_empty() && !texts.subject.contains("{{"), "{occasion:?}");
            assert!(texts.text.contains("<b>ann</b>"), "{occasion:?}");
            assert!(texts.html.contains("&lt;b&gt;ann") && !texts.html.contains("<b>ann"), "{occasion:?}");
            let carries = matches!(
                occasion,
                Occasion::VerifyEmail
                    | Occasion::ResetPassword
                    | Occasion::Invitation
                    | Occasion::VerificationCode
                    | Occasion::ConfirmSignIn
            );
            assert_eq!(texts.text.contains("ssm_mt_abc"), carries, "{occasion:?}");
            assert_eq!(texts.html.contains("ssm_mt_abc"), carries, "{occasion:?}");
        }
    }

    #[test]
    fn a_folder_replaces_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("reset-password.txt"), "Hi {{ username }}\n\nGo to {{ link }}").unwrap();
        let texts = Templates::load(Some(folder.path())).unwrap().write(Occasion::ResetPassword, &WORDS).unwrap();
        assert_eq!((&*texts.subject, &*texts.text), ("Hi <b>ann</b>", "Go to https://id.example/x#token=ssm_mt_abc"));
        std::fs::write(folder.path().join("reset-password.txt"), "Hi {{ usrname }}\n").unwrap();
        assert!(Templates::load(Some(folder.path())).unwrap().write(Occasion::ResetPassword, &WORDS).is_err());
        std::fs::write(folder.path().join("reset-password.txt"), "Hi {{").unwrap();
        assert!(Templates::load(Some(folder.path())).is_err());
    }
}
