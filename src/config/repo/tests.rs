//! Tests of `repo`: what a directory looks like before and after it was made, opened and refused.

use super::*;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;
use tempfile::TempDir;

fn new_repo() -> (TempDir, PathBuf, Config) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repo");
    let config = init(&root, &InitOptions::default()).unwrap();
    (dir, root, config)
}

/// Every name below a directory with its size and time of change.
fn listing(dir: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.push((path, meta.len(), meta.modified().unwrap()));
    }
    found.sort();
    found
}

fn open_error(root: &Path) -> RepoError {
    Repo::open(root, None).unwrap_err()
}

#[test]
fn a_new_repository_opens_and_holds_its_config() {
    let (_dir, root, config) = new_repo();
    assert_eq!(fs::read_to_string(root.join("henge")).unwrap(), format!("{LAYOUT}\n"));
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("config"), 0o600);
    let mut names: Vec<_> =
        fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config", "henge", "repo.lock"]);

    let repo = Repo::open(&root, None).unwrap();
    assert_eq!(repo.config().unwrap(), config);
    assert_eq!(load_config(&root).unwrap(), config);
    assert_eq!(repo.store_dir(), root.join("store"));
    Identity::from_config(&config).unwrap();
    assert!(matches!(config.storage_max().unwrap(), StorageMax::Limit(bytes) if bytes > 0));
    assert!(!fs::read_to_string(root.join("config")).unwrap().ends_with('\n'));
}

#[test]
fn only_one_holds_a_repository() {
    let (_dir, root, _) = new_repo();
    let first = Repo::open(&root, None).unwrap();
    let before = listing(&root);
    let error = open_error(&root).to_string();
    assert_eq!(
        error,
        format!("lock {}: someone else has the lock", root.join("repo.lock").display())
    );
    assert!(matches!(
        Repo::open(&root, Some(Duration::from_millis(20))),
        Err(RepoError::Locked { .. })
    ));
    assert_eq!(listing(&root), before);
    drop(first);
    Repo::open(&root, None).unwrap();
}

#[test]
fn init_does_not_overwrite_keys() {
    let (_dir, root, _) = new_repo();
    let before = listing(&root);
    let error = init(&root, &InitOptions::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        "ipfs configuration file already exists!\nReinitializing would overwrite your keys"
    );
    assert_eq!(listing(&root), before);

    // Somebody's config without a repository around it counts, too.
    fs::remove_file(root.join("henge")).unwrap();
    let before = listing(&root);
    assert!(matches!(
        init(&root, &InitOptions::default()),
        Err(RepoError::AlreadyInitialised { .. })
    ));
    assert_eq!(listing(&root), before);
}

#[test]
fn an_init_killed_anywhere_can_be_run_again() {
    for leave in [
        &["repo.lock"][..],
        &[".henge.init"],
        &[".henge.init", ".config.tmp"],
        &[".henge.init", "config"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        for name in leave {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(matches!(open_error(dir.path()), RepoError::NoRepo { .. }));
        let config = init(dir.path(), &InitOptions::default()).unwrap();
        assert_eq!(Repo::open(dir.path(), None).unwrap().config().unwrap(), config);
        assert!(!dir.path().join(".henge.init").exists());
    }
}

#[test]
fn bad_options_touch_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repo");
    let refusal = |options: InitOptions| {
        let error = init(&root, &options).unwrap_err().to_string();
        assert!(!root.exists());
        error
    };
    let profiles = vec!["server".to_owned(), "invalid_profile".to_owned()];
    let found = refusal(InitOptions { profiles, ..InitOptions::default() });
    assert_eq!(found, "invalid configuration profile: invalid_profile");
    let found = refusal(InitOptions { algorithm: Algorithm::Rsa, ..InitOptions::default() });
    assert!(found.contains("use --algorithm ed25519"), "{found}");
    let found = refusal(InitOptions { config: Some(json!([])), ..InitOptions::default() });
    assert!(found.starts_with("the configuration given to init"), "{found}");
    let given = Some(json!({"Identity": {"PeerID": "12D3KooW"}}));
    assert!(
        refusal(InitOptions { config: given, ..InitOptions::default() })
            .contains("leave out Identity.PeerID")
    );
    assert!(init(&root.join("below"), &InitOptions::default()).is_err());
}

#[test]
fn a_given_config_keeps_its_key_and_its_own_keys() {
    let (dir, _, kubo) = new_repo();
    let mut given = Value::Object(kubo.document().clone());
    given["Datastore"]["StorageMax"] = json!("10GB");
    given["Mine"] = json!({"x": [1]});
    let options = InitOptions {
        config: Some(given.clone()),
        profiles: vec!["test".to_owned()],
        ..InitOptions::default()
    };
    let config = init(&dir.path().join("second"), &options).unwrap();
    assert_eq!(config.get("Identity"), kubo.get("Identity"));
    assert_eq!(config.get("Mine"), Some(&json!({"x": [1]})));
    assert_eq!(config.list("Addresses.API").unwrap(), ["/ip4/127.0.0.1/tcp/0"]);
    assert_ne!(config.text("Datastore.StorageMax"), Some("10GB"));

    given["Datastore"]["StorageMax"] = json!("7GB");
    let options = InitOptions { config: Some(given), ..InitOptions::default() };
    let config = init(&dir.path().join("third"), &options).unwrap();
    assert_eq!(config.storage_max().unwrap(), StorageMax::Limit(7_000_000_000));

    let options = InitOptions { config: Some(json!({})), ..InitOptions::default() };
    let config = init(&dir.path().join("fourth"), &options).unwrap();
    Identity::from_config(&config).unwrap();
}

#[test]
fn nothing_is_no_repository() {
    let dir = tempfile::tempdir().unwrap();
    for root in [dir.path().to_owned(), dir.path().join("missing")] {
        let before = listing(dir.path());
        let error = open_error(&root).to_string();
        assert_eq!(
            error,
            format!("no IPFS repo found in {}.\nplease run: 'henge init'", root.display())
        );
        assert!(matches!(load_config(&root), Err(RepoError::NoRepo { .. })));
        assert_eq!(listing(dir.path()), before);
    }
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(open_error(&file), RepoError::NoRepo { .. }));
}

