//! Placement rules over HTTP. They are kept and told, and move no peer: the model places peers by itself.
//!
//! PD: `server/api/rule.go`, `pkg/schedule/placement/rule.go`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Page, Request, body};

/// The rules by group and id.
#[derive(Clone, Debug)]
pub(in crate::model::pd) struct Rules(BTreeMap<(String, String), Value>);

impl Rules {
    /// The one rule that a new cluster has: so many voters, anywhere.
    pub(in crate::model::pd) fn new(replicas: u32) -> Self {
        let rule = json!({
            "group_id": "pd",
            "id": "default",
            "start_key": "",
            "end_key": "",
            "role": "voter",
            "is_witness": false,
            "count": replicas,
        });
        Self(BTreeMap::from([(("pd".to_owned(), "default".to_owned()), rule)]))
    }

    pub(super) fn page(&mut self, request: Request<'_>, path: &[&str]) -> Page {
        let all = |rules: &Self, group: Option<&str>| {
            let of_group = rules.0.iter().filter(|((of, _), _)| group.is_none_or(|group| group == of));
            Page::value(200, &of_group.map(|(_, rule)| rule.clone()).collect())
        };
        let key = |group: &str, id: &str| (group.to_owned(), id.to_owned());
        match (request.method, path) {
            ("GET", ["config", "rules"]) => all(self, None),
            ("GET", ["config", "rules", "group", group]) => all(self, Some(group)),
            ("GET", ["config", "rule", group, id]) => match self.0.get(&key(group, id)) {
                Some(rule) => Page::value(200, rule),
                None => Page::plain(404, "null"),
            },
            ("POST", ["config", "rule"]) => match body::read(request.body).and_then(|rule| self.set(rule)) {
                Ok(()) => Page::text(200, "Update rule successfully."),
                Err(error) => Page::text(400, &error),
            },
            ("POST", ["config", "rules"]) => {
                let rules = body::read(request.body);
                let rules =
                    rules.and_then(|rules| match rules {
                        Value::Array(rules) => Ok(rules),
                        _ => Err("json: cannot unmarshal object into Go value of type []*placement.Rule"
                            .to_owned()),
                    });
                match rules.and_then(|rules| rules.into_iter().try_for_each(|rule| self.set(rule))) {
                    Ok(()) => Page::text(200, "Update rules successfully."),
                    Err(error) => Page::text(400, &error),
                }
            }
            ("DELETE", ["config", "rule", group, id]) => {
                self.0.remove(&key(group, id));
                Page::text(200, "Delete rule successfully.")
            }
            ("GET", ["config", "rule_groups"]) => {
                let mut groups: Vec<&String> = self.0.keys().map(|(group, _)| group).collect();
                groups.dedup();
                Page::value(200, &groups.into_iter().map(|id| group_json(id)).collect())
            }
            ("GET", ["config", "rule_group", id]) if self.0.keys().any(|(group, _)| group == id) => {
                Page::value(200, &group_json(id))
            }
            ("GET", ["config", "placement-rule"]) => {
                let mut groups: Vec<&String> = self.0.keys().map(|(group, _)| group).collect();
                groups.dedup();
                Page::value(200, &groups.into_iter().map(|id| self.bundle(id)).collect())
            }
            ("GET", ["config", "placement-rule", group]) => Page::value(200, &self.bundle(group)),
            _ => Page::not_found(),
        }
    }

    fn bundle(&self, group: &str) -> Value {
        let rules: Vec<&Value> =
            self.0.iter().filter(|((of, _), _)| of == group).map(|(_, rule)| rule).collect();
        json!({ "group_id": group, "group_index": 0, "group_override": false, "rules": rules })
    }

    fn set(&mut self, rule: Value) -> Result<(), String> {
        let text = |name| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (group, id) = (text("group_id"), text("id"));
        if group.is_empty() || id.is_empty() {
            return Err(
                "[PD:placement:ErrRuleContent]invalid rule content, group ID should not be empty".to_owned()
            );
        }
        if !matches!(text("role").as_str(), "voter" | "leader" | "follower" | "learner") {
            return Err(format!(
                "[PD:placement:ErrRuleContent]invalid rule content, invalid role {}",
                text("role")
            ));
        }
        self.0.insert((group, id), rule);
        Ok(())
    }
}

fn group_json(id: &str) -> Value {
    json!({ "id": id })
}
