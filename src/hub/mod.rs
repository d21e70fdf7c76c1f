//! Files of the Hugging Face Hub through hf-hub: into its shared cache, checked, and pinned to a commit.
//!
//! Layer 1; the one place that knows hf-hub. The crate downloads and lays out the cache. What it leaves open is
//! decided here: which names are harmless, whether a file is what its hash says, what is tried again, how long
//! silence is borne, and what works offline.

mod download;
mod name;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::Cache;
use hf_hub::api::sync::{Api, ApiBuilder};
use sha2::Digest;

use self::download::{Failure, Watch};
pub use self::name::{Name, is_name};
use self::name::{is_commit, is_harmless, is_hex};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::progress::Progress;

/// Tries of one file; the pause before each next one is three times longer.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A file on this machine, and the commit it is from.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Where it lies in the cache.
    pub path: PathBuf,
    /// Commit of its repository.
    pub commit: String,
}

/// A file, or that its repository has no such file.
enum Found {
    Here(Fetched),
    Absent(Error),
}

/// The Hub, or only its cache when offline.
pub struct Hub<'a> {
    cache: Cache,
    /// None when offline.
    api: Option<Api>,
    silence: Duration,
    progress: &'a Progress,
}

impl<'a> Hub<'a> {
    /// As the usual variables say: HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE,
    /// HF_HUB_DOWNLOAD_TIMEOUT (seconds without a byte, 60 when not set).
    ///
    /// Errors: a variable that cannot be used (2).
    pub fn from_env(progress: &'a Progress) -> Result<Self> {
        let home = match set("HF_HOME") {
            Some(home) => PathBuf::from(home),
            None => user_cache()?.join("huggingface"),
        };
        let hub = set("HF_HUB_CACHE").or(set("HUGGINGFACE_HUB_CACHE"));
        let cache = Cache::new(hub.map_or_else(|| home.join("hub"), PathBuf::from));
        let seconds = set("HF_HUB_DOWNLOAD_TIMEOUT").unwrap_or("60".into());
        let silence = seconds.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds < 1e6);
        let silence = silence.map(Duration::from_secs_f64).ok_or_else(|| {
            Error::usage(format!("HF_HUB_DOWNLOAD_TIMEOUT is '{seconds}'; it must be a number of seconds"))
        })?;
        let offline = set("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "TRUE", "YES", "ON"].contains(&value.to_uppercase().as_str()));
        let api = if offline { None } else { Some(api(&cache, &home)?) };
        Ok(Self { cache, api, silence, progress })
    }

    /// Brings `filename` of the repository here, unless it is here already.
    ///
    /// Errors: not there or no access (66), the network or the Hub fails for good (75), the file is not what the
    /// Hub says it is (65), the cache cannot be written (73, 74).
    pub fn file(&self, name: &Name, filename: &str) -> Result<Fetched> {
        match self.look_up(name, filename)? {
            Found::Here(fetched) => Ok(fetched),
            Found::Absent(error) => Err(error),
        }
    }

    /// As `file`; none when the repository has no such file.
    pub fn optional_file(&self, name: &Name, filename: &str) -> Result<Option<Fetched>> {
        match self.look_up(name, filename)? {
            Found::Here(fetched) => Ok(Some(fetched)),
            Found::Absent(_) => Ok(None),
        }
    }

