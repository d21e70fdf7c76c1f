//! No two modules of a folder need each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::uses;
use super::tokens::Kind;

#[test]
fn no_folder_has_a_circle_of_imports() {
    let mut folders: BTreeMap<String, BTreeMap<Edge, Files>> = BTreeMap::new();
    for used in uses() {
        let shared = used.from.iter().zip(&used.to).take_while(|(from, to)| from == to).count();
        // A folder passes on what its modules define without needing it.
        let passes_on = used.kind == Kind::Reexport && used.from.len() == shared;
        if shared == 0 && (used.from.is_empty() || used.to.is_empty()) || passes_on {
            continue;
        }
        let member = |module: &[String]| module.get(shared).map_or("mod", String::as_str).to_string();
        let edge = (member(&used.from), member(&used.to));
        let folder = used.from[..shared].join("/");
        // An operation is one thing in a few files: its mod.rs defines what they share.
        if folder.starts_with("ops/") && edge.1 == "mod" {
            continue;
        }
        folders.entry(folder).or_default().entry(edge).or_default().insert(used.file);
    }
    let mut wrong = Vec::new();
    for (folder, mut edges) in folders {
        // What is used by nobody, or uses nobody, is on no circle.
        loop {
            let (before, from, to) =
                (edges.len(), ends(&edges, |edge| &edge.0), ends(&edges, |edge| &edge.1));
            edges.retain(|(a, b), _| to.contains(a) && from.contains(b));
            if edges.len() == before {
                break;
            }
        }
        wrong.extend(edges.iter().map(|((a, b), files)| format!("{folder}: {a} uses {b} in {files:?}")));
    }
    assert!(wrong.is_empty(), "circles among {wrong:#?}");
}

/// User and used.
type Edge = (String, String);
type Files = BTreeSet<&'static str>;

fn ends(edges: &BTreeMap<Edge, Files>, end: fn(&Edge) -> &String) -> BTreeSet<String> {
    edges.keys().map(|edge| end(edge).clone()).collect()
}
