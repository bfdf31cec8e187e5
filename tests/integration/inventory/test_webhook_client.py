"""Where messages are sent, and what a hostile receiver can do: nothing."""

import asyncio
import gzip
import socket
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network

import pytest
from aiohttp import web

from holdfast_inventory.background import webhook_client
from holdfast_inventory.background.webhook_client import ClientLimits, WebhookClient, may_receive
from tests.support.webhook_receiver import receiving

LOOPBACK = (ip_network("127.0.0.0/8"),)

PUBLIC = ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"]
PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001:0:a00:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
# Hosts that are, or that the system's resolver takes for, this machine.
OURSELVES = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0"]
OURSELVES_BY_IPV6 = ["[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]"]


@pytest.mark.parametrize("address", PUBLIC)
def test_messages_are_sent_to_public_addresses(address):
    assert may_receive(address, ())


@pytest.mark.parametrize("address", PRIVATE)
def test_messages_are_not_sent_to_other_addresses(address):
    assert not may_receive(address, ())


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_a_network_may_be_allowed(address):
    assert may_receive(address, (ip_network("10.1.2.0/24"),))
    assert not may_receive(address, (ip_network("10.1.3.0/24"),))


@asynccontextmanager
async def sending(networks=LOOPBACK, timeout_seconds=5.0):
    client = WebhookClient(ClientLimits(timeout_seconds, allowed_networks=networks))
    await client.start()
    try:
        yield lambda url: client.post(url, {"webhook-id": "m-1"}, b"{}")
    finally:
        await client.stop()
        await client.stop()


@pytest.fixture
async def send():
    async with sending() as send:
        yield send


@pytest.fixture
async def receiver():
    async with receiving() as receiver:
        yield receiver


@pytest.mark.parametrize("host", OURSELVES + OURSELVES_BY_IPV6)
async def test_no_spelling_of_our_own_address_is_connected_to(receiver, host):
    async with sending(networks=()) as send:
        answer = await send(receiver.url.replace("127.0.0.1", host))
    assert answer.failure
    assert receiver.received == []


@pytest.mark.parametrize("host", OURSELVES[:2])
async def test_the_refusal_names_the_address(receiver, host):
    async with sending(networks=()) as send:
        answer = await send(receiver.url.replace("127.0.0.1", host))
    assert answer.failure.startswith("messages are not sent to the address ")


async def test_a_name_that_changes_its_address_is_judged_by_the_one_that_is_connected_to(monkeypatch, receiver):
    """Also if the name was public when it was first resolved."""
    looked_up = []

    def getaddrinfo(host, port, *_):
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(webhook_client.socket, "getaddrinfo", getaddrinfo)
    async with sending(networks=()) as send:
        answer = await send(receiver.url.replace("127.0.0.1", "rebound.example"))
    assert looked_up == ["rebound.example"]
    assert answer.failure == "messages are not sent to the address 127.0.0.1"
    assert receiver.received == []


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_status_of_success_accepts_a_message(send, receiver, status):
    receiver.answers = [web.Response(status=status)]
    assert await send(receiver.url) == ("", None)


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (301, "HTTP 301 Moved Permanently: redirects are not followed"),
        (307, "HTTP 307 Temporary Redirect: redirects are not followed"),
        (400, "HTTP 400 Bad Request"),
        (410, "HTTP 410 Gone"),
        (500, "HTTP 500 Internal Server Error"),
        (599, "HTTP 599"),
    ],
)
async def test_any_other_status_is_a_failure_and_a_redirect_is_not_followed(send, receiver, status, failure):
    receiver.answers = [web.Response(status=status, headers={"Location": receiver.url})]
    assert (await send(receiver.url)).failure == failure
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("given", "seconds"), [("7", 7), ("0", 0), ("-1", None), ("1" * 9, None), ("Fri, 31 Dec 1999 23:59:59 GMT", None)]
)
async def test_the_delay_that_a_receiver_asks_for_is_read_if_it_is_in_seconds(send, receiver, given, seconds):
    receiver.answers = [web.Response(status=503, headers={"Retry-After": given})]
    asked = (await send(receiver.url)).retry_after
    assert (None if asked is None else asked.total_seconds()) == seconds


async def endless(request):
    """Answer 200 with a body that never ends. Return when the client has gone away."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    with suppress(ConnectionError):
        while True:
            await answer.write(b"x" * 65_536)
    return answer


async def test_a_body_is_not_read_however_long_it_is(send, receiver):
    receiver.answers = [endless]
    assert (await send(receiver.url)).failure == ""
    assert (await send(receiver.url)).failure == ""


async def test_a_compressed_body_is_not_unpacked(send, receiver):
    bomb = gzip.compress(b"\0" * 100_000_000, 1)
    receiver.answers = [web.Response(body=bomb, headers={"Content-Encoding": "gzip"})]
    assert (await send(receiver.url)).failure == ""


async def test_a_cookie_is_not_sent_back(send, receiver):
    seen = []

    async def handle(request):
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    receiver.answers = [handle, handle]
    await send(receiver.url)
    await send(receiver.url)
    assert seen == [None, None]


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch, receiver):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with sending() as send:
        assert (await send(receiver.url)).failure == ""


@asynccontextmanager
async def raw_server(answer, *, closes=True):
    """A server that sends these bytes whatever it is asked."""
    ended = asyncio.Event()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if not closes:
            await ended.wait()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["nothing", "nonsense", "a long header", "many headers", "no status", "another protocol"],
)
async def test_an_answer_that_is_no_http_is_a_failure(send, answer):
    async with raw_server(answer) as url:
        failure = (await send(url)).failure
    assert failure
    assert failure.isprintable()
    assert len(failure) <= 200


async def test_a_receiver_that_does_not_answer_is_given_up():
    async with raw_server(b"HTTP/1.1 200 OK\r\nX: ", closes=False) as url, sending(timeout_seconds=0.2) as send:
        assert (await send(url)).failure == "no answer within 0.2 s"


async def test_a_host_that_does_not_exist_is_a_failure(send):
    assert (await send("http://nothing.invalid/")).failure.startswith("ClientConnectorDNSError")
