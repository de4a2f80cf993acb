//! `henge config`.

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line};
use crate::config::command::render;

/// Read or change the configuration; `config show` prints all of it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Config {
    /// The key, as Datastore.StorageMax, or `show`.
    #[arg(value_name = "KEY")]
    key: String,
    /// The value to set; without it the key is printed.
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<String>,
    /// The value is JSON.
    #[arg(long)]
    json: bool,
    /// The value is true or false.
    #[arg(long)]
    bool: bool,
}

const EXAMPLES: &str = "\
Examples:
  henge config Datastore.StorageMax          print a value
  henge config Datastore.StorageMax 200GB    set it
  henge config --json Import.CidVersion 1    set what is no text
  henge config show                          everything but the secrets";

impl Config {
    /// Prints a value; says nothing when one was set.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let show = self.key == "show" && self.value.is_none();
        let set = self.value.is_some();
        let ask = match show {
            true => Ask::new("config/show"),
            false => {
                let ask = Ask::new("config").arg(self.key).option("json", self.json);
                let ask = ask.option("bool", self.bool);
                self.value.into_iter().fold(ask, Ask::arg)
            }
        };
        link.each(ask, |reply| {
            if link.prints_json() {
                return output::json(reply);
            }
            let value = if show { reply } else { reply.get("Value").unwrap_or(&Value::Null) };
            match set {
                true => Ok(()),
                false => line(render(value).map_err(|e| CliError::new(e.to_string()))?),
            }
        })
        .await
    }
}
