"""Clients that use little CPU: HTTP/1.1 and gRPC, as bytes that were prepared before.

`send(request, answered)` never waits: requests without a free connection are queued here. That time counts, because
latencies are measured from when a request was due. `answered(answer)` is called exactly once for each request.
"""

import asyncio
import base64
import json
import struct
from collections import deque
from functools import lru_cache
from typing import NamedTuple

from google.rpc import code_pb2, error_details_pb2, status_pb2

from lab.overload.hpack import encoded, fields, text

CONNECT_SECONDS = 5.0
WINDOW_BYTES = 1 << 20


class Answer(NamedTuple):
    """An answer. `reason`: OK, a refusal's, or LOST if there was none. `retry_seconds`: the retry delay, if any."""

    reason: str
    retry_seconds: float | None = None
    replayed: bool = False


LOST = Answer("LOST")


class Pool:
    """A pool of connections, opened on demand up to a limit, each with a limit of concurrent requests."""

    def __init__(self, connection_class, port, limit):
        self._class, self._port, self._limit = connection_class, port, limit
        self._free = []
        self._held_back = deque()
        self._opening = 0
        self.connections = set()
        self._tasks = set()

    def send(self, request, answered):
        while self._free:
            connection = self._free[-1]
            if connection.places <= 1:
                connection.listed = False
                self._free.pop()
            if connection.places:
                connection.send(request, answered)
                return
        self._held_back.append((request, answered))
        if len(self.connections) + self._opening < self._limit and self._opening < len(self._held_back):
            self._open()

    async def connect(self, count):
        """Open this many connections before the load begins."""
        for _ in range(count):
            self._open()
        await asyncio.gather(*self._tasks)

    def close(self):
        for connection in list(self.connections):
            connection.transport.abort()
        for task in self._tasks:
            task.cancel()

    # Called by connections

    def has_place(self, connection):
        if self._held_back:
            request, answered = self._held_back.popleft()
            connection.send(request, answered)
            if connection.places and not connection.listed:
                self._list(connection)
        elif not connection.listed:
            self._list(connection)

    def ended(self, connection):
        self.connections.discard(connection)
        if connection.listed:
            self._free.remove(connection)

    def _list(self, connection):
        connection.listed = True
        self._free.append(connection)

    def _open(self):
        self._opening += 1
        task = asyncio.get_running_loop().create_task(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self):
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(lambda: self._class(self), "127.0.0.1", self._port)
        except (OSError, TimeoutError):
            if not self.connections and self._held_back:
                self._held_back.popleft()[1](LOST)
            return
        finally:
            self._opening -= 1
        self.connections.add(connection)
        while connection.places and self._held_back:
            request, answered = self._held_back.popleft()
            connection.send(request, answered)
        if connection.places:
            self._list(connection)


class Http1(asyncio.Protocol):
    """HTTP/1.1: one request at a time."""

    def __init__(self, pool):
        self._pool = pool
        self._buffer = b""
        self._answered = None
        self.places = 1
        self.listed = False
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def send(self, request, answered):
        self.places = 0
        self._answered = answered
        self.transport.write(request)

    def data_received(self, data):
        self._buffer = self._buffer + data if self._buffer else data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end]
        body_at = head_end + 4
        size = int(_header(head, b"content-length") or 0)
        if len(self._buffer) < body_at + size:
            return
        answer = _rest_answer(head, self._buffer[body_at : body_at + size])
        self._buffer = self._buffer[body_at + size :]
        answered, self._answered = self._answered or _ignored, None
        if _header(head, b"connection") == b"close":
            self.transport.close()
        else:
            self.places = 1
            self._pool.has_place(self)
        answered(answer)

    def connection_lost(self, _error):
        self._pool.ended(self)
        if self._answered is not None:
            answered, self._answered = self._answered, None
            answered(LOST)


def _ignored(_answer):
    """Ignore an answer without a request."""


