//! `cid` and `multibase`: words about words, for which no repository is needed.

use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Body, Error, Reply, body};
use crate::ipld::describe::{self, Conversion, Parts};
use crate::ipld::{multibase, multicodec};
use crate::task;

/// Most bytes taken for `multibase`.
const TEXT_MAX_BYTES: u64 = 16 << 20;
/// The same for bases whose work grows with the square of the length.
const SLOW_MAX_BYTES: usize = 64 << 10;

#[derive(Default, Deserialize)]
#[serde(default)]
struct FormatOptions {
    f: Option<String>,
    v: String,
    mc: String,
    b: String,
}

/// CIDs converted and printed; one that cannot be does not stop the others.
pub fn format(args: &Args) -> Result<Reply, Error> {
    let options: FormatOptions = args.options()?;
    let shape = options.f.as_deref().unwrap_or("%s");
    convert(args, Conversion::new(shape, &options.v, &options.mc, &options.b))
}

/// CIDs as CIDv1 in base32.
pub fn base32(args: &Args) -> Result<Reply, Error> {
    convert(args, Conversion::new("%s", "1", "", "base32"))
}

fn convert(args: &Args, how: Result<Conversion, String>) -> Result<Reply, Error> {
    let how = how.map_err(failed)?;
    let lines: Vec<Result<Value, Error>> = args
        .some("cid")?
        .iter()
        .map(|text| {
            let (said, error) = match how.apply(text) {
                Ok(said) => (said, String::new()),
                Err(error) => (String::new(), error),
            };
            Ok(json!({ "CidStr": text, "Formatted": said, "ErrorMsg": error }))
        })
        .collect();
    Ok(Reply::Lines(Box::pin(stream::iter(lines))))
}

/// A CID taken apart.
pub fn inspect(args: &Args) -> Result<Reply, Error> {
    let text = args.one("cid")?;
    Ok(Reply::Value(match describe::inspect(text) {
        Ok(parts) => shown(text, &parts),
        Err(error) => json!({
            "cid": text,
            "version": 0,
            "multibase": { "prefix": "", "name": "" },
            "multicodec": { "code": 0, "name": "" },
            "multihash": { "code": 0, "name": "", "length": 0, "digest": "" },
            "cidV1": "",
            "errorMsg": error,
        }),
    }))
}

fn shown(text: &str, parts: &Parts) -> Value {
    let digest = parts.hash.digest().iter().map(|byte| format!("{byte:02x}"));
    let mut shown = json!({
        "cid": text,
        "version": parts.version,
        "multibase": { "prefix": parts.base.code(), "name": multibase::name(parts.base) },
        "multicodec": { "code": parts.codec, "name": parts.codec_name },
        "multihash": {
            "code": parts.hash.code(),
            "name": parts.hash_name,
            "length": parts.hash.size(),
            "digest": digest.collect::<String>(),
        },
    });
    if let Value::Object(fields) = &mut shown {
        if let Some(v0) = &parts.v0 {
            fields.insert("cidV0".into(), v0.as_str().into());
        }
        fields.insert("cidV1".into(), parts.v1.as_str().into());
    }
    shown
}

/// The bases, in Kubo's order.
pub fn bases() -> Reply {
    let rows = multibase::TABLE.iter().filter(|row| row.listed);
    named(rows.map(|row| (u64::from(u32::from(row.code)), row.name)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CodecsOptions {
    #[serde(alias = "s")]
    supported: bool,
}

/// The codecs of IPLD.
pub fn codecs(args: &Args) -> Result<Reply, Error> {
    let CodecsOptions { supported } = args.options()?;
    let rows = multicodec::CODECS.iter().copied();
    Ok(named(rows.filter(|(code, _)| !supported || multicodec::is_supported(*code))))
}

/// The hash functions under which blocks are taken.
pub fn hashes() -> Reply {
    let rows = multicodec::hashes();
    named(rows.iter().map(|(code, name)| (*code, name.as_str())))
}

fn named<'a>(rows: impl Iterator<Item = (u64, &'a str)>) -> Reply {
    let rows = rows.map(|(code, name)| json!({ "Code": code, "Name": name }));
    Reply::Value(Value::Array(rows.collect()))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BaseOptions {
    b: Option<String>,
}

/// A file as text in a base.
pub async fn encode(args: Args, body: Body) -> Result<Reply, Error> {
    let base = base_of(&args)?;
    let data = body::file(body, TEXT_MAX_BYTES).await?;
    in_base(base, data).await
}

/// The bytes of a file that holds text in any base.
pub async fn decode(body: Body) -> Result<Reply, Error> {
    let text = body::file(body, TEXT_MAX_BYTES).await?;
    Ok(Reply::whole(decoded(text).await?.into()))
}

/// A file's text in another base.
pub async fn transcode(args: Args, body: Body) -> Result<Reply, Error> {
    let base = base_of(&args)?;
    let text = body::file(body, TEXT_MAX_BYTES).await?;
    in_base(base, decoded(text).await?).await
}

fn base_of(args: &Args) -> Result<multibase::Base, Error> {
    let BaseOptions { b } = args.options()?;
    let name = b.as_deref().unwrap_or("base64url");
    let unknown = || failed(format!("unsupported multibase encoding: {name:?}"));
    multibase::by_name(name).ok_or_else(unknown)
}

async fn in_base(base: multibase::Base, data: Vec<u8>) -> Result<Reply, Error> {
    bounded(base, data.len())?;
    let text = task::blocking(move || multibase::encode(base, &data)).await;
    Ok(Reply::whole(text.into()))
}

async fn decoded(text: Vec<u8>) -> Result<Vec<u8>, Error> {
    let refused = |cause: String| failed(format!("failed to decode multibase: {cause}"));
    let text = String::from_utf8(text).map_err(|e| refused(e.to_string()))?;
    if let Some(base) = multibase::of_cid(&text) {
        bounded(base, text.len())?;
    }
    let read = task::blocking(move || multibase::decode(&text)).await;
    read.map(|(_, bytes)| bytes).map_err(refused)
}

fn bounded(base: multibase::Base, len: usize) -> Result<(), Error> {
    match multibase::is_slow(base) && len > SLOW_MAX_BYTES {
        true => Err(failed(format!(
            "{} takes at most {SLOW_MAX_BYTES} bytes: its work grows with their square",
            multibase::name(base)
        ))),
        false => Ok(()),
    }
}

fn failed(message: impl Into<String>) -> Error {
    Error { message: message.into(), client: false }
}
