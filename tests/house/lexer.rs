//! Rust source as words and signs: no comments, no literals, no test code.

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its line, from 1.
    pub(crate) line: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Word(String),
    /// `::`
    Sep,
    /// Any other sign.
    Sign(char),
    /// A literal, whatever it says.
    Literal,
}

impl Token {
    /// Its word, if it is one.
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether it is this sign.
    pub(crate) fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// The tokens of a file.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1, found: Vec::new() };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    lexer.found
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn advance(&mut self, count: usize) {
        for _ in 0..count {
            self.line += usize::from(self.peek(0) == '\n');
            self.at += 1;
        }
    }

    fn push(&mut self, kind: Kind) {
        self.found.push(Token { kind, line: self.line });
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            (c, _) if c.is_whitespace() => self.advance(1),
            ('/', '/') => {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.advance(1);
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (':', ':') => {
                self.push(Kind::Sep);
                self.advance(2);
            }
            (c, _) if c.is_ascii_digit() => {
                self.push(Kind::Literal);
                while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                    self.advance(1);
                }
            }
            (c, _) if is_word(c) => self.word(),
            (c, _) => {
                self.push(Kind::Sign(c));
                self.advance(1);
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.advance(1);
                    continue;
                }
            }
            self.advance(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.push(Kind::Literal);
        self.advance(1);
        while self.at < self.chars.len() && self.peek(0) != '"' {
            self.advance(if self.peek(0) == '\\' { 2 } else { 1 });
        }
        self.advance(1);
    }

    /// A character, or a lifetime, of which nothing is kept.
    fn quote(&mut self) {
        let is_lifetime = is_word(self.peek(1)) && self.peek(2) != '\'';
        if is_lifetime {
            self.advance(2);
            while is_word(self.peek(0)) {
                self.advance(1);
            }
            return;
        }
        self.push(Kind::Literal);
        self.advance(if self.peek(1) == '\\' { 3 } else { 2 });
        while self.at < self.chars.len() && self.peek(0) != '\'' {
            self.advance(1);
        }
        self.advance(1);
    }

    fn word(&mut self) {
        let mut length = 1;
        while is_word(self.peek(length)) {
            length += 1;
        }
        let word: String = self.chars[self.at..self.at + length].iter().collect();
        let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
        match self.peek(length) {
            '"' if is_raw => self.raw_string(length),
            '#' if is_raw && matches!(self.peek(length + 1), '"' | '#') => self.raw_string(length),
            '"' if matches!(word.as_str(), "b" | "c") => {
                self.advance(length);
                self.string();
            }
            '\'' if word == "b" => {
                self.advance(length);
                self.quote();
            }
            _ => {
                self.push(Kind::Word(word));
                self.advance(length);
            }
        }
    }

    fn raw_string(&mut self, prefix: usize) {
        self.push(Kind::Literal);
        self.advance(prefix);
        let mut hashes = 0;
        while self.peek(hashes) == '#' {
            hashes += 1;
        }
        self.advance(hashes + 1);
        while self.at < self.chars.len() && !(self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#')) {
            self.advance(1);
        }
        self.advance(hashes + 1);
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The tokens without the items that stand under `#[cfg(test)]`.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if is_cfg_test(&tokens[at..]) {
            at = end_of_item(tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn is_cfg_test(tokens: &[Token]) -> bool {
    let signs = |at: usize, sign: char| tokens.get(at).is_some_and(|token| token.is(sign));
    let words = |at: usize, word: &str| tokens.get(at).and_then(Token::word) == Some(word);
    signs(0, '#') && signs(1, '[') && words(2, "cfg") && signs(3, '(') && words(4, "test") && signs(5, ')') && signs(6, ']')
}

/// Where the item ends whose first attribute starts here.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| token.is('#')) {
        at = after_group(tokens, at + 1);
    }
    let is_use = tokens[at..].iter().take(5).any(|token| token.word() == Some("use"));
    while let Some(token) = tokens.get(at) {
        match token.kind {
            Kind::Sign(';') => return at + 1,
            Kind::Sign('{') if !is_use => return after_group(tokens, at),
            Kind::Sign('{' | '(' | '[') => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// Where the brackets end that open here.
pub(crate) fn after_group(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.kind {
            Kind::Sign('{' | '(' | '[') => depth += 1,
            Kind::Sign('}' | ')' | ']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}
