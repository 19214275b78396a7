//! What was mailed, as an administrator finds it in the outbox.

use std::time::Duration;

use serde_json::Value;
use sesame::kernel::clock::Stopwatch;

use super::client::{Admin, Client};

impl Admin {
    /// The mails to an address, newest first.
    pub(crate) fn mails(&self, to: &str) -> Vec<Value> {
        mails(&self.proven(), to)
    }

    /// How many mails to an address are about this.
    pub(crate) fn mails_about(&self, to: &str, occasion: &str) -> usize {
        self.mails(to).iter().filter(|mail| mail["occasion"] == occasion).count()
    }

    /// The newest mail to an address, which must be about this; waited for where it is written after the answer. Alerts,
    /// which come with every new device, are passed over unless they are looked for.
    #[track_caller]
    pub(crate) fn mail(&self, to: &str, occasion: &str) -> Value {
        let (patience, reader) = (Stopwatch::start(), self.proven());
        loop {
            let is_meant = |mail: &Value| mail["occasion"] == occasion || mail["occasion"] != "security-alert";
            let newest = mails(&reader, to).into_iter().find(is_meant);
            if let Some(mail) = newest.filter(|mail| mail["occasion"] == occasion) {
                return mail;
            }
            assert!(patience.elapsed() < Duration::from_secs(20), "no mail about {occasion} to {to}");
            std::thread::yield_now();
        }
    }

    /// The token in the newest mail to an address, which must be about this.
    #[track_caller]
    pub(crate) fn mailed_token(&self, to: &str, occasion: &str) -> String {
        token_in(self.mail(to, occasion)["text"].as_str().unwrap())
    }
}

fn mails(reader: &Client, to: &str) -> Vec<Value> {
    let to = to.replace('@', "%40").replace('+', "%2B");
    let page = reader.get(&format!("/api/v1/outbox?limit=1000&to={to}")).expect(200);
    page["items"].as_array().unwrap().clone()
}

/// The token that stands on a line of its own.
pub(crate) fn token_in(text: &str) -> String {
    text.lines().find(|line| line.starts_with("ssm_mt_")).unwrap_or_else(|| panic!("no token in {text}")).to_owned()
}
