//! How long casbin-rs and cedar-policy take for the questions of the check bench: `cargo run --release` in this folder
//! prints a line `engine rules nanoseconds` per engine and model, the median of single checks.
//!
//! Each engine is asked in the way it is fastest without a cache of answers: casbin's plain enforcer over its role
//! model with the role links built, cedar's authorizer with one policy per rule, roles as parents of users, and the
//! request made beforehand.

#[path = "../../model.rs"]
mod model;

use std::collections::HashSet;
use std::error::Error;
use std::hint::black_box;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use casbin::{CoreApi as _, DefaultModel, Enforcer, MemoryAdapter, MgmtApi as _};
use cedar_policy::{Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request};

use model::{MODELS, Model, Question};

/// How long one engine is asked about one model.
const TIME: Duration = Duration::from_secs(2);
const MOST_QUESTIONS: usize = 50_000;
const FEWEST_QUESTIONS: usize = 11;

/// The `rbac_model` of casbin's examples, in its own language.
const CASBIN_MODEL: &str = "
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
";

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for model in MODELS {
        let questions = model.questions(MOST_QUESTIONS, 7);
        println!("casbin {} {:.0}", model.rules(), runtime.block_on(casbin(model, &questions))?);
        println!("cedar {} {:.0}", model.rules(), cedar(model, &questions)?);
    }
    Ok(())
}

/// The median time of an answer, in nanoseconds; an answer that is wrong ends it.
fn median<Q>(
    questions: impl Iterator<Item = (Q, bool)>,
    mut ask: impl FnMut(Q) -> Result<bool, Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    let mut times = Vec::new();
    for (question, is_allowed) in questions {
        let asked = Instant::now();
        let answer = black_box(ask(question)?);
        times.push(asked.elapsed());
        if answer != is_allowed {
            return Err("a wrong answer".into());
        }
        if begun.elapsed() > TIME && times.len() >= FEWEST_QUESTIONS {
            break;
        }
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).ok_or("nothing was asked")?.as_nanos() as f64)
}

async fn casbin(model: Model, questions: &[Question]) -> Result<f64, Box<dyn Error>> {
    let mut enforcer = Enforcer::new(DefaultModel::from_str(CASBIN_MODEL).await?, MemoryAdapter::default()).await?;
    enforcer.enable_auto_build_role_links(false);
    let rule = |role, rule| vec![format!("role{role}"), Model::resource(role, rule), "read".to_owned()];
    let rules = (0..model.roles).flat_map(|role| (0..model.rules_per_role).map(move |number| rule(role, number)));
    enforcer.add_policies(rules.collect()).await?;
    let has_role = |user| vec![format!("user{user}"), format!("role{}", model.role_of(user))];
    enforcer.add_grouping_policies((0..model.users).map(has_role).collect()).await?;
    enforcer.build_role_links()?;
    let asks = questions.iter().map(|question| {
        let subject = format!("user{}", question.user);
        ((subject, question.resource.as_str(), "read"), question.is_allowed)
    });
    median(asks, |(subject, object, action)| Ok(enforcer.enforce((subject.as_str(), object, action))?))
}

fn cedar(model: Model, questions: &[Question]) -> Result<f64, Box<dyn Error>> {
    let rule = |role: u32, rule| {
        let resource = Model::resource(role, rule);
        format!(
            "permit(principal in Role::\"{role}\", action == Action::\"read\", resource == Resource::\"{resource}\");\n"
        )
    };
    let rules = (0..model.roles).flat_map(|role| (0..model.rules_per_role).map(move |number| rule(role, number)));
    let policies = PolicySet::from_str(&rules.collect::<String>())?;
    let mut entities = Vec::new();
    for role in 0..model.roles {
        entities.push(Entity::new_no_attrs(uid("Role", role)?, HashSet::new()));
    }
    for user in 0..model.users {
        let parents = HashSet::from([uid("Role", model.role_of(user))?]);
        entities.push(Entity::new_no_attrs(uid("User", user)?, parents));
    }
    let entities = Entities::from_entities(entities, None)?;
    let (read, authorizer) = (uid("Action", "read")?, Authorizer::new());
    let mut asks = Vec::new();
    for question in questions {
        let (subject, resource) = (uid("User", question.user)?, uid("Resource", &question.resource)?);
        let request = Request::new(subject, read.clone(), resource, Context::empty(), None)?;
        asks.push((request, question.is_allowed));
    }
    median(asks.iter().map(|(request, is_allowed)| (request, *is_allowed)), |request| {
        Ok(authorizer.is_authorized(request, &policies, &entities).decision() == Decision::Allow)
    })
}

fn uid(kind: &str, id: impl std::fmt::Display) -> Result<EntityUid, Box<dyn Error>> {
    Ok(EntityUid::from_str(&format!("{kind}::\"{id}\""))?)
}
