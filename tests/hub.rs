//! Models, tokenizers and data from the Hub, end to end against a server that answers as the Hub does.

use std::path::PathBuf;
use std::sync::LazyLock;

use train::tokenizer::{Tokenizer, TokenizerConfig};

use crate::hub_server::{COMMIT, Fault, Server};
use crate::support::{Folder, Outcome};

/// A folder, a Hub, and the program told to use it.
struct Net {
    folder: Folder,
    server: Server,
}

static TOKENIZER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let documents = (0..40).map(|i| format!("the {i}th message went home"));
    let config = TokenizerConfig { vocab_size: 280, ..Default::default() };
    Tokenizer::train(documents, &config).unwrap().json().to_vec()
});

/// One small file of a repository; what happens to it happens to any.
const FILE: &str = "some/tokenizer/tokenizer.json";
const INSPECT: &str = "tokenizer inspect hf://some/tokenizer/tokenizer.json --text home";

impl Net {
    fn new() -> Self {
        let net = Self { folder: Folder::new(), server: Server::start() };
        net.server.serve(FILE, TOKENIZER.clone(), false);
        net
    }

    fn with(&self, line: &str, variables: &[(&str, &str)]) -> Outcome {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.folder.train(&arguments);
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.server.endpoint).env("HF_HOME", self.folder.path("hf"));
        command.envs(variables.iter().copied());
        Outcome::of(line, command.output().unwrap())
    }

    fn run(&self, line: &str) -> Outcome {
        self.with(line, &[])
    }

    fn inspected(&self) {
        let shown = self.run(INSPECT).done().stdout;
        assert!(shown.contains("4 bytes"), "{shown}");
    }

    /// Files in the cache that hold content, parts of downloads included.
    fn blobs(&self) -> Vec<PathBuf> {
        let folder = self.folder.path("hf/hub/models--some--tokenizer/blobs");
        let found =
            std::fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
        let mut found: Vec<PathBuf> = found.unwrap_or_default();
        found.retain(|path| path.extension().is_none_or(|extension| extension != "lock"));
        found
    }
}

#[test]
fn a_file_comes_once_and_is_cached_where_other_programs_look() {
    let net = Net::new();
    net.inspected();
    let log = net.server.take_log();
    assert_eq!(log.len(), 2, "described, fetched: {log:?}");
    assert!(
        log[1].starts_with(&format!("some/tokenizer/resolve/{COMMIT}/tokenizer.json bytes=0-")),
        "{log:?}"
    );
    let repo = "hf/hub/models--some--tokenizer";
    assert_eq!(net.folder.bytes(&format!("{repo}/snapshots/{COMMIT}/tokenizer.json")), *TOKENIZER);
    assert_eq!(net.folder.text(&format!("{repo}/refs/main")), COMMIT);
    assert_eq!(std::fs::read_dir(net.folder.path(&format!("{repo}/refs"))).unwrap().count(), 1);
    net.inspected();
    assert_eq!(net.server.take_log().len(), 1, "only asked whether the branch has moved");
    net.run(&INSPECT.replace(".json", &format!(".json@{COMMIT}"))).done();
    assert_eq!(net.server.take_log().len(), 0, "a commit never moves");
}

#[test]
fn large_files_come_from_where_the_hub_points() {
    let net = Net::new();
    net.server.serve(FILE, TOKENIZER.clone(), true);
    net.inspected();
    let log = net.server.take_log();
    assert!(log.iter().any(|line| line.starts_with("cdn/some/tokenizer/tokenizer.json bytes=0-")), "{log:?}");
    let blob = net.blobs().pop().unwrap();
    assert_eq!(blob.file_name().unwrap().to_str().unwrap(), train::internals::sha256(&TOKENIZER));
}

