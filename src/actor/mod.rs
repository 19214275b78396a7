//! One entity, one writer: decide → commit → apply → publish → reply.
//!
//! An [`aggregate::Aggregate`] is the entity's state and how it is stored; a [`command::Command`] is one write, decided
//! by a pure function; the actor of [`entity_actor`] runs commands one after another; the
//! [`directory::Directory`] finds, loads and passivates entities, and sends them commands (`sending`); an
//! [`annex::Annex`] holds what is too large to be in memory with all of them. Knows no slice.

pub mod aggregate;
pub mod along;
pub mod annex;
pub mod command;
pub mod directory;
pub mod entity_actor;
mod gauges;
mod reading;
pub mod resident;
pub mod sending;
pub mod settings;
