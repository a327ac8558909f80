"""ClickHouse exceptions and the HTTP status a server gives each of them."""

import re

_STATUS = {
    400: {6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676},
    401: {194},
    403: {192, 193, 497, 512, 516},
    404: {46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511},
    408: {159},
    411: {381},
    413: {229},
    415: {779},
    501: {48},
    503: {76, 209, 439},
}


class DbError(Exception):
    """An error as a ClickHouse server reports it."""

    def __init__(self, code, text, name=None):
        super().__init__(text)
        self.code = code
        self.text = text if name is None else "Code: %d. DB::Exception: %s (%s)" % (code, text, name)

    @property
    def status(self):
        for status, codes in _STATUS.items():
            if self.code in codes:
                return status
        return 500


_PREFIX = re.compile(r"Code: (\d+)\. DB::(?:\w*)Exception: ")
_REPEATED_NAME = re.compile(r"( \(([A-Z0-9_]+)\)) \(version [^)]*\)\. \(\2\)")
_VERSION = re.compile(r" \(version [^)]*\)\.?\s*$")


def from_engine(exception):
    """The engine repeats the code and the name each time it rethrows; a server says them once."""
    text = str(exception).strip()
    first = _PREFIX.match(text)
    if not first:
        return DbError(1001, text or "unknown error", "STD_EXCEPTION")
    code = int(first.group(1))
    while True:
        again = _PREFIX.match(text, first.end())
        if not again or again.group(1) != first.group(1):
            break
        text = text[first.end():]
        first = _PREFIX.match(text)
    while _REPEATED_NAME.search(text):
        text = _REPEATED_NAME.sub(r"\1", text)
    return DbError(code, _VERSION.sub("", text))