#[test]
fn what_is_not_there_or_not_allowed_is_missing_input() {
    let net = Net::new();
    for (status, parts) in [
        (401, ["hf://some/tokenizer/tokenizer.json@main", "status 401", "HF_TOKEN"]),
        (403, ["no access", "status 403", "HF_TOKEN"]),
        (404, ["not there", "status 404", "check owner"]),
    ] {
        net.server.fail(FILE, Fault::Status(status));
        net.run(INSPECT).fails(66, &parts);
    }
    net.run("tokenizer inspect hf://no/body --text x").fails(66, &["hf://no/body/merges.txt", "404"]);
    net.run("tokenizer inspect hf://some/tokenizer/tokenizer.json@v9 --text x").fails(66, &["@v9", "404"]);
    assert!(net.blobs().is_empty());
}

#[test]
fn passing_failures_are_tried_again() {
    let net = Net::new();
    for status in [429, 500, 503] {
        net.server.fail(FILE, Fault::StatusTimes(status, 2));
        net.inspected();
    }
    for status in [429, 500] {
        let net = Net::new();
        net.server.fail(FILE, Fault::Status(status));
        net.run(INSPECT).fails(75, &["cannot fetch", &format!("status {status}"), "try again"]);
        assert_eq!(net.server.take_log().len(), 4);
        assert!(net.blobs().is_empty());
    }
}

#[test]
fn a_download_that_was_cut_goes_on_where_it_stopped() {
    let net = Net::new();
    net.server.fail(FILE, Fault::Cut(1));
    net.inspected();
    let half = TOKENIZER.len().div_ceil(2);
    let log = net.server.take_log();
    assert!(log.last().unwrap().contains(&format!("bytes={half}-")), "{log:?}");

    let net = Net::new();
    net.server.fail(FILE, Fault::Cut(usize::MAX));
    net.run(INSPECT).fails(75, &["cannot fetch hf://some/tokenizer/tokenizer.json@main", "try again"]);
    net.server.fail(FILE, Fault::None);
    net.inspected();
}

#[test]
fn a_server_that_cannot_go_on_in_the_middle_starts_anew() {
    let net = Net::new();
    net.server.fail(FILE, Fault::CutWithoutRanges(1));
    net.inspected();
    assert_eq!(net.blobs().len(), 1);
}

#[test]
fn an_error_page_never_becomes_a_file() {
    let net = Net::new();
    for (fault, code, part) in [
        (Fault::BodyStatus(403), 66, "status 403"),
        (Fault::BodyStatus(500), 75, "status 500"),
        (Fault::Short, 65, "that do not have its hash"),
        (Fault::Changed, 65, "that do not have its hash"),
        (Fault::NotAHub, 65, "was not answered as the Hub does"),
        (Fault::Etag("W/\"abc".into()), 65, "no hashes"),
        (Fault::Etag("../../../../evil".into()), 65, "no hashes"),
        (Fault::Etag("/tmp/evil".into()), 65, "no hashes"),
        (Fault::Size(1), 65, "that do not have its hash"),
        (Fault::Size(u64::MAX), 65, "of 18446744073709551615"),
        (Fault::Loop, 65, "more than 10 redirections"),
        (Fault::Nowhere, 65, "a redirection to nowhere"),
        (Fault::Elsewhere("ftp://127.0.0.1".into()), 65, "a redirection to 'ftp://127.0.0.1/cdn/"),
        (Fault::Elsewhere("/".into()), 65, "a redirection to '//cdn/"),
    ] {
        net.server.fail(FILE, fault.clone());
        net.run(INSPECT).fails(code, &[part]);
        let kept: Vec<PathBuf> =
            net.blobs().into_iter().filter(|path| path.metadata().unwrap().len() > 0).collect();
        assert!(kept.is_empty(), "{fault:?} left {kept:?}");
    }
    assert!(!net.folder.path("evil").exists() && !net.folder.path("hf/evil").exists());
    net.server.fail(FILE, Fault::None);
    net.inspected();
}

#[test]
fn no_more_is_taken_of_a_body_than_its_description_says() {
    let net = Net::new();
    net.server.fail(FILE, Fault::Endless);
    net.inspected();
    assert_eq!(std::fs::read(net.blobs().pop().unwrap()).unwrap(), *TOKENIZER);
}