#[test]
fn a_kubo_repository_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("version"), "18\n").unwrap();
    fs::write(dir.path().join("config"), "{}").unwrap();
    fs::write(dir.path().join("datastore_spec"), "{}").unwrap();
    fs::create_dir(dir.path().join("blocks")).unwrap();
    let before = listing(dir.path());
    for error in [open_error(dir.path()), init(dir.path(), &InitOptions::default()).err().unwrap()]
    {
        let text = error.to_string();
        assert!(matches!(error, RepoError::KuboRepo { .. }), "{text}");
        assert!(text.contains("fs-repo@18") && !text.contains("  "), "{text}");
        assert!(
            text.contains(&format!("henge repo migrate --from {}", dir.path().display())),
            "{text}"
        );
    }
    assert_eq!(listing(dir.path()), before);
}

#[test]
fn other_layouts_are_refused_by_name() {
    let (_dir, root, _) = new_repo();
    let layout = root.join("henge");
    for (text, wanted) in
        [("1\n", "layout 1"), ("4294967295", "layout 4294967295"), ("0\n", "layout 0")]
    {
        fs::write(&layout, text).unwrap();
        let before = listing(&root);
        let error = open_error(&root).to_string();
        assert!(!error.contains("  "), "{error}");
        assert!(error.contains(wanted) && error.contains(&root.display().to_string()), "{error}");
        assert_eq!(listing(&root), before);
    }
    for text in ["", "one", "+1", "-1", "1 2", "99999999999", &"1".repeat(1000)] {
        fs::write(&layout, text).unwrap();
        let error = open_error(&root).to_string();
        assert!(error.starts_with(&layout.display().to_string()), "{text:?}: {error}");
    }
    fs::write(&layout, [0xff, 0xfe]).unwrap();
    assert!(matches!(open_error(&root), RepoError::BadLayout { .. }));
}

#[test]
fn a_damaged_config_is_named() {
    let (_dir, root, _) = new_repo();
    let repo = Repo::open(&root, None).unwrap();
    let path = root.join("config");
    for garbage in ["{\"Identity\": ", "\u{0}\u{1}", "[]", "{\"Bootstrap\": 5}"] {
        fs::write(&path, garbage).unwrap();
        let error = repo.config().unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{garbage:?}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    fs::write(&path, [b'{', 0xff]).unwrap();
    assert!(repo.config().is_err());
    fs::remove_file(&path).unwrap();
    let error = repo.config().unwrap_err().to_string();
    assert_eq!(error, format!("{}: no such file or directory", path.display()));
}

#[test]
fn saving_keeps_what_nobody_knows() {
    let (_dir, root, mut config) = new_repo();
    let repo = Repo::open(&root, None).unwrap();
    let text = fs::read_to_string(root.join("config")).unwrap();
    let foreign = text.replacen('{', "{\n  \"Zeta\": {\n    \"n\": 12345678901234567890\n  },", 1);
    fs::write(root.join("config"), &foreign).unwrap();
    repo.save_config(&repo.config().unwrap()).unwrap();
    assert_eq!(fs::read_to_string(root.join("config")).unwrap(), foreign);

    let backup = repo.backup_config("server").unwrap();
    assert_eq!(backup, root.join("config-pre-server-1"));
    assert_eq!(repo.backup_config("../server").unwrap(), root.join("config-pre-server-2"));
    assert_eq!(fs::read_to_string(backup).unwrap(), foreign);
    config.set("Gateway.NoFetch", json!(true)).unwrap();
    repo.save_config(&config).unwrap();
    assert_eq!(repo.config().unwrap(), config);
}

#[test]
fn the_place_follows_flag_then_environment_then_home() {
    let text = |value: &str| Some(OsString::from(value));
    let home = || Some(PathBuf::from("/home/me"));
    let at = |path: &str| PathBuf::from(path);
    assert_eq!(locate_in(Some(Path::new("/f")), text("/h"), text("/i"), home()), at("/f"));
    assert_eq!(locate_in(None, text("/h"), text("/i"), home()), at("/h"));
    assert_eq!(locate_in(None, text(""), text("/i"), home()), at("/i"));
    assert_eq!(locate_in(None, None, None, home()), at("/home/me/.henge"));
    assert_eq!(locate_in(None, None, text("~/x"), home()), at("/home/me/x"));
    assert_eq!(locate_in(None, None, text("~other/x"), home()), at("~other/x"));
    assert_eq!(locate_in(None, None, None, None), at(".henge"));
}

#[test]
fn waiting_follows_kubo() {
    assert_eq!(wait_from("10s"), Some(Duration::from_secs(10)));
    assert_eq!(wait_from("0"), Some(Duration::MAX));
    assert_eq!(wait_from("-1s"), Some(Duration::MAX));
    assert_eq!(wait_from("soon"), None);
    assert_eq!(wait_from(""), None);
}
