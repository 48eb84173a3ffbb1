//! Keyspaces over HTTP.
//!
//! PD: `server/apiv2/handlers/keyspace.go`.

use serde_json::{Map, Value};
use tikv_proto::keyspacepb::{KeyspaceMeta, KeyspaceState};

use super::super::keyspaces::{KeyspaceError, id_of};
use super::super::{Asked, Pd, go};
use super::{Page, Request, body};

/// A keyspace as this API has it; what is empty is left out.
fn json(meta: &KeyspaceMeta) -> Value {
    let mut out = Map::new();
    out.insert("id".to_owned(), id_of(meta).into());
    if !meta.name.is_empty() {
        out.insert("name".to_owned(), meta.name.as_str().into());
    }
    out.insert("state".to_owned(), meta.state().as_str_name().into());
    for (name, at) in [("created_at", meta.created_at), ("state_changed_at", meta.state_changed_at)] {
        if at != 0 {
            out.insert(name.to_owned(), at.into());
        }
    }
    if !meta.config.is_empty() {
        let config = meta.config.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
        out.insert("config".to_owned(), Value::Object(config.collect()));
    }
    out.into()
}

fn answered(result: Result<KeyspaceMeta, KeyspaceError>) -> Page {
    match result {
        Ok(meta) => Page::value(200, &json(&meta)),
        Err(error @ KeyspaceError::Precondition(_)) => Page::text(409, &error.to_string()),
        Err(error) => Page::text(500, &error.to_string()),
    }
}

/// The answer to a body that cannot be bound.
fn unbound(error: &str) -> Page {
    Page::text(400, &format!("[PD:gin:ErrBindJSON]{error}: {error}"))
}

impl Pd {
    pub(super) fn keyspaces_page(
        &mut self,
        asked: &mut Asked<'_>,
        request: Request<'_>,
        path: &[&str],
    ) -> Page {
        match (request.method, path) {
            ("POST", []) => self.create_page(asked, request.body).unwrap_or_else(|error| unbound(&error)),
            ("GET", []) => self.list_page(request),
            ("GET", ["id", id]) => match id.parse::<u64>() {
                // Go cuts the number to its lower half.
                Ok(id) => {
                    let id = u32::try_from(id & u64::from(u32::MAX)).unwrap_or(u32::MAX);
                    answered(self.keyspaces.by_id(id).cloned().ok_or(KeyspaceError::NotFound))
                }
                Err(_) => Page::text(500, "invalid keyspace id"),
            },
            ("GET", [name]) => answered(self.keyspaces.by_name(name).cloned().ok_or(KeyspaceError::NotFound)),
            ("PATCH", [name, "config"]) => {
                self.configure_page(name, request.body).unwrap_or_else(|error| unbound(&error))
            }
            ("PUT", [name, "state"]) => {
                self.state_page(asked, name, request.body).unwrap_or_else(|error| unbound(&error))
            }
            _ => Page::not_found(),
        }
    }

    fn create_page(&mut self, asked: &mut Asked<'_>, body: &[u8]) -> Result<Page, String> {
        let of = "CreateKeyspaceParams";
        let body = body::read(body)?;
        let fields = body::fields(&body, of)?;
        let name = body::text(fields, "name", of)?;
        let config = body::texts(fields, "config", of)?;
        let config = config.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect();
        let created = self.create_keyspace(asked.topology, asked.now, &name, config, false);
        let meta = created.and_then(|id| self.keyspaces.by_id(id).cloned().ok_or(KeyspaceError::NotFound));
        Ok(answered(meta))
    }

    fn configure_page(&mut self, name: &str, body: &[u8]) -> Result<Page, String> {
        let of = "UpdateConfigParams";
        let body = body::read(body)?;
        let fields = body::fields(&body, of)?;
        let patch = body::texts(fields, "config", of)?;
        let demanded = body::texts(fields, "preconditions", of)?;
        Ok(answered(self.configure_keyspace(name, patch, &demanded)))
    }

    fn state_page(&mut self, asked: &Asked<'_>, name: &str, body: &[u8]) -> Result<Page, String> {
        let of = "UpdateStateParam";
        let body = body::read(body)?;
        let state = body::text(body::fields(&body, of)?, "state", of)?;
        let Some(to) = KeyspaceState::from_str_name(&state.to_uppercase()) else {
            // PD puts the error itself into the answer, of which nothing can be seen.
            return Ok(Page::value(400, &Value::Object(Map::new())));
        };
        let id = self.keyspaces.by_name(name).map(id_of).ok_or(KeyspaceError::NotFound);
        Ok(answered(id.and_then(|id| self.set_keyspace_state(id, to, asked.now))))
    }

    fn list_page(&self, request: Request<'_>) -> Page {
        let token = request.text_parameter("page_token");
        let start = match token.as_str() {
            "" => 0,
            token => match token.parse() {
                Ok(start) => start,
                Err(_) => return Page::text(400, &go::no_number(token)),
            },
        };
        let limit = request.text_parameter("limit");
        // One more than asked for shows where the next page begins.
        let limit = match limit.as_str() {
            "" | "0" => 0,
            text => match text.parse::<usize>() {
                Ok(limit) => limit.saturating_add(1),
                Err(_) => return Page::text(400, &go::no_number(text).replace("ParseUint", "ParseInt")),
            },
        };
        let mut metas = match self.keyspaces.from(start, limit) {
            Ok(metas) => metas,
            Err(error) => return Page::text(500, &error.to_string()),
        };
        let next = if limit > 0 && metas.len() == limit { metas.pop() } else { None };
        let mut page = Map::new();
        let keyspaces: Vec<Value> = metas.iter().map(json).collect();
        let keyspaces = if keyspaces.is_empty() { Value::Null } else { keyspaces.into() };
        page.insert("keyspaces".to_owned(), keyspaces);
        let next = next.map(|meta| id_of(&meta).to_string()).unwrap_or_default();
        page.insert("next_page_token".to_owned(), next.into());
        Page::value(200, &page.into())
    }
}
