//! `cat` and `get`: content as bytes.

use serde::Deserialize;

use super::{Args, Error, Reply, Router};
use crate::ipld::multibase::{self, Base};
use crate::ipld::path::Path;
use crate::node::What;
use crate::node::cat::CatOptions;
use crate::node::get::Resume;

/// The content of files.
pub async fn cat(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: CatOptions = args.options()?;
    let paths = args.paths("ipfs-path")?;
    let (length, content) = router.node.cat(&paths, &options).await?;
    Ok(Reply::bytes(content, Some(length)))
}

/// Options of `get` that shape the reply; where it is written is the client's affair.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct GetShape {
    #[serde(alias = "a")]
    archive: bool,
    #[serde(alias = "C")]
    compress: bool,
    #[serde(alias = "l")]
    compression_level: Option<i64>,
    /// The member to begin with, its name in multibase: it may be any bytes. Ours alone.
    resume: Option<String>,
    /// Bytes of that member's content to leave out. Ours alone.
    skip: u64,
}

impl GetShape {
    fn resume(&self) -> Result<Option<Resume>, Error> {
        let Some(text) = &self.resume else { return Ok(None) };
        match multibase::decode(text) {
            // Others would take their time over a long text.
            Ok((Base::Base64Url, member)) => Ok(Some(Resume { member, skip: self.skip })),
            _ => Err(Error::refused("invalid value for \"resume\": it is no base64url")),
        }
    }
}

/// A file or folder as TAR; a lone file that is compressed but not archived as itself.
pub async fn get(router: &Router, args: Args) -> Result<Reply, Error> {
    let text = args.one("ipfs-path")?;
    let shape: GetShape = args.options()?;
    let path = Path::parse(text)?;
    let content = match shape.compress && !shape.archive {
        true => {
            let place = router.node.place(&path).await?;
            if place.what == What::Directory {
                let text = "file is not regular: a folder is compressed as an archive (--archive)";
                return Err(Error::invalid(text));
            }
            router.node.cat(&[path], &CatOptions::default()).await?.1
        }
        false => router.node.get(&path, &path.file_name(), shape.resume()?).await?,
    };
    let plain = Reply::bytes(content, None);
    match shape.compress {
        false => Ok(plain),
        true => plain.gzip(shape.compression_level.unwrap_or(6)),
    }
}
