//! The program with `interpose.c` between it and the system.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::{Folder, needs, root};

/// Kinds of calls, in the order of `interpose.c`.
pub const CALLS: [&str; 12] = [
    "write", "read", "open", "close", "mkdir", "rename", "remove", "sync", "truncate", "lock", "list", "stat",
];

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// The process ends before it.
    Kill,
    /// The same, and what was written and not synced is lost.
    PowerCut,
    /// Half of the bytes are written, then the process ends.
    Torn,
    /// Half of the bytes are written; the caller is told so.
    Short,
    /// It fails once.
    Error(i32),
    /// It fails, and all later ones.
    Errors(i32),
    /// The process gets a signal; the call goes on.
    Signal(i32),
}

impl Effect {
    /// Whether the program is asked to end or ended, and does not end by itself.
    pub fn ends_it(self) -> bool {
        matches!(self, Self::Kill | Self::PowerCut | Self::Torn)
    }
}

impl Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => write!(f, "kill"),
            Self::PowerCut => write!(f, "cut"),
            Self::Torn => write!(f, "torn"),
            Self::Short => write!(f, "short"),
            Self::Error(errno) => write!(f, "error {errno}"),
            Self::Errors(errno) => write!(f, "errors {errno}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What happens at the `at`-th call of a kind, counted from 1.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub call: &'static str,
    pub at: u64,
    pub effect: Effect,
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.call, self.at, self.effect)
    }
}

/// How the program ended, what it said, and the calls it made below its working directory.
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stderr: String,
    pub calls: BTreeMap<&'static str, u64>,
    /// Whether the fault came.
    pub struck: bool,
}

/// The compiled library; none where this machine cannot compile it.
pub fn library() -> Option<&'static PathBuf> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        Command::new("cc").arg("--version").output().ok().filter(|_| cfg!(target_env = "gnu"))?;
        let library =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
        let mut compile = Command::new("cc");
        compile.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
        let output = compile.arg(&library).arg(root().join("tests/faults/interpose.c")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(library)
    });
    needs("cc", library.as_ref(), "expected cc on Linux with glibc")
}

/// `train` with the library: `faults` are the variables of `interpose.c`.
pub fn run(folder: &Folder, line: &str, faults: &[(&str, String)]) -> Ended {
    let library = library().expect("stories are told where there is a library");
    let counts = tempfile::NamedTempFile::new().unwrap();
    counts.as_file().set_len(8 * (CALLS.len() as u64 + 1)).unwrap();
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let mut command = folder.train(&arguments);
    command.env("RAYON_NUM_THREADS", "1").env("LD_PRELOAD", library).env("FAULT_COUNTS", counts.path());
    command.envs(faults.iter().map(|(name, value)| (name, value)));
    let output = command.timeout(Duration::from_secs(60)).output().unwrap();
    let counts = std::fs::read(counts.path()).unwrap();
    let count = |i: usize| u64::from_ne_bytes(counts[8 * i..8 * i + 8].try_into().unwrap());
    Ended {
        code: output.status.code(),
        signal: output.status.signal(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        calls: CALLS.iter().enumerate().map(|(i, call)| (*call, count(i))).collect(),
        struck: count(CALLS.len()) > 0,
    }
}
