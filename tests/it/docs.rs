//! The manual, where a machine can check it.

use henge::node::Kind;

const ERRORS: &str = include_str!("../../docs/errors.md");
const STORAGE: &str = include_str!("../../docs/storage.md");

#[test]
fn errors_md_has_a_row_for_every_kind_and_no_other() {
    let rows = ERRORS.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| kind"));
    let named: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    let kinds: Vec<String> = Kind::ALL.iter().map(|kind| format!("{kind:?}")).collect();
    assert_eq!(named, kinds);
}

#[test]
fn storage_md_names_every_family_and_the_layout() {
    for family in henge::store::backend::Family::ALL {
        assert!(STORAGE.contains(&format!("| `{}` |", family.name())), "{}", family.name());
    }
    assert!(STORAGE.contains(&format!("Layout {}.", henge::store::keys::LAYOUT)));
    assert_eq!(henge::store::keys::LAYOUT, henge::config::repo::LAYOUT);
}
