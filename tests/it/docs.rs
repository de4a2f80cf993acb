//! The manual, where a machine can check it.

use henge::node::Kind;

const ERRORS: &str = include_str!("../../docs/errors.md");
const INTEROP: &str = include_str!("../../docs/interop.md");
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

#[test]
fn interop_md_names_tests_that_are_there() {
    let sources = crate::tidy::texts();
    let words = INTEROP.split('`').skip(1).step_by(2);
    let named: Vec<&str> = words.filter(|word| word.matches('_').count() > 2).collect();
    assert!(named.len() > 30, "{named:?}");
    for test in named {
        let function = format!("fn {test}()");
        assert!(sources.iter().any(|text| text.contains(&function)), "{test} is gone");
    }
    // And the other way round: each trap or incident that is tested has its row.
    // Not spelled in one piece: this file is a source, too.
    for kind in ["trap_", "incident_"] {
        let beginning = ["fn ", kind].concat();
        for rest in sources.iter().flat_map(|text| text.split(&beginning).skip(1)) {
            let name = rest.split('(').next().unwrap_or_default();
            assert!(INTEROP.contains(&format!("`{kind}{name}`")), "{kind}{name} is not told of");
        }
    }
}
