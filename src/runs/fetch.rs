//! Names on the Hub become paths on this machine before a command begins its work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{CompareConfig, FinetuneConfig, PretrainConfig};
use crate::data::CorpusConfig;
use crate::error::{Error, Result};
use crate::hf_folder;
use crate::hub::{self, Fetched, Hub, Name};
use crate::progress::Progress;
use crate::tokenizer::Tokenizer;

/// Fetches what a command names, and remembers the commits.
pub struct Fetcher<'a> {
    progress: &'a Progress,
    /// Commit by name as given, for run.json.
    pub commits: BTreeMap<String, String>,
}

impl<'a> Fetcher<'a> {
    /// A fetcher that has fetched nothing.
    pub fn new(progress: &'a Progress) -> Self {
        Self { progress, commits: BTreeMap::new() }
    }

    /// The config with local paths alone.
    ///
    /// Errors: as `Hub::file`.
    pub fn pretrain(&mut self, config: &PretrainConfig) -> Result<PretrainConfig> {
        let mut local = config.clone();
        local.init_from = self.model(&config.init_from)?;
        local.tokenizer.path = self.tokenizer(&config.tokenizer.path)?;
        local.data = self.corpus(&config.data)?;
        Ok(local)
    }

    /// The text with local paths alone.
    ///
    /// Errors: as `Hub::file`.
    pub fn corpus(&mut self, config: &CorpusConfig) -> Result<CorpusConfig> {
        let mut local = config.clone();
        for source in local.train.iter_mut().chain(&mut local.validation) {
            *source = self.data(source)?;
        }
        Ok(local)
    }

    /// The config with local paths alone.
    ///
    /// Errors: as `Hub::file`.
    pub fn finetune(&mut self, config: &FinetuneConfig) -> Result<FinetuneConfig> {
        let mut local = config.clone();
        local.init_from = self.model(&config.init_from)?;
        local.tokenizer.path = self.tokenizer(&config.tokenizer.path)?;
        for source in [&mut local.data.train, &mut local.data.validation, &mut local.data.test] {
            *source = self.data(source)?;
        }
        Ok(local)
    }

    /// The config with local paths alone.
    ///
    /// Errors: as `Hub::file`.
    pub fn compare(&mut self, config: &CompareConfig) -> Result<CompareConfig> {
        let mut local = config.clone();
        local.pretrained = self.model(&config.pretrained)?;
        if config.pretrained.is_empty() {
            local.pretrain = self.pretrain(&config.pretrain)?;
        }
        local.finetune = self.finetune(&config.finetune)?;
        for start in local.starts.values_mut() {
            start.init_from = self.model(&start.init_from)?;
        }
        Ok(local)
    }

    /// A file of a data set.
    pub fn data(&mut self, source: &str) -> Result<String> {
        if !hub::is_name(source) {
            return Ok(source.into());
        }
        let name = Name::parse(source)?;
        let Some(path) = name.path.as_ref().filter(|_| name.dataset) else {
            let why = "data is named hf://datasets/OWNER/NAME/PATH[@REVISION]";
            return Err(Error::usage(format!("'{source}' names a model; {why}")));
        };
        let found = Hub::from_env(self.progress)?.file(&name, path)?;
        Ok(self.noted(source, found))
    }

    /// A model with its tokenizer, as a folder. Its config is read before its weights are fetched.
    pub fn model(&mut self, source: &str) -> Result<String> {
        if !hub::is_name(source) {
            return Ok(source.into());
        }
        let name = self.repository(source)?;
        let hub = Hub::from_env(self.progress)?;
        let config = hub.file(&name, "config.json")?;
        let folder = config.path.parent().map(Path::to_path_buf).unwrap_or_default();
        hf_folder::read_config(&folder)?;
        let pinned = Name { revision: config.commit.clone(), ..name };
        tokenizer_files(&hub, &pinned)?;
        if hub.optional_file(&pinned, "model.safetensors")?.is_none() {
            let index = hub.file(&pinned, "model.safetensors.index.json")?;
            for shard in hf_folder::shards(&index.path)? {
                hub.file(&pinned, &shard)?;
            }
        }
        Ok(self.noted(source, Fetched { path: folder, ..config }))
    }

    /// A tokenizer, as a file or as the folder of its files.
    pub fn tokenizer(&mut self, source: &str) -> Result<String> {
        if !hub::is_name(source) {
            return Ok(source.into());
        }
        let hub = Hub::from_env(self.progress)?;
        let name = Name::parse(source)?;
        let found = match &name.path {
            Some(path) if path.ends_with(".json") => hub.file(&name, path)?,
            Some(_) => return Err(Error::usage(format!("'{source}': a tokenizer is a .json file"))),
            None => tokenizer_files(&hub, &name)?,
        };
        Ok(self.noted(source, found))
    }

    fn repository(&self, source: &str) -> Result<Name> {
        let name = Name::parse(source)?;
        if name.dataset || name.path.is_some() {
            let why = "a model is named hf://OWNER/NAME[@REVISION]";
            return Err(Error::usage(format!("'{source}' is not a model; {why}")));
        }
        Ok(name)
    }

    fn noted(&mut self, source: &str, found: Fetched) -> String {
        self.progress.note(format!("{source}: commit {}", found.commit));
        self.commits.insert(source.into(), found.commit);
        found.path.display().to_string()
    }
}

/// Fetches the files that a tokenizer consists of; returns the folder they lie in.
fn tokenizer_files(hub: &Hub, name: &Name) -> Result<Fetched> {
    let found = match hub.optional_file(name, "tokenizer.json")? {
        Some(found) => found,
        None => {
            hub.file(name, "merges.txt")?;
            hub.file(name, "vocab.json")?
        }
    };
    let pinned = Name { revision: found.commit.clone(), ..name.clone() };
    hub.optional_file(&pinned, "tokenizer_config.json")?;
    let path = found.path.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(Fetched { path, ..found })
}

/// The tokenizer of a run, a folder, a file or a name on the Hub given on the command line.
///
/// Errors: as `Hub::file` and `Tokenizer::load`.
pub fn tokenizer(path: &Path, progress: &Progress) -> Result<Tokenizer> {
    match path.to_str() {
        Some(name) => Tokenizer::load(Fetcher::new(progress).tokenizer(name)?.as_ref()),
        None => Tokenizer::load(path),
    }
}

/// A path given on the command line: a run, a model folder or a file, fetched where it is on the Hub.
///
/// Errors: as `Hub::file`.
pub fn local(path: &Path, progress: &Progress) -> Result<PathBuf> {
    match path.to_str().filter(|text| hub::is_name(text)) {
        None => Ok(path.to_path_buf()),
        Some(text) if text.starts_with("hf://datasets/") => {
            Fetcher::new(progress).data(text).map(PathBuf::from)
        }
        Some(text) => Fetcher::new(progress).model(text).map(PathBuf::from),
    }
}
