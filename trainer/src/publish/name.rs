//! Names of versions that nobody named.

use std::path::Path;

use shared::Index;

/// The date of `created`, with `-2`, `-3`, ... behind it once that is taken by a version or by
/// anything else in `root`.
pub fn next_version_name(index: &Index, root: &Path, created: &str) -> String {
    let date = created.split('T').next().unwrap_or(created);
    let taken = |name: &str| index.versions.contains_key(name) || root.join(name).exists();
    if !taken(date) {
        return date.to_owned();
    }
    (2..).map(|n| format!("{date}-{n}")).find(|name| !taken(name)).unwrap_or_default()
}
