//! Every metric of the product in one table: the doc comment is the help text, the labels' values are listed, so every
//! series exists from the start at zero. No ids in labels.
//!
//! Handles are resolved once, at start; counting is one atomic addition. One [`Metrics`] per running instance.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Buckets for request and evaluation times: 50 µs to 1 s (evaluations start lower), in seconds.
const REQUEST_SECONDS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
const EVALUATION_SECONDS: &[f64] =
    &[0.000_000_1, 0.000_000_25, 0.000_000_5, 0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_05, 0.000_25, 0.001];
const FSYNC_SECONDS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];
const BATCH_COMMITS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Declares the metrics; `registered` names and registers each under `sesame_<field>`.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $type:ident $(($buckets:expr))? $([$($label:literal = $values:expr),+])?;)+) => {
        /// The handles of every metric.
        #[derive(Debug)]
        #[allow(clippy::struct_field_names, reason = "a metric's field is its name")]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $field: $type,)+
        }

        /// Name and help of every metric, for the reference.
        pub const REFERENCE: &[(&str, &str)] = &[$((concat!("sesame_", stringify!($field)), concat!($($help),+))),+];

        impl Metrics {
            fn registered(registry: Registry) -> Result<Self, prometheus::Error> {
                $(
                    let help = concat!($($help),+).trim();
                    let $field = metrics!(@new $type, concat!("sesame_", stringify!($field)), help, ($($buckets)?), [$($($label),+)?]);
                    registry.register(Box::new($field.clone()))?;
                    $(metrics!(@zero $field, [$($values),+]);)?
                )+
                Ok(Self { registry, $($field),+ })
            }
        }
    };
    (@new IntCounter, $name:expr, $help:expr, (), []) => { IntCounter::new($name, $help)? };
    (@new IntGauge, $name:expr, $help:expr, (), []) => { IntGauge::new($name, $help)? };
    (@new Histogram, $name:expr, $help:expr, ($buckets:expr), []) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets($buckets.to_vec()))?
    };
    (@new IntGaugeVec, $name:expr, $help:expr, (), [$($label:literal),+]) => { IntGaugeVec::new(Opts::new($name, $help), &[$($label),+])? };
    (@new IntCounterVec, $name:expr, $help:expr, (), [$($label:literal),+]) => { IntCounterVec::new(Opts::new($name, $help), &[$($label),+])? };
    (@new HistogramVec, $name:expr, $help:expr, ($buckets:expr), [$($label:literal),+]) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets($buckets.to_vec()), &[$($label),+])?
    };
    (@zero $vec:ident, [$one:expr]) => { for value in $one { $vec.with_label_values(&[value]); } };
    (@zero $vec:ident, [$one:expr, $two:expr]) => { for value in $one { for second in $two { $vec.with_label_values(&[value, second]); } } };
}

/// Values of the label `decision`.
pub const DECISIONS: [&str; 2] = ["allow", "deny"];
/// Values of the label `source`: the user's view was resident, or had to be loaded.
pub const SOURCES: [&str; 2] = ["warm", "cold"];
/// Values of the label `entity`.
pub const ENTITIES: [&str; 5] = ["user", "role_book", "mail", "preference_book", "resource"];
/// Routes are known to the HTTP kit, which registers their series itself.
const NONE: [&str; 0] = [];

