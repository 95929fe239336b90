//! The keys of a command: arguments, the lines of a file, or all keys of origin with a prefix.

use std::path::PathBuf;

use anystorage::{Error, Key};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use crate::exit::Failure;
use crate::mirror_client::Client;
use crate::verbosity::note;

/// The keys that a command handles.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true)]
pub(super) struct KeyArgs {
    /// A key, as in the storage of origin; may be repeated
    #[arg(value_name = "KEY", conflicts_with_all = ["prefix", "list"])]
    keys: Vec<String>,
    /// All keys that begin with this text; "" matches all keys
    #[arg(long, value_name = "PREFIX", conflicts_with = "list")]
    pub(super) prefix: Option<String>,
    /// A file with a key on each line, or - for standard input
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
}

pub(super) type Keys<'a> = BoxStream<'a, Result<Key, Failure>>;

impl KeyArgs {
    /// Returns the keys of the arguments or of the file.
    pub(super) async fn named(&self) -> Result<Keys<'static>, Failure> {
        let Some(list) = &self.list else {
            // A wrong argument fails before the first request.
            let keys: Result<Vec<_>, _> = self.keys.iter().map(|text| key(text)).collect();
            return Ok(stream::iter(keys?.into_iter().map(Ok)).boxed());
        };
        if list.as_os_str() == "-" {
            return Ok(lines("-".to_owned(), BufReader::new(tokio::io::stdin())));
        }
        let shown = list.display().to_string();
        let file = tokio::fs::File::open(list).await;
        let file = file.map_err(|error| Failure::local(&shown, &error.into()))?;
        Ok(lines(shown, BufReader::new(file)))
    }
}

fn key(text: &str) -> Result<Key, Failure> {
    Key::new(text).map_err(|error| Failure::usage(format!("{text}: {}", error.message())))
}

/// Returns the keys of a file. Skips empty lines. A failed read is the last item.
fn lines(shown: String, reader: impl AsyncBufRead + Unpin + Send + 'static) -> Keys<'static> {
    stream::try_unfold(reader.lines(), move |mut lines| {
        let shown = shown.clone();
        async move {
            let line = lines.next_line().await;
            let line = line.map_err(|error| Failure::local(&shown, &Error::from(error)))?;
            Ok(line.map(|line| (line, lines)))
        }
    })
    .try_filter(|line| std::future::ready(!line.trim().is_empty()))
    .map(|line| key(line?.trim_end_matches('\r')))
    .boxed()
}

/// Lists the keys of origin through the mirror, one page after the other.
pub(super) fn of_origin<'a>(client: &'a Client, prefix: &str) -> Keys<'a> {
    let prefix = prefix.to_owned();
    let pages = stream::try_unfold(Some(String::new()), move |after| {
        let prefix = prefix.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let mut url = client.route("prefetch", None);
            url.query_pairs_mut().append_pair("prefix", &prefix).append_pair("after", &after);
            let mut page = client.get(url).await?;
            let skipped = page["skipped"].as_u64().unwrap_or_default();
            if skipped > 0 {
                note(&format!("{skipped} names of origin are not valid keys, and are skipped"));
            }
            let keys: Vec<String> = serde_json::from_value(page["keys"].take()).unwrap_or_default();
            // A page that does not advance would be requested forever.
            let next = page["next"].as_str().filter(|next| *next > after.as_str());
            Ok::<_, Failure>(Some((keys, next.map(str::to_owned))))
        }
    });
    pages.map_ok(|keys| stream::iter(keys.into_iter().map(|text| key(&text)))).try_flatten().boxed()
}
