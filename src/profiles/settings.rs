//! The settings of profiles.

use crate::kernel::fault::Malformed;
use crate::kernel::secret::SecretText;
use crate::kernel::setting::settings;

settings! {
    /// What people tell about themselves.
    pub struct Settings {
        /// How much memory recently used profiles may take, in MiB; others are read from the store.
        cache_mib: u64 = 64, in 1..=65_536;
        /// What everybody sees of a profile whose owner did not choose: names of fields, `avatar_url` and `verified`.
        visible_to_everyone: Vec<String> = Vec::new(), rule are_shown;
        /// What people and applications that say who they are see of it.
        visible_to_signed_in: Vec<String> = vec!["display_name".to_owned(), "avatar_url".to_owned()], rule are_shown;
        /// What people with something in the same scope see of it. What is in none of the lists nobody sees.
        visible_in_same_scope: Vec<String> = Vec::new(), rule are_shown;
        /// What people are asked to consent to.
        consents: Vec<String> =
            vec!["activity_tracking".to_owned(), "analytics".to_owned(), "marketing".to_owned()], rule are_words;
        /// How many pictures are read at a time, each in a process of its own, which takes up to 256 MiB and 10 seconds of a
        /// processor.
        avatar_threads: usize = 1, in 1..=64;
        /// The program that reads them, called with `paint --idle`, and with `paint` where other programs leave that one no time,
        /// such as one that runs `sesame` with less than the rights of this one. What it is called with is to be passed on, and so
        /// is its environment, which holds no secret, and bounds the memory. Empty: this program itself (`/proc/self/exe`).
        avatar_program: String = String::new();
        /// How many pictures may wait to be read; one more is refused with 503. Each is one of `http.max_uploads`.
        avatar_queue: usize = 16, in 1..=1024;
        /// How long a picture that was replaced or removed can be brought back by taking the change back, in seconds; of each
        /// person the last 5, while the change is among the last 50. Until then it is kept, and shown to nobody. 0: it is
        /// removed at once.
        avatar_undo_seconds: u64 = 604_800, in 0..=31_536_000;
        /// Where telephone numbers are verified by: a web address that sends the text message it is given in JSON. Empty:
        /// numbers cannot be verified.
        sms_webhook_url: String = String::new(), rule is_web_address;
        /// The key of the HMAC-SHA-256 over the body in `Sesame-Signature`; empty: no signature.
        sms_webhook_secret: SecretText = SecretText::default();
        /// Whether the webhook may be at a private address. If not, such an address is not called, whatever its name.
        sms_webhook_private: bool = false;
    }
}

fn are_shown(names: &[String]) -> Result<(), Malformed> {
    let known = super::privacy::SHOWN;
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Malformed(format!("{name:?} is not one of {}", known.join(", ")))),
        None => Ok(()),
    }
}

fn are_words(names: &[String]) -> Result<(), Malformed> {
    let is_bad = |name: &&String| !super::privacy::is_word(name);
    match names.iter().find(is_bad) {
        Some(name) => Err(Malformed(format!("{name:?} is no word of letters, digits, dots, dashes and underscores"))),
        None => Ok(()),
    }
}

fn is_web_address(url: &str) -> Result<(), Malformed> {
    if url.is_empty() || url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    Err(Malformed::new("expected an address such as https://sms.example.org/send, or nothing"))
}
