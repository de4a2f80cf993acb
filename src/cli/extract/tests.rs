//! Archives as hostile as they can be, and cut wherever they may be.

use super::*;

/// An archive of members as hostile as the caller likes: names are written as they are.
fn archive(members: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, body) in members {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let linked = *kind == tar::EntryType::Symlink;
        if linked {
            header.as_old_mut().linkname[..body.len()].copy_from_slice(body.as_bytes());
        }
        let content = if linked { "" } else { *body };
        header.set_size(content.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(content.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[test]
fn cve_2020_26279_nothing_is_written_outside() {
    use tar::EntryType::{Directory, Regular, Symlink};
    for members in [
        vec![("../evil", Regular, "x")],
        vec![("/evil", Regular, "x")],
        vec![("d", Directory, ""), ("d/../../evil", Regular, "x")],
        vec![("d", Directory, ""), ("d/s", Symlink, ".."), ("d/s/evil", Regular, "x")],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = unpack(&archive(&members), &dir.path().join("out"));
        assert!(error.is_err(), "{members:?}");
        assert!(!dir.path().join("evil").exists(), "{members:?}");
    }
    // A file takes a symlink's place; nobody goes through it.
    let members = [("d", Directory, ""), ("d/s", Symlink, "../evil"), ("d/s", Regular, "x")];
    let dir = tempfile::tempdir().unwrap();
    unpack(&archive(&members), &dir.path().join("out")).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("out/s")).unwrap(), "x");
    assert!(!dir.path().join("evil").exists() && !dir.path().join("out/s").is_symlink());
}

fn unpack(archive: &[u8], target: &Path) -> Result<(), CliError> {
    Unpacking::to(target, Some("/ipfs/x")).run(archive)
}

/// Every name below a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_in_the_place_of_its_folder_leaves_nothing_beside_it() {
    use tar::EntryType::{Directory, Regular};
    for what in [None, Some("/ipfs/x")] {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let members = archive(&[("d", Directory, ""), ("d", Regular, "x")]);
        let error = Unpacking::to(&target, what).run(&members[..]).unwrap_err();
        assert!(format!("{error:?}").contains("out: Is a directory"), "{error:?}");
        let left: Vec<_> =
            names(dir.path()).into_iter().filter(|name| name.ends_with("unfinished")).collect();
        assert_eq!(left, [""; 0], "{what:?}");
    }
}

#[test]
fn a_tree_comes_out_under_the_target() {
    use tar::EntryType::{Directory, Regular, Symlink};
    let members = [("d", Directory, ""), ("d/f", Regular, "text"), ("d/l", Symlink, "f")];
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    for _ in 0..2 {
        unpack(&archive(&members), &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("l")).unwrap(), "text");
    }
    unpack(&archive(&[("f", Regular, "x")]), &target).unwrap();
    assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "x");
    assert_eq!(
        (names(dir.path()), names(&target)),
        (vec!["out".into()], vec!["f".into(), "l".into()])
    );
}

#[test]
fn what_is_cut_stands_under_no_name_and_is_gone_on_with() {
    use tar::EntryType::{Directory, Regular};
    let body = "0123456789".repeat(100);
    let members = [("d", Directory, ""), ("d/a", Regular, "whole"), ("d/b", Regular, &body)];
    let whole = archive(&members);
    // Headers and content of the first two, the header of the third, and 300 bytes of it.
    let cut = 512 + 1024 + 512 + 300;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    assert!(unpack(&whole[..cut], &target).is_err());
    assert!(target.join("a").exists() && !target.join("b").exists());
    let going_on = Unpacking::to(&target, Some("/ipfs/x"));
    let (member, length) = going_on.found().unwrap();
    assert_eq!((member, length), (&b"d/b"[..], 300));
    drop(going_on);
    let other = Unpacking::to(&target, Some("/ipfs/y"));
    assert_eq!(other.found(), None, "what another content left is not taken");
    drop(other);
    // A node that sends all of it again is right, too.
    let again = Unpacking::to(&target, Some("/ipfs/x"));
    again.run(whole.as_slice()).unwrap();
    assert_eq!(fs::read_to_string(target.join("b")).unwrap(), body);
    assert_eq!(
        (names(dir.path()), names(&target)),
        (vec!["out".into()], vec!["a".into(), "b".into()])
    );
}

#[test]
fn a_target_that_went_away_is_not_gone_on_with() {
    use tar::EntryType::{Directory, Regular};
    let body = "0123456789".repeat(100);
    let whole = archive(&[("d", Directory, ""), ("d/a", Regular, "x"), ("d/b", Regular, &body)]);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    assert!(unpack(&whole[..512 + 1024 + 512 + 300], &target).is_err());
    fs::remove_dir_all(&target).unwrap();
    assert_eq!(Unpacking::to(&target, Some("/ipfs/x")).found(), None);
}

#[test]
fn what_nobody_can_go_on_with_makes_notes_void_and_leaves_nothing() {
    use tar::EntryType::{Directory, Regular};
    let body = "0123456789".repeat(100);
    let whole = archive(&[("d", Directory, ""), ("d/b", Regular, &body)]);
    let cut = &whole[..512 + 512 + 300];
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    assert!(unpack(cut, &target).is_err());
    assert!(Unpacking::to(&target, Some("/ipfs/x")).found().is_some());
    let kept = names(&target);
    assert!(Unpacking::to(&target, None).run(cut).is_err());
    assert_eq!(names(&target), kept, "its own is gone again");
    assert_eq!(names(dir.path()), ["out"]);
    assert_eq!(Unpacking::to(&target, Some("/ipfs/x")).found(), None);
}

#[test]
fn an_archive_that_breaks_off_between_members_is_not_whole() {
    use tar::EntryType::{Directory, Regular};
    let whole = archive(&[("d", Directory, ""), ("d/a", Regular, "x"), ("d/b", Regular, "y")]);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let error = unpack(&whole[..512 + 1024], &target).unwrap_err();
    assert!(format!("{error:?}").contains("ends before its end"), "{error:?}");
}

#[test]
fn a_link_that_was_named_is_written_through_and_permissions_stay() {
    use tar::EntryType::Regular;
    let file = archive(&[("f", Regular, "new")]);
    let dir = tempfile::tempdir().unwrap();
    let (real, named) = (dir.path().join("real"), dir.path().join("named"));
    fs::write(&real, "older and longer").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&real, &named).unwrap();
    unpack(&file, &named).unwrap();
    assert!(named.is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "new");
    unpack(&file, &real).unwrap();
    save(&b"saved"[..], &real).unwrap();
    assert_eq!(fs::read_to_string(&named).unwrap(), "saved");
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn times_are_read_as_posix_writes_them() {
    for (text, meant) in [
        ("0", Some((0, 0))),
        ("12.5", Some((12, 500_000_000))),
        ("-1.5", Some((-2, 500_000_000))),
        ("-9223372036854775808", Some((i64::MIN, 0))),
        ("1.0000000019", Some((1, 1))),
        ("", None),
        ("-", None),
        ("1.x", None),
        ("1.+5", None),
        ("18446744073709551615", None),
        ("99999999999999999999", None),
    ] {
        let found = time(text).map(|at| (at.tv_sec, at.tv_nsec));
        assert_eq!(found, meant, "{text}");
    }
}
