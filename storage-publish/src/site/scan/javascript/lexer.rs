//! A tokenizer for JavaScript: ECMAScript 2025, section 12, and the comments of annex B.
//!
//! Whether `/` begins a regular expression depends on the grammar. The tokenizer decides as
//! es-module-lexer does, which bundlers use: by the token before it, and for brackets by what
//! stands before their beginning. It has no recursion. What ends without its end is an end.

use std::ops::Range;

use super::super::tokens::unicode_space;

/// A token. Places are those of the whole token, with its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word,
    Number,
    String,
    /// A template, or the part of one that ends at `${` or begins at `}`.
    Template {
        begins: bool,
        ends: bool,
    },
    Regex,
    Comment,
    /// `...`
    Spread,
    /// One character of an operator, or a bracket.
    Punctuator(u8),
}

/// What an opening bracket is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    /// `(` after `if`, `while`, `for` or `with`: a statement follows its end.
    Condition,
    /// `{` of a block or a body: a statement follows its end.
    Block,
    /// `${` of a template.
    Substitution,
    /// Any other, whose end is the end of a value.
    Value,
}

/// The token before, as far as the next one depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing, or the end of a block.
    Statement,
    /// The end of a value: `/` divides.
    Value,
    /// A keyword that an expression follows.
    Keyword,
    /// `if`, `while`, `for` or `with`.
    ConditionKeyword,
    /// A keyword that a block follows.
    BlockKeyword,
    /// `.`, after which a keyword is a name.
    Dot,
    /// `)` of a value or of parameters: `/` divides, `{` is a block.
    Parenthesis,
    /// `=>`, `;`.
    BlockMayFollow,
    /// Any other operator.
    Operator,
}

pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    brackets: Vec<Bracket>,
    before: Before,
    line_start: bool,
    /// Where the line of the last regular expression without end ends.
    unended: usize,
    /// Before this place, no regular expression begins in that line.
    no_regex_before: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            brackets: Vec::new(),
            before: Before::Statement,
            line_start: true,
            unended: 0,
            no_regex_before: 0,
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn starts_with(&self, text: &[u8]) -> bool {
        self.bytes[self.at.min(self.bytes.len())..].starts_with(text)
    }

    fn skip_space(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' | b'\r' => self.line_start = true,
                b' ' | b'\t' | b'\x0b' | b'\x0c' => {}
                _ => match unicode_space(&self.bytes[self.at..]) {
                    Some(length) => self.at += length - 1,
                    None => return,
                },
            }
            self.at += 1;
        }
    }

    fn comment(&mut self) -> Option<Token> {
        let start = self.at;
        let is_line = self.starts_with(b"//")
            || self.starts_with(b"<!--")
            || (self.line_start && self.starts_with(b"-->"))
            || (start == 0 && self.starts_with(b"#!"));
        if is_line {
            let rest = &self.bytes[start..];
            self.at += line_length(rest);
        } else if self.starts_with(b"/*") {
            let rest = &self.bytes[start + 2..];
            let end = rest.windows(2).position(|window| window == b"*/");
            self.at = end.map_or(self.bytes.len(), |end| start + 2 + end + 2);
        } else {
            return None;
        }
        Some(Token { kind: Kind::Comment, range: start..self.at })
    }

    fn string(&mut self, quote: u8) -> Kind {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' if self.peek(1) == Some(b'\r') && self.peek(2) == Some(b'\n') => self.at += 3,
                b'\\' => self.at += 2,
                // A string that its line does not end is an error of the program.
                b'\n' | b'\r' => break,
                _ => self.at += 1,
            }
            if byte == quote {
                break;
            }
        }
        self.at = self.at.min(self.bytes.len());
        self.before = Before::Value;
        Kind::String
    }

    /// Reads a part of a template, after its backtick or the end of a substitution.
    fn template(&mut self, begins: bool) -> Kind {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.at += 2,
                b'`' => {
                    self.at += 1;
                    self.before = Before::Value;
                    return Kind::Template { begins, ends: true };
                }
                b'$' if self.peek(1) == Some(b'{') => {
                    self.at += 2;
                    self.brackets.push(Bracket::Substitution);
                    self.before = Before::Operator;
                    return Kind::Template { begins, ends: false };
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.bytes.len());
        Kind::Template { begins, ends: true }
    }

    /// Reads a regular expression. Returns `None` if its line does not end it: then `/` divides.
    fn regex(&mut self) -> Option<Kind> {
        let mut at = self.end_of_regex()? + 1;
        while self.bytes.get(at).is_some_and(u8::is_ascii_alphanumeric) {
            at += 1;
        }
        self.at = at;
        self.before = Before::Value;
        Some(Kind::Regex)
    }

    /// Returns where the `/` at the end of a regular expression is.
    ///
    /// If an attempt before read this part of the line without finding an end, each `/` from here
    /// on is escaped or in a class. An attempt that meets `[` or `]` goes on as the one before did,
    /// and so it has no end either. Thus each byte is read twice at most.
    fn end_of_regex(&mut self) -> Option<usize> {
        if self.at < self.no_regex_before {
            return None;
        }
        let was_read = self.at < self.unended;
        let mut at = self.at + 1;
        let mut in_class = false;
        loop {
            match self.bytes.get(at) {
                Some(b'/') if !in_class => return Some(at),
                Some(b'[' | b']') | Some(b'\n' | b'\r') | None if was_read => {
                    self.no_regex_before = at;
                    return None;
                }
                Some(b'\n' | b'\r') | None => {
                    self.unended = at;
                    return None;
                }
                Some(b'\\') => at += 1,
                Some(b'[') => in_class = true,
                Some(b']') => in_class = false,
                Some(_) => {}
            }
            at += 1;
        }
    }

    fn number(&mut self) -> Kind {
        let is_decimal = !(self.starts_with(b"0x") || self.starts_with(b"0X"));
        let mut last = 0;
        while let Some(byte) = self.peek(0) {
            let is_sign = is_decimal && matches!(last, b'e' | b'E') && matches!(byte, b'+' | b'-');
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || is_sign) {
                break;
            }
            last = byte;
            self.at += 1;
        }
        self.before = Before::Value;
        Kind::Number
    }

    fn word(&mut self) -> Kind {
        let start = self.at;
        while let Some(byte) = self.peek(0) {
            match byte {
                // An escape: `\u0061` or `\u{61}`.
                b'\\' if self.peek(1) == Some(b'u') && self.peek(2) == Some(b'{') => {
                    let rest = &self.bytes[self.at..];
                    let end = rest.iter().take(16).position(|byte| *byte == b'}');
                    self.at += end.map_or(3, |end| end + 1);
                }
                _ if byte >= 0x80 && unicode_space(&self.bytes[self.at..]).is_some() => break,
                _ if is_word(byte) => self.at += 1,
                _ => break,
            }
        }
        self.before = match self.before {
            Before::Dot => Before::Value,
            _ => after_word(&self.bytes[start..self.at]),
        };
        Kind::Word
    }

    fn punctuator(&mut self, byte: u8) -> Kind {
        self.at += 1;
        match byte {
            b'(' => {
                let is_condition = self.before == Before::ConditionKeyword;
                self.open(if is_condition { Bracket::Condition } else { Bracket::Value });
            }
            b'[' => self.open(Bracket::Value),
            b'{' => {
                let bracket = if self.begins_block() { Bracket::Block } else { Bracket::Value };
                self.brackets.push(bracket);
                self.before = match bracket {
                    Bracket::Block => Before::Statement,
                    _ => Before::Operator,
                };
            }
            b')' | b']' | b'}' => self.close(byte),
            b'.' if self.starts_with(b"..") => {
                self.at += 2;
                self.before = Before::Operator;
                return Kind::Spread;
            }
            b'.' => self.before = Before::Dot,
            b';' => self.before = Before::BlockMayFollow,
            b'>' if self.at >= 2 && self.bytes[self.at - 2] == b'=' => {
                self.before = Before::BlockMayFollow;
            }
            // After `a++`, `/` divides. A regular expression after `++` is an error.
            b'+' | b'-' if self.peek(0) == Some(byte) => {
                self.at += 1;
                if !matches!(self.before, Before::Value | Before::Parenthesis) {
                    self.before = Before::Operator;
                }
            }
            _ => self.before = Before::Operator,
        }
        Kind::Punctuator(byte)
    }

    fn begins_block(&self) -> bool {
        use Before::{BlockKeyword, BlockMayFollow, Parenthesis, Statement, Value};
        // After a value stands the body of a class, or a block after a line without semicolon.
        matches!(self.before, BlockKeyword | BlockMayFollow | Parenthesis | Statement | Value)
    }

    fn open(&mut self, bracket: Bracket) {
        self.brackets.push(bracket);
        self.before = Before::Operator;
    }

    fn close(&mut self, byte: u8) {
        let bracket = self.brackets.pop();
        self.before = match (byte, bracket) {
            (_, Some(Bracket::Condition | Bracket::Block)) => Before::Statement,
            (b')', _) => Before::Parenthesis,
            _ => Before::Value,
        };
    }

    fn slash(&mut self) -> Kind {
        use Before::{Dot, Parenthesis, Value};
        if !matches!(self.before, Value | Parenthesis | Dot)
            && let Some(kind) = self.regex()
        {
            return kind;
        }
        self.punctuator(b'/')
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_space();
        if let Some(comment) = self.comment() {
            return Some(comment);
        }
        let start = self.at;
        let byte = self.peek(0)?;
        self.line_start = false;
        let kind = match byte {
            b'"' | b'\'' => self.string(byte),
            b'`' => self.template(true),
            b'}' if self.brackets.last() == Some(&Bracket::Substitution) => {
                self.brackets.pop();
                self.template(false)
            }
            b'/' => self.slash(),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit()) => self.number(),
            _ if is_word(byte) => self.word(),
            _ => self.punctuator(byte),
        };
        // A hostile text must not stop the tokenizer.
        self.at = self.at.clamp(start + 1, self.bytes.len());
        Some(Token { kind, range: start..self.at })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'$' | b'\\' | b'#' | b'@')
        || byte >= 0x80
}

