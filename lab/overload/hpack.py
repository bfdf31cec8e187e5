"""The part of HPACK (RFC 7541) that a client without a dynamic table needs: all fields are literal.

A general library uses more CPU for a header than the server that is measured.
"""

from functools import lru_cache

# The Huffman codes are canonical, so their lengths define them. Characters that headers do not use have over 15 bits.
_LENGTHS = {
    5: "012aceiost",
    6: " %-./3456789=A_bdfghlmnpru",
    7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: "&*,;XZ",
    10: '!"()?',
    11: "'+|",
    12: "#>",
    13: "\0$@[]~",
    14: "^}",
    15: "<`{",
}


def _codes():
    codes, code, before = {}, 0, 5
    for length, symbols in _LENGTHS.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            codes[length, code] = symbol
            code += 1
    return codes


_CODES = _codes()


def encoded(headers):
    """Return a header block without indexing."""
    block = bytearray()
    for name, value in headers:
        block.append(0)
        for text in (name, value):
            data = text.encode()
            block += _length(len(data)) + data
    return bytes(block)


def fields(block):
    """Return the headers of a block without indexing: those with a literal name, as text."""
    position, end, found = 0, len(block), {}
    while position < end:
        first = block[position]
        if first & 0x80:  # Of the static table: not needed.
            _, position = _integer(block, position, 7)
        elif first & 0xE0 == 0x20:  # An update of the table's size.
            _, position = _integer(block, position, 5)
        else:
            index, position = _integer(block, position, 6 if first & 0x40 else 4)
            name = None
            if not index:
                name, position = _string(block, position)
            value, position = _string(block, position)
            if name is not None:
                found[name] = value
    return {text(name): value for name, value in found.items()}


@lru_cache(65536)
def text(string):
    """Return a string of a block as text."""
    huffman, data = string
    if not huffman:
        return data.decode("latin-1")
    letters, code, length = [], 0, 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            length += 1
            symbol = _CODES.get((length, code))
            if symbol is not None:
                letters.append(symbol)
                code = length = 0
    return "".join(letters)


def _length(size):
    if size < 127:
        return bytes([size])
    size -= 127
    octets = bytearray([127])
    while size >= 128:
        octets.append(size & 127 | 128)
        size >>= 7
    octets.append(size)
    return bytes(octets)


def _integer(block, position, bits):
    value = block[position] & (1 << bits) - 1
    position += 1
    if value < (1 << bits) - 1:
        return value, position
    shift = 0
    while True:
        octet = block[position]
        position += 1
        value += (octet & 127) << shift
        shift += 7
        if not octet & 128:
            return value, position


def _string(block, position):
    huffman = bool(block[position] & 0x80)
    size, position = _integer(block, position, 7)
    return (huffman, bytes(block[position : position + size])), position + size
