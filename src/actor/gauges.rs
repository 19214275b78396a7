//! What a directory and its actors count with.

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::metrics::Metrics;

/// The handles that one kind of entity counts with.
pub(super) struct Gauges {
    pub(super) resident: IntGauge,
    pub(super) awake: IntGauge,
    pub(super) activations: IntCounter,
    pub(super) reads: IntCounter,
    pub(super) looks: IntCounter,
    pub(super) passivations: IntCounter,
    pub(super) refusals: IntCounter,
    pub(super) revocations: Histogram,
}

impl Gauges {
    /// Those of entities of this kind.
    pub(super) fn of(kind: &str, metrics: &Metrics) -> Self {
        Self {
            resident: metrics.resident_entities.with_label_values(&[kind]),
            awake: metrics.resident_actors.with_label_values(&[kind]),
            activations: metrics.activations_total.with_label_values(&[kind]),
            reads: metrics.entity_reads_total.with_label_values(&[kind]),
            looks: metrics.entity_looks_total.with_label_values(&[kind]),
            passivations: metrics.passivations_total.with_label_values(&[kind]),
            refusals: metrics.mailbox_refusals_total.with_label_values(&[kind]),
            revocations: metrics.revocation_visible_seconds.clone(),
        }
    }
}
