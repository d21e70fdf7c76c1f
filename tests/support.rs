//! A folder with tiny data and configs, and the program run in it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use candle_core::Device;
use serde_json::Value;
use train::Progress;
use train::internals::device;

pub use crate::skipped::{needs, sms_spam};

/// The program under test; another than cargo's where the tests run on a machine without cargo.
fn program() -> PathBuf {
    std::env::var_os("TRAIN_PROGRAM")
        .map_or_else(|| assert_cmd::cargo::cargo_bin!("train").into(), PathBuf::from)
}

/// Where fixtures and scripts are, also for a test program that was built elsewhere.
pub fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}

/// A model of 7,000 parameters and four steps: a run takes a fraction of a second.
const PRETRAIN: &str = r#"
output_dir = "pretrained"
prompts = ["the cat"]
bleu_prompts = 2

[sampling]
max_new_tokens = 8

[data]
train = ["corpus.txt"]
validation_fraction = 0.2
cache_dir = "cache"

[tokenizer]
vocab_size = 300

[model]
model_type = "llama"
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1
max_position_embeddings = 32

[train]
micro_batch_size = 4
seq_len = 16
max_steps = 4
max_epochs = 0.0
log_interval = 1
eval_interval = 2
save_interval = 2

[optim]
warmup_steps = 2
learning_rate = 0.01
"#;

const FINETUNE: &str = r#"
output_dir = "finetuned"
init_from = "pretrained"

[data]
train = "messages.tsv"

[classifier]
pooling = "last"
windows = 1

[train]
micro_batch_size = 8
seq_len = 24
max_steps = 4
max_epochs = 0.0
log_interval = 1
save_interval = 2

[optim]
warmup_steps = 2
learning_rate = 0.01
"#;

const COMPARE: &str = r#"
output_dir = "compared"
seeds = [1, 2]
budgets = [20, 0]
"#;

/// Two models of three layers. Larger weights than usual: logits of the size that trained models have.
pub const LLAMA: &str = "model_type = \"llama\"\nhidden_size = 48\nintermediate_size = 80\nnum_hidden_layers = 3\n\
    num_attention_heads = 6\nnum_key_value_heads = 2\nhead_dim = 16\nmax_position_embeddings = 96\n\
    rope_theta = 50000.0\ntie_word_embeddings = false\ninitializer_range = 0.2\n";
pub const GPT2: &str = "model_type = \"gpt2\"\nn_embd = 48\nn_layer = 3\nn_head = 4\nn_positions = 96\n\
    initializer_range = 0.2\n";

/// The working directory of one test.
pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    /// Corpus, messages and the three configs.
    pub fn new() -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        folder.write("corpus.txt", corpus());
        folder.write("messages.tsv", messages());
        folder.write("pretrain.toml", PRETRAIN);
        folder.write("finetune.toml", FINETUNE);
        let sections = |config: &str, name: &str| {
            let own = |line: &&str| !line.starts_with("output_dir") && !line.starts_with("init_from");
            let lines: String = config.lines().filter(own).map(|line| format!("{line}\n")).collect();
            format!("[{name}]{}", lines.replace("\n[", &format!("\n[{name}.")))
        };
        let (pretrain, finetune) = (sections(PRETRAIN, "pretrain"), sections(FINETUNE, "finetune"));
        folder.write("compare.toml", format!("{COMPARE}\n{pretrain}\n{finetune}"));
        folder
    }

    /// As `new`, with this `[model]` to pre-train.
    pub fn of_model(model: &str) -> Self {
        let folder = Self::new();
        let config = folder.text("pretrain.toml");
        let (before, after) = config.split_once("[model]\n").unwrap();
        let rest = &after[after.find("[train]").unwrap()..];
        folder.write("pretrain.toml", format!("{before}[model]\n{model}\n{rest}"));
        folder
    }

    /// With a finished pre-training in `pretrained`.
    pub fn pretrained() -> Self {
        let folder = Self::new();
        folder.run("pretrain --config pretrain.toml").done();
        folder
    }

    /// Another folder with the same files in it.
    pub fn copied(&self) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        copy(self.dir.path(), folder.dir.path());
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
    }

    /// The objects of a .jsonl file.
    pub fn json_lines(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
    }

    /// Puts a copy of the folder `from` where `to` is.
    pub fn replace(&self, to: &str, from: &str) {
        if self.path(to).exists() {
            self.remove(to);
        }
        copy(&self.path(from), &self.path(to));
    }

    /// `train` with these arguments, in this folder.
    pub fn train(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(program());
        command.current_dir(self.dir.path()).args(arguments);
        command
    }

    /// Runs `train` with arguments that hold no spaces.
    pub fn run(&self, line: &str) -> Outcome {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        Outcome::of(line, self.train(&arguments).output().unwrap())
    }

    /// `train` with these arguments, in this folder, its streams open to choice.
    #[cfg(unix)]
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(program());
        command.current_dir(self.dir.path()).args(arguments);
        command
    }

    /// Starts `train` and does not wait for it.
    #[cfg(unix)]
    pub fn spawn(&self, line: &str) -> std::process::Child {
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    }
}

