"""ClickHouse's HTTP interface in front of the chDB engine, for local runs and tests.

Usage: server.py --data DIR [--log FILE] [--host 127.0.0.1] [--port 8123]
"""

import argparse
import gzip
import json
import logging
import logging.handlers
import os
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from compression import blocks
from engine import Engine, Statistics
from errors import DbError, from_engine
from statement import output_format

log = logging.getLogger("clickhouse")

_IN_MEMORY = 32 << 20  # larger bodies go through a temporary file
_CHUNK = 1 << 18

# URL parameters that belong to the interface and are no settings.
_INTERFACE = {
    "query", "database", "default_format", "user", "password", "quota_key", "query_id", "compress", "decompress",
    "session_id", "session_timeout", "session_check", "close_session", "role", "stacktrace", "buffer_size",
    "wait_end_of_query", "client_protocol_version",
}

_CONTENT_TYPES = (
    ("JSON", "application/json; charset=UTF-8"),
    ("CSV", "text/csv; charset=UTF-8"),
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("XML", "application/xml; charset=UTF-8"),
    ("RowBinary", "application/octet-stream"),
    ("Native", "application/octet-stream"),
    ("Parquet", "application/octet-stream"),
    ("Arrow", "application/octet-stream"),
)


class Truncated(Exception):
    """The client went away before its body was complete: nothing may be inserted, nobody to answer."""


