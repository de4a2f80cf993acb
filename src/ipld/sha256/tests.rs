//! Each way against `sha2`, with which it shares no more than the end of a message.

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// No way, each alone, and all.
fn ways() -> Vec<(&'static str, Ways)> {
    let none = Ways { sixteen: None, four: None, two: None };
    let all = Ways::here();
    vec![
        ("none", none),
        ("sixteen", Ways { sixteen: all.sixteen, ..none }),
        ("four", Ways { four: all.four, ..none }),
        ("two", Ways { two: all.two, ..none }),
        ("all", all),
    ]
}

/// Checks the digests of messages by every way.
fn check(messages: &[Vec<u8>], of: &str) {
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let truth: Vec<Digest> =
        messages.iter().map(|message| Sha256::digest(message).into()).collect();
    for (name, ways) in ways() {
        let found = ways.digests(&messages);
        let wrong = truth.iter().zip(&found).position(|(truth, found)| truth != found);
        assert_eq!(wrong, None, "{name}, {of}, lengths {:?}", messages.iter().map(|m| m.len()));
        assert_eq!(found.len(), truth.len());
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn what_the_processor_can_is_used() {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags = told.lines().find(|line| line.starts_with("flags")).unwrap();
    let has = |name: &str| flags.split_whitespace().any(|flag| flag == name);
    let Ways { sixteen, four, two } = Ways::here();
    assert_eq!(sixteen.is_some(), has("avx512f") && has("avx512bw"));
    assert_eq!((four.is_some(), two.is_some()), (has("sha_ni"), has("sha_ni")));
}

#[test]
fn every_length_is_padded_as_alone() {
    // Around each place where a chunk, or the room for the length in it, ends.
    for length in 0..400_usize {
        let message = |n: usize| (0..length).map(|at| (at * 31 + n * 7) as u8).collect();
        check(&(0..17).map(message).collect::<Vec<_>>(), "one length");
    }
}

#[test]
fn messages_of_any_number_and_length_are_hashed_as_alone() {
    for seed in 0..200_u64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let most = [1, 64, 300, 5000, 70_000][random.random_range(0..5)];
        let base = random.random_range(0..=most);
        let spread = [0, 1, 64, most][random.random_range(0..4)];
        let messages: Vec<Vec<u8>> = (0..random.random_range(0..70))
            .map(|_| {
                let mut message = vec![0; base + random.random_range(0..=spread)];
                random.fill_bytes(&mut message);
                message
            })
            .collect();
        check(&messages, &format!("seed {seed}"));
    }
}

#[test]
fn digests_of_the_standard_s_examples() {
    // FIPS 180-4's examples, and a million times the letter a, which no way may cut short.
    let hex = |digest: &Digest| data_encoding::HEXLOWER.encode(digest);
    let many = vec![b'a'; 1_000_000];
    let examples: [(&[u8], &str); 4] = [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (&many, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ];
    for (message, digest) in examples {
        for (name, ways) in ways() {
            let found = ways.digests(&[message; 33]);
            assert!(found.iter().all(|found| hex(found) == digest), "{name}");
        }
    }
}
