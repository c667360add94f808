use std::collections::BTreeMap;
use std::fs;

use anyhow::bail;
use serde_json::Map;
use shared::{
    ADAPTER_CONFIG, ADAPTER_MODEL, GUARD_FILE, INDEX_FILE, INTENDED_USE, Index, RECORD_FILE,
    Version,
};
use tempfile::TempDir;

use super::step::{Moment, publish_watched};
use super::*;

const FILES: [&str; 4] = [ADAPTER_CONFIG, ADAPTER_MODEL, RECORD_FILE, GUARD_FILE];

fn new_version(name: &str, day: u32) -> NewVersion {
    NewVersion {
        name: name.into(),
        files: FILES.map(|file| (file, format!("{file} of {name}").into_bytes())).into(),
        entry: Version {
            created: format!("2025-04-{day:02}T08:30:00Z"),
            files: BTreeMap::new(),
            base_sha256: "b".repeat(64),
            template_sha256: "e".repeat(64),
            metrics: Map::new(),
            intended_use: INTENDED_USE.into(),
        },
        keep: None,
    }
}

fn store_with(names: &[&str]) -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(&directory.path().join("adapters"));
    for (day, name) in names.iter().enumerate() {
        let lock = store.lock().unwrap();
        publish(&store, &lock, new_version(name, day as u32 + 1)).unwrap();
    }
    (directory, store)
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(store.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// What the site needs: everything listed is there, unchanged.
fn assert_serves(store: &Store, current: Option<&str>) -> Index {
    let index = store.load_or_new().unwrap();
    assert_eq!(index.current.as_deref(), current);
    for (name, version) in &index.versions {
        store.verify(name, version).unwrap();
    }
    index
}

#[test]
fn publishes_into_an_empty_place_and_again() {
    let (_directory, store) = store_with(&["a", "b", "c"]);
    let index = assert_serves(&store, Some("c"));
    assert_eq!(index.previous.as_deref(), Some("b"));
    assert_eq!(names(&store), ["a", "b", "c", INDEX_FILE], "nothing else is left");
    assert_eq!(
        fs::read_to_string(store.root().join("a").join(GUARD_FILE)).unwrap(),
        "guard.json of a"
    );
}

/// The process ends at every moment there is, once with and once without versions before it: what
/// was published stays served, the next publication of either name succeeds, and nothing is left.
#[test]
fn whoever_is_stopped_leaves_the_old_state_or_the_new() {
    for before in [&["a", "b", "c"][..], &[]] {
        for stop_at in 0.. {
            let (_directory, store) = store_with(before);
            let old = store.load_or_new().unwrap();
            let mut moments = Vec::new();
            let lock = store.lock().unwrap();
            let new = NewVersion { keep: Some(2), ..new_version("d", 9) };
            let stopped = publish_watched(&store, &lock, new, &mut |moment| {
                moments.push(moment);
                if moments.len() > stop_at { bail!("killed") } else { Ok(()) }
            });
            drop(lock);
            let published = moments.contains(&Moment::Indexed);
            if stopped.is_ok() {
                let expected = if before.is_empty() { vec!["d"] } else { vec!["c", "d"] };
                assert_eq!(names(&store), [&expected[..], &[INDEX_FILE]].concat());
                break;
            }
            let index =
                assert_serves(&store, if published { Some("d") } else { before.last().copied() });
            if !published {
                assert_eq!(index, old, "stopped at {moments:?}");
            }
            let again = if published { "e" } else { "d" };
            let lock = store.lock().unwrap();
            publish(&store, &lock, new_version(again, 10)).unwrap();
            let index = assert_serves(&store, Some(again));
            let mut expected: Vec<&str> = index.versions.keys().map(String::as_str).collect();
            expected.push(INDEX_FILE);
            assert_eq!(names(&store), expected, "stopped at {moments:?}");
        }
    }
}

#[test]
fn a_failed_publication_cleans_up_at_once() {
    let (_directory, store) = store_with(&["a"]);
    let lock = store.lock().unwrap();
    let mut new = new_version("b", 2);
    new.files.push((ADAPTER_CONFIG, b"the same name again".to_vec()));
    let error = publish(&store, &lock, new).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.starts_with("b is not published; what was published before is unchanged"),
        "{text}"
    );
    assert!(text.contains(".incoming"), "{text}");
    assert_eq!(names(&store), ["a", INDEX_FILE]);
    assert_serves(&store, Some("a"));
}

