"""Bodies sent with decompress=1: ClickHouse's block framing with LZ4 or no compression inside."""

import ctypes
import ctypes.util
import struct

from errors import DbError

_LZ4, _NONE = 0x82, 0x02
_MAX_BLOCK = 1 << 30


def _bad(text):
    return DbError(271, text, "CANNOT_DECOMPRESS")


def _python_lz4(block, size):
    out = bytearray()
    at, end = 0, len(block)
    try:
        while at < end:
            token = block[at]
            at += 1
            literals = token >> 4
            if literals == 15:
                while True:
                    more = block[at]
                    at += 1
                    literals += more
                    if more != 255:
                        break
            if at + literals > end:
                raise _bad("LZ4 block ends inside its literals")
            out += block[at:at + literals]
            at += literals
            if at == end:
                break
            distance = block[at] | block[at + 1] << 8
            at += 2
            length = token & 15
            if length == 15:
                while True:
                    more = block[at]
                    at += 1
                    length += more
                    if more != 255:
                        break
            length += 4
            start = len(out) - distance
            if distance == 0 or start < 0 or len(out) + length > size:
                raise _bad("LZ4 block points outside its output")
            if distance >= length:
                out += out[start:start + length]
            else:  # the copy overlaps itself: the last `distance` bytes repeat
                pattern = bytes(out[start:])
                out += (pattern * (length // distance + 1))[:length]
    except IndexError:
        raise _bad("LZ4 block is cut short") from None
    return bytes(out)


def _load_lz4():
    """The system's liblz4 where there is one (it is some 50 times faster), else the function above."""
    try:
        native = ctypes.CDLL(ctypes.util.find_library("lz4") or "liblz4.so.1").LZ4_decompress_safe
    except (OSError, AttributeError):
        return _python_lz4

    def decompress(block, size):
        out = ctypes.create_string_buffer(size)
        written = native(bytes(block), out, len(block), size)
        if written < 0:
            raise _bad("Cannot decompress LZ4 block")
        return out.raw[:written]

    return decompress


_lz4 = _load_lz4()


def blocks(read):
    """Yields the plain blocks of a framed stream. The checksum in front of each block is not verified."""
    while True:
        header = read(25)
        if not header:
            return
        if len(header) < 25:
            raise _bad("Compressed data ends inside a block header")
        method, packed, size = struct.unpack_from("<BII", header, 16)
        if packed < 9 or packed > _MAX_BLOCK or size > _MAX_BLOCK:
            raise _bad("Compressed block has an impossible size")
        block = read(packed - 9)
        if len(block) != packed - 9:
            raise _bad("Compressed data ends inside a block")
        if method == _LZ4:
            block = _lz4(block, size)
        elif method != _NONE:
            raise DbError(48, "Block compression method 0x%02x is not supported by the local adapter" % method,
                          "NOT_IMPLEMENTED")
        if len(block) != size:
            raise _bad("Compressed block has another size than its header says")
        yield block
