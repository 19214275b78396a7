//! Lists of users: filtered, searched and sorted, page by page, as a naive list of everybody says.

use serde_json::{Value, json};

use crate::harness::{Admin, Server};

/// Every page of a list.
fn pages(admin: &Admin, query: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/api/v1/users?{query}&limit={limit}&cursor={cursor}")).expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        all.extend(items.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return all,
        }
    }
}

/// People of all kinds, ten seconds apart; everybody there is.
fn crowd(server: &Server) -> Vec<Value> {
    let admin = server.admin();
    for number in 0..24_u32 {
        server.clock.advance_seconds(10);
        // Names that sort otherwise than they came.
        let name = format!("{}{}", ["zoe", "Ann", "mia", "Bob"][number as usize % 4], (number * 7) % 24);
        let mut user = json!({ "username": name });
        if number % 3 != 0 {
            user["email"] = json!(format!("{}.{number}@Example.ORG", ["q", "A", "m"][number as usize % 3]));
            user["email_verified"] = json!(number % 2 == 0);
        }
        if number % 5 < 2 {
            user["external_id"] = json!(format!("CRM-{}", (number * 5) % 24));
        }
        let id = admin.create_user(&user);
        if number % 6 == 1 {
            admin.post(&format!("/api/v1/users/{id}/suspend"), &json!({})).expect(200);
        }
    }
    admin.app("shop", &[]);
    pages(&server.admin(), "", 1000)
}

#[test]
fn users_are_listed_as_a_naive_list_says_whatever_is_asked_for() {
    let server = Server::start();
    let (everybody, admin) = (crowd(&server), server.admin());
    assert_eq!(everybody.len(), 26, "24, and two administrators");
    let text = |user: &Value, field: &str| user[field].as_str().map(str::to_owned);
    let words = |user: &Value| ["username", "email", "external_id"].map(|field| text(user, field).unwrap_or_default());
    let (from, to) = (text(&everybody[8], "created_at").unwrap(), text(&everybody[20], "created_at").unwrap());
    for status in ["", "active", "suspended"] {
        for verified in ["", "true", "false"] {
            for search in ["", "ANN", "crm-1", "example.org", "o", "nobody"] {
                for (from, to) in [("", ""), (&*from, ""), (&*from, &*to)] {
                    for sort in ["", "created_at", "username", "email", "external_id"] {
                        let filters = [
                            ("status", status),
                            ("email_verified", verified),
                            ("search", search),
                            ("created_from", from),
                            ("created_before", to),
                            ("sort", sort),
                        ];
                        let given = filters.into_iter().filter(|(_, value)| !value.is_empty());
                        let query: Vec<_> = given.map(|(name, value)| format!("{name}={value}")).collect();
                        let is_meant = |user: &&Value| {
                            (status.is_empty() || user["status"] == status)
                                && (verified.is_empty() || user["email_verified"] == (verified == "true"))
                                && words(user).iter().any(|word| word.to_lowercase().contains(&search.to_lowercase()))
                                && (from.is_empty() || *from <= *text(user, "created_at").unwrap())
                                && (to.is_empty() || *text(user, "created_at").unwrap() < *to)
                        };
                        let mut expected: Vec<_> = everybody.iter().filter(is_meant).cloned().collect();
                        match sort {
                            "username" => expected.sort_by_key(|user| text(user, "username").unwrap().to_lowercase()),
                            "email" | "external_id" => {
                                expected.retain(|user| user[sort].is_string());
                                expected.sort_by_key(|user| match text(user, sort) {
                                    Some(email) if sort == "email" => email.to_lowercase(),
                                    other => other.unwrap(),
                                });
                            }
                            _ => {}
                        }
                        let query = query.join("&");
                        let limit = if search == "o" { 3 } else { 1000 };
                        assert_eq!(pages(&admin, &query, limit), expected, "{query}");
                    }
                }
            }
        }
    }
    let ann = pages(&admin, "username=ann7&status=suspended", 10);
    assert_eq!(ann.len(), 1, "a name and another filter");
    assert!(pages(&admin, "username=ann7&status=active", 10).is_empty());
}

#[test]
fn what_cannot_be_asked_for_is_named() {
    let server = Server::start();
    let admin = server.admin();
    // With the two bytes before it, the cursor of this name is as long as an id.
    admin.create_user(&json!({ "username": "a.long.name.14" }));
    let cursor = |sort: &str| {
        let page = admin.get(&format!("/api/v1/users?sort={sort}&limit=1")).expect(200);
        page["next_cursor"].as_str().unwrap().to_owned()
    };
    for (query, field) in [
        ("sort=age".to_owned(), "sort"),
        ("status=gone".to_owned(), "status"),
        ("email_verified=perhaps".to_owned(), "email_verified"),
        ("created_from=yesterday".to_owned(), "created_from"),
        ("search=".to_owned(), "search"),
        (format!("search={}", "x".repeat(255)), "search"),
        (format!("sort=username&cursor={}", cursor("created_at")), "cursor"),
        (format!("sort=email&cursor={}", cursor("username")), "cursor"),
        (format!("cursor={}", cursor("username")), "cursor"),
    ] {
        admin.get(&format!("/api/v1/users?{query}")).is_problem(400, "invalid-input").names_field(field);
    }
}