#[test]
fn leftovers_of_others_are_not_touched() {
    let (_directory, store) = store_with(&["a"]);
    fs::create_dir(store.root().join("b")).unwrap();
    fs::write(store.root().join("b/precious"), "x").unwrap();
    let lock = store.lock().unwrap();
    let error = format!("{:#}", publish(&store, &lock, new_version("b", 2)).unwrap_err());
    assert!(error.contains("b exists, but is no published version"), "{error}");
    publish(&store, &lock, new_version("c", 2)).unwrap();
    assert!(store.root().join("b/precious").exists());
    assert_eq!(store.unlisted(&store.load().unwrap()).unwrap(), ["b"]);
}

#[test]
fn pending_names_cannot_lead_out_of_the_directory() {
    let (directory, store) = store_with(&["a"]);
    fs::create_dir(directory.path().join("outside")).unwrap();
    fs::write(store.root().join(".pending"), "../outside\na\n..\n\n/tmp").unwrap();
    let lock = store.lock().unwrap();
    let removed = store.recover(&store.load().unwrap(), &lock).unwrap();
    assert_eq!(removed, [""; 0]);
    assert!(directory.path().join("outside").exists());
    assert_serves(&store, Some("a"));
}

#[test]
fn old_versions_go_only_when_told_to() {
    let (_directory, store) = store_with(&["a", "b", "c", "d"]);
    let lock = store.lock().unwrap();
    let new = NewVersion { keep: Some(0), ..new_version("e", 9) };
    let (index, dropped) = publish(&store, &lock, new).unwrap();
    assert_eq!(dropped, ["a", "b", "c"]);
    assert_eq!(index.previous.as_deref(), Some("d"));
    assert_eq!(names(&store), ["d", "e", INDEX_FILE], "current and previous always stay");
}

#[test]
fn a_second_publisher_waits_for_the_first() {
    let (_directory, store) = store_with(&[]);
    let first = store.lock().unwrap();
    let error = store.lock().unwrap_err().to_string();
    assert!(error.contains("another trainer"), "{error}");
    drop(first);
    store.lock().unwrap();
}

#[test]
fn names_follow_the_date() {
    let (_directory, store) = store_with(&["2025-04-14"]);
    let index = store.load().unwrap();
    let next = |created| next_version_name(&index, store.root(), created);
    assert_eq!(next("2025-04-15T00:00:00Z"), "2025-04-15");
    assert_eq!(next("2025-04-14T23:00:00Z"), "2025-04-14-2");
    fs::create_dir(store.root().join("2025-04-14-2")).unwrap();
    assert_eq!(next("2025-04-14T23:00:00Z"), "2025-04-14-3");
}

#[test]
fn rejects_taken_and_harmful_names() {
    let (_directory, store) = store_with(&["a"]);
    let lock = store.lock().unwrap();
    for name in ["a", "../b", "", ".incoming", "index.json", "x/y"] {
        assert!(publish(&store, &lock, new_version(name, 2)).is_err(), "{name:?}");
    }
    assert_eq!(names(&store), ["a", INDEX_FILE]);
    assert_serves(&store, Some("a"));
}

#[test]
fn rejects_files_that_changed_since() {
    let (_directory, store) = store_with(&["a"]);
    let index = store.load().unwrap();
    let path = store.root().join("a").join(ADAPTER_MODEL);
    let verify = || store.verify("a", &index.versions["a"]).unwrap_err().to_string();
    let mut bytes = fs::read(&path).unwrap();
    bytes[3] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(verify().contains("expected SHA-256"), "{}", verify());
    bytes.pop();
    fs::write(&path, &bytes).unwrap();
    assert!(verify().contains("bytes, found"), "{}", verify());
    fs::remove_file(&path).unwrap();
    assert!(verify().contains("it is missing"), "{}", verify());
}

#[test]
fn rejects_a_broken_index() {
    let (_directory, store) = store_with(&["a"]);
    fs::write(store.root().join(INDEX_FILE), "{").unwrap();
    let lock = store.lock().unwrap();
    let error = format!("{:#}", publish(&store, &lock, new_version("b", 2)).unwrap_err());
    assert!(error.contains("index.json is not a valid index; restore it"), "{error}");
    assert!(store.root().join("a").join(GUARD_FILE).exists());
    assert!(!store.root().join("b").exists());
    let empty = Store::new(&store.root().join("none"));
    assert!(empty.load().unwrap_err().to_string().contains("nothing is published"));
}