metrics! {
    /// HTTP requests by route pattern and status class.
    http_requests_total: IntCounterVec ["route" = NONE, "status" = NONE];
    /// Time from the request's head to its answer, by route pattern, in seconds.
    http_request_seconds: HistogramVec (REQUEST_SECONDS) ["route" = NONE];
    /// Handlers that panicked; each was answered with a 500.
    http_panics_total: IntCounter;
    /// Permission checks by decision and by whether the user was resident.
    checks_total: IntCounterVec ["decision" = DECISIONS, "source" = SOURCES];
    /// Time of one evaluation (view and role book in hand), in seconds; one in sixteen is measured.
    evaluation_seconds: Histogram (EVALUATION_SECONDS);
    /// Conditions that could not be evaluated: an allow did not match, or a deny denied.
    condition_errors_total: IntCounter;
    /// Durable commits.
    commits_total: IntCounter;
    /// Commits that were refused because a record had changed or a name was taken.
    commit_conflicts_total: IntCounter;
    /// Commits made durable by one fdatasync.
    commit_batch_commits: Histogram (BATCH_COMMITS);
    /// Time of one journal fdatasync, in seconds.
    journal_fsync_seconds: Histogram (FSYNC_SECONDS);
    /// Bytes of all journal segments.
    journal_bytes: IntGauge;
    /// The newest durable revision.
    store_revision: IntGauge;
    /// The revision up to which the index is known to be on disk.
    store_checkpoint_revision: IntGauge;
    /// Entities held in memory, by entity.
    resident_entities: IntGaugeVec ["entity" = ENTITIES];
    /// Actors with a running mailbox, by entity.
    resident_actors: IntGaugeVec ["entity" = ENTITIES];
    /// Entities loaded into memory, by entity.
    activations_total: IntCounterVec ["entity" = ENTITIES];
    /// Entities read from the store.
    entity_reads_total: IntCounterVec ["entity" = ENTITIES];
    /// Looks at the store, before anything is loaded, whether a token or key is right that was shown of an entity that is not in
    /// memory, by entity.
    entity_looks_total: IntCounterVec ["entity" = ENTITIES];
    /// Entities dropped from memory, by entity.
    passivations_total: IntCounterVec ["entity" = ENTITIES];
    /// Writes refused because a mailbox was full or too slow, by entity.
    mailbox_refusals_total: IntCounterVec ["entity" = ENTITIES];
    /// Sessions of resident users that have not ended.
    active_sessions: IntGauge;
    /// Time from the arrival of a revoke (of a session, a role, a grant, a key, an account), or of what makes a policy end a
    /// session (too many, a risk, a refresh token used twice), until no request that starts later is let in, in seconds; it
    /// is answered after that.
    revocation_visible_seconds: Histogram (FSYNC_SECONDS);
    /// Names looked up in the store.
    name_reads_total: IntCounter;
    /// Stored resources looked up in the store, because the cache knew nothing of them.
    resource_reads_total: IntCounter;
    /// Password hashes waiting for a thread.
    hash_pool_queue: IntGauge;
    /// Password hashes computed, to verify one or to make one.
    password_hashes_total: IntCounter;
    /// Password hashes refused because the queue was full.
    hash_pool_refusals_total: IntCounter;
    /// Sign-ins by outcome.
    logins_total: IntCounterVec ["outcome" = ["success", "failure", "limited"]];
    /// Deliveries of mail by outcome.
    mails_total: IntCounterVec ["outcome" = ["delivered", "delayed", "given_up"]];
    /// Live decisions that were made once more from the store, by outcome: they agreed, something had changed since, or
    /// there was no room to look.
    shadow_decisions_total: IntCounterVec ["outcome" = ["agreed", "outdated", "dropped"]];
    /// Live decisions that the store does not bear out, or that were made of what is older than the store with no commit under
    /// way: must be 0, and makes the service unready.
    shadow_divergences_total: IntCounter;
    /// What had expired, was kept long enough and was removed: assignments, grants, and answers kept under an
    /// `Idempotency-Key`.
    expired_removed_total: IntCounterVec ["what" = ["assignment", "grant", "answer"]];
    /// Requests with an `Idempotency-Key` on routes that honour it, by what they were: the first with their key, answered
    /// as the first was, told to wait for it, with a key of another request, done with an answer that cannot be read any
    /// more, or refused because too many answers are kept for the caller.
    idempotent_requests_total: IntCounterVec
        ["outcome" = ["first", "replayed", "in_progress", "reused", "lost", "refused"]];
    /// Requests that were refused because their sender had sent too many, by whose they were: a person's, an application's,
    /// or without a valid credential from one address.
    requests_limited_total: IntCounterVec ["by" = ["person", "app", "address"]];
    /// The revision of the published role book.
    role_book_revision: IntGauge;
}

impl Metrics {
    /// A new set at zero, with the process figures (CPU, memory, file descriptors, start time).
    ///
    /// # Errors
    /// When two metrics have one name: a mistake in the table.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Self::registered(registry)
    }

    /// The text exposition format (version 0.0.4).
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_with_listed_labels_exists_at_zero() {
        let text = Metrics::new().unwrap().render().unwrap();
        for (name, _) in REFERENCE.iter().filter(|(name, _)| !name.contains("_http_request")) {
            assert!(text.contains(name), "{name} is missing");
        }
        assert!(text.contains("sesame_checks_total{decision=\"allow\",source=\"cold\"} 0"));
        assert!(text.contains("process_resident_memory_bytes"));
    }
}