def http1_request(method, path, headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "host: holdfast", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _header(head, name):
    at = head.find(b"\r\n" + name + b": ")
    if at < 0:
        return None
    start = at + len(name) + 4
    end = head.find(b"\r\n", start)
    return head[start:] if end < 0 else head[start:end]


def _rest_answer(head, body):
    if head[9:12] == b"200":
        return Answer("OK", None, _header(head, b"idempotent-replayed") is not None)
    retry = _header(head, b"retry-after")
    try:
        reason = json.loads(body)["reason"]
    except (ValueError, KeyError):
        reason = f"HTTP {head[9:12].decode()}"
    return Answer(reason, None if retry is None else float(retry))


_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_TABLE_SIZE, _MAX_STREAMS, _INITIAL_WINDOW = 1, 3, 4


class Http2(asyncio.Protocol):
    """gRPC: as many concurrent calls as the server permits. All that one step of the loop writes is sent together."""

    def __init__(self, pool):
        self._pool = pool
        self._buffer = b""
        self._calls = {}
        self._stream = 1
        self._to_write = []
        self._consumed = 0
        self._max_streams = 100
        self.is_leaving = False
        self.listed = False
        self.transport = None

    @property
    def places(self):
        return 0 if self.is_leaving else self._max_streams - len(self._calls)

    def connection_made(self, transport):
        self.transport = transport
        settings = struct.pack(">HIHI", _TABLE_SIZE, 0, _INITIAL_WINDOW, WINDOW_BYTES)
        transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW_BYTES))
        )

    def send(self, request, answered):
        block, message = request
        stream, self._stream = self._stream, self._stream + 2
        self._calls[stream] = answered
        if not self._to_write:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_write += (
            _frame(_HEADERS, _END_HEADERS, stream, block),
            _frame(_DATA, _END_STREAM, stream, message),
        )

    def _flush(self):
        self.transport.write(b"".join(self._to_write))
        self._to_write.clear()

    def data_received(self, data):
        buffer = self._buffer + data if self._buffer else data
        position, available = 0, len(buffer)
        while available - position >= 9:
            size = int.from_bytes(buffer[position : position + 3])
            end = position + 9 + size
            if end > available:
                break
            stream = int.from_bytes(buffer[position + 5 : position + 9]) & 0x7FFFFFFF
            self._frame_received(buffer[position + 3], buffer[position + 4], stream, buffer[position + 9 : end])
            position = end
        self._buffer = buffer[position:]
        if self._consumed > WINDOW_BYTES // 2:
            self.transport.write(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._consumed)))
            self._consumed = 0

    def _frame_received(self, kind, flags, stream, payload):
        if kind == _DATA:
            self._consumed += len(payload)
        elif kind == _HEADERS and flags & _END_STREAM:
            self._end(stream, _grpc_answer(bytes(payload)))
        elif kind == _RST_STREAM:
            self._end(stream, LOST)
        elif kind == _SETTINGS and not flags & _ACK:
            settings = dict(struct.iter_unpack(">HI", payload))
            self._max_streams = min(settings.get(_MAX_STREAMS, self._max_streams), 1000)
            self.transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self.transport.write(_frame(_PING, _ACK, 0, bytes(payload)))
        elif kind == _GOAWAY:
            self.is_leaving = True

    def _end(self, stream, answer):
        answered = self._calls.pop(stream, None)
        if answered is None:
            return
        if self.places:
            self._pool.has_place(self)
        answered(answer)

    def connection_lost(self, _error):
        self._pool.ended(self)
        calls, self._calls = self._calls, {}
        for answered in calls.values():
            answered(LOST)


def grpc_request(path, headers, message):
    """Return the header block and the message of a call."""
    return grpc_headers(path, headers), grpc_message(message)


@lru_cache(65536)
def _grpc_prefix(path):
    return encoded(
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "holdfast"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
    )


def grpc_headers(path, headers):
    return _grpc_prefix(path) + encoded(headers)


def grpc_message(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def _frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _grpc_answer(block):
    found = fields(block)
    status = found.get("grpc-status")
    if status is None:
        return LOST
    return _of_status(text(status), found.get("grpc-status-details-bin"), "idempotent-replayed" in found)


@lru_cache(65536)
def _of_status(status, details, replayed):
    if status == "0":
        return Answer("OK", None, replayed)
    reason, retry_seconds = code_pb2.Code.Name(int(status)), None
    if details is not None:
        packed = text(details).rstrip("=")
        told = status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
        for detail in told.details:
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(retry):
                retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
    return Answer(reason, retry_seconds)
