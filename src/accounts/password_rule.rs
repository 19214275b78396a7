//! What a new password must be: long enough, not too long, not one that is guessed first (NIST SP 800-63B-4 section
//! 3.1.1.2: length and a blocklist, no composition rules; Unicode in the form NFKC).

use std::collections::HashSet;
use std::sync::LazyLock;

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::accounts::settings::Settings;
use crate::kernel::fault::FieldError;
use crate::kernel::secret::{ExposeSecret, SecretString};
use crate::kernel::text::{Email, Username};

/// The most common passwords of at least 8 characters, in lower case, one a line.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("../../data/common-passwords.txt").lines().collect());

/// Whose password it is to be: their own names are guessed first.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The sign-in name.
    pub username: &'a Username,
    /// The e-mail address, claimed or waiting to be verified.
    pub email: Option<&'a Email>,
}

/// The form in which a password is hashed: two keyboards' spellings of one text are one password.
pub fn normalized(password: &SecretString) -> SecretString {
    ComposingNormalizerBorrowed::new_nfkc().normalize(password.expose_secret()).into_owned().into()
}

impl Settings {
    /// Accepts a new password, or says what is wrong with it.
    ///
    /// # Errors
    /// Names the field `password`, never the password.
    pub fn accept_password(&self, password: &SecretString, owner: Owner<'_>) -> Result<(), FieldError> {
        let refused = |why: String| Err(FieldError::new("password", why));
        let password = normalized(password);
        let characters = password.expose_secret().chars().count();
        if !(self.password_min_length..=self.password_max_length).contains(&characters) {
            let (least, most) = (self.password_min_length, self.password_max_length);
            return refused(format!("expected {least} to {most} characters"));
        }
        let folded = password.expose_secret().to_lowercase();
        if COMMON.contains(folded.as_str()) {
            return refused("this is one of the passwords that are guessed first".into());
        }
        if self.is_expected(&folded, owner) {
            return refused("a name or a word that others know, also with digits around it, is guessed first".into());
        }
        Ok(())
    }

    /// Whether the password is the owner's name or address, or a word of the context (OWASP ASVS 5.0, 6.2.11), perhaps
    /// with digits and signs around it.
    fn is_expected(&self, folded: &str, owner: Owner<'_>) -> bool {
        let bare = folded.trim_matches(|c: char| !c.is_alphabetic());
        let is = |word: &str| folded == word || (!bare.is_empty() && bare == word);
        let email = owner.email.map(Email::folded);
        let local = email.as_deref().and_then(|email| email.split('@').next());
        is(&owner.username.folded())
            || email.as_deref().is_some_and(is)
            || local.is_some_and(is)
            || self.password_forbidden_words.iter().any(|word| is(&word.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str, is_good: bool) {
        let settings = Settings { password_forbidden_words: vec!["Sesame".into()], ..Settings::default() };
        let (username, email) = (Username::parse("Annabelle").unwrap(), Email::parse("a.l.lee@example.org").unwrap());
        let owner = Owner { username: &username, email: Some(&email) };
        assert_eq!(settings.accept_password(&password.into(), owner).is_ok(), is_good, "{password}");
    }

    #[test]
    fn length_counts_and_composition_does_not() {
        check("xqzvbnwk", true);
        check("xqzvbnw", false);
        check("        ", true);
        check("ééééàààà", true);
        check(&"ü".repeat(256), true);
        check(&"ü".repeat(257), false);
        // Seven characters, of which one is a ligature of two.
        check("xqzvb\u{fb01}w", true);
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        for password in ["password", "PassWord", "iloveyou", "1q2w3e4r", "ｐａｓｓｗｏｒｄ"] {
            check(password, false);
        }
        for password in ["annabelle", "ANNABELLE2024!", "a.l.lee@example.org", "1a.l.lee1", "sesame-2026", "!!SESAME!!"]
        {
            check(password, false);
        }
        check("annabelle reads", true);
        check("opensesame gate", true);
    }

    #[test]
    fn the_list_holds_enough_of_what_the_rule_would_let_through() {
        assert!(COMMON.len() > 3000, "OWASP ASVS 5.0, 6.2.4");
        assert!(COMMON.iter().all(|word| word.chars().count() >= 8 && *word == word.to_lowercase()));
    }
}
