//! A folder of generated files: writes it, or says which file of it is not up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use crate::Error;

/// Makes `folder` hold `files` and no other `.rs` file.
pub(crate) fn write(folder: &Path, files: &BTreeMap<String, String>) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| at(folder, source))?;
    for name in present(folder)?.iter().filter(|name| !files.contains_key(*name)) {
        let path = folder.join(name);
        std::fs::remove_file(&path).map_err(|source| at(&path, source))?;
    }
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| at(&path, source))?;
    }
    Ok(())
}

/// Fails with the first file that is missing, superfluous or different.
pub(crate) fn compare(folder: &Path, files: &BTreeMap<String, String>) -> Result<(), Error> {
    let stale = |name: &str| Error::Stale(folder.join(name).display().to_string());
    if let Some(extra) = present(folder)?.iter().find(|name| !files.contains_key(*name)) {
        return Err(stale(extra));
    }
    for (name, text) in files {
        let path = folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(found) if found == *text => {}
            Ok(_) => return Err(stale(name)),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(stale(name)),
            Err(source) => return Err(at(&path, source)),
        }
    }
    Ok(())
}

fn present(folder: &Path) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(|source| at(folder, source))? {
        let name = entry.map_err(|source| at(folder, source))?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rs") {
            names.insert(name);
        }
    }
    Ok(names)
}

fn at(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("tikv-proto-gen-tree-{name}-{}", std::process::id()))
    }

    fn two() -> BTreeMap<String, String> {
        [("a.rs", "// a\n"), ("b.rs", "// b\n")].map(|(n, t)| (n.to_owned(), t.to_owned())).into()
    }

    #[test]
    fn what_was_written_compares_equal_and_stale_files_go() {
        let folder = folder("equal");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("old.rs"), "").unwrap();
        write(&folder, &two()).unwrap();
        assert!(!folder.join("old.rs").exists());
        compare(&folder, &two()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_changed_a_missing_and_an_extra_file_are_each_named() {
        let folder = folder("differs");
        write(&folder, &two()).unwrap();
        let stale = |files: &BTreeMap<String, String>| match compare(&folder, files) {
            Err(Error::Stale(path)) => path,
            other => panic!("expected a stale file, got {other:?}"),
        };

        let mut changed = two();
        changed.insert("b.rs".to_owned(), "// c\n".to_owned());
        assert!(stale(&changed).ends_with("b.rs"));

        let mut missing = two();
        missing.insert("c.rs".to_owned(), String::new());
        assert!(stale(&missing).ends_with("c.rs"));

        let mut extra = two();
        extra.remove("a.rs");
        assert!(stale(&extra).ends_with("a.rs"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
