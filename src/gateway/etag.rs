//! ETags: what names a reply, and whether a client has it already.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use data_encoding::BASE32HEX_NOPAD;
use sha2::{Digest as _, Sha256};

use super::extent::CarForm;
use super::request::Format;
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;

/// Version of the generated pages: changes whenever their HTML does, so that caches notice.
const LISTING: &str = "henge1";

/// The ETag of what a CID and a format make; data has a format without being asked for it. An
/// archive is written anew each time, so its tag is a weak one.
pub fn of(cid: &Cid, format: Option<Format>) -> String {
    let ending = match format.or_else(|| Format::of_codec(cid.codec())) {
        None => return format!("\"{cid}\""),
        Some(format) => format.ending(),
    };
    let weak = format == Some(Format::Tar);
    format!("{}\"{cid}.{ending}\"", if weak { "W/" } else { "" })
}

/// The weak ETag of a CAR: it names the path, whose blocks are in it, and what is sent of the DAG.
pub fn of_car(path: &Path, form: &CarForm) -> String {
    let digest = Sha256::digest(format!("{path}\0{form:?}"));
    let (short, _) = digest.split_at(8);
    let root = path.cid().map(Cid::to_string).unwrap_or_default();
    format!("W/\"{root}.car.{}\"", BASE32HEX_NOPAD.encode(short).to_ascii_lowercase())
}

/// The ETag of a folder's generated listing.
pub fn of_listing(cid: &Cid) -> String {
    format!("\"DirIndex-{LISTING}_CID-{cid}\"")
}

/// The ETag of a page that shows data.
pub fn of_data_page(cid: &Cid) -> String {
    format!("\"DagIndex-{LISTING}_CID-{cid}\"")
}

/// Whether `If-None-Match` names the tag: compared weakly, `*` names all.
pub fn is_known(header: &str, tag: &str) -> bool {
    fn bare(tag: &str) -> &str {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag)
    }
    header.split(',').any(|given| given.trim() == "*" || bare(given) == bare(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    const DIR: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

    #[test]
    fn tags_name_cid_and_format() {
        let dir = cid::parse(DIR).unwrap();
        for (format, tag) in [
            (None, format!("\"{DIR}\"")),
            (Some(Format::Raw), format!("\"{DIR}.raw\"")),
            (Some(Format::Tar), format!("W/\"{DIR}.x-tar\"")),
            (Some(Format::DagJson), format!("\"{DIR}.dag-json\"")),
        ] {
            assert_eq!(of(&dir, format), tag);
        }
        assert_eq!(of_listing(&dir), format!("\"DirIndex-{LISTING}_CID-{DIR}\""));
    }

    #[test]
    fn known_tags_are_found_in_lists() {
        for (header, known) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"x\", \"y\" , W/\"a\"", true),
            ("*", true),
            ("\"x\", *", true),
            ("a", false),
            ("\"A\"", false),
            ("\"ab\"", false),
            ("", false),
            (",,", false),
        ] {
            assert_eq!(is_known(header, "\"a\""), known, "{header}");
            assert_eq!(is_known(header, "W/\"a\""), known, "{header}");
        }
    }
}
