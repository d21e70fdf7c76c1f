//! What the tokens of a file say: the paths that its code names, and its functions.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// In an expression or a type.
    Code,
    /// `use`.
    Import,
    /// `pub use`, with any visibility.
    Reexport,
}

/// `crate::rng::stream` is three segments; each name of an import in braces is a path of its own.
#[derive(Debug)]
pub struct CodePath {
    pub segments: Vec<String>,
    /// What the file calls it: the last segment, or the name after `as`.
    pub name: String,
    pub kind: Kind,
}

/// Names of the macros that the code outside `mod tests` calls.
pub fn macros(stream: &TokenStream) -> Vec<String> {
    let (mut found, mut at, tokens) = (Vec::new(), 0, tokens_of(stream));
    while at < tokens.len() {
        let is_tests = is_word(&tokens, at, "mod") && is_word(&tokens, at + 1, "tests");
        match &tokens[at] {
            _ if is_tests => at += 2,
            TokenTree::Group(group) => found.extend(macros(&group.stream())),
            TokenTree::Ident(name) if is_mark(&tokens, at + 1, '!') => found.push(name.to_string()),
            _ => {}
        }
        at += 1;
    }
    found
}

/// Name and lines of a function, from `fn` to the closing brace, closures included.
pub struct Function {
    pub name: String,
    pub lines: usize,
}

/// Paths of the code outside `mod tests`.
pub fn paths(stream: &TokenStream) -> Vec<CodePath> {
    let mut found = Vec::new();
    collect(&tokens_of(stream), &mut found);
    found
}

/// All functions with a body, those inside others too.
pub fn functions(stream: &TokenStream) -> Vec<Function> {
    let mut found = Vec::new();
    let tokens = tokens_of(stream);
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            found.extend(functions(&group.stream()));
        }
        let Some(name) = word(&tokens, at + 1).filter(|_| is_word(&tokens, at, "fn")) else { continue };
        let is_end = |at: &usize| is_mark(&tokens, *at, ';') || braces(&tokens, *at).is_some();
        if let Some(TokenTree::Group(body)) = (at..tokens.len()).find(is_end).map(|end| &tokens[end]) {
            let lines = body.span_close().end().line - token.span().start().line + 1;
            found.push(Function { name, lines });
        }
    }
    found
}

fn tokens_of(stream: &TokenStream) -> Vec<TokenTree> {
    stream.clone().into_iter().collect()
}

/// The identifier at a place.
fn word(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at)? {
        TokenTree::Ident(word) => Some(word.to_string()),
        _ => None,
    }
}

fn is_mark(tokens: &[TokenTree], at: usize, mark: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(found)) if found.as_char() == mark)
}

fn braces(tokens: &[TokenTree], at: usize) -> Option<Vec<TokenTree>> {
    match tokens.get(at)? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(tokens_of(&group.stream())),
        _ => None,
    }
}

fn collect(tokens: &[TokenTree], found: &mut Vec<CodePath>) {
    let mut at = 0;
    while at < tokens.len() {
        let module = word(tokens, at + 1).filter(|_| is_word(tokens, at, "mod"));
        match (&tokens[at], module, braces(tokens, at + 2)) {
            (_, Some(name), Some(inside)) => {
                if name != "tests" {
                    found.extend(of_inner_module(&inside));
                }
                at += 3;
            }
            (TokenTree::Group(group), ..) => {
                collect(&tokens_of(&group.stream()), found);
                at += 1;
            }
            (TokenTree::Ident(word), ..) if word == "use" => {
                // `pub use` or `pub(crate) use`.
                let before = &tokens[at.saturating_sub(2)..at];
                let visible = match before {
                    [.., TokenTree::Ident(word)] => word == "pub",
                    [TokenTree::Ident(word), TokenTree::Group(_)] => word == "pub",
                    _ => false,
                };
                let end = (at..tokens.len()).find(|at| is_mark(tokens, *at, ';')).unwrap_or(tokens.len());
                let kind = if visible { Kind::Reexport } else { Kind::Import };
                imports(&tokens[at + 1..end], &[], kind, found);
                at = end;
            }
            (TokenTree::Ident(_), ..) => {
                let (segments, end) = segments(tokens, at);
                if segments.len() > 1 {
                    let name = segments.last().cloned().unwrap_or_default();
                    found.push(CodePath { segments, name, kind: Kind::Code });
                }
                at = end;
            }
            _ => at += 1,
        }
    }
}

/// A module inside a file counts to the file, which is what its `super` names.
fn of_inner_module(tokens: &[TokenTree]) -> Vec<CodePath> {
    let mut found = Vec::new();
    collect(tokens, &mut found);
    for path in found.iter_mut().filter(|path| path.segments[0] == "super") {
        path.segments.remove(0);
        if path.segments.first().is_none_or(|first| first != "super") {
            path.segments.insert(0, "self".to_string());
        }
    }
    found
}

fn is_word(tokens: &[TokenTree], at: usize, expected: &str) -> bool {
    word(tokens, at).is_some_and(|word| word == expected)
}

/// The names joined by `::` from here on, and the place after them.
fn segments(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    while let Some(segment) = word(tokens, at) {
        segments.push(segment);
        let goes_on = is_mark(tokens, at + 1, ':') && is_mark(tokens, at + 2, ':');
        if !goes_on || word(tokens, at + 3).is_none() {
            return (segments, at + 1);
        }
        at += 3;
    }
    (segments, at)
}

/// What comes after `use`, or stands between the braces of one.
fn imports(tokens: &[TokenTree], before: &[String], kind: Kind, found: &mut Vec<CodePath>) {
    for tokens in tokens.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',')) {
        let (own, mut at) = segments(tokens, 0);
        let mut segments = [before, &own].concat();
        if is_mark(tokens, at, ':') {
            at += 2;
            if let Some(group) = braces(tokens, at) {
                imports(&group, &segments, kind, found);
                continue;
            }
            segments.push("*".to_string());
        }
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        let renamed = is_word(tokens, at, "as").then(|| word(tokens, at + 1)).flatten();
        if let Some(name) = renamed.or(segments.last().cloned()) {
            found.push(CodePath { segments, name, kind });
        }
    }
}

#[test]
fn paths_and_functions_are_taken_from_the_code_alone() {
    let code = "// crate::a::comment\n\
        pub(crate) use super::a::{B, c::{self, D as E}};\n\
        use crate::f::*;\n\
        fn g(x: [u8; 2]) -> h::I {\n\
            println!(\"crate::a::text {}\", crate::j::k(x));\n\
        }\n\
        mod inner { use super::n; use super::super::o; }\n\
        mod tests { use crate::l::m; }";
    let stream: TokenStream = code.parse().unwrap();
    let found: Vec<String> = paths(&stream)
        .iter()
        .map(|path| format!("{:?} {} {}", path.kind, path.segments.join("::"), path.name))
        .collect();
    let expected = [
        "Reexport super::a::B B",
        "Reexport super::a::c c",
        "Reexport super::a::c::D E",
        "Import crate::f::* *",
        "Code h::I I",
        "Code crate::j::k k",
        "Import self::n n",
        "Import super::o o",
    ];
    assert_eq!(found, expected);
    assert_eq!(macros(&stream), ["println"]);
    let [function] = &functions(&stream)[..] else { panic!("one function") };
    assert_eq!((function.name.as_str(), function.lines), ("g", 3));
}
