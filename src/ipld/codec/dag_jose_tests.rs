//! The specification's fixtures, and objects that are none.

use std::collections::BTreeMap;

use super::super::dag_json;
use super::*;
use crate::ipld::cid::codec;

/// The data hunks of the fixture file, by case and by hunk.
fn cases() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = include_str!("../../../tests/fixtures/jose/index.md");
    let mut cases: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for part in text.split("[testmark]:# (").skip(1) {
        let (name, rest) = part.split_once(')').unwrap();
        let (case, hunk) = name.split_once('/').unwrap();
        let fenced = rest.split("```").nth(1).unwrap();
        let body = fenced.split_once('\n').unwrap().1;
        cases.entry(case.to_owned()).or_default().insert(hunk.to_owned(), body.to_owned());
    }
    cases
}

fn json(text: &str) -> Value {
    dag_json::decode(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn block_of(case: &BTreeMap<String, String>) -> Bytes {
    let hex: String = case["serial.dag-jose.hex"].split_whitespace().collect();
    data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().into()
}

/// Canonical dag-json, which is the same for the same value whatever the order of its entries.
fn shown(value: &Value) -> String {
    String::from_utf8(dag_json::encode(value).unwrap()).unwrap()
}

#[test]
fn the_fixtures_of_the_specification_hold() {
    let cases = cases();
    for (name, case) in &cases {
        let block = block_of(case);
        // Later than what is deployed: a payload that is JSON, not a CID.
        if name == "jws-signature-pld" {
            assert!(decode(&block).unwrap_err().to_string().contains("a payload is a CID"));
            continue;
        }
        let value = decode(&block).unwrap_or_else(|e| panic!("{name}: {e}"));
        let told = json(&case["datamodel.dag-json.pretty"]);
        assert_eq!(shown(&value), shown(&told), "{name}");
        assert_eq!(encode(&value).unwrap(), block, "{name}");
        assert_eq!(encode(&told).unwrap(), block, "{name} from its JSON");
        let hash = cid::digest(cid::hash::SHA2_256, &block).unwrap();
        let named = Cid::new_v1(codec::DAG_JOSE, hash).to_string();
        assert_eq!(named, case["serial.dag-jose.cid"].trim(), "{name}");
        let mut seen = Vec::new();
        links(&block, &mut |cid| seen.push(cid)).unwrap();
        assert_eq!(seen, value.links(), "{name}");
        assert_eq!(seen.len(), usize::from(name.starts_with("jws")), "{name}");
    }
    assert_eq!(cases.len(), 10);
}

#[test]
fn the_flattened_form_becomes_the_general_one() {
    let cases = cases();
    let general = &cases["jws"];
    let text = &general["datamodel.dag-json.pretty"];
    let flat = text.replace("\"signatures\": [", "").replace("\t\t{", "").replace("\t\t}\n\t]", "");
    let flat = json(&flat);
    assert!(flat.get("signature").is_some() && flat.get("signatures").is_none());
    assert_eq!(encode(&flat).unwrap(), block_of(general));
    let flat =
        json(r#"{"ciphertext":"AA","encrypted_key":"AQ","header":{"a":1},"protected":"Ag"}"#);
    let value = decode(&encode(&flat).unwrap().into()).unwrap();
    let told = r#"{"ciphertext":"AA","protected":"Ag","recipients":[{"encrypted_key":"AQ","header":{"a":1}}]}"#;
    assert_eq!(shown(&value), told);
    for none in
        [r#"{"ciphertext":"AA","recipients":[]}"#, r#"{"ciphertext":"AA","recipients":[{}]}"#]
    {
        let value = decode(&encode(&json(none)).unwrap().into()).unwrap();
        assert_eq!(shown(&value), r#"{"ciphertext":"AA"}"#);
    }
}

#[test]
fn what_is_no_jose_object_is_not_written() {
    for (text, cause) in [
        ("[]", "a JOSE object is a map"),
        ("{}", "a JOSE object has a payload or a ciphertext"),
        (r#"{"ciphertext":"AA","payload":"AVUAAA"}"#, "not both"),
        (r#"{"payload":"AVUAAA"}"#, "signatures/0: it has no signature"),
        (r#"{"payload":"AA","signature":"AA"}"#, "payload: a payload is a CID"),
        (r#"{"payload":"AVUAAA==","signature":"AA"}"#, "payload: no base64url"),
        (r#"{"payload":{"/":{"bytes":"AVUAAA"}},"signature":"AA"}"#, "payload: base64url is due"),
        (r#"{"payload":"AVUAAA","signature":"AA","signatures":[]}"#, "signature: no field"),
        (
            r#"{"payload":"AVUAAA","signatures":[{"signature":7}]}"#,
            "signatures/0/signature: base64",
        ),
        (r#"{"payload":"AVUAAA","signatures":[7]}"#, "signatures/0: a map is due"),
        (r#"{"payload":"AVUAAA","signatures":{}}"#, "signatures: a list is due"),
        (r#"{"link":{"/":"bafkqaaa"},"payload":"AVUAAUE","signature":"AA"}"#, "link: it is not"),
        (r#"{"ciphertext":"AA","link":{"/":"bafkqaaa"}}"#, "link: no field"),
        (r#"{"ciphertext":"AA","unprotected":"AA"}"#, "unprotected: a map is due"),
    ] {
        let told = encode(&json(text)).unwrap_err();
        assert!(told.contains(cause), "{text}: {told}");
    }
    let linked = r#"{"link":{"/":"bafkqaaa"},"payload":"AVUAAA","signature":"AA"}"#;
    assert!(encode(&json(linked)).is_ok());
}

#[test]
fn blocks_that_are_none_are_refused_with_offset_and_cause() {
    for (block, told) in [
        (&b"\xf6"[..], "a JOSE object is a map, at byte 0"),
        (b"\xa1\x67payload\x61a", "bytes are due, at byte 9"),
        (b"\xa1\x67payload\x41\x00", "a payload is a CID"),
        (b"\xa2\x61x\x01\x67payload\x44\x01\x55\0\0", "no field of that name is due, at byte 3"),
        (
            b"\xa2\x67payload\x44\x01\x55\0\0\x6asignatures\x82\xa1\x69signature\x40\xa0",
            "it has no signature, at byte 38",
        ),
        (b"\xa1\x6aciphertext\x41", "the block ends too early for the value at byte 12"),
    ] {
        let error = decode(&Bytes::from_static(block)).unwrap_err().to_string();
        assert!(error.contains(told), "{block:x?}: {error}");
    }
}
