//! Who makes a request: the text that stores tell apart who uses them by.

use std::fmt::{self, Display};

/// What a request source is when nothing is known of it.
pub const UNKNOWN: &str = "unknown";

/// Types of requests that the database makes for itself.
///
/// client-go: `util/request_source.go: InternalTxnOthers`.
pub mod internal {
    /// Such as need little: they share one name, so that metrics stay small. Also metadata.
    pub const OTHERS: &str = "others";
    /// Garbage collection.
    pub const GC: &str = "gc";
    /// Statistics.
    pub const STATS: &str = "stats";
}

/// Types of tasks that a user names.
///
/// client-go: `util/request_source.go: ExplicitTypeList`.
pub mod task {
    /// None.
    pub const NONE: &str = "";
    /// TiDB Lightning; [`IMPORT`] has taken its place.
    pub const LIGHTNING: &str = "lightning";
    /// Backup and restore.
    pub const BR: &str = "br";
    /// Dumpling.
    pub const DUMPLING: &str = "dumpling";
    /// What runs in the background.
    pub const BACKGROUND: &str = "background";
    /// Changes of schema.
    pub const DDL: &str = "ddl";
    /// Statistics.
    pub const STATS: &str = "stats";
    /// Import.
    pub const IMPORT: &str = "import";
    /// All of them.
    pub const ALL: &[&str] = &[NONE, LIGHTNING, BR, DUMPLING, BACKGROUND, DDL, STATS, IMPORT];
}

/// Who makes a request, in the form `external_select_import`. TiKV limits and counts by the part behind the last underscore.
///
/// ```
/// use tikv_client_core::request::RequestSource;
///
/// assert_eq!(RequestSource::external("select").to_string(), "external_select");
/// assert_eq!(RequestSource::internal("gc").task("br").to_string(), "internal_gc_br");
/// ```
///
/// client-go: `util/request_source.go: RequestSource`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RequestSource {
    /// Whether the database makes it for itself.
    pub internal: bool,
    /// What kind of request it is.
    pub kind: String,
    /// The task that a user has named for it.
    pub task: String,
}

impl RequestSource {
    /// A request that a user makes.
    pub fn external(kind: impl Into<String>) -> Self {
        Self { internal: false, kind: kind.into(), task: String::new() }
    }

    /// A request that the database makes for itself.
    ///
    /// client-go: `util/request_source.go: WithInternalSourceType`.
    pub fn internal(kind: impl Into<String>) -> Self {
        Self { internal: true, kind: kind.into(), task: String::new() }
    }

    /// Names the task behind it.
    ///
    /// client-go: `util/request_source.go: WithInternalSourceAndTaskType`.
    #[must_use]
    pub fn task(mut self, task: impl Into<String>) -> Self {
        self.task = task.into();
        self
    }
}

impl Display for RequestSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { internal, kind, task } = self;
        if kind.is_empty() && task.is_empty() {
            // Whoever says neither has hardly said whose it is.
            return f.write_str(UNKNOWN);
        }
        f.write_str(if *internal { "internal_" } else { "external_" })?;
        f.write_str(if kind.is_empty() { UNKNOWN } else { kind })?;
        if task.is_empty() || task == kind { Ok(()) } else { write!(f, "_{task}") }
    }
}

/// Whether a request source is of a request that the database makes for itself.
///
/// client-go: `util/request_source.go: IsInternalRequest`.
#[must_use]
pub fn is_internal(source: &str) -> bool {
    source.starts_with("internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// client-go: `util/request_source_test.go: TestGetRequestSource, TestBuildRequestSource`.
    #[test]
    fn a_source_says_whose_it_is_its_kind_and_its_task() {
        let of = |internal, kind: &str, task: &str| {
            RequestSource { internal, kind: kind.to_owned(), task: task.to_owned() }.to_string()
        };
        let table = [
            (true, "test", "lightning", "internal_test_lightning"),
            (false, "test", "lightning", "external_test_lightning"),
            (false, "test", "", "external_test"),
            (false, "", "lightning", "external_unknown_lightning"),
            (true, "stats", "stats", "internal_stats"),
            (true, "", "", "unknown"),
            (false, "", "", "unknown"),
        ];
        for (internal, kind, task, text) in table {
            assert_eq!(of(internal, kind, task), text);
            assert_eq!(is_internal(text), text.starts_with("internal_"));
        }
        assert_eq!(RequestSource::default().to_string(), UNKNOWN);
    }
}
