"""Just enough reading of SQL to find where an INSERT ends and its data begins, and which output format is asked for.

Everything else about a statement is the engine's business.
"""

import re
from collections import namedtuple

_TOKEN = re.compile(
    rb"""(?P<skip>\s+|--[^\n]*|\#[!\s][^\n]*|/\*.*?\*/)
       | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
       | (?P<quoted>'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
       | (?P<open>[(\[{]) | (?P<close>[)\]}])
       | (?P<other>.)""",
    re.X | re.S,
)

# sql: the statement without its SETTINGS and FORMAT clauses; data_at: offset of the data in the text that was read.
Insert = namedtuple("Insert", "sql settings format data_at")


def _words(text):
    """Tokens outside brackets: (kind, text, start, end)."""
    depth = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
            if depth == 0:
                yield "group", b"", token.start(), token.end()
        elif kind != "skip" and depth == 0:
            yield kind, token.group(), token.start(), token.end()


def find_insert(text):
    """The Insert in `text` if it is one that takes data from outside (FORMAT, VALUES or nothing), else None."""
    words = _words(text)
    _, word, _, _ = next(words, (None, b"", 0, 0))
    if word.upper() != b"INSERT":
        return None
    _, word, _, _ = next(words, (None, b"", 0, 0))
    if word.upper() != b"INTO":
        return None
    named = False  # the word after INTO [TABLE] is a name, whatever it is
    awaiting_format = None
    settings_at = None
    end = 0

    def insert(sql_end, format, data_at):
        at = sql_end if settings_at is None else settings_at
        return Insert(text[:at], text[at:sql_end], format, data_at)

    for kind, word, start, end in words:
        upper = word.upper() if kind == "word" else b""
        if awaiting_format is not None:
            return insert(awaiting_format, word.decode(), _data_start(text, end))
        if not named:
            named = upper not in (b"TABLE", b"FUNCTION")
        elif upper in (b"SELECT", b"WITH", b"FROM", b"EXPLAIN"):
            return None
        elif upper == b"VALUES":
            return insert(start, "Values", end)
        elif upper == b"SETTINGS" and settings_at is None:
            settings_at = start
        elif upper == b"FORMAT":
            awaiting_format = start
    return insert(len(text.rstrip(b" \t\r\n;")), None, len(text)) if named else None


def _data_start(text, at):
    """Data begins after the first line break if only blanks precede it, else after the blanks."""
    while text[at:at + 1] in (b" ", b"\t", b"\f"):
        at += 1
    if text[at:at + 1] == b"\r":
        at += 1
    if text[at:at + 1] == b"\n":
        at += 1
    return at


def output_format(text):
    """The name in a trailing FORMAT clause, or None."""
    found, previous = None, b""
    for kind, word, _, _ in _words(text):
        if previous == b"FORMAT" and kind == "word":
            found = word.decode()
        previous = word.upper() if kind == "word" else b""
    return found
