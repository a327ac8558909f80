"""Checks of the adapter against a running one: CLICKHOUSE_URL=http://127.0.0.1:8123 python3 test_server.py

Uses its own database and drops it afterwards.
"""

import gzip
import http.client
import json
import os
import socket
import struct
import threading
import time
import unittest
import urllib.parse

from compression import _python_lz4

URL = urllib.parse.urlsplit(os.environ.get("CLICKHOUSE_URL", "http://127.0.0.1:8123"))
DATABASE = "adapter_test"


def call(body=b"", method="POST", headers=None, **parameters):
    connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=60)
    connection.request(method, "/?" + urllib.parse.urlencode(parameters), body, headers or {})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers, data


def sql(text, **parameters):
    parameters.setdefault("database", DATABASE)
    status, _, data = call(text.encode(), **parameters)
    assert status == 200, data
    return data.decode("utf-8", "replace").rstrip("\n")


def row(number, text=b"abc"):
    return struct.pack("<I", number) + bytes([len(text)]) + text


def framed(data, method=2):
    return bytes(16) + struct.pack("<BII", method, len(data) + 9, len(data)) + data


class Adapter(unittest.TestCase):
    def setUp(self):
        sql("DROP DATABASE IF EXISTS %s" % DATABASE, database="default")
        sql("CREATE DATABASE %s" % DATABASE, database="default")
        sql("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")

    def tearDown(self):
        sql("DROP DATABASE %s" % DATABASE, database="default")

    def count(self):
        return int(sql("SELECT count() FROM t"))

    def insert(self, data, query="INSERT INTO t FORMAT RowBinary", **parameters):
        return call(data, query=query, database=DATABASE, **parameters)

    def test_ping_and_head(self):
        connection = http.client.HTTPConnection(URL.hostname, URL.port)
        for method, expected in (("GET", b"Ok.\n"), ("HEAD", b""), ("GET", b"Ok.\n")):
            connection.request(method, "/ping")
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, expected))
        connection.close()

    def test_formats(self):
        for name, expected in (("JSONCompactEachRow", b'[1, "x"]\n'), ("JSONEachRow", b'{"a":1,"s":"x"}\n'),
                               ("CSV", b'1,"x"\n'), ("TSV", b"1\tx\n"),
                               ("RowBinaryWithNamesAndTypes", b"\x02\x01a\x01s\x05UInt8\x06String\x01\x01x"),
                               ("Native", b"\x02\x01\x01a\x05UInt8\x01\x01s\x06String\x01x")):
            status, headers, data = call(b"SELECT 1 AS a, 'x' AS s FORMAT " + name.encode())
            self.assertEqual((status, data, headers["X-ClickHouse-Format"]), (200, expected, name))
            self.assertEqual(call(b"SELECT 1 AS a, 'x' AS s", default_format=name)[2], expected)
        self.assertEqual(json.loads(call(b"SELECT 1 AS a FORMAT JSON")[2])["data"], [{"a": 1}])

    def test_errors(self):
        for text, status, code in (("SELECT * FROM nope", 404, 60), ("SELECT * FROM nope.nope", 404, 81),
                                   ("SELEC 1", 400, 62), ("SELECT 1; SELECT 2", 400, 62), ("", 400, 62),
                                   ("SELECT throwIf(1)", 500, 395), ("SELECT nofn()", 404, 46),
                                   ("SELECT toUInt8('x')", 400, 6), ("INSERT INTO nope VALUES (1)", 404, 60),
                                   ("SELECT " + "1," * 300000 + "1", 400, 62)):
            answer, headers, data = call(text.encode())
            self.assertEqual((answer, headers["X-ClickHouse-Exception-Code"]), (status, str(code)), data[:300])
            self.assertTrue(data.startswith(b"Code: %d. DB::Exception: " % code))
        self.assertEqual(call(b"SELECT 1", no_such_setting="1")[0], 404)
        self.assertEqual(call(b"SELECT 1", database="nope")[0], 404)
        self.assertEqual(call(method="GET", query="CREATE DATABASE by_get")[1]["X-ClickHouse-Exception-Code"], "164")

    def test_token(self):
        for _ in range(3):
            self.assertEqual(self.insert(row(1) + row(2), insert_deduplication_token="x")[0], 200)
        self.assertEqual(self.count(), 2)
        self.insert(row(1) + row(2), insert_deduplication_token="y")
        self.assertEqual(self.count(), 4)

    def test_insert_forms(self):
        self.insert(b'{"a":1,"s":"x"}\n{"a":2,"s":"y"}', "INSERT INTO t FORMAT JSONEachRow")
        self.insert(b"3,z\n4,\"q\"\n", "INSERT INTO t (a, s) SETTINGS async_insert = 0 FORMAT CSV")
        sql("INSERT INTO t VALUES (5, 'a;b'), (2 + 4, concat('a', 'b'))")
        sql("INSERT INTO t FORMAT TSV\n7\tx\n8\ty")
        self.insert(b"(9, 'x')", "INSERT INTO t VALUES")
        sql("INSERT INTO t SELECT number + 10, 'n' FROM numbers(3)")
        self.insert(b"\x02\x01a\x01s\x06UInt32\x06String" + row(13), "INSERT INTO t FORMAT RowBinaryWithNamesAndTypes")
        self.insert(b"(14, 'x')", "INSERT INTO t (a, s)")
        self.insert(b"", "INSERT INTO t FORMAT RowBinary")
        self.insert(row(15), "/* c */ insert into `t`(`a`,`s`)\nformat RowBinary")
        self.assertEqual(sql("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)"), "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]")

    def test_broken_rows_insert_nothing(self):
        for data in (row(1) + b"\x01", row(1) + row(2)[:-1]):
            self.assertNotEqual(self.insert(data)[0], 200)
        self.assertEqual(self.insert(b'{"a":1}\n{"a":"q"}', "INSERT INTO t FORMAT JSONEachRow")[0], 400)
        self.assertEqual(self.insert(b"\x02\x01a\x01s\x06UInt64\x06String" + row(1), "INSERT INTO t FORMAT RowBinaryWithNamesAndTypes")[0] // 100, 4)
        self.assertEqual(self.count(), 0)

    def test_errors_at_the_end_of_an_insert(self):
        sql("CREATE TABLE strict (n UInt32, CONSTRAINT small CHECK n < 10) ENGINE = MergeTree ORDER BY n")
        insert = dict(database=DATABASE, query="INSERT INTO strict FORMAT RowBinary")
        status, _, data = call(struct.pack("<II", 1, 20), **insert)
        self.assertIn(b"VIOLATED_CONSTRAINT", data)
        self.assertNotEqual(status, 200)
        sql("ALTER TABLE strict MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1")
        self.assertEqual(call(struct.pack("<I", 1), **insert)[0], 200)
        self.assertIn(b"TOO_MANY_PARTS", call(struct.pack("<I", 2), **insert)[2])
        self.assertEqual(sql("SELECT count() FROM strict"), "1")

    def test_client_that_disconnects(self):
        target = "/?" + urllib.parse.urlencode({"query": "INSERT INTO t FORMAT RowBinary", "database": DATABASE})
        data = b"".join(row(i) for i in range(1000))
        for head, body in (("Content-Length: 1000000", data),
                           ("Transfer-Encoding: chunked", b"%x\r\n" % len(data) + data + b"\r\n"),
                           ("Transfer-Encoding: chunked", b"%x\r\n" % len(data) + data[:500])):
            with socket.create_connection((URL.hostname, URL.port)) as connection:
                connection.sendall(("POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (target, head)).encode() + body)
        time.sleep(0.3)
        self.assertEqual(self.count(), 0)

    def test_chunked_and_large(self):
        part = b"".join(row(i) for i in range(50000))
        status, headers, data = call(iter([part] * 20), query="INSERT INTO t FORMAT RowBinary", database=DATABASE)
        self.assertEqual(status, 200, data)
        self.assertEqual(self.count(), 1000000)
        self.assertEqual(json.loads(headers["X-ClickHouse-Summary"])["written_rows"], "1000000")
        self.assertEqual(sql("SELECT count() FROM system.parts WHERE database = '%s' AND active" % DATABASE), "1")

    def test_parameters(self):
        boundary = "clickhouse-rs-boundary-x"
        fields = {"query": "SELECT {a:String} || '!', {n:UInt8}", "param_a": "it's\\\\ \\t é", "param_n": "7"}
        body = "".join('--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (boundary, k, v)
                       for k, v in fields.items()) + "--%s--\r\n" % boundary
        answer = call(body.encode(), headers={"Content-Type": "multipart/form-data; boundary=" + boundary}, default_format="JSONCompactEachRow")
        self.assertEqual((answer[0], json.loads(answer[2])), (200, ["it's\\ \t é!", 7]))
        self.assertEqual(sql("SELECT {a:String}", param_a="x y"), "x y")
        self.assertEqual(self.insert(row(1), "INSERT INTO {t:Identifier} FORMAT RowBinary", param_t="t")[0], 200)

    def test_compression(self):
        data = b"".join(row(i, b"aaaaaaaaaaaaaaaaaaaaaaaa") for i in range(100))
        self.assertEqual(self.insert(framed(data) + framed(row(100)), decompress="1")[0], 200)
        # literals "abcd", then 12 bytes copied from 4 back, then 5 literals
        packed = b"\x48abcd\x04\x00\x50vwxyz"
        self.assertEqual(_python_lz4(packed, 21), b"abcdabcdabcdabcdvwxyz")
        text = row(101, b"qqqqqqqqqqqqqqqq")  # as LZ4: all but the last five q's by an overlapping copy
        packed = bytes([0x60 + 6]) + text[:6] + b"\x01\x00" + b"\x50" + b"q" * 5
        block = bytes(16) + struct.pack("<BII", 0x82, len(packed) + 9, len(text)) + packed
        self.assertEqual(self.insert(block, decompress="1")[0], 200)
        self.assertEqual(self.insert(block[:-3], decompress="1")[1]["X-ClickHouse-Exception-Code"], "271")
        answer = call(gzip.compress(data), query="INSERT INTO t FORMAT RowBinary", database=DATABASE, headers={"Content-Encoding": "gzip"})
        self.assertEqual(answer[0], 200)
        self.assertEqual((self.count(), sql("SELECT s FROM t WHERE a = 101")), (202, "q" * 16))
        answer = call(b"SELECT 1", enable_http_compression="1", headers={"Accept-Encoding": "gzip"})
        self.assertEqual(gzip.decompress(answer[2]), b"1\n")

    def test_query_id_runs_once(self):
        first = threading.Thread(target=sql, args=("SELECT sleep(1)",), kwargs={"query_id": "once"})
        first.start()
        time.sleep(0.3)
        status, headers, _ = call(b"SELECT 1", query_id="once")
        self.assertEqual((status, headers["X-ClickHouse-Exception-Code"]), (500, "216"))
        first.join()
        self.assertEqual(call(b"SELECT 1", query_id="once")[1]["X-ClickHouse-Query-Id"], "once")

    def test_fifty_at_once(self):
        failures = []

        def work(number):
            try:
                for i in range(10):
                    assert self.insert(row(number * 10 + i))[0] == 200
                    sql("SELECT count() FROM t")
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(50)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        self.assertEqual((failures, self.count()), ([], 500))

    def test_tables(self):
        sql("CREATE TABLE r (k UInt32, v UInt32) ENGINE = ReplacingMergeTree(v) ORDER BY k")
        sql("INSERT INTO r VALUES (1, 1)")
        sql("INSERT INTO r VALUES (1, 2)")
        self.assertEqual(sql("SELECT v FROM r FINAL"), "2")
        sql("CREATE VIEW v AS SELECT max(v) AS m FROM r")
        self.assertEqual(sql("SELECT m FROM v"), "2")
        sql("CREATE TABLE g (d DateTime) ENGINE = MergeTree ORDER BY d TTL d + INTERVAL 1 DAY")
        sql("INSERT INTO g VALUES (now()), (now() - INTERVAL 2 DAY)")
        sql("OPTIMIZE TABLE g FINAL")
        self.assertEqual(sql("SELECT count() FROM g"), "1")
        sql("CREATE MATERIALIZED VIEW w REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY c AS SELECT count() AS c FROM r")
        self.assertEqual(sql("DESCRIBE TABLE r FORMAT CSV").split("\n")[0].split(",")[:2], ['"k"', '"UInt32"'])
        self.assertEqual(sql("SELECT name FROM system.tables WHERE database = '%s' AND engine LIKE '%%MergeTree' AND name NOT LIKE '.%%' ORDER BY 1" % DATABASE), "g\nr\nt")
        sql("CREATE TABLE r2 AS r")
        sql("EXCHANGE TABLES r AND r2")
        self.assertEqual(sql("SELECT count() FROM r"), "0")

    def test_go_driver_hello(self):
        _, _, data = call(b"SELECT displayName(), version(), revision(), timezone()", default_format="Native", client_protocol_version="54460")
        self.assertTrue(data.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01\x0ddisplayName()\x06String\x00"))


if __name__ == "__main__":
    unittest.main()
