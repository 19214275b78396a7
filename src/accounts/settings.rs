//! The settings of accounts and passwords.

use crate::accounts::registration::Registration;
use crate::kernel::fault::Malformed;
use crate::kernel::setting::settings;

settings! {
    /// Accounts, passwords and sign-in.
    pub struct Settings {
        /// The fewest characters of a new password. 15 are advised where a password is the only factor (NIST SP 800-63B-4).
        password_min_length: usize = 8, in 8..=64, alias "PASSWORD_MIN_LENGTH";
        /// The most characters of a password; longer ones are refused, never cut.
        password_max_length: usize = 256, in 128..=4096;
        /// Words that are no password here, also with digits around them: names of the product, the company, its teams.
        password_forbidden_words: Vec<String> = vec!["sesame".into()];
        /// Threads that hash passwords; 0 is one per core.
        hash_threads: usize = 0, in 0..=1024;
        /// How many passwords may wait to be hashed; one more sign-in is refused with 503.
        hash_queue: usize = 128, in 1..=100_000;
        /// Memory of one hash by argon2id (OWASP: 19 MiB with 2 iterations and parallelism 1).
        argon2_memory_kib: u32 = 19_456, in 1024..=1_048_576;
        /// Iterations of argon2id.
        argon2_iterations: u32 = 2, in 1..=64;
        /// Lanes of argon2id.
        argon2_parallelism: u32 = 1, in 1..=16;
        /// Failed sign-ins of one account from one network after which the next ones wait, with 429; from one network
        /// over all accounts, ten times as many; and wrong second factors of one account, from wherever. A device
        /// that its owner trusts is counted by itself: nobody else can make it wait.
        max_login_attempts: u32 = 10, in 1..=10_000, alias "MAX_LOGIN_ATTEMPTS";
        /// The first wait; every further failure doubles it.
        login_delay_seconds: u32 = 30, in 1..=86_400;
        /// The longest wait, and after how long without a failure all is forgotten.
        login_window_seconds: u32 = 900, in 1..=86_400;
        /// The name under which authenticator apps show their codes; without colons.
        issuer_name: String = "Sesame".to_owned(), rule has_no_colon;
        /// Where people use passkeys: origins of pages such as `https://app.example.org`; empty: that of `http.public_url`.
        passkey_origins: Vec<String> = Vec::new();
        /// The domain that passkeys belong to (WebAuthn's relying party id): the host of these origins, or a domain above
        /// it; empty: the host of the first. Passkeys made for one domain are lost with it. Must be a name, not an address.
        passkey_domain: String = String::new(), rule is_domain;
        /// Who may make an account for themselves: `open` (everybody), `invitation` or `closed`.
        registration: Registration = Registration::Closed;
        /// How many mails (and registrations, over all names ten times as many) one network may ask for before it waits.
        max_mail_requests: u32 = 5, in 1..=10_000;
        /// How long ago a person must have proven at most who they are, to change a password, an address or a second
        /// factor, or to end sessions of others.
        recent_authentication_seconds: u32 = 600, in 1..=86_400;
    }
}

/// Browsers make no passkeys for an address.
fn is_domain(domain: &str) -> Result<(), Malformed> {
    let is_good = domain.is_empty() || matches!(url::Host::parse(domain), Ok(url::Host::Domain(_)));
    is_good.then_some(()).ok_or_else(|| Malformed::new("expected a name such as example.org, and no address"))
}

/// A colon would end the name in the otpauth URI.
#[expect(clippy::ptr_arg, reason = "the rule is given the setting as it is kept")]
fn has_no_colon(name: &String) -> Result<(), Malformed> {
    let is_good = !name.is_empty() && !name.contains(':');
    is_good.then_some(()).ok_or_else(|| Malformed::new("expected a name without colons"))
}