/// How the program ended and what it said.
pub struct Outcome {
    line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(line: &str, output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Self { line: line.into(), code: output.status.code(), stdout, stderr }
    }

    /// Asserts exit code 0.
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "train {}: {}", self.line, self.stderr);
        self
    }

    /// Asserts the exit code, and that the one line of the error holds each part in this order.
    pub fn fails(self, code: i32, parts: &[&str]) -> Self {
        let (line, stderr) = (&self.line, &self.stderr);
        assert_eq!(self.code, Some(code), "train {line}: {stderr}");
        let mut rest = stderr.lines().last().unwrap_or_default();
        assert_eq!(
            stderr.lines().filter(|line| line.starts_with("error: ")).count(),
            1,
            "train {line}: {stderr}"
        );
        assert!(rest.starts_with("error: "), "train {line}: something follows the error: {stderr}");
        for part in parts {
            let at = rest
                .find(part)
                .unwrap_or_else(|| panic!("train {line}: '{part}' is not in its place in: {stderr}"));
            rest = &rest[at + part.len()..];
        }
        self
    }

    /// Standard output as exactly one JSON object on one line.
    pub fn object(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        assert!(value.is_object(), "{value}");
        value
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

const WHO: [&str; 6] = ["the cat", "a small dog", "my sister", "the old man", "our teacher", "a stranger"];
const DID: [&str; 6] = ["walked to", "looked at", "wrote about", "forgot", "painted", "talked about"];
const WHAT: [&str; 6] =
    ["the river", "a blue house", "the last train", "her garden", "an empty box", "the long road"];

/// Sixty documents of four sentences.
fn corpus() -> String {
    let sentence = |i: usize, j: usize| {
        let (who, did, what) = (WHO[(i + j) % 6], DID[(5 * i + j * j) % 6], WHAT[(i / 6 + 3 * j) % 6]);
        format!("{who} {did} {what} on day {}. ", 4 * i + j)
    };
    (0..60).map(|i| (0..4).map(|j| sentence(i, j)).collect::<String>() + "\n\n").collect()
}

/// Eighty rows, every fourth spam.
fn messages() -> String {
    let row = |i: usize| match i % 4 {
        0 => format!("spam\twin prize number {i} now, call free {}\n", 7 * i),
        _ => format!("ham\t{} {} {} on day {i}\n", WHO[i % 6], DID[5 * i % 6], WHAT[i / 6 % 6]),
    };
    (0..80).map(row).collect()
}

/// The first GPU.
pub fn gpu() -> Option<Device> {
    static GPU: OnceLock<Result<Device, String>> = OnceLock::new();
    let open = || device::open("cuda", &Progress::silent()).map_err(|cause| cause.to_string());
    match GPU.get_or_init(open) {
        Ok(gpu) => Some(gpu.clone()),
        Err(cause) => needs("gpu", None, cause),
    }
}
