//! The models of the check bench, and what is asked of them: shared with the peers, so it knows no engine.
//!
//! They follow the role benches of casbin (`rbac_model`: roles with rules, ten users to a role in its three sizes), with
//! one difference that is harder on everyone: each rule names a permission of its own.

/// So many users, each with one of so many roles, each with so many rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model {
    /// How many users.
    pub(crate) users: u32,
    /// How many roles; user `n` of `users` has role `n * roles / users`.
    pub(crate) roles: u32,
    /// How many rules each role has.
    pub(crate) rules_per_role: u32,
}

/// One question: whether the user may `read` the resource.
#[derive(Debug)]
pub(crate) struct Question {
    /// The user's number.
    pub(crate) user: u32,
    /// What is to be read.
    pub(crate) resource: String,
    /// The right answer.
    pub(crate) is_allowed: bool,
}

/// From the smallest to the largest.
pub(crate) const MODELS: [Model; 5] = [
    Model { users: 10, roles: 5, rules_per_role: 1 },
    Model { users: 10, roles: 5, rules_per_role: 5 },
    Model { users: 1_000, roles: 100, rules_per_role: 5 },
    Model { users: 10_000, roles: 1_000, rules_per_role: 1 },
    Model { users: 100_000, roles: 10_000, rules_per_role: 11 },
];

impl Model {
    /// How many rules there are in all.
    pub(crate) const fn rules(self) -> u32 {
        self.roles * self.rules_per_role
    }

    /// The role of a user.
    pub(crate) const fn role_of(self, user: u32) -> u32 {
        (user as u64 * self.roles as u64 / self.users as u64) as u32
    }

    /// What a role's rule of this number lets read.
    pub(crate) fn resource(role: u32, number: u32) -> String {
        format!("data{role}-{number}")
    }

    /// Random questions, each about a random user: every other one about what the user's own role gives, the rest about
    /// what some role gives.
    pub(crate) fn questions(self, count: usize, seed: u64) -> Vec<Question> {
        self.questions_among(self.users, count, seed)
    }

    /// The same about `people` of the users, evenly chosen, and what their roles give.
    pub(crate) fn questions_among(self, people: u32, count: usize, seed: u64) -> Vec<Question> {
        let mut random = Random(seed);
        let nth = |number: u32| (u64::from(number) * u64::from(self.users) / u64::from(people)) as u32;
        (0..count)
            .map(|turn| {
                let user = nth(random.below(people));
                let own = self.role_of(user);
                let role = if turn.is_multiple_of(2) { own } else { self.role_of(nth(random.below(people))) };
                let resource = Self::resource(role, random.below(self.rules_per_role));
                Question { user, resource, is_allowed: role == own }
            })
            .collect()
    }
}

/// The generator `SplitMix64` (Steele, Lea, Flood 2014): the same questions in every run.
#[derive(Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub(crate) const fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((((mixed ^ (mixed >> 31)) >> 32) * bound as u64) >> 32) as u32
    }
}