/// Returns the length of a line without its end.
fn line_length(text: &[u8]) -> usize {
    let is_end = |index: usize| {
        matches!(text[index], b'\n' | b'\r')
            || matches!(text[index..], [0xe2, 0x80, 0xa8 | 0xa9, ..])
    };
    (0..text.len()).find(|index| is_end(*index)).unwrap_or(text.len())
}

fn after_word(word: &[u8]) -> Before {
    match word {
        b"if" | b"while" | b"for" | b"with" => Before::ConditionKeyword,
        b"else" | b"do" | b"try" | b"finally" => Before::BlockKeyword,
        b"await" | b"case" | b"default" | b"delete" | b"extends" | b"in" | b"instanceof"
        | b"new" | b"return" | b"throw" | b"typeof" | b"void" | b"yield" => Before::Keyword,
        _ => Before::Value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the tokens of a program without its comments, one a line.
    fn tokens(text: &str) -> Vec<&str> {
        let lexer = Lexer::new(text.as_bytes());
        lexer.map(|token| &text[token.range]).collect()
    }

    fn regexes(text: &str) -> Vec<&str> {
        let lexer = Lexer::new(text.as_bytes());
        let regex = lexer.filter(|token| token.kind == Kind::Regex);
        regex.map(|token| &text[token.range]).collect()
    }

    #[test]
    fn a_regular_expression_is_recognised_where_no_division_can_be() {
        for (text, expected) in [
            ("a = /x/g", "/x/g"),
            ("return /x'/", "/x'/"),
            ("if (a) /x\"/.test(b)", "/x\"/"),
            ("{}/x`/.test(b)", "/x`/"),
            ("f(/[/'\"]/, 1)", "/[/'\"]/"),
            ("a ? /x/ : /y/", "/x/ /y/"),
            ("() => /x/", "/x/"),
            ("!/\\//", "/\\//"),
            ("if(a){b}/x'/.test(c)", "/x'/"),
            ("typeof /x/", "/x/"),
            ("[/a/]", "/a/"),
            ("`${/x`/}`", "/x`/"),
        ] {
            assert_eq!(regexes(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_division_is_recognised_after_a_value() {
        for text in [
            "a / b / c",
            "(a) / b / c",
            "a[0] / b / c",
            "a++ / b / c",
            "1 / 2 / 3",
            "`x` / 2 / 3",
            "a.return / b / c",
            "f() / g() / 2",
            "({a: 1}) / 2 / 3",
            "x = {a: 1} / 2 / 3",
            "'a' / 2 / 3",
            "/x/ / 2",
            "this / 2 / 3",
        ] {
            assert!(regexes(text).iter().all(|regex| *regex == "/x/"), "{text}");
        }
    }

    #[test]
    fn a_slash_without_an_end_in_its_line_divides() {
        assert_eq!(tokens("x = / y\nz").last(), Some(&"z"));
    }

    #[test]
    fn templates_nest() {
        let parts = tokens("`a${`b${c}d` + {e: '}'}.e}f`");
        assert_eq!(parts.first(), Some(&"`a${"));
        assert_eq!(parts.last(), Some(&"}f`"));
        assert!(parts.contains(&"`b${") && parts.contains(&"}d`") && parts.contains(&"'}'"));
    }

    #[test]
    fn comments_are_tokens_of_their_own() {
        let text = "#!/usr/bin/env node\na // 'b\r\n/* \" */ <!-- c'\n--> d'\ne --> f";
        let kinds = Lexer::new(text.as_bytes()).filter(|token| token.kind == Kind::Comment);
        assert_eq!(kinds.count(), 5);
        assert_eq!(tokens(text).last(), Some(&"f"));
    }

    #[test]
    fn numbers_are_one_token() {
        for number in ["1.5e+3", ".5", "0xFFn", "1_000", "0b1", "1E-3"] {
            assert_eq!(tokens(&format!("a={number}+1")), ["a", "=", number, "+", "1"]);
        }
        assert_eq!(tokens("0xe+1"), ["0xe", "+", "1"]);
        assert_eq!(tokens("a?.5:b"), ["a", "?", ".5", ":", "b"]);
    }

    #[test]
    fn what_has_no_end_ends_with_the_text() {
        for text in ["'a", "\"a\\", "`a", "`a${", "/* a", "/a", "a\\", "\\u{", "//", "`${}", "}"] {
            let end = Lexer::new(text.as_bytes()).last().map(|token| token.range.end);
            assert_eq!(end, Some(text.len()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn tokens_follow_each_other_in_any_text(bytes: Vec<u8>) {
            let mut end = 0;
            for token in Lexer::new(&bytes) {
                proptest::prop_assert!(token.range.start >= end);
                proptest::prop_assert!(token.range.end > token.range.start);
                proptest::prop_assert!(token.range.end <= bytes.len());
                end = token.range.end;
            }
        }
    }

    /// Reads a text without what an attempt to read a regular expression has found.
    fn tokens_without_memory(text: &str) -> Vec<Token> {
        let mut lexer = Lexer::new(text.as_bytes());
        let next = || {
            (lexer.unended, lexer.no_regex_before) = (0, 0);
            lexer.next()
        };
        std::iter::from_fn(next).collect()
    }

    proptest::proptest! {
        #[test]
        fn attempts_to_read_regular_expressions_do_not_change_the_tokens(
            text in r"[/\[\]\\=a'`(\n]{0,40}",
        ) {
            let tokens: Vec<_> = Lexer::new(text.as_bytes()).collect();
            assert_eq!(tokens, tokens_without_memory(&text));
        }
    }
}
