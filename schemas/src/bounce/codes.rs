//! SMTP codes in free text: one scanner for the text, one pattern type for the rules.

/// An enhanced status code of RFC 3463, class 4 or 5. Success codes (2.x.x) say nothing about a failure and are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Enhanced {
    pub class: u8,
    pub subject: u16,
    pub detail: u16,
}

/// The codes a text is judged by: the first of each kind. Later hops quoted in the same text do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codes {
    pub enhanced: Option<Enhanced>,
    /// A reply code 400-599 anywhere, or 600-699 (Mailgun's own) as the very first word.
    pub basic: Option<u16>,
}

/// Subjects above 7 are not assigned: what looks like one is a version ("Exim 4.94.2") or a date.
const MAX_SUBJECT: u16 = 7;

/// Words that announce a version, so that "Exim 4.5.2" is no status code.
const PRODUCTS: [&[u8]; 8] = [b"exim", b"postfix", b"sendmail", b"qmail", b"version", b"release", b"smtpd", b"ver"];

/// Finds the first enhanced and the first basic code. Linear in the text, no allocation.
pub(super) fn scan(text: &[u8]) -> Codes {
    let mut codes = Codes::default();
    let mut at = 0;
    while at < text.len() {
        if !text[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = end_of_number(text, at);
        if starts_free(text, at) {
            if codes.enhanced.is_none() {
                codes.enhanced = enhanced_at(text, at, end);
            }
            if codes.basic.is_none() {
                codes.basic = basic_at(text, at, end);
            }
            if codes.enhanced.is_some() && codes.basic.is_some() {
                break;
            }
        }
        at = end;
    }
    codes
}

fn end_of_number(text: &[u8], from: usize) -> usize {
    from + text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// A code does not continue a word, an address or a longer dotted number.
fn starts_free(text: &[u8], at: usize) -> bool {
    match at.checked_sub(1).map(|before| text[before]) {
        None => true,
        Some(b'.' | b'@' | b'_') => false,
        Some(byte) => !byte.is_ascii_alphanumeric(),
    }
}

/// A code ends where its word ends; a dot may follow it, but no further part.
fn ends_free(text: &[u8], end: usize) -> bool {
    match text.get(end) {
        None => true,
        Some(b'.') => !text.get(end + 1).is_some_and(u8::is_ascii_alphanumeric),
        Some(b'@' | b'_') => false,
        Some(byte) => !byte.is_ascii_alphanumeric(),
    }
}

fn basic_at(text: &[u8], at: usize, end: usize) -> Option<u16> {
    if end - at != 3 || !ends_free(text, end) {
        return None;
    }
    match number(&text[at..end])? {
        code @ 400..=599 => Some(code),
        code @ 600..=699 if text[..at].iter().all(u8::is_ascii_whitespace) => Some(code),
        _ => None,
    }
}

fn enhanced_at(text: &[u8], at: usize, end: usize) -> Option<Enhanced> {
    let class = match text[at] {
        b'4' if end - at == 1 => 4,
        b'5' if end - at == 1 => 5,
        _ => return None,
    };
    let (subject, end) = dotted(text, end)?;
    let (detail, end) = dotted(text, end)?;
    if subject > MAX_SUBJECT || !ends_free(text, end) || follows_product(text, at) {
        return None;
    }
    Some(Enhanced { class, subject, detail })
}

/// The part after a dot: one to three digits.
fn dotted(text: &[u8], dot: usize) -> Option<(u16, usize)> {
    if text.get(dot) != Some(&b'.') {
        return None;
    }
    let end = dot + 1 + text[dot + 1..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let digits = &text[dot + 1..end];
    if digits.len() > 3 {
        return None;
    }
    number(digits).map(|value| (value, end))
}

fn number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u16, |value, digit| value.checked_mul(10)?.checked_add(u16::from(digit - b'0')))
}

fn follows_product(text: &[u8], at: usize) -> bool {
    // Only the last few bytes matter: no product name is longer than eight.
    let before = text[at.saturating_sub(10)..at].trim_ascii_end();
    PRODUCTS.iter().any(|name| before.len() >= name.len() && before[before.len() - name.len()..].eq_ignore_ascii_case(name))
}

/// What a rule asks of the enhanced code, such as `5.1.1`, `5.7.*` or `4.*.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EnhancedPattern {
    class: u8,
    subject: Option<u16>,
    detail: Option<u16>,
}

impl EnhancedPattern {
    /// `None` when the pattern is not `4|5`, `number|*`, `number|*` joined by dots.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let mut parts = pattern.split('.');
        let class = match parts.next()? {
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let subject = part(parts.next()?)?;
        let detail = part(parts.next()?)?;
        let wild_then_fixed = subject.is_none() && detail.is_some();
        let known_subject = subject.is_none_or(|value| value <= MAX_SUBJECT);
        (parts.next().is_none() && !wild_then_fixed && known_subject).then_some(Self { class, subject, detail })
    }

    pub(super) fn matches(self, code: Enhanced) -> bool {
        self.class == code.class
            && self.subject.is_none_or(|subject| subject == code.subject)
            && self.detail.is_none_or(|detail| detail == code.detail)
    }
}

fn part(text: &str) -> Option<Option<u16>> {
    match text {
        "*" => Some(None),
        digits if digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => number(digits.as_bytes()).map(Some),
        _ => None,
    }
}

/// What a rule asks of the basic code, such as `550` or `4**`: kept as the range of codes it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BasicPattern {
    low: u16,
    high: u16,
}

impl BasicPattern {
    /// `None` when the pattern is not three of digit and `*`, digits first, within 400-699.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let digits = pattern.trim_end_matches('*');
        let fits = pattern.len() == 3 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !fits {
            return None;
        }
        let scale = [1, 10, 100][pattern.len() - digits.len()];
        let low = number(digits.as_bytes())? * scale;
        (400..700).contains(&low).then_some(Self { low, high: low + scale - 1 })
    }

    pub(super) fn matches(self, code: u16) -> bool {
        (self.low..=self.high).contains(&code)
    }
}
