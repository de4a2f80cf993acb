//! What an import makes of entries in any order.

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::store::Store;

type Made = (Vec<&'static str>, Option<Vec<u8>>);

fn entries(made: &[Made]) -> Source {
    let entry = |(path, content): &Made| {
        let path = path.iter().map(|name| Bytes::from_static(name.as_bytes())).collect();
        let content = match content.clone() {
            Some(bytes) => Content::File(Box::new(io::Cursor::new(bytes))),
            None => Content::Directory,
        };
        Ok(Entry { path, content, meta: Meta::NONE })
    };
    Box::new(made.iter().map(entry).collect::<Vec<_>>().into_iter())
}

/// The roots, and the paths told of in their order.
fn import(made: &[Made], wrap: bool) -> Result<(Vec<Child>, Vec<String>), ImportError> {
    let core = Store::in_memory().unwrap().core();
    let mut writer = core.writer();
    let mut told = Vec::new();
    let mut listen = |event| {
        if let Event::Added { path, .. } = event {
            told.push(shown(&path));
        }
        Ok(())
    };
    let roots =
        Importer::new(Profile::V0_2015, &mut writer, true, Shape { wrap, ..Shape::default() })?
            .run(entries(made), &mut listen)?;
    Ok((roots, told))
}

fn file(path: &[&'static str]) -> Made {
    (path.to_vec(), Some(path.concat().into_bytes()))
}

#[test]
fn the_order_of_entries_decides_nothing() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let names = ["a", "b", "c", "d", "e"];
    let mut made: Vec<Made> = vec![(vec!["a", "empty"], None)];
    for first in names {
        for second in names {
            let third = names[rng.random_range(0..names.len())];
            made.push(file(&["r", first, second, third]));
            made.push((
                vec!["r", "large", first, second],
                Some(vec![7; rng.random_range(0..999_999)]),
            ));
        }
    }
    let (wanted, told) = import(&made, true).unwrap();
    // 50 files; 25 and 5 folders that hold them, 5 large ones, "large", "r", "a", "empty", the root.
    assert_eq!(told.len(), 50 + 25 + 5 + 5 + 5, "{told:?}");
    made.shuffle(&mut rng);
    assert_eq!(import(&made, true).unwrap().0, wanted);
}

/// The last of each folder comes when its folder is finished: plain ones, spread ones and those above
/// them are read back.
#[test]
fn what_comes_late_to_a_finished_folder_is_in_it() {
    let name = |n: usize| -> &'static str { format!("{n:0300}").leak() };
    let mut made = Vec::new();
    for folder in ["plain", "spread"] {
        made.push((vec!["r", folder], None));
        let count = if folder == "plain" { 5 } else { 1500 };
        made.extend((0..count).map(|n| file(&["r", folder, name(n)])));
        made.extend((0..3).map(|n| file(&["r", folder, "below", name(n)])));
    }
    made.push(file(&["z"]));
    let late = [["r", "plain", "late"], ["r", "spread", "late"]].map(|path| file(&path));
    let lower = file(&["r", "spread", "below", "late"]);
    let all: Vec<Made> = made.iter().chain(&late).chain([&lower]).cloned().collect();
    let mut sorted = all.clone();
    sorted.sort();
    let (roots, told) = import(&all, true).unwrap();
    let (wanted, in_order) = import(&sorted, true).unwrap();
    assert_eq!(roots, wanted);
    let folders = |told: &[String]| told[told.len() - 6..].to_vec();
    assert_eq!(folders(&told), folders(&in_order));
    assert_eq!(folders(&told), ["r/plain/below", "r/plain", "r/spread/below", "r/spread", "r", ""]);
}

#[test]
fn what_is_there_twice_is_refused_by_its_path() {
    let twice = |made: &[Made], wrap| import(made, wrap).unwrap_err().to_string();
    let both = [file(&["a", "b"]), file(&["a", "c"]), file(&["a", "b"])];
    for wrap in [true, false] {
        assert_eq!(twice(&both, wrap), r#""a/b" is there twice"#);
        let below = [file(&["a", "b"]), file(&["a", "b", "c"])];
        assert_eq!(twice(&below, wrap), r#""a/b" is there twice"#);
    }
    assert_eq!(twice(&[file(&["a"]), file(&["a", "b"])], false), r#""a/b" is there twice"#);
}

#[test]
fn each_root_stands_alone_and_is_told_in_its_turn() {
    let made = [file(&["x"]), (vec!["d"], None), file(&["d", "y"]), file(&["x"]), file(&["d"])];
    let (roots, told) = import(&made, false).unwrap();
    assert_eq!(told, ["x", "d/y", "d", "x", "d"]);
    assert_eq!(roots.len(), 4);
    assert_eq!(roots[0], roots[2]);
    assert_ne!(roots[1], roots[3]);
}
