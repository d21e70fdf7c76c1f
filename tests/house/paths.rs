//! From paths in the code to the modules that define what they name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use super::source::{Source, sources};
use super::tokens::{CodePath, Kind};

pub type Module = Vec<String>;

/// That the code of one module names something of another. Tests are left out.
pub struct Use {
    pub file: &'static str,
    pub from: Module,
    pub to: Module,
    pub kind: Kind,
}

/// Every use of one module of `src` by another.
pub fn uses() -> &'static [Use] {
    static USES: OnceLock<Vec<Use>> = OnceLock::new();
    USES.get_or_init(|| {
        let program = || sources().iter().filter(|source| !source.is_test() && source.path != "src/main.rs");
        let modules = Modules::of(program());
        let mut uses = Vec::new();
        for source in program() {
            let from = source.module();
            let targets = source.paths.iter().filter_map(|path| Some((path, modules.absolute(&from, path)?)));
            let targets = targets.map(|(path, target)| (path.kind, modules.defines(target)));
            let others = targets.filter(|(_, to)| *to != from);
            uses.extend(others.map(|(kind, to)| Use { file: &source.path, from: from.clone(), to, kind }));
        }
        assert!(uses.len() > 500, "only {} uses found: the search is broken", uses.len());
        uses
    })
}

struct Modules {
    names: BTreeSet<Module>,
    /// Names that a module imports, with what they stand for.
    imported: BTreeMap<(Module, String), Vec<String>>,
}

impl Modules {
    fn of(sources: impl Iterator<Item = &'static Source> + Clone) -> Self {
        let names = sources.clone().map(Source::module).collect();
        let mut modules = Self { names, imported: BTreeMap::new() };
        for source in sources {
            for path in source.paths.iter().filter(|path| path.kind != Kind::Code) {
                if let Some(target) = modules.absolute(&source.module(), path) {
                    modules.imported.insert((source.module(), path.name.clone()), target);
                }
            }
        }
        modules
    }

    /// The path from the root of the crate on; none for what other crates define.
    fn absolute(&self, from: &[String], path: &CodePath) -> Option<Vec<String>> {
        let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
        let (base, rest) = match path.segments[0].as_str() {
            "crate" => (&[][..], &path.segments[1..]),
            "self" => (from, &path.segments[1..]),
            "super" => (&from[..from.len() - ups], &path.segments[ups..]),
            first => {
                let child = [from, &[first.to_string()]].concat();
                (self.names.contains(&child).then_some(from)?, &path.segments[..])
            }
        };
        Some([base, rest].concat())
    }

    /// The module that holds what a path names, through imports that pass it on.
    fn defines(&self, mut path: Vec<String>) -> Module {
        let mut seen = BTreeSet::new();
        loop {
            let is_module = |depth: &usize| *depth == 0 || self.names.contains(&path[..*depth]);
            let depth = (0..=path.len()).rev().find(is_module).unwrap_or(0);
            let (module, rest) = path.split_at(depth);
            let passed_on = rest.first().and_then(|name| self.imported.get(&(module.to_vec(), name.clone())));
            // A module and what it is named after share a name, so a path may lead back to itself.
            match passed_on.filter(|_| seen.insert(path.clone())) {
                Some(target) => path = [&target[..], &rest[1..]].concat(),
                None => return module.to_vec(),
            }
        }
    }
}