class Request:
    """What the engine needs to know of one HTTP request."""

    def __init__(self):
        self.statement = b""
        self.body = None
        self.database = ""
        self.settings = []
        self.parameters = {}
        self.format = "TabSeparated"
        self.insert_format = "Values"
        self.query_id = ""
        self.read_only = False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ClickHouse-local-adapter"
    sys_version = ""
    timeout = 60  # idle keep-alive connections, and clients that stop in the middle of a body
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        self._answer(with_body=False)

    do_HEAD = do_GET

    def do_POST(self):
        self._answer(with_body=True)

    do_PUT = do_POST

    def log_message(self, format, *args):
        log.info(format, *args)

    def _answer(self, with_body):
        self._query_id = ""
        with self.server.running:
            try:
                with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
                    # All of the body first: a body cut short must not insert its first half.
                    if with_body:
                        for part in self._incoming():
                            spool.write(part)
                        spool.seek(0)
                    self._route(spool)
            except DbError as error:
                self._send_error(error)
            except (Truncated, ConnectionError, socket.timeout) as error:
                log.info("client went away: %s", error)
                self.close_connection = True
            except Exception as error:
                log.exception("request failed")
                self._send_error(from_engine(error))

    def _route(self, spool):
        path, _, raw_query = self.path.partition("?")
        if path in ("/ping", "/replicas_status"):
            return self._send(200, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
        parameters = urllib.parse.parse_qsl(raw_query, keep_blank_values=True, encoding="utf-8", errors="surrogateescape")
        if path == "/" and not parameters and self.command in ("GET", "HEAD"):
            return self._send(200, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
        if path not in ("/", "/query"):
            return self._send(404, b"There is no handle %s\n" % path.encode("latin-1", "replace"),
                              {"Content-Type": "text/plain; charset=UTF-8"})
        return self._query(parameters, spool)

    def _query(self, parameters, spool):
        body = _decoded(spool, self.headers, dict(parameters).get("decompress", "0"))
        content_type = self.headers.get("Content-Type", "")
        if content_type.lower().startswith("multipart/form-data"):
            parameters = parameters + _form_fields(content_type, body.read())
            body = _Nothing()
        request = self._request(parameters, body)
        options = dict(parameters)
        self._query_id = request.query_id
        if options.get("compress", "0") not in ("0", "false"):
            raise DbError(48, "compress=1 is not supported by the local adapter", "NOT_IMPLEMENTED")

        started = time.monotonic()
        hello = _go_driver_hello(options, request, self.server.engine)
        with self.server.query_id(request.query_id):
            result, statistics = hello or self.server.engine.run(request)
        headers = {
            "X-ClickHouse-Format": request.format,
            "Content-Type": next((kind for name, kind in _CONTENT_TYPES if request.format.startswith(name)),
                                 "text/plain; charset=UTF-8"),
            "X-ClickHouse-Summary": json.dumps({
                **{name: str(value) for name, value in statistics._asdict().items()},
                "total_rows_to_read": "0",
                "result_rows": str(statistics.read_rows),
                "result_bytes": str(len(result)),
                "elapsed_ns": str(int((time.monotonic() - started) * 1e9)),
            }, separators=(",", ":")),
        }
        if (options.get("enable_http_compression") in ("1", "true")
                and "gzip" in self.headers.get("Accept-Encoding", "")):
            result = gzip.compress(result, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        self._send(200, result, headers)

    def _request(self, parameters, body):
        request = Request()
        request.body = body
        request.read_only = self.command in ("GET", "HEAD")
        request.database = self.headers.get("X-ClickHouse-Database", "")
        asked_format = self.headers.get("X-ClickHouse-Format", "")
        statement = ""
        for name, value in parameters:
            if name == "query":
                statement += value
            elif name == "database":
                request.database = value or request.database
            elif name == "default_format":
                asked_format = value or asked_format
            elif name == "query_id":
                request.query_id = value
            elif name.startswith("param_"):
                request.parameters[name[len("param_"):]] = value
            elif name not in _INTERFACE:
                request.settings.append((name, value))
        if statement:
            request.statement = statement.encode("utf-8", "surrogateescape") + b"\n"
        request.query_id = request.query_id or str(uuid.uuid4())
        request.insert_format = asked_format or "Values"
        request.format = asked_format or "TabSeparated"
        head = request.statement
        if not head:
            head = body.peek()
        if len(head) <= _CHUNK:  # only for the header that names the format; the engine reads the clause itself
            request.format = (head.lstrip()[:6].upper() != b"INSERT" and output_format(head)) or request.format
        return request

    def _incoming(self):
        """The parts of the body as they arrive."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while True:
                line = self.rfile.readline(1024)
                try:
                    size = int(line.split(b";")[0].strip(), 16)
                except ValueError:
                    raise Truncated("body ended between chunks") from None
                if size == 0:
                    while True:  # trailers
                        line = self.rfile.readline(65536)
                        if line in (b"\r\n", b"\n"):
                            return
                        if not line:
                            raise Truncated("body ended in its last chunk")
                yield from self._exactly(size)
                if self.rfile.read(2) != b"\r\n":
                    raise Truncated("body ended inside a chunk")
        else:
            yield from self._exactly(int(self.headers.get("Content-Length") or 0))

    def _exactly(self, size):
        while size > 0:
            part = self.rfile.read(min(size, _CHUNK))
            if not part:
                raise Truncated("%d bytes of the body are missing" % size)
            size -= len(part)
            yield part

    def _send_error(self, error):
        text = "%s (version %s (chDB))\n" % (error.text, self.server.engine.version)
        log.warning("%s", text.rstrip()[:500])
        self._send(error.status, text.encode("utf-8", "replace"), {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Exception-Code": str(error.code),
        })

    def _send(self, status, body, headers):
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if self._query_id:
                self.send_header("X-ClickHouse-Query-Id", _header_safe(self._query_id))
            self.send_header("X-ClickHouse-Server-Display-Name", "local")
            self.send_header("X-ClickHouse-Timezone", self.server.engine.timezone)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()
        except (ConnectionError, socket.timeout) as error:
            log.info("client went away before its answer: %s", error)
            self.close_connection = True

    def log_request(self, code="-", size="-"):
        log.debug("%s %s", self.command, code)


class _Nothing:
    def read(self, _size=-1):
        return b""

    def peek(self):
        return b""


class _Body:
    """A body of which the first part can be looked at before it is read."""

    def __init__(self, parts):
        self._parts = parts
        self._ahead = b""

    def read(self, size=-1):
        held = [self._ahead]
        length = len(self._ahead)
        while size < 0 or length < size:
            part = next(self._parts, None)
            if part is None:
                break
            held.append(part)
            length += len(part)
        data = b"".join(held)
        if size < 0:
            size = length
        self._ahead = data[size:]
        return data[:size]

    def peek(self):
        data = self.read(_CHUNK + 1)
        self._ahead = data + self._ahead
        return data


def _decoded(spool, headers, framed):
    """The body without its Content-Encoding and without ClickHouse's block framing."""
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("gzip", "deflate"):
        parts = _inflated(spool)
    elif encoding in ("", "identity"):
        parts = iter(lambda: spool.read(_CHUNK), b"")
    else:
        raise DbError(48, "Content-Encoding %s is not supported by the local adapter" % encoding, "NOT_IMPLEMENTED")
    if framed not in ("0", "false"):
        # Unpacked to the end before anything is inserted, for the same reason as above.
        parts = iter(list(blocks(_Body(parts).read)))
    return _Body(parts)


def _inflated(spool):
    stream = zlib.decompressobj(47)
    try:
        for part in iter(lambda: spool.read(_CHUNK), b""):
            yield stream.decompress(part)
        yield stream.flush()
    except zlib.error as error:
        raise DbError(354, "inflate failed: %s" % error, "ZLIB_INFLATE_FAILED") from None
    if not stream.eof:
        raise DbError(354, "inflate failed: the data is cut short", "ZLIB_INFLATE_FAILED")


def _form_fields(content_type, body):
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if not boundary:
        raise DbError(36, "multipart/form-data without a boundary", "BAD_ARGUMENTS")
    fields = []
    for part in body.split(b"--" + boundary.group(1).encode("latin-1"))[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if not name or re.search(rb'filename="', head):
            raise DbError(48, "External tables are not supported by the local adapter", "NOT_IMPLEMENTED")
        value = value[:-2] if value.endswith(b"\r\n") else value
        fields.append((name.group(1).decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")))
    return fields


def _go_driver_hello(options, request, engine):
    """The Go driver (Grafana) opens with a query whose Native answer it expects in the wire revision it names.

    The engine writes revision 0 only. Told in that first answer that the server's revision is 0, the driver reads
    everything after it that way.
    """
    if not int(options.get("client_protocol_version") or 0) or request.format != "Native":
        return None
    text = request.statement or request.body.peek()
    if re.sub(rb"\s+", b" ", text[:200]).strip().lower() != b"select displayname(), version(), revision(), timezone()":
        return None
    block = b"\x01\x00\x02\xff\xff\xff\xff\x00" + b"\x04\x01"
    for name, kind, value in (("displayName()", "String", _short("local")),
                              ("version()", "String", _short(engine.version)),
                              ("revision()", "UInt32", struct.pack("<I", 0)),
                              ("timezone()", "String", _short(engine.timezone))):
        block += _short(name) + _short(kind) + b"\x00" + value
    return block, Statistics(1, 0, 0, 0)


def _short(text):
    data = text.encode()
    return bytes([len(data)]) + data


def _header_safe(text):
    return re.sub(r"[^\x20-\x7e]", "?", text)


class _Running:
    """Counts the requests at work, so that a shutdown can wait for them."""

    def __init__(self):
        self._condition = threading.Condition()
        self._count = 0

    def __enter__(self):
        with self._condition:
            self._count += 1

    def __exit__(self, *_):
        with self._condition:
            self._count -= 1
            self._condition.notify_all()

    def wait_until_idle(self, seconds):
        with self._condition:
            return self._condition.wait_for(lambda: self._count == 0, seconds)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address, engine):
        self.engine = engine
        self.running = _Running()
        self._ids = set()
        self._ids_lock = threading.Lock()
        super().__init__(address, Handler)

    def query_id(self, name):
        return _Claim(self._ids, self._ids_lock, name)

    def server_bind(self):  # without the reverse lookup of the host name that http.server does
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        log.info("connection of %s failed: %s", client_address, sys.exc_info()[1])


class _Claim:
    """A query id can run once at a time."""

    def __init__(self, ids, lock, name):
        self._ids, self._lock, self._name = ids, lock, name

    def __enter__(self):
        with self._lock:
            if self._name in self._ids:
                raise DbError(216, "Query with id = %s is already running." % self._name,
                              "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING")
            self._ids.add(self._name)

    def __exit__(self, *_):
        with self._lock:
            self._ids.discard(self._name)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", required=True)
    options.add_argument("--log")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8123)
    options = options.parse_args()

    handler = (logging.handlers.RotatingFileHandler(options.log, maxBytes=10 << 20, backupCount=2)
               if options.log else logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(message)s")

    os.environ.setdefault("TZ", "UTC")
    stop = threading.Event()
    engine = Engine(os.path.abspath(options.data))
    for number in (signal.SIGTERM, signal.SIGINT):  # after the engine, which installs handlers of its own
        signal.signal(number, lambda *_: stop.set())
    server = Server((options.host, options.port), engine)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    log.info("engine %s answers on http://%s:%d", engine.version, *server.server_address[:2])

    while not stop.wait(3600):
        pass
    log.info("stopping")
    server.shutdown()
    server.server_close()
    if server.running.wait_until_idle(15):
        engine.close()
    logging.shutdown()
    os._exit(0)  # not through the interpreter's exit, where the engine may abort


if __name__ == "__main__":
    main()
