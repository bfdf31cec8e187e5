"""The fan-out over TLS, and with a user of Valkey that has only the permissions that it needs.

The Valkey of the wheel has no TLS, so a proxy terminates it and requires a client certificate as a server would.
"""

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis

from holdfast_inventory.watches import fanout
from tests.integration.inventory.test_fanout import CHANNEL, commit, replicas, speak_until_heard
from tests.support.certificates import Authority

pytestmark = pytest.mark.usefixtures("cut_off_connections_are_collected")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(fanout, "_MOST_RETRY_SECONDS", 0.3)


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    authority = Authority(directory)
    return SimpleNamespace(
        authority=authority,
        other=Authority(directory, "other-ca"),
        server=authority.issue("valkey"),
        client=authority.issue("inventory"),
    )


@asynccontextmanager
async def tls_in_front_of(port, trust):
    """Provide a TLS server that forwards to `port`, for clients with a certificate of the authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trust.authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(trust.server.certificate, trust.server.key)

    async def copy(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader, writer):
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def tls_url(port, trust, *, authority=None):
    authority = authority or trust.authority
    files = f"ssl_certfile={trust.client.certificate}&ssl_keyfile={trust.client.key}"
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.certificate}&{files}"


async def test_commits_are_heard_over_tls_with_certificates_on_both_sides(valkey_server, trust):
    async with tls_in_front_of(valkey_server.port, trust) as port:
        url = tls_url(port, trust)
        async with replicas(url, url) as (one, other):
            await speak_until_heard(one, other, 0)


async def test_a_server_of_another_authority_is_not_talked_to(valkey_server, trust):
    async with (
        tls_in_front_of(valkey_server.port, trust) as port,
        replicas(tls_url(port, trust, authority=trust.other)) as (one,),
    ):
        one.fanout.publish(commit(1))
        await one.counts.until_failed("publish")
        assert one.heard.empty()


@pytest.fixture
async def acl(valkey_server):
    """Create users with rules, and return their URLs."""
    made = []
    async with Redis.from_url(valkey_server.url) as admin:

        async def user(name, *rules):
            made.append(name)
            await admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">secret", *rules)
            return f"redis://{name}:secret@{valkey_server.address}/0"

        yield user
        await admin.execute_command("ACL", "DELUSER", *made)


async def test_a_user_needs_the_channel_and_four_commands_only(acl):
    url = await acl("narrow", f"&{CHANNEL}", "+publish", "+subscribe", "+unsubscribe", "+ping")
    async with replicas(url, url) as (one, other):
        await speak_until_heard(one, other, 0)


@pytest.mark.parametrize("rules", [(f"&{CHANNEL}", "+subscribe"), ("&other", "+publish", "+subscribe", "+ping")])
async def test_a_user_that_may_not_publish_costs_the_news_and_nothing_else(acl, rules):
    async with replicas(await acl("mute", *rules)) as (one,):
        one.fanout.publish(commit(1))
        await one.counts.until_failed("publish")