#[test]
fn the_token_goes_to_the_host_of_the_hub_alone() {
    let (net, elsewhere) = (Net::new(), Server::start());
    elsewhere.serve(FILE, TOKENIZER.clone(), true);
    net.server.fail(FILE, Fault::Elsewhere(elsewhere.endpoint.clone()));
    net.with(INSPECT, &[("HF_TOKEN", "hf_secret")]).done();
    let (own, other) = (net.server.take_log(), elsewhere.take_log());
    assert!(!own.is_empty() && own.iter().all(|line| line.ends_with(" Bearer hf_secret")), "{own:?}");
    assert!(!other.is_empty() && !other.iter().any(|line| line.contains("Bearer")), "{other:?}");
}

#[test]
fn a_silent_server_is_given_up() {
    let net = Net::new();
    net.server.fail(FILE, Fault::Silent);
    net.with(INSPECT, &[("HF_HUB_DOWNLOAD_TIMEOUT", "0.5")]).fails(75, &["nothing came for 0.5 s"]);
    net.with(INSPECT, &[("HF_HUB_DOWNLOAD_TIMEOUT", "soon")])
        .fails(2, &["HF_HUB_DOWNLOAD_TIMEOUT is 'soon'"]);
}

#[test]
fn offline_means_the_cache_alone() {
    let net = Net::new();
    let offline = [("HF_HUB_OFFLINE", "1")];
    net.with(INSPECT, &offline).fails(66, &["HF_HUB_OFFLINE is set", "fetch the file once online"]);
    assert!(net.server.take_log().is_empty());
    net.inspected();
    net.server.take_log();
    net.with(INSPECT, &offline).done();
    assert!(net.server.take_log().is_empty());
}

#[test]
fn without_a_network_the_cache_is_taken_with_a_warning() {
    let net = Net::new();
    let gone = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    net.with(INSPECT, &gone).fails(75, &["cannot fetch", "check the network"]);
    net.inspected();
    let outcome = net.with(INSPECT, &gone).done();
    assert!(outcome.stderr.contains(&format!("taking commit {COMMIT} from the cache")), "{}", outcome.stderr);
}

#[test]
fn a_damaged_cache_is_noticed() {
    let net = Net::new();
    net.inspected();
    let blob = net.blobs().pop().unwrap();
    let mut content = std::fs::read(&blob).unwrap();
    content[7] ^= 1;
    std::fs::write(&blob, content).unwrap();
    net.with(INSPECT, &[("HF_HUB_OFFLINE", "true")])
        .fails(65, &["the cached hf://some/tokenizer", "remove it"]);
    net.inspected();
    assert_eq!(std::fs::read(&blob).unwrap(), *TOKENIZER);
}

#[test]
fn token_and_places_come_from_the_usual_variables() {
    let net = Net::new();
    net.with(INSPECT, &[("HF_TOKEN", "hf_secret")]).done();
    assert!(net.server.take_log().iter().all(|line| line.ends_with(" Bearer hf_secret")));
    std::fs::write(net.folder.path("hf/token"), "stored\n").unwrap();
    net.run(INSPECT).done();
    assert!(net.server.take_log().iter().all(|line| line.ends_with(" Bearer stored")));
    let elsewhere = net.folder.path("elsewhere");
    net.with(INSPECT, &[("HF_HUB_CACHE", elsewhere.to_str().unwrap())]).done();
    assert!(elsewhere.join("models--some--tokenizer").is_dir());
    net.with(INSPECT, &[("HF_ENDPOINT", "ftp://x")]).fails(2, &["HF_ENDPOINT is 'ftp://x'"]);
    net.with(INSPECT, &[("HF_TOKEN", "a b")]).fails(2, &["HF_TOKEN"]);
}

