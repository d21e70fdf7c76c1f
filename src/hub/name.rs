//! `hf://OWNER/NAME[/PATH][@REVISION]` and `hf://datasets/OWNER/NAME/PATH[@REVISION]`.

use hf_hub::{Repo, RepoType};

use crate::error::{Error, Result};

/// What every name on the Hub begins with here.
const SCHEME: &str = "hf://";

/// Whether a source is on the Hub.
pub fn is_name(source: &str) -> bool {
    source.starts_with(SCHEME)
}

/// A repository, perhaps a file in it, and the revision asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// As given, for messages.
    pub given: String,
    /// A data set and not a model.
    pub dataset: bool,
    /// OWNER/NAME.
    pub id: String,
    /// File inside, with slashes.
    pub path: Option<String>,
    /// Branch, tag or commit.
    pub revision: String,
}

impl Name {
    /// Takes a name apart. Every part becomes a path in the cache, so only harmless characters are allowed.
    ///
    /// Errors: not of either form (2).
    pub fn parse(given: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let form = "hf://OWNER/NAME[@REVISION] or hf://datasets/OWNER/NAME/PATH[@REVISION]";
            Error::usage(format!("'{given}': {why}; a name on the Hub is {form}"))
        };
        let rest = given.strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin with hf://"))?;
        let (rest, revision) = rest.rsplit_once('@').unwrap_or((rest, "main"));
        let dataset = rest.starts_with("datasets/");
        let parts: Vec<&str> = rest.strip_prefix("datasets/").unwrap_or(rest).split('/').collect();
        if parts.iter().chain(&revision.split('/').collect::<Vec<_>>()).any(|part| !is_harmless(part)) {
            let allowed = "each part holds letters, digits and . _ - + = alone and does not begin with a dot";
            return Err(wrong(allowed));
        }
        let [owner, name, path @ ..] = parts.as_slice() else {
            return Err(wrong("owner or name is missing"));
        };
        if dataset && path.is_empty() {
            return Err(wrong("the path of a file is missing"));
        }
        let path = (!path.is_empty()).then(|| path.join("/"));
        let id = format!("{owner}/{name}");
        Ok(Self { given: given.into(), dataset, id, path, revision: revision.into() })
    }

    /// The repository at `revision`.
    pub(super) fn repo(&self, revision: &str) -> Repo {
        let kind = if self.dataset { RepoType::Dataset } else { RepoType::Model };
        Repo::with_revision(self.id.clone(), kind, revision.into())
    }

    /// A file of the repository, for messages.
    pub(super) fn file(&self, filename: &str) -> String {
        let kind = if self.dataset { "datasets/" } else { "" };
        format!("{SCHEME}{kind}{}/{filename}@{}", self.id, self.revision)
    }
}

/// Whether `part` may become one part of a path and of an address.
pub(super) fn is_harmless(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+=".contains(c);
    !part.is_empty() && part.len() <= 128 && !part.starts_with('.') && part.chars().all(allowed)
}

/// Whether a revision names a commit and not a branch, which may move.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && is_hex(revision)
}

/// Whether `text` is a lower-case hexadecimal number.
pub(super) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_taken_apart() {
        let name = Name::parse("hf://datasets/a/b/c/d.parquet@refs/convert/parquet").unwrap();
        assert!(name.dataset);
        assert_eq!((name.id.as_str(), name.revision.as_str()), ("a/b", "refs/convert/parquet"));
        assert_eq!(name.path.as_deref(), Some("c/d.parquet"));
        let name = Name::parse("hf://openai-community/gpt2").unwrap();
        assert_eq!((name.dataset, name.path, name.revision.as_str()), (false, None, "main"));
    }

    #[test]
    fn names_that_could_leave_the_cache_are_refused() {
        for given in [
            "hf://a",
            "hf://a/..",
            "hf://../b",
            "hf://a/b@..",
            "hf://a/b@../../x",
            "hf://a/b@",
            "hf://datasets/a/b",
            "hf://datasets/a/b/../../c",
            "hf://datasets/a/b//c",
            "hf://datasets/a/b/c\\d",
            "hf://datasets/a/b/c d",
            "hf://datasets/a/b/c%2F..%2Fd",
            "hf://datasets/a/b/c?x",
            "hf:///etc/passwd",
        ] {
            let error = Name::parse(given).expect_err(given);
            assert_eq!(error.kind, crate::error::ErrorKind::Usage, "{error}");
        }
    }
}
