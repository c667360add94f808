use super::*;

fn version(created: &str) -> Version {
    let entry = FileEntry { sha256: "0".repeat(64), size: 10 };
    Version {
        created: created.into(),
        files: REQUIRED_FILES.iter().map(|file| ((*file).to_owned(), entry.clone())).collect(),
        base_sha256: "a".repeat(64),
        template_sha256: "b".repeat(64),
        metrics: Map::new(),
        intended_use: crate::INTENDED_USE.into(),
    }
}

/// Versions v1 ..= v{count}, a month apart, published in turn.
fn published(count: usize) -> Index {
    (1..=count).fold(Index::default(), |index, n| {
        let created = format!("2025-{n:02}-01T00:00:00Z");
        index.publish(&format!("v{n}"), version(&created)).unwrap()
    })
}

fn served(index: &Index) -> (Option<&str>, Option<&str>) {
    (index.current.as_deref(), index.previous.as_deref())
}

#[test]
fn publishing_moves_current_to_previous() {
    assert_eq!(served(&published(0)), (None, None));
    assert_eq!(served(&published(1)), (Some("v1"), None));
    assert_eq!(served(&published(2)), (Some("v2"), Some("v1")));
    assert_eq!(served(&published(3)), (Some("v3"), Some("v2")));
    assert_eq!(published(3).versions.len(), 3);
}

#[test]
fn rolling_back_swaps() {
    let index = published(3);
    let back = index.rollback().unwrap();
    assert_eq!(served(&back), (Some("v2"), Some("v3")));
    assert_eq!(back.rollback().unwrap(), index);
    let first = index.activate("v1").unwrap();
    assert_eq!(served(&first), (Some("v1"), Some("v3")));
    assert_eq!(first.current_version().unwrap().0, "v1");
}

#[test]
fn pruning_keeps_what_is_served() {
    let (next, dropped) = published(4).prune(2).unwrap();
    assert_eq!(dropped, ["v1", "v2"]);
    assert_eq!(next.versions.keys().collect::<Vec<_>>(), ["v3", "v4"]);
    let (next, dropped) = published(4).activate("v1").unwrap().prune(0).unwrap();
    assert_eq!(dropped, ["v2", "v3"]);
    assert_eq!(served(&next), (Some("v1"), Some("v4")));
    assert_eq!(published(2).prune(0).unwrap(), (published(2), vec![]));
}

#[test]
fn json_round_trips_and_is_stable() {
    let index = published(2);
    let json = index.to_json().unwrap();
    assert_eq!(Index::parse(&json).unwrap(), index);
    assert_eq!(Index::parse(&json).unwrap().to_json().unwrap(), json);
}

#[test]
fn rejects_steps_that_cannot_be_taken() {
    let index = published(2);
    assert!(index.publish("v1", version("2025-04-01T00:00:00Z")).is_err());
    assert!(published(1).rollback().is_err());
    assert!(published(0).current_version().is_err());
    assert!(index.activate("v2").is_err());
    let error = index.activate("v9").unwrap_err().to_string();
    assert!(error.contains("v9") && error.contains("v1, v2"), "{error}");
}

#[test]
fn rejects_names_that_could_leave_the_directory() {
    let long = "a".repeat(MAX_NAME + 1);
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "a..b",
        "-a",
        "a.",
        "a b",
        "é",
        "index.json",
        "a\0",
        "C:",
        &long,
    ] {
        assert!(check_version_name(name).is_err(), "{name:?}");
        assert!(Index::default().publish(name, version("2025-04-01T00:00:00Z")).is_err());
    }
    for name in ["1", "2025-04-14", "v1.2_b", &"a".repeat(MAX_NAME)] {
        assert!(check_version_name(name).is_ok(), "{name:?}");
    }
}

#[test]
fn rejects_incomplete_or_false_versions() {
    let spoil = |change: fn(&mut Version)| {
        let mut version = version("2025-04-01T00:00:00Z");
        change(&mut version);
        Index::default().publish("v1", version).unwrap_err().to_string()
    };
    let missing = spoil(|version| {
        version.files.remove(GUARD_FILE);
    });
    assert!(missing.contains(GUARD_FILE), "{missing}");
    assert!(spoil(|version| version.base_sha256 = "A".repeat(64)).contains("base_sha256"));
    assert!(spoil(|version| version.created = "2025-04-01".into()).contains("created"));
    spoil(|version| {
        let entry = version.files[GUARD_FILE].clone();
        version.files.insert("../evil".into(), entry);
    });
}

#[test]
fn rejects_an_index_that_contradicts_itself() {
    let spoil = |change: fn(&mut Index)| {
        let mut index = published(2);
        change(&mut index);
        assert!(index.validate().is_err() && index.to_json().is_err());
        let json = serde_json::to_vec(&index).unwrap();
        assert!(Index::parse(&json).is_err());
    };
    spoil(|index| index.format_version = 2);
    spoil(|index| index.current = None);
    spoil(|index| index.current = Some("v9".into()));
    spoil(|index| index.previous = index.current.clone());
    spoil(|index| index.previous = Some("v9".into()));
    assert!(Index::parse(b"{\"format_version\": 1, \"curent\": null}").is_err());
}
