//! Folders that are whole or absent, and never take a file with them that somebody else put there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;

/// Writes `folder` under another name, which then takes the place of what was there. Of that the files that `known`
/// names go, all others stay.
///
/// Errors: as `write`; the place cannot be written (73), disk full (74).
pub fn replace_folder<T>(folder: &Path, known: &[&str], write: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = &resolved(folder);
    settle(folder, known)?;
    let temporary = files::temporary(folder);
    let cannot = |cause: std::io::Error| Error::writing(folder, &cause);
    fs::create_dir_all(&temporary).map_err(cannot)?;
    let replace = || -> Result<T> {
        let written = write(&temporary)?;
        let old = temporary.with_extension("old");
        if folder.exists() {
            fs::rename(folder, &old).map_err(cannot)?;
        }
        fs::rename(&temporary, folder).map_err(cannot)?;
        Ok(written)
    };
    let written = replace().inspect_err(|_| {
        // Best effort: it is swept, and the old folder put back, at the next try too.
        let _ = fs::remove_dir_all(&temporary)
            .and_then(|()| settle(folder, known).map_err(std::io::Error::other));
    })?;
    settle(folder, known)?;
    files::sync_parent(folder)?;
    Ok(written)
}

/// Ends replacements of `folder` that were cut short: where the new folder is missing the old one comes back, else what
/// `known` does not name moves from the old to the new one.
///
/// Errors: the folder cannot be written (73, 74).
pub fn settle(folder: &Path, known: &[&str]) -> Result<()> {
    let folder = &resolved(folder);
    let cannot = |cause: std::io::Error| Error::writing(folder, &cause);
    for old in set_aside(folder) {
        if !folder.exists() {
            fs::rename(&old, folder).map_err(cannot)?;
            continue;
        }
        for entry in fs::read_dir(&old).map_err(cannot)? {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).map_err(cannot)?;
            let place = folder.join(&name);
            match known.iter().any(|known| name == *known) && !path.is_dir() {
                true => fs::remove_file(&path).map_err(cannot)?,
                false if files::exists(&place)? => {}
                false => fs::rename(&path, &place).map_err(cannot)?,
            }
        }
        // It stays where both folders have a file of one name that nobody knows.
        let _ = fs::remove_dir(&old);
    }
    Ok(())
}

/// The same for every folder in `parent`.
pub fn settle_all(parent: &Path, known: &[&str]) -> Result<()> {
    for path in files::entries(parent)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_prefix('.').filter(|name| name.ends_with(".old"));
        if let Some((folder, _)) = name.and_then(|name| name.split_once('.')) {
            settle(&parent.join(folder), known)?;
        }
    }
    Ok(())
}

/// The folder itself, where a link or `..` leads to it: its neighbour by name is then beside it.
fn resolved(folder: &Path) -> PathBuf {
    let plain: PathBuf = folder.components().collect();
    let is_elsewhere = plain.is_symlink() || plain.components().any(|part| part == Component::ParentDir);
    if is_elsewhere { plain.canonicalize().unwrap_or(plain) } else { plain }
}

/// What a replacement of `folder` has put aside.
fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beginning = format!(".{}.", folder.file_name().unwrap_or_default().to_string_lossy());
    let is_aside = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&beginning)
            && name.ends_with(".old")
            && !path.is_symlink()
            && files::is_temporary(&path.with_extension("tmp"))
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| parent.join(entry.file_name())).filter(is_aside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_but_for_the_files_of_others_wherever_it_is_cut_short() {
        let place = tempfile::tempdir().unwrap();
        let (folder, known) = (place.path().join("model"), ["a", "b"]);
        let write = |folder: &Path, files: &[&str]| -> Result<()> {
            files.iter().try_for_each(|name| files::write_synced(&folder.join(name), b"x"))
        };
        let names = || {
            let mut names: Vec<String> = fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        replace_folder(&folder, &known, |new| write(new, &["a", "b"])).unwrap();
        fs::write(folder.join("notes"), "mine").unwrap();
        replace_folder(&folder, &known, |new| write(new, &["a"])).unwrap();
        assert_eq!(names(), ["a", "notes"]);
        assert!(replace_folder(&folder, &known, |_| Err::<(), _>(Error::data("no"))).is_err());
        assert_eq!(names(), ["a", "notes"]);

        let old = files::temporary(&folder).with_extension("old");
        fs::rename(&folder, &old).unwrap();
        settle(&folder, &known).unwrap();
        assert_eq!(names(), ["a", "notes"], "cut short before the new folder took the name");
        fs::rename(&folder, &old).unwrap();
        fs::create_dir(&folder).unwrap();
        write(&folder, &["b"]).unwrap();
        settle(&folder, &known).unwrap();
        assert_eq!(names(), ["b", "notes"], "cut short after it");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
