"""The ClickHouse engine inside this process (chDB). One connection per request, so nothing leaks from one to the next."""

import os
import re
import tempfile
import threading
from collections import namedtuple

from chdb import _chdb

from errors import DbError, from_engine
from statement import find_insert

_SLICE = 1 << 20
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")

# Where chDB starts with other values than a server does.
_LIKE_A_SERVER = "SET implicit_select = 0, allow_introspection_functions = 0, storage_file_read_method = 'pread'"

Statistics = namedtuple("Statistics", "read_rows read_bytes written_rows written_bytes")


class Engine:
    def __init__(self, path, max_running=32):
        self._path = path
        self._slots = threading.BoundedSemaphore(max_running)
        # Held open, because the engine stops when its last connection is closed.
        self._keeper = _chdb.connect(path)
        self.version = self._keeper.query("SELECT version()", "TSV").bytes().decode().strip()
        self.timezone = self._keeper.query("SELECT timezone()", "TSV").bytes().decode().strip()

    def close(self):
        self._keeper.close()

    def run(self, request):
        """Runs one statement; returns (result bytes, Statistics)."""
        with self._slots:
            connection = None
            try:
                connection = _chdb.connect(self._path)
                connection.query(_LIKE_A_SERVER)
                if request.database:
                    connection.query("USE " + _identifier(request.database))
                for name, value in request.settings:
                    if not _NAME.match(name):
                        raise DbError(115, "Unknown setting '%s'." % name, "UNKNOWN_SETTING")
                    connection.query("SET %s = %s" % (name, _string(value)))
                if request.read_only:
                    connection.query("SET readonly = 2")
                result = self._execute(connection, request)
                # Everything is read off before the connection is closed: the result is not safe after that.
                return result.bytes(), Statistics(result.rows_read(), result.bytes_read(),
                                                  result.rows_written(), result.bytes_written())
            except RuntimeError as exception:
                raise from_engine(exception) from None
            finally:
                if connection is not None:
                    connection.close()

    def _execute(self, connection, request):
        text = request.statement + request.body.read(_SLICE)
        insert = find_insert(text)
        if insert and (insert.format or insert.data_at >= len(request.statement) > 0):
            if insert.format is None:  # INSERT INTO t in the URL, data in the body
                insert = find_insert(request.statement)
            return self._insert(connection, insert, text[insert.data_at:], request)
        text += request.body.read()
        if not text.strip(b" \t\r\n;"):
            raise DbError(62, "Syntax error: failed at position 1 (end of query): Empty query.", "SYNTAX_ERROR")
        if connection.classify_query(text)["statement_count"] > 1:
            raise DbError(62, "Syntax error (Multi-statements are not allowed).", "SYNTAX_ERROR")
        return connection.query(text, request.format, params=request.parameters)

    @staticmethod
    def _insert(connection, insert, data, request):
        # From a file, since a streamed insert (send_insert) loses errors that come up when the data is complete: a constraint,
        # too many parts, no space are then answered OK with nothing stored.
        with tempfile.NamedTemporaryFile(dir=_MEMORY) as file:
            while data:
                file.write(data)
                data = request.body.read(_SLICE)
            file.flush()
            text = b"%s\nFROM INFILE %s COMPRESSION 'none' %s\nFORMAT %s" % (
                insert.sql, _string(file.name).encode(), insert.settings, (insert.format or request.insert_format).encode())
            return connection.query(text, request.format, params=request.parameters)


def _identifier(name):
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _string(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
