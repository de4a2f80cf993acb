//! Media types: by the ending of a name, and where there is none, by the first bytes.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

/// First bytes that are looked at.
pub const SNIFF_BYTES: usize = 512;
const OCTETS: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";
/// Without a charset: a page says it itself, or the browser finds out.
const HTML: &str = "text/html";

/// Endings and their types. What is not here is told by its bytes.
const ENDINGS: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("car", "application/vnd.ipld.car"),
    ("cbor", "application/cbor"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", HTML),
    ("html", HTML),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jar", "application/java-archive"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("log", TEXT),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("mpeg", "video/mpeg"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("rar", "application/vnd.rar"),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("ts", "video/mp2t"),
    ("ttf", "font/ttf"),
    ("txt", TEXT),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "text/xml; charset=utf-8"),
    ("xz", "application/x-xz"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// How files begin, and at which byte.
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS\0", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\0asm", "application/wasm"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\0\0\x01\0", "image/x-icon"),
];

/// How pages begin, behind blanks and in any case; a blank or `>` follows.
const PAGES: &[&str] = &[
    "<!doctype html",
    "<html",
    "<head",
    "<body",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<br",
    "<p",
    "<!--",
];

/// The type that a name's ending tells.
pub fn by_name(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let at = ENDINGS.binary_search_by(|(known, _)| (*known).cmp(&ending)).ok()?;
    ENDINGS.get(at).map(|(_, media)| *media)
}

/// The type that the first bytes tell, as browsers tell it.
pub fn by_content(head: &[u8]) -> &'static str {
    let begins = |(at, magic, _): &&(usize, &[u8], &str)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
    };
    if let Some((.., media)) = MAGIC.iter().find(begins) {
        return media;
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may have been cut.
        Err(error) if error.error_len().is_none() => {
            let whole = head.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return OCTETS,
    };
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}'))
    {
        return OCTETS;
    }
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let page = |tag: &&&str| {
        let (Some(head), Some(rest)) = (start.get(..tag.len()), start.get(tag.len()..)) else {
            return false;
        };
        let ends = **tag == "<!--" || rest.starts_with([' ', '>', '\n', '\t', '\r']);
        head.eq_ignore_ascii_case(tag) && ends
    };
    if PAGES.iter().any(|tag| page(&tag)) {
        return HTML;
    }
    match start {
        _ if is_json(start, head.len() < SNIFF_BYTES) => "application/json",
        _ if start.starts_with("<svg") => "image/svg+xml",
        _ if start.starts_with("<?xml") && text.contains("<svg") => "image/svg+xml",
        _ if start.starts_with("<?xml") => "text/xml; charset=utf-8",
        _ => TEXT,
    }
}

/// Whether a text is a JSON object or array, or the beginning of one. A text that is shown as JSON
/// runs nothing.
fn is_json(text: &str, whole: bool) -> bool {
    text.starts_with(['{', '['])
        && match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => true,
            Err(error) => error.is_eof() && !whole,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_sorted_for_the_search() {
        assert!(ENDINGS.is_sorted_by_key(|(ending, _)| ending));
    }

    #[test]
    fn names_tell_types() {
        for (name, media) in [
            ("a.HTML", Some("text/html")),
            ("a.tar.gz", Some("application/gzip")),
            (".png", Some("image/png")),
            ("png", None),
            ("a.", None),
            ("a.unheard-of", None),
            ("", None),
        ] {
            assert_eq!(by_name(name), media, "{name}");
        }
    }

    #[test]
    fn first_bytes_tell_types() {
        for (head, media) in [
            (b"\x89PNG\r\n\x1a\n...".as_slice(), "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"%PDF-1.7", "application/pdf"),
            (b"PK\x03\x04", "application/zip"),
            (b"  <!DOCTYPE HTML>", "text/html"),
            (b"<html lang=en>", "text/html"),
            (b"<pre>", "text/plain; charset=utf-8"),
            (b"<article", "text/plain; charset=utf-8"),
            (b"<?xml version='1'?><svg>", "image/svg+xml"),
            (b"<svg xmlns=", "image/svg+xml"),
            (b"hello", "text/plain; charset=utf-8"),
            (b" {\"a\": [1, null]}\n", "application/json"),
            (b"[1]", "application/json"),
            (b"{\"a\": 1", "text/plain; charset=utf-8"),
            (b"{curly}", "text/plain; charset=utf-8"),
            (format!("[{}", "1,".repeat(SNIFF_BYTES / 2)).as_bytes(), "application/json"),
            (b"", "text/plain; charset=utf-8"),
            ("ąę".as_bytes().split_last().unwrap().1, "text/plain; charset=utf-8"),
            (b"\xff\xfe", "application/octet-stream"),
            (b"a\0b", "application/octet-stream"),
        ] {
            assert_eq!(by_content(head), media, "{}", head.escape_ascii());
        }
    }
}
