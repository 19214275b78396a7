//! Paths with the routes on them, and which of them a request is for.
//!
//! A path without parameters is found by its hash; those with parameters are tried one after the other by actix's own
//! patterns, the more particular ones first.

use std::collections::{BTreeMap, HashMap};

use actix_web::dev::{Path, ResourceDef, Url};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::http::{Method, StatusCode};
use foldhash::fast::RandomState;

use super::answer::Answer;
use super::handler::Outcome;
use super::problem::Problem;
use super::routes::Routes;
use super::settings::Settings;
use super::table::{Endpoint, Meters, TableError};
use crate::metrics::Metrics;

/// Every path.
pub(super) struct Pathways {
    list: Vec<Pathway>,
    exact: HashMap<&'static str, usize, RandomState>,
}

/// The paths with parameters, in the order in which they are tried. Each worker has its own: regular expressions work with
/// room that they do not share well.
pub(super) struct Patterns(Vec<(ResourceDef, usize)>);

/// One path and the routes on it.
pub(super) struct Pathway {
    pub(super) path: &'static str,
    pub(super) allow: HeaderValue,
    endpoints: Vec<Endpoint>,
}

impl Pathways {
    /// The paths of these routes.
    ///
    /// # Errors
    /// When two routes have one method and path.
    pub(super) fn new(routes: Routes, metrics: &Metrics, settings: &Settings) -> Result<Self, TableError> {
        let list = grouped(routes, metrics, settings)?;
        let exact = list.iter().enumerate().filter(|(_, pathway)| !pathway.has_parameters());
        let exact = exact.map(|(place, pathway)| (pathway.path, place)).collect();
        Ok(Self { list, exact })
    }

    /// The paths with parameters, for one worker.
    pub(super) fn patterns(&self) -> Patterns {
        let mut patterns: Vec<_> =
            self.list.iter().enumerate().filter(|(_, pathway)| pathway.has_parameters()).collect();
        patterns.sort_by_key(|(_, pathway)| specificity(pathway.path));
        Patterns(patterns.into_iter().map(|(place, pathway)| (ResourceDef::new(pathway.path), place)).collect())
    }

    /// The path that this one is; what stands at its parameters is noted in it.
    pub(super) fn find(&self, patterns: &Patterns, path: &mut Path<Url>) -> Option<&Pathway> {
        let place = self.exact.get(path.unprocessed()).or_else(|| {
            let found = patterns.0.iter().find(|(pattern, _)| pattern.capture_match_info(path));
            found.map(|(_, place)| place)
        });
        self.list.get(*place?)
    }
}

impl Pathway {
    fn new(path: &'static str, endpoints: Vec<Endpoint>) -> Result<Self, TableError> {
        let mut methods: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.route.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        let allow = HeaderValue::from_str(&methods.join(", ")).map_err(|_| TableError::Method(path))?;
        Ok(Self { path, allow, endpoints })
    }

    fn has_parameters(&self) -> bool {
        self.path.contains('{')
    }

    /// The route for `method`; a GET answers HEAD too, whose body actix leaves out.
    pub(super) fn endpoint(&self, method: &Method) -> Option<&Endpoint> {
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let own = self.endpoints.iter().find(|endpoint| endpoint.route.method == *wanted);
        own.or_else(|| self.endpoints.iter().find(|endpoint| endpoint.route.is_of_any_method))
    }

    /// OPTIONS, or a method the path does not have.
    pub(super) fn without_endpoint(&self, method: &Method) -> Outcome {
        if *method == Method::OPTIONS {
            return Ok(Answer::no_content().with_header(ALLOW, self.allow.clone()));
        }
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path has other methods");
        Err(problem.with_header(ALLOW, self.allow.clone()))
    }
}

/// Groups the routes by path.
fn grouped(routes: Routes, metrics: &Metrics, settings: &Settings) -> Result<Vec<Pathway>, TableError> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<(&'static str, Vec<Endpoint>)> = Vec::new();
    for route in routes.into_list() {
        let place = *places.entry(route.path).or_insert_with(|| {
            groups.push((route.path, Vec::new()));
            groups.len() - 1
        });
        let Some((path, endpoints)) = groups.get_mut(place) else { continue };
        if endpoints.iter().any(|other| other.route.method == route.method) {
            return Err(TableError::Twice(route.method, path));
        }
        endpoints.push(Endpoint {
            body_limit_bytes: route.limit_bytes(settings),
            meters: Meters::new(metrics, format!("{} {path}", route.method)),
            route,
        });
    }
    groups.into_iter().map(|(path, endpoints)| Pathway::new(path, endpoints)).collect()
}

/// Sorts first the paths whose first parameter comes latest.
fn specificity(path: &str) -> Vec<bool> {
    path.split('/').map(|segment| segment.contains('{')).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Uri;

    use super::*;
    use crate::app;

    /// As actix finds it: every path a pattern, tried in turn.
    fn tried(
        patterns: &[(ResourceDef, &'static str)],
        mut path: Path<Url>,
    ) -> (Option<&'static str>, Vec<(String, String)>) {
        let found = patterns.iter().find(|(pattern, _)| pattern.capture_match_info(&mut path));
        (found.map(|(_, path)| *path), parameters(&path))
    }

    fn parameters(path: &Path<Url>) -> Vec<(String, String)> {
        path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_path_is_found_as_by_trying_every_pattern() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let pathways = Pathways::new(app::routes(), &metrics, &Settings::default()).unwrap();
        let patterns = pathways.patterns();
        let mut all: Vec<&str> = pathways.list.iter().map(|pathway| pathway.path).collect();
        all.sort_by_key(|path| if path.contains('{') { specificity(path) } else { Vec::new() });
        let all: Vec<_> = all.into_iter().map(|path| (ResourceDef::new(path), path)).collect();
        let spellings: [fn(&str) -> String; 10] = [
            |path| path.to_owned(),
            |path| format!("{path}/"),
            |path| format!("/{path}"),
            |path| format!("{path}?a=b"),
            |path| format!("{path}%2F"),
            |path| path.replacen('a', "%61", 1),
            |path| path.replacen("/v1/", "/v1/%2e/", 1),
            |path| path.to_uppercase(),
            |path| format!("{path};x"),
            |path| path.rsplit_once('/').map_or_else(String::new, |(above, _)| format!("{above}/x%20y")),
        ];
        for (_, path) in &all {
            let filled: String =
                path.split('/').map(|part| if part.contains('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
            for spelling in spellings {
                let Ok(uri) = spelling(&filled).parse::<Uri>() else { continue };
                let mut asked = Path::new(Url::new(uri.clone()));
                let found = pathways.find(&patterns, &mut asked).map(|pathway| pathway.path);
                assert_eq!((found, parameters(&asked)), tried(&all, Path::new(Url::new(uri.clone()))), "{uri}");
            }
        }
    }
}
