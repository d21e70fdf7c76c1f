//! Requests to the Hub, redirected by our own hand: hf-hub sends its token wherever an answer points.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use hf_hub::Repo;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

use super::download::{Beat, Cause};

/// Redirections of one request.
const MAX_REDIRECTS: usize = 10;

/// What the Hub says about a file.
pub(super) struct Described {
    pub commit: String,
    pub etag: String,
    pub size: u64,
}

/// The Hub at one address.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(endpoint: &str, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            // What began encrypted goes on so.
            .https_only(endpoint.starts_with("https://"))
            .accept_encoding("identity")
            .user_agent(concat!("train/", env!("CARGO_PKG_VERSION")));
        let endpoint = endpoint.trim_end_matches('/').into();
        Self { agent: config.build().into(), endpoint, token }
    }

    pub(super) fn url(&self, repo: &Repo, filename: &str) -> String {
        format!("{}/{}/resolve/{}/{filename}", self.endpoint, repo.url(), repo.url_revision())
    }

    /// Commit, hash and size of the file at `url`.
    pub(super) fn describe(&self, url: &str) -> Result<Described, Cause> {
        let mut named = None;
        let response = self.get(url, "bytes=0-0", |headers| {
            let commit = text(headers, "x-repo-commit");
            let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
            if named.is_none() {
                named = commit.zip(etag.map(|etag| etag.replace('"', "")));
            }
        })?;
        let range = text(response.headers(), "content-range");
        let size = range.as_deref().and_then(|range| range.rsplit('/').next()?.parse().ok());
        match (named, size) {
            (Some((commit, etag)), Some(size)) => Ok(Described { commit, etag, size }),
            (None, _) => Err(Cause::Answer("without the headers x-repo-commit and etag".into())),
            (_, None) => Err(Cause::Answer("without the header content-range and a size in it".into())),
        }
    }

    /// Fetches the rest of the file at `url` into `part`, which holds its beginning; no more than `size` bytes.
    pub(super) fn fetch<T>(&self, url: &str, part: &Path, size: u64, beat: &Beat<T>) -> Result<(), Cause> {
        let mut file = File::options().append(true).create(true).open(part)?;
        let mut start = file.seek(SeekFrom::End(0))?;
        if start == size {
            return Ok(());
        }
        if start > size {
            file.set_len(0)?;
            start = 0;
        }
        let response = self.get(url, &format!("bytes={start}-"), |_| ())?;
        if start > 0 && response.status() != 206 {
            // The whole file comes again.
            file.set_len(0)?;
            start = 0;
        }
        beat.begins(size, start);
        let mut body = response.into_body().into_reader().take(size - start);
        let mut piece = vec![0; 1 << 16];
        loop {
            match body.read(&mut piece)? {
                0 => return Ok(file.sync_all()?),
                count => {
                    file.write_all(&piece[..count])?;
                    beat.comes(count as u64);
                }
            }
        }
    }

    /// The answer at the end of all redirections; `see` gets the headers of each answer of the Hub's own host, which
    /// alone is sent the token.
    fn get(&self, url: &str, range: &str, mut see: impl FnMut(&HeaderMap)) -> Result<Response<Body>, Cause> {
        let mut place = uri(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let own = origin(&place) == origin(&uri(&self.endpoint)?);
            let mut request = self.agent.get(&place).header("Range", range);
            if let (Some(token), true) = (&self.token, own) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call()?;
            if own {
                see(response.headers());
            }
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = text(response.headers(), "location");
            let location = location.ok_or_else(|| Cause::Answer("with a redirection to nowhere".into()))?;
            place = redirected(&place, &location)?;
        }
        Err(Cause::Answer(format!("with more than {MAX_REDIRECTS} redirections")))
    }
}

fn uri(text: &str) -> Result<Uri, Cause> {
    text.parse().map_err(|_| Cause::Answer(format!("with '{text}', which is no address")))
}

/// Who is asked: scheme, host and port.
fn origin(place: &Uri) -> (Option<String>, Option<String>, Option<u16>) {
    let scheme = place.scheme_str().map(str::to_lowercase);
    let usual = if scheme.as_deref() == Some("https") { 443 } else { 80 };
    (scheme, place.host().map(str::to_lowercase), place.port_u16().or(Some(usual)))
}

/// Where `location` leads from `place`: to another address, or to a path of the same host.
fn redirected(place: &Uri, location: &str) -> Result<Uri, Cause> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return uri(location);
    }
    if !location.starts_with('/') || location.starts_with("//") {
        return Err(Cause::Answer(format!("with a redirection to '{location}'")));
    }
    let (scheme, host) = (place.scheme_str().unwrap_or_default(), place.authority());
    uri(&format!("{scheme}://{}{location}", host.map_or("", |host| host.as_str())))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_string)
}

/// Waits until no other process fetches the same file; the lock lasts as long as the file that is returned.
pub(super) fn lock(blob: &Path) -> io::Result<File> {
    let lock = File::create(blob.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_leads_to_an_address_or_along_the_same_host() {
        let place = "https://hub.example:8443/a/b".parse().unwrap();
        let leads = |location| redirected(&place, location).ok().map(|uri| uri.to_string());
        assert_eq!(leads("/c?d=1").unwrap(), "https://hub.example:8443/c?d=1");
        assert_eq!(leads("https://cdn.example/e").unwrap(), "https://cdn.example/e");
        for nowhere in ["//evil.example/x", "c", "ftp://x/y", "file:///etc/passwd", "", "https://"] {
            assert_eq!(leads(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn the_host_alone_says_who_is_asked() {
        let same = |a: &str, b: &str| origin(&a.parse().unwrap()) == origin(&b.parse().unwrap());
        assert!(same("https://hub.example/a", "https://HUB.example:443/b?c"));
        for other in [
            "http://hub.example/a",
            "https://hub.example:444/a",
            "https://hub.example.evil/a",
            "https://hub.example@evil.example/a",
            "https://evil.example/hub.example",
        ] {
            assert!(!same("https://hub.example/a", other), "{other}");
        }
    }
}