    fn look_up(&self, name: &Name, filename: &str) -> Result<Found> {
        if !filename.split('/').all(is_harmless) {
            return Err(Error::usage(format!("'{filename}' is not the name of a file on the Hub")));
        }
        let Some(api) = &self.api else { return self.look_up_offline(name, filename) };
        if is_commit(&name.revision)
            && let Some(found) = self.cached(name, filename)?
        {
            return Ok(Found::Here(found));
        }
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.attempt(api, name, filename) {
                Ok(found) => return Ok(Found::Here(found)),
                Err(Failure::Absent(error)) => return Ok(Found::Absent(error)),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(_, why)) if attempt < ATTEMPTS => {
                    self.progress.note(format!("{}: {why}; trying again", name.file(filename)));
                    download::wait(pause)?;
                    pause *= 3;
                }
                Err(Failure::Passing(kind, why)) => return self.give_up(name, filename, kind, &why),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn look_up_offline(&self, name: &Name, filename: &str) -> Result<Found> {
        let why = format!(
            "HF_HUB_OFFLINE is set and {} is not in {}",
            name.file(filename),
            self.cache.path().display()
        );
        let hint = "unset it, or fetch the file once online";
        let absent = Error::new(ErrorKind::MissingInput, format!("{why}; {hint}"));
        Ok(self.cached(name, filename)?.map_or(Found::Absent(absent), Found::Here))
    }

    /// After the last try: what the cache has of an earlier day, where the network alone is at fault.
    fn give_up(&self, name: &Name, filename: &str, kind: ErrorKind, why: &str) -> Result<Found> {
        let asked = name.file(filename);
        let cached = self.cached(name, filename).ok().flatten();
        if let (Some(found), ErrorKind::TryAgain) = (cached, kind) {
            self.progress.warn(format!("{asked}: {why}; taking commit {} from the cache", found.commit));
            return Ok(Found::Here(found));
        }
        let hint = match kind {
            ErrorKind::TryAgain => "check the network and try again",
            _ => "the Hub or a mirror on the way is at fault; try another HF_ENDPOINT",
        };
        Err(Error::new(kind, format!("cannot fetch {asked}: {why}; {hint}")))
    }

    /// Asks for the file's description, downloads it where it is not cached, and checks it.
    fn attempt(&self, api: &Api, name: &Name, filename: &str) -> std::result::Result<Fetched, Failure> {
        let asked = name.file(filename);
        let watch = Watch { what: &asked, silence: self.silence, progress: self.progress };
        let url = api.repo(name.repo(&name.revision)).url(filename);
        let described = watch.run({
            let api = api.clone();
            move |_| api.metadata(&url)
        })?;
        let (commit, hash) = (described.commit_hash().to_string(), described.etag().to_string());
        if !is_commit(&commit) || !is_hash(&hash) {
            let why = format!("it came with commit '{commit}' and etag '{hash}', which are no hashes");
            return Err(Failure::Final(Error::data(format!("cannot check {asked}: {why}"))));
        }
        let pinned = name.repo(&commit);
        let place = self.cache.repo(pinned.clone());
        let blob = place.blob_path(&hash);
        let pointer = place.pointer_path(&commit).join(filename);
        if !(pointer.exists() && is_what_it_says(&blob, &hash)) {
            remove(&[&pointer]);
            if !is_what_it_says(&blob, &hash) {
                remove(&[&blob]);
            }
            let size = described.size() as u64;
            let repo = api.repo(pinned);
            let file = filename.to_string();
            let downloaded = watch.run(move |beat| repo.download_with_progress(&file, beat));
            downloaded.inspect_err(|_| discard_oversized(&blob, size))?;
            let found = blob.metadata().map_or(0, |meta| meta.len());
            if found != size || !is_what_it_says(&blob, &hash) {
                remove(&[&pointer, &blob]);
                let why = format!("got {found} bytes of {size} that do not have its hash {hash}");
                return Err(Failure::Passing(ErrorKind::BadData, why));
            }
            // The crate notes the commit as if it were a branch.
            remove(&[&self.cache.path().join(name.repo(&commit).folder_name()).join("refs").join(&commit)]);
        }
        if !is_commit(&name.revision) {
            let noted = self.cache.repo(name.repo(&name.revision)).create_ref(&commit);
            noted.map_err(|cause| Failure::Final(Error::writing(self.cache.path(), &cause)))?;
        }
        Ok(Fetched { path: pointer, commit })
    }

    /// The file as it was fetched last.
    ///
    /// Errors: it is there and not what its hash says (65).
    fn cached(&self, name: &Name, filename: &str) -> Result<Option<Fetched>> {
        let commit = if is_commit(&name.revision) {
            name.revision.clone()
        } else {
            let folder = self.cache.path().join(name.repo(&name.revision).folder_name());
            let noted = std::fs::read_to_string(folder.join("refs").join(&name.revision));
            match noted.map(|text| text.trim().to_string()) {
                Ok(commit) if is_commit(&commit) => commit,
                _ => return Ok(None),
            }
        };
        let path = self.cache.repo(name.repo(&commit)).pointer_path(&commit).join(filename);
        let Ok(blob) = path.canonicalize() else { return Ok(None) };
        let hash = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_what_it_says(&blob, &hash) {
            let why = format!("{} does not have the hash {hash}", blob.display());
            return Err(Error::data(format!(
                "the cached {} is damaged: {why}; remove it",
                name.file(filename)
            )));
        }
        Ok(Some(Fetched { path, commit }))
    }
}

/// A variable that is set to something.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_string()).filter(|value| !value.is_empty())
}

fn user_cache() -> Result<PathBuf> {
    if let Some(cache) = set("XDG_CACHE_HOME") {
        return Ok(cache.into());
    }
    let home = std::env::home_dir().ok_or_else(|| Error::usage("no home directory; set HF_HOME"))?;
    Ok(home.join(".cache"))
}

fn api(cache: &Cache, home: &Path) -> Result<Api> {
    let endpoint = set("HF_ENDPOINT").unwrap_or("https://huggingface.co".into());
    if !(endpoint.starts_with("https://") || endpoint.starts_with("http://")) {
        return Err(Error::usage(format!("HF_ENDPOINT is '{endpoint}'; it must begin with https://")));
    }
    let stored = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
    let stored = || std::fs::read_to_string(stored).ok().map(|token| token.trim().to_string());
    let token = set("HF_TOKEN").or_else(stored).filter(|token| !token.is_empty());
    if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Error::usage("the token of the Hub holds characters that no token has; check HF_TOKEN"));
    }
    let builder = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(endpoint.trim_end_matches('/').into())
        .with_token(token)
        .with_progress(false)
        .with_user_agent("train", env!("CARGO_PKG_VERSION"));
    builder.build().map_err(|cause| Error::usage(format!("the Hub cannot be used: {cause}")))
}

/// SHA-256 of large files, git's SHA-1 of others.
fn is_hash(etag: &str) -> bool {
    (etag.len() == 40 || etag.len() == 64) && is_hex(etag)
}

/// Whether the file at `blob` has the hash by which the Hub names it.
fn is_what_it_says(blob: &Path, hash: &str) -> bool {
    match hash.len() {
        _ if !is_hash(hash) => false,
        64 => files::sha256_of(blob).is_ok_and(|found| found == hash),
        _ => git_hash(blob).is_ok_and(|found| found == hash),
    }
}

/// What git calls a file of this content: SHA-1 of "blob", its size, a zero byte and the content.
fn git_hash(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = sha1::Sha1::new();
    hash.update(format!("blob {}\0", file.metadata()?.len()));
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(files::hex(hash.finalize().as_slice()));
        }
        hash.update(&piece[..read]);
    }
}

/// Best effort: what stays behind is found again and refused by its hash.
fn remove(paths: &[&Path]) {
    for path in paths {
        let _ = std::fs::remove_file(path);
    }
}

/// hf-hub goes on with a part that is cut short, but never gets past one that is too long.
fn discard_oversized(blob: &Path, size: u64) {
    let part = blob.with_extension("part");
    if part.metadata().is_ok_and(|meta| meta.len() >= size) {
        remove(&[&part]);
    }
}
