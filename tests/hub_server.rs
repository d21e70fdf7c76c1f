//! A server on this machine that answers as the Hub does, or fails in a chosen way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Digest;

/// What goes wrong with one file.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    #[default]
    None,
    /// Every request gets this status.
    Status(u16),
    /// So many requests get this status, the others succeed.
    StatusTimes(u16, usize),
    /// The description succeeds, the body gets this status and an error page.
    BodyStatus(u16),
    /// The connection ends in the middle of so many bodies.
    Cut(usize),
    /// As `Cut`, and ranges are ignored.
    CutWithoutRanges(usize),
    /// The body is shorter than the description says.
    Short,
    /// One byte of the body is another.
    Changed,
    /// The description has this etag.
    Etag(String),
    /// Headers that the Hub always sends are missing.
    NotAHub,
    /// The body never comes.
    Silent,
    /// The body goes on and on.
    Endless,
    /// The description has this size.
    Size(u64),
    /// The file lies on the server at this address.
    Elsewhere(String),
    /// The file is always somewhere else.
    Loop,
    /// The answer points nowhere.
    Nowhere,
}

#[derive(Clone)]
struct Served {
    content: Vec<u8>,
    /// Lies on another host behind a redirection and is named by its SHA-256.
    large: bool,
    fault: Fault,
    requests: usize,
    bodies: usize,
}

struct State {
    commit: String,
    files: BTreeMap<String, Served>,
    log: Vec<String>,
}

pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = State { commit: COMMIT.into(), files: BTreeMap::new(), log: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { endpoint, state }
    }

    /// Serves `content` as `OWNER/NAME/PATH` or `datasets/OWNER/NAME/PATH`.
    pub fn serve(&self, name: &str, content: impl Into<Vec<u8>>, large: bool) {
        let served = Served { content: content.into(), large, fault: Fault::None, requests: 0, bodies: 0 };
        self.state.lock().unwrap().files.insert(name.into(), served);
    }

    pub fn fail(&self, name: &str, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        let file = state.files.get_mut(name).unwrap();
        (file.fault, file.requests, file.bodies) = (fault, 0, 0);
    }

    /// The branch moves on.
    pub fn move_to(&self, commit: &str) {
        self.state.lock().unwrap().commit = commit.into();
    }

    /// Requests since the last call: path, range, and token where one was sent.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

fn git_hash(content: &[u8]) -> String {
    let mut hash = sha1::Sha1::new();
    hash.update(format!("blob {}\0", content.len()));
    hash.update(content);
    train::internals::hex(hash.finalize().as_slice())
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_string();
    let (mut range, mut token) = (String::new(), String::new());
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        match name.to_lowercase().as_str() {
            "range" => range = value.to_string(),
            "authorization" => token = format!(" {value}"),
            _ => {}
        }
    }
    let (file, response) = {
        let mut state = state.lock().unwrap();
        state.log.push(format!("{path} {range}{token}"));
        respond(&mut state, &path, &range)
    };
    if matches!(file.map(|file| file.fault), Some(Fault::Silent)) && range != "bytes=0-0" {
        std::thread::sleep(Duration::from_secs(20));
        return;
    }
    // A client that has gone away needs no answer.
    let _ = stream.write_all(&response);
}

fn plain(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The bytes of the answer, and the file it is about.
fn respond(state: &mut State, path: &str, range: &str) -> (Option<Served>, Vec<u8>) {
    let missing = || (None, plain(404, "", b"Entry not found"));
    let (name, on_cdn) = match (path.split_once("/resolve/"), path.strip_prefix("cdn/")) {
        (Some((repo, rest)), _) => {
            let (revision, file) = rest.split_once('/').unwrap_or((rest, ""));
            if revision != "main" && revision != state.commit {
                return missing();
            }
            (format!("{repo}/{file}"), false)
        }
        (None, Some(name)) => (name.to_string(), true),
        _ => return missing(),
    };
    let commit = state.commit.clone();
    let Some(file) = state.files.get_mut(&name) else { return missing() };
    file.requests += 1;
    let first: usize = range.trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap_or(0);
    let describes = range == "bytes=0-0";
    file.bodies += usize::from(!describes && (on_cdn || !file.large));
    let file = file.clone();
    let response = respond_with(&file, &name, &commit, on_cdn, describes, first);
    (Some(file), response)
}

fn respond_with(
    file: &Served,
    name: &str,
    commit: &str,
    on_cdn: bool,
    describes: bool,
    first: usize,
) -> Vec<u8> {
    let (size, sha256) = (file.content.len(), train::internals::sha256(&file.content));
    match &file.fault {
        Fault::Status(status) => return plain(*status, "", b"an error page"),
        Fault::StatusTimes(status, times) if file.requests <= *times => {
            return plain(*status, "", b"an error");
        }
        Fault::BodyStatus(status) if !describes => return plain(*status, "", b"an error page"),
        Fault::Elsewhere(endpoint) if !on_cdn => {
            let large = Served { large: true, fault: Fault::None, ..file.clone() };
            let here = String::from_utf8(respond_with(&large, name, commit, false, describes, first));
            return here.unwrap().replace("Location: ", &format!("Location: {endpoint}")).into();
        }
        Fault::Loop => return plain(302, &format!("Location: /cdn/{name}\r\n"), b""),
        Fault::Nowhere => return plain(302, "", b""),
        Fault::NotAHub => return plain(200, "", b"<html>log in here</html>"),
        _ => {}
    }
    let git_hash = git_hash(&file.content);
    let etag = match &file.fault {
        Fault::Etag(etag) => etag,
        _ if file.large => &sha256,
        _ => &git_hash,
    };
    let named = format!("ETag: \"{etag}\"\r\nX-Repo-Commit: {commit}\r\n");
    if file.large && !on_cdn {
        let location =
            format!("Location: /cdn/{name}\r\nX-Linked-Etag: \"{sha256}\"\r\nX-Linked-Size: {size}\r\n");
        return plain(302, &format!("{location}{named}"), b"");
    }
    if describes {
        let size = if let Fault::Size(size) = file.fault { size } else { size as u64 };
        let headers = format!("{named}Content-Range: bytes 0-0/{size}\r\n");
        return plain(206, &headers, &file.content[..1]);
    }
    let headers = format!("{named}Content-Range: bytes {first}-{}/{size}\r\n", size - 1);
    let body = &file.content[first.min(size)..];
    match file.fault {
        Fault::Cut(times) | Fault::CutWithoutRanges(times) if file.bodies <= times => {
            let whole = plain(206, &headers, body);
            whole[..whole.len() - body.len() / 2].to_vec()
        }
        Fault::CutWithoutRanges(_) => plain(200, &named, &file.content),
        Fault::Endless => plain(206, &headers, &body.repeat(1000)),
        Fault::Short => plain(206, &headers, &body[..body.len() / 2]),
        Fault::Changed => {
            let mut body = body.to_vec();
            body[0] ^= 1;
            plain(206, &headers, &body)
        }
        _ => plain(206, &headers, body),
    }
}