#[test]
fn names_that_are_none_are_refused_before_any_request() {
    let net = Net::new();
    for name in ["hf://one", "hf://a/../b", "hf://a/b@../c", "hf://datasets/a/b", "hf://a/b%2Fc"] {
        net.run(&format!("tokenizer inspect {name} --text x")).fails(2, &[name]);
    }
    let line = "pretrain --config pretrain.toml --set init_from=hf://datasets/a/b/c.txt";
    net.run(line).fails(2, &["is not a model"]);
    let line = "finetune --config finetune.toml --set init_from=scratch --set data.train=hf://a/b";
    net.run(line).fails(2, &["names a model"]);
    assert!(net.server.take_log().is_empty());
}

/// A finished pre-training, its model on the Hub in two shards.
fn with_model() -> Net {
    let net = Net::new();
    net.folder.run("pretrain --config pretrain.toml").done();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        net.server.serve(
            &format!("some/model/{name}"),
            net.folder.bytes(&format!("pretrained/model/{name}")),
            false,
        );
    }
    let all =
        train::internals::tensor_file::read(&net.folder.path("pretrained/model/model.safetensors")).unwrap();
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| name.contains("layers"));
    let mut places = serde_json::Map::new();
    for (number, tensors) in [(1, first), (2, second)] {
        let file = format!("model-0000{number}-of-00002.safetensors");
        places.extend(tensors.iter().map(|(name, _)| (name.clone(), file.clone().into())));
        let path = net.folder.path(&file);
        train::internals::tensor_file::write(&path, &tensors.into_iter().collect()).unwrap();
        net.server.serve(&format!("some/model/{file}"), std::fs::read(path).unwrap(), true);
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": places}).to_string();
    net.server.serve("some/model/model.safetensors.index.json", index, false);
    net
}

#[test]
fn a_model_of_the_hub_is_trained_on_and_its_commit_is_written_down() {
    let net = with_model();
    net.server.serve("datasets/some/texts/data/corpus.txt", net.folder.bytes("corpus.txt"), false);
    net.server.serve("datasets/some/rows/rows.tsv", net.folder.bytes("messages.tsv"), false);
    let line = "pretrain --config pretrain.toml --set init_from=hf://some/model --set output_dir=on \
                --set data.train=[\"hf://datasets/some/texts/data/corpus.txt\"]";
    net.run(line).done();
    let manifest = net.folder.json("on/run.json");
    assert_eq!(manifest["hub_commits"]["hf://some/model"], COMMIT);
    assert_eq!(manifest["hub_commits"]["hf://datasets/some/texts/data/corpus.txt"], COMMIT);
    assert!(net.folder.text("on/model/README.md").contains("base_model: \"some/model\""));

    let line = "finetune --config finetune.toml --init-from hf://some/model --set output_dir=tuned \
                --set data.train=hf://datasets/some/rows/rows.tsv";
    net.run(line).done();
    let card = net.folder.text("tuned/model/README.md");
    assert!(card.contains("datasets: [\"some/rows\"]") && card.contains("| f1 |"), "{card}");
    let here = net.folder.run("generate pretrained --prompt cat --temperature 0 --max-new-tokens 8").done();
    let there = net.run("generate hf://some/model --prompt cat --temperature 0 --max-new-tokens 8").done();
    assert_eq!(there.stdout, here.stdout);
    net.run("evaluate tuned --data hf://datasets/some/rows/rows.tsv --json").done();
}

#[test]
fn a_model_that_is_not_built_is_refused_before_its_weights_are_fetched() {
    let net = with_model();
    let config = net.folder.text("pretrained/model/config.json");
    let scaled = config.replacen('{', "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0},", 1);
    net.server.serve("some/model/config.json", scaled, false);
    let line = "finetune --config finetune.toml --init-from hf://some/model";
    net.run(line).fails(65, &["config.json", "rope_scaling", "yarn"]);
    assert!(!net.server.take_log().iter().any(|line| line.contains("safetensors")));

    net.server.serve("some/model/config.json", config, false);
    net.server.move_to(&COMMIT.replace('0', "f"));
    let index = r#"{"weight_map": {"model.norm.weight": "../../../evil.safetensors"}}"#;
    net.server.serve("some/model/model.safetensors.index.json", index, false);
    net.run(line).fails(65, &["'../../../evil.safetensors' is not the name of a safetensors file"]);
}
