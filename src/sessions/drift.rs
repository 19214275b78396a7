//! How far what is seen of a session went from what its owner proved: from its start, or from the last proof since.
//!
//! Everything since then counts together, so that a thief gains nothing by changing one thing at a time: another network
//! today and another program tomorrow are as bad as both at once. A program is compared with the one that was proved and
//! with the one that was noted last: each further one is noted anew, and is more than one person's browser. A proof makes
//! the program it comes from the session's own, and all before it forgotten.

use serde::{Deserialize, Serialize};

use crate::kernel::shared_text::SharedText;
use crate::sessions::agent::Agent;
use crate::sessions::risk::{Oddity, Risk};

/// What was unlike a session since its person last proved who they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What was noted.
    pub risk: Risk,
    /// The other program that was noted last, as it calls itself.
    pub program: Option<SharedText>,
}

/// Which program a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The session's own, of whatever version.
    Own,
    /// The other one that was noted last, of whatever version.
    Noted,
    /// One that is neither.
    Other,
}

impl Drift {
    /// Which program this is, beside the session's own.
    pub fn program_of(&self, own: Option<&str>, seen: Option<&str>) -> Program {
        if Agent::is_same_program(own, seen) {
            Program::Own
        } else if self.risk.has(Oddity::OtherProgram) && Agent::is_same_program(self.program.as_deref(), seen) {
            Program::Noted
        } else {
            Program::Other
        }
    }

    /// What of a request was not noted before.
    pub const fn news(&self, is_elsewhere: bool, is_impossible: bool, program: Program) -> Risk {
        let is_other = matches!(program, Program::Other);
        Risk::NONE
            .with_if(is_elsewhere, Oddity::NewNetwork)
            .with_if(is_elsewhere && is_impossible, Oddity::ImpossibleTravel)
            .with_if(is_other, Oddity::OtherProgram)
            .with_if(is_other && self.risk.has(Oddity::OtherProgram), Oddity::SeveralPrograms)
    }

    /// What is new, together with what it adds up to.
    pub const fn together(&self, news: Risk) -> Risk {
        const ADDS_UP: Risk = Risk::NONE.with(Oddity::NewNetwork).with(Oddity::OtherProgram);
        news.and(self.risk.only(ADDS_UP))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sessions::risk::Level;

    const PROGRAMS: [&str; 4] = ["our-app/1", "our-app/2", "curl/8", "wget/1"];

    /// What can happen to a session: a request of a program from a network, or a proof by it from there.
    #[derive(Debug, Clone, Copy)]
    struct Step {
        program: usize,
        network: u8,
        is_proof: bool,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (0..PROGRAMS.len(), 0..3_u8, prop::bool::weighted(0.1));
        let step = step.prop_map(|(program, network, is_proof)| Step { program, network, is_proof });
        prop::collection::vec(step, 1..40)
    }

    /// `our-app` of either version.
    const fn family(program: usize) -> usize {
        if program == 1 { 0 } else { program }
    }

    /// What the rule says, from the whole history since the last proof: the level of what a request brings, if it brings
    /// anything new.
    fn naive(history: &[Step], own: usize, known: &[u8], now: Step) -> Level {
        let is_new_network = !known.contains(&now.network) && history.iter().all(|one| one.network != now.network);
        let others: Vec<_> = history.iter().map(|one| family(one.program)).filter(|program| *program != own).collect();
        let is_new_program = family(now.program) != own && others.last() != Some(&family(now.program));
        if !is_new_network && !is_new_program {
            return Level::None;
        }
        let was_elsewhere = is_new_network || history.iter().any(|one| !known.contains(&one.network));
        let was_other = is_new_program || !others.is_empty();
        match (was_elsewhere, was_other) {
            _ if is_new_program && !others.is_empty() => Level::High,
            (true, true) => Level::High,
            (false, true) => Level::Medium,
            _ => Level::Low,
        }
    }

    proptest! {
        #[test]
        fn what_differs_from_what_was_proved_counts_together_however_it_came_about(steps in steps()) {
            let (mut drift, mut own, mut networks) = (Drift::default(), PROGRAMS[0], vec![0]);
            let (mut history, mut known, mut worst) = (Vec::new(), vec![0], Level::None);
            for now in steps {
                let seen = PROGRAMS[now.program];
                if now.is_proof {
                    (drift, own) = (Drift::default(), seen);
                    networks.push(now.network);
                    (history, known, worst) = (Vec::new(), networks.clone(), Level::None);
                    continue;
                }
                let program = drift.program_of(Some(own), Some(seen));
                let news = drift.news(!networks.contains(&now.network), false, program);
                let level = if news.is_none() { Level::None } else { drift.together(news).level() };
                let own_family = family(PROGRAMS.iter().position(|one| *one == own).unwrap());
                prop_assert_eq!(level, naive(&history, own_family, &known, now));
                drift.risk = drift.risk.and(news);
                if program != Program::Own {
                    drift.program = Some(seen.into());
                }
                networks.push(now.network);
                history.push(now);
                worst = worst.max(level);
                // The finding this rule mends: in two steps it was never high.
                let was_elsewhere = history.iter().any(|one| !known.contains(&one.network));
                let was_other = history.iter().any(|one| family(one.program) != own_family);
                prop_assert!(!(was_elsewhere && was_other) || worst == Level::High);
            }
        }
    }
}
