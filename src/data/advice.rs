//! How advice in errors names the options of a reader.

/// Where the options of a reader are set, so that advice names what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Advice {
    /// In a config: `data.text_column`.
    #[default]
    Keys,
    /// On the command line: `--text-column`.
    Flags,
    /// Nowhere.
    None,
}

impl Advice {
    /// `; set data.text_column` or the like, else `otherwise` behind the semicolon.
    pub(super) fn set(self, option: &str, otherwise: &str) -> String {
        match self {
            Self::Keys => format!("; set data.{option}"),
            Self::Flags => format!("; set --{}", option.replace('_', "-")),
            Self::None => format!("; {otherwise}"),
        }
    }

    /// How undecodable bytes are replaced, after the other remedy.
    pub(super) fn or_lossy(self) -> &'static str {
        match self {
            Self::Keys => " or set data.lossy = true",
            Self::Flags => " or give --lossy",
            Self::None => "",
        }
    }
}
