//! References of JavaScript: imports, `new URL(..., import.meta.url)`, workers and source maps.
//!
//! The tokenizer finds the tokens, and each kind of reference is a sequence of them. A string in
//! another place is a mention: a program may use it as a name at run time.

use std::collections::VecDeque;

use super::decoded::Decoded;
use super::found::{Role, Scan};
use super::tokens::source_map_url;

mod lexer;
mod text;

use lexer::{Kind, Lexer, Token};
pub(super) use text::unescape;

/// Finds the references of a module or a script.
///
/// A string in any other place is a mention, such as that of `serviceWorker.register("/sw.js")`:
/// the browser knows a service worker by its URL, so that its file keeps its name.
pub(crate) fn scan(bytes: &[u8], scan: &mut Scan<'_>) {
    let mut scanner = Scanner { bytes, lexer: Lexer::new(bytes), ahead: VecDeque::new(), scan };
    scanner.run();
}

struct Scanner<'a, 'b, 'c> {
    bytes: &'a [u8],
    lexer: Lexer<'a>,
    /// Tokens that were looked at, without comments.
    ahead: VecDeque<Token>,
    scan: &'b mut Scan<'c>,
}

impl Scanner<'_, '_, '_> {
    fn run(&mut self) {
        let mut after_dot = false;
        while let Some(token) = self.next() {
            match token.kind {
                // `a.import("b")` calls a method.
                Kind::Word if !after_dot => self.word(&token),
                Kind::Word if self.text(&token) == b"importScripts" => self.import_scripts(),
                Kind::String | Kind::Template { .. } => self.mention(&token),
                _ => {}
            }
            after_dot = token.kind == Kind::Punctuator(b'.');
        }
    }

    fn word(&mut self, word: &Token) {
        match self.text(word) {
            b"import" => self.import(),
            b"export" => self.export(),
            b"new" => self.new_object(),
            b"importScripts" => self.import_scripts(),
            _ => {}
        }
    }

    fn next(&mut self) -> Option<Token> {
        self.peek(0)?;
        self.ahead.pop_front()
    }

    /// Returns the token that is this far ahead.
    fn peek(&mut self, index: usize) -> Option<Token> {
        while self.ahead.len() <= index {
            let token = self.lexer.next()?;
            if token.kind == Kind::Comment {
                self.comment(&token);
            } else {
                self.ahead.push_back(token);
            }
        }
        self.ahead.get(index).cloned()
    }

    fn comment(&mut self, token: &Token) {
        let start = token.range.start + 2;
        let comment = &self.bytes[token.range.clone()];
        let text = match comment {
            [b'/', b'/', text @ ..] => text,
            [b'/', b'*', text @ ..] => text.strip_suffix(b"*/").unwrap_or(text),
            _ => return,
        };
        let url = source_map_url(text, start);
        self.scan.add(url, Role::SourceMap);
    }

    fn text(&self, token: &Token) -> &[u8] {
        &self.bytes[token.range.clone()]
    }

    fn is_word(&mut self, index: usize, word: &str) -> bool {
        let token = self.peek(index);
        token.is_some_and(|token| token.kind == Kind::Word && self.text(&token) == word.as_bytes())
    }

    fn is_sign(&mut self, index: usize, sign: u8) -> bool {
        self.peek(index).is_some_and(|token| token.kind == Kind::Punctuator(sign))
    }

    fn is_string(&mut self, index: usize) -> bool {
        self.peek(index).is_some_and(|token| token.kind == Kind::String)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    /// Returns the value of a string, or of a template or a part of one.
    fn value(&self, token: &Token) -> Option<Decoded> {
        let text = self.text(token);
        let end = match (token.kind, text) {
            (Kind::Template { .. }, [.., b'$', b'{']) => text.len() - 2,
            (Kind::Template { .. }, [_, .., b'`']) => text.len() - 1,
            (Kind::String, [first, .., last]) if first == last => text.len() - 1,
            _ => return None,
        };
        unescape(&text[1..end], token.range.start + 1)
    }

    fn mention(&mut self, token: &Token) {
        // A value with a malformed escape is read as it is.
        let raw = || Decoded::plain(self.text(token), token.range.start);
        let value = self.value(token).unwrap_or_else(raw);
        self.scan.mention_words(&value);
    }

    /// Reads what follows `import`.
    fn import(&mut self) {
        if self.is_string(0) {
            return self.specifier();
        }
        // `import.meta`, or `import.defer("x")` and `import.source("x")`.
        if self.is_sign(0, b'.') {
            if !self.is_word(1, "defer") && !self.is_word(1, "source") {
                return;
            }
            self.skip(2);
        }
        if self.is_sign(0, b'(') {
            self.skip(1);
            return self.argument(is_specifier);
        }
        self.clause();
    }

    /// Reads what follows `export`.
    fn export(&mut self) {
        if self.is_sign(0, b'*') || self.is_sign(0, b'{') {
            self.clause();
        }
    }

    /// Reads the names of an import or export up to `from`, and the specifier.
    fn clause(&mut self) {
        loop {
            if self.is_word(0, "from") && self.is_string(1) {
                self.skip(1);
                return self.specifier();
            }
            let Some(token) = self.peek(0) else { return };
            match token.kind {
                Kind::Word | Kind::String | Kind::Punctuator(b',' | b'{' | b'*') => {}
                // An export of local names ends here.
                Kind::Punctuator(b'}') if !self.is_word(1, "from") => return,
                Kind::Punctuator(b'}') => {}
                _ => return,
            }
            self.skip(1);
        }
    }

    fn specifier(&mut self) {
        let Some(token) = self.next() else { return };
        let value = self.value(&token).filter(is_specifier);
        self.scan.add(value, Role::Asset);
    }

    /// Reads an argument that is a reference if it is a text, and if it is accepted.
    fn argument(&mut self, accepts: fn(&Decoded) -> bool) {
        let Some(token) = self.peek(0) else { return };
        let role = match token.kind {
            Kind::String | Kind::Template { begins: true, ends: true } => {
                if self.is_sign(1, b')') || self.is_sign(1, b',') {
                    Role::Asset
                } else if self.is_sign(1, b'+') {
                    Role::Prefix
                } else {
                    return;
                }
            }
            Kind::Template { begins: true, ends: false } => Role::Prefix,
            _ => return,
        };
        self.skip(1);
        match self.value(&token) {
            Some(value) if accepts(&value) => {
                let is_directory = role == Role::Asset && names_a_directory(&value.text);
                self.scan.add(Some(value), if is_directory { Role::Directory } else { role });
            }
            _ => self.mention(&token),
        }
    }

    /// Reads what follows `new`: `URL("x", import.meta.url)` or `Worker("x")`.
    fn new_object(&mut self) {
        let is_worker = self.is_word(0, "Worker") || self.is_word(0, "SharedWorker");
        if !(is_worker || self.is_word(0, "URL")) || !self.is_sign(1, b'(') {
            return;
        }
        if is_worker {
            // The URL is relative to the page, which a script does not know. From the root, it is
            // a reference like any other.
            self.skip(2);
            if self.is_string(0) && (self.is_sign(1, b')') || self.is_sign(1, b',')) {
                self.argument(is_from_root);
            }
        } else if self.has_base_of_module() {
            self.skip(2);
            self.argument(|_| true);
        }
    }

    /// Returns whether the arguments of `URL(` are one text and `import.meta.url`.
    fn has_base_of_module(&mut self) -> bool {
        // The first argument may be a template with substitutions, or a sum.
        const FARTHEST: usize = 64;
        for index in 2..FARTHEST {
            if self.is_sign(index, b',') && self.is_word(index + 1, "import") {
                return self.is_sign(index + 2, b'.')
                    && self.is_word(index + 3, "meta")
                    && self.is_sign(index + 4, b'.')
                    && self.is_word(index + 5, "url");
            }
            if self.is_sign(index, b';') || self.peek(index).is_none() {
                return false;
            }
        }
        false
    }

    /// Reads `importScripts("a.js", "b.js")`, whose URLs are relative to the script of the worker.
    fn import_scripts(&mut self) {
        if !self.is_sign(0, b'(') {
            return;
        }
        self.skip(1);
        while self.is_string(0) {
            self.argument(|_| true);
            if !self.is_sign(0, b',') {
                return;
            }
            self.skip(1);
        }
    }
}

/// Finds the strings of a text in JSON, whose strings are strings of JavaScript too.
pub(super) fn scan_strings(bytes: &[u8], scan: &mut Scan<'_>) {
    let strings = Lexer::new(bytes).filter(|token| token.kind == Kind::String);
    for token in strings {
        let (text, start) = (&bytes[token.range.clone()], token.range.start);
        if let [b'"', value @ .., b'"'] = text {
            let raw = || Decoded::plain(value, start + 1);
            scan.mention_words(&unescape(value, start + 1).unwrap_or_else(raw));
        }
    }
}

/// Returns whether a specifier is a URL. A bare one names a package.
fn is_specifier(url: &Decoded) -> bool {
    let text = &url.text;
    text.starts_with('/') || text.starts_with("./") || text.starts_with("../")
}

/// Returns whether a URL is that of a directory, as `./img/` or `..` is.
fn names_a_directory(url: &str) -> bool {
    matches!(url.rsplit_once('/').map_or(url, |(_, last)| last), "." | "..") || url.ends_with('/')
}

fn is_from_root(url: &Decoded) -> bool {
    url.text.starts_with('/')
}

#[cfg(test)]
mod tests;
