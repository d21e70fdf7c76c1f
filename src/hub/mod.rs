//! Files of the Hugging Face Hub: into the cache that all its programs share, checked, and pinned to a commit.
//!
//! Layer 1; the one place that knows hf-hub, which names addresses and lays out the cache. Decided here is which names
//! are harmless, who is sent the token, whether a file is what its hash says, what is tried again, how long silence is
//! borne, and what works offline.

mod download;
mod name;
mod request;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::Cache;
use sha2::Digest;

use self::download::{Cause, Failure, Watch};
pub use self::name::{Name, is_name};
use self::name::{is_commit, is_harmless, is_hex};
use self::request::Client;
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
    client: Option<Client>,
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
        let client = if offline { None } else { Some(client(&home)?) };
        Ok(Self { cache, client, silence, progress })
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
        let Some(client) = &self.client else { return self.look_up_offline(name, filename) };
        if is_commit(&name.revision)
            && let Some(found) = self.cached(name, filename)?
        {
            return Ok(Found::Here(found));
        }
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.attempt(client, name, filename) {
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
    fn attempt(&self, client: &Client, name: &Name, filename: &str) -> std::result::Result<Fetched, Failure> {
        let asked = name.file(filename);
        let watch = Watch { what: &asked, silence: self.silence, progress: self.progress };
        let url = client.url(&name.repo(&name.revision), filename);
        let described = watch.run({
            let client = client.clone();
            move |_| client.describe(&url)
        })?;
        let (commit, hash) = (described.commit, described.etag);
        if !is_commit(&commit) || !is_hash(&hash) {
            let why = format!("it came with commit '{commit}' and etag '{hash}', which are no hashes");
            return Err(Failure::Final(Error::data(format!("cannot check {asked}: {why}"))));
        }
        let place = self.cache.repo(name.repo(&commit));
        let blob = place.blob_path(&hash);
        let pointer = place.pointer_path(&commit).join(filename);
        if !is_what_it_says(&blob, &hash) {
            remove(&[&blob]);
            let url = client.url(&name.repo(&commit), filename);
            self.download(client.clone(), &watch, url, &blob, (described.size, &hash))?;
        }
        let writing = |cause| Failure::Final(Error::writing(self.cache.path(), &cause));
        if !pointer.exists() {
            remove(&[&pointer]);
            let pointed = point(&pointer, &hash, filename.split('/').count());
            // Another process may have been faster.
            pointed.or_else(|cause| if pointer.exists() { Ok(()) } else { Err(writing(cause)) })?;
        }
        if !is_commit(&name.revision) {
            self.cache.repo(name.repo(&name.revision)).create_ref(&commit).map_err(writing)?;
        }
        Ok(Fetched { path: pointer, commit })
    }

    /// Fetches `url` to `blob`, going on with a part of an earlier try; what is not as described is thrown away.
    fn download(
        &self,
        client: Client,
        watch: &Watch,
        url: String,
        blob: &Path,
        (size, hash): (u64, &str),
    ) -> std::result::Result<(), Failure> {
        let part = blob.with_extension("part");
        let (to, blob_there, hash_there) = (part.clone(), blob.to_path_buf(), hash.to_string());
        watch.run(move |beat| {
            std::fs::create_dir_all(to.parent().unwrap_or(&to))?;
            let _lock = request::lock(&blob_there)?;
            // Another process may have been faster.
            if is_what_it_says(&blob_there, &hash_there) {
                return Ok(());
            }
            client.fetch(&url, &to, size, beat)?;
            std::fs::rename(&to, &blob_there).map_err(Cause::from)
        })?;
        let found = blob.metadata().map_or(0, |meta| meta.len());
        if found == size && is_what_it_says(blob, hash) {
            return Ok(());
        }
        remove(&[blob]);
        let why = format!("got {found} bytes of {size} that do not have its hash {hash}");
        Err(Failure::Passing(ErrorKind::BadData, why))
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

fn client(home: &Path) -> Result<Client> {
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
    Ok(Client::new(&endpoint, token))
}

/// Makes `pointer`, which lies in the folder of its commit under a name of so many parts, lead to its blob.
fn point(pointer: &Path, hash: &str, parts: usize) -> std::io::Result<()> {
    std::fs::create_dir_all(pointer.parent().unwrap_or(pointer))?;
    let mut blob = PathBuf::from_iter(std::iter::repeat_n("..", parts + 1));
    blob.extend(["blobs", hash]);
    #[cfg(unix)]
    return std::os::unix::fs::symlink(blob, pointer);
    #[cfg(not(unix))]
    return std::os::windows::fs::symlink_file(blob, pointer);
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
