//! Reads the `.proto` files of a folder.

use std::path::Path;

use protox::prost_reflect::prost_types::FileDescriptorProto;

use crate::Error;

/// The parsed files of `folder`, in the order of their names, with their comments.
pub(crate) fn read(folder: &Path) -> Result<Vec<FileDescriptorProto>, Error> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|source| at(folder, source))? {
        let path = entry.map_err(|source| at(folder, source))?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            names.push(path);
        }
    }
    names.sort();
    let mut files = protox::compile(names, [folder])?.file;
    // protox puts imported files first: an order that would change with an import.
    files.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(files)
}

fn at(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use protox::prost_reflect::prost_types::DescriptorProto;
    use protox::prost_reflect::prost_types::source_code_info::Location;

    use super::*;

    /// Field numbers of the descriptor that a `SourceCodeInfo` path is made of (descriptor.proto).
    const FILE_MESSAGE: i32 = 4;
    const MESSAGE_NESTED: i32 = 3;

    fn is_commented(locations: &[Location], path: &[i32]) -> bool {
        locations.iter().any(|l| l.path == path && !l.leading_comments().trim().is_empty())
    }

    fn collect(
        locations: &[Location],
        message: &DescriptorProto,
        path: &[i32],
        name: &str,
        silent: &mut Vec<String>,
    ) -> usize {
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return 0; // made by the compiler from a map field
        }
        if !is_commented(locations, path) {
            silent.push(name.to_owned());
        }
        let mut count = 1;
        for (index, nested) in message.nested_type.iter().enumerate() {
            let path = [path, &[MESSAGE_NESTED, index as i32]].concat();
            count += collect(locations, nested, &path, &format!("{name}.{}", nested.name()), silent);
        }
        count
    }

    fn silent_messages(file: &FileDescriptorProto) -> (usize, Vec<String>) {
        let locations = file.source_code_info.as_ref().map_or(&[][..], |info| &info.location);
        let (mut count, mut silent) = (0, Vec::new());
        for (index, message) in file.message_type.iter().enumerate() {
            let name = format!("{}.{}", file.package(), message.name());
            count += collect(locations, message, &[FILE_MESSAGE, index as i32], &name, &mut silent);
        }
        (count, silent)
    }

    #[test]
    fn every_message_has_a_comment() {
        let protos = crate::proto_folder().unwrap().join("protos");
        let (mut count, mut silent) = (0, Vec::new());
        for file in read(&protos).unwrap() {
            let (more, without) = silent_messages(&file);
            count += more;
            silent.extend(without);
        }
        assert!(count > 500, "only {count} messages were looked at");
        assert!(silent.is_empty(), "{} messages without a comment: {silent:#?}", silent.len());
    }

    #[test]
    fn a_silent_message_is_found() {
        let text = "syntax = \"proto3\"; package p;\n// Speaks.\nmessage A { message B {} }\n";
        let folder = std::env::temp_dir().join(format!("tikv-proto-gen-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("p.proto"), text).unwrap();
        let files = read(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(silent_messages(&files[0]), (2, vec!["p.A.B".to_owned()]));
    }
}
