"""Secrets appear in no log line and in no answer, whatever fails."""

import asyncio
import base64
import re
import sys
import uuid
from contextlib import ExitStack
from urllib.parse import quote

import aiohttp
import grpc
import pytest
from redis.asyncio import Redis

from holdfast.inventory.v1 import sale_service_pb2
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast_chassis import direct
from holdfast_chassis.identity.api_keys import GRANTABLE, new_key, render_keys
from lab.kit.grpc_client import create
from tests.support.certificates import Authority
from tests.support.issuer import ISSUER, SigningKey, admission_token, jwks
from tests.support.programs import run
from tests.support.services import NO_DRAIN, OTHER_TRANSPORT, TRANSPORT, Gateway, Inventory
from tests.support.tcp_proxy import tcp_proxy

INVENTORY = [sys.executable, "-m", "holdfast_inventory"]
GATEWAY = [sys.executable, "-m", "holdfast_gateway"]
CALL_SECONDS = 20


def new_secret():
    """A password with characters that URLs and JSON write in another way."""
    return f"s3cret+/{uuid.uuid4().hex}"


def leaked(secrets, text):
    """Return the names of the secrets that a text contains, in any of their forms."""
    return {
        name for name, secret in secrets.items() for form in forms(secret) if form in text or form in text.casefold()
    }


def forms(secret):
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    # Of a password also the half that no escaping changes, and of a token its signature.
    return {secret, quote(secret, safe=""), encoded, encoded[:-2], re.split(r"[/.]", secret)[-1]}


class Shop:
    """An inventory and a gateway at the most talkative level, with every kind of secret."""

    def __init__(self, started, server, proxied, valkey, transport, directory):
        self.server = server
        self.role = f"secret_{uuid.uuid4().hex[:8]}"
        signing = SigningKey()
        self.key, record = new_key("operator", sorted(GRANTABLE), None)
        (directory / "keys.json").write_text(render_keys([record]))
        (directory / "jwks.json").write_text(jwks(signing))
        self.secrets = {
            "database": new_secret(),
            "redis": uuid.uuid4().hex,
            "key": self.key,
            "wrong key": new_key("other", ["reservations.write"], None)[0],
            "token": signing.token(),
            "forged token": SigningKey().token(),
            "admission": admission_token(signing),
            "basic": new_secret(),
        }
        self._execute(f"CREATE ROLE {self.role} LOGIN SUPERUSER PASSWORD '{self.secrets['database']}'")
        known = {
            "token_issuer": ISSUER,
            "token_jwks": directory / "jwks.json",
            "api_keys_path": directory / "keys.json",
            "log_level": "debug",
            **NO_DRAIN,
        }
        login = f"{self.role}:{quote(self.secrets['database'], safe='')}"
        url = re.sub(r"//[^@]*@", f"//{login}@", proxied)
        redis = f"redis://:{self.secrets['redis']}@{valkey.address}/0"
        settings = {"admission_jwks": directory / "jwks.json", "migrate_on_start": True, "transport": transport}
        self.inventory = started.enter_context(Inventory(url, redis, **settings, **known))
        address = self.inventory.wait_until_serving().address
        rates = {"redis_url": redis, "rate_limit_requests": 1_000}
        self.gateway = started.enter_context(Gateway([address], **rates, **known)).wait_until_serving()

    def _execute(self, statement):
        self.server.execute(statement)

    def change_password(self):
        self._execute(f"ALTER ROLE {self.role} PASSWORD 'another'")
        self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self.role}'")

    @property
    def output(self):
        return self.inventory.output + self.gateway.output

    def credentials(self):
        wrong = base64.b64encode(f"shop:{self.secrets['basic']}".encode()).decode()
        bearers = [self.secrets[name] for name in ("key", "wrong key", "token", "forged token")]
        return [f"Basic {wrong}", *(f"Bearer {each}" for each in bearers), f"Bearer {bearers[0]}x", bearers[2]]

    async def answers(self):
        """Return all that is answered to calls with each credential, over both protocols."""
        async with (
            aiohttp.ClientSession(self.gateway.url, timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)) as session,
            grpc.aio.insecure_channel(self.inventory.address, direct.CHANNEL_OPTIONS) as channel,
        ):
            calls = []
            for credential in self.credentials():
                calls += [self._over_rest(session, credential), self._over_grpc(channel, credential)]
            return "\n".join(await asyncio.gather(*calls))

    async def _over_rest(self, session, credential):
        body = {"customer": "c-1", "lines": [{"item": "a", "quantity": 1}]}
        headers = {"Authorization": credential, "Holdfast-Admission": self.secrets["admission"]}
        query = {"access_token": self.secrets["token"]}
        told = []
        async with session.post("/v1/sales/s/reservations", json=body, headers=headers) as answer:
            told += [str(answer.headers), await answer.text()]
        async with session.get("/v1/sales", headers=headers) as answer:
            told += [str(answer.headers), await answer.text()]
        async with session.get("/v1/sales", params=query) as answer:
            told += [str(answer.headers), await answer.text()]
        return "\n".join(told)

    async def _over_grpc(self, channel, credential):
        wanted = create("sales/s", "c-1", a=1)
        wanted.admission_token = self.secrets["admission"]
        listed = SaleServiceStub(channel).ListSales, sale_service_pb2.ListSalesRequest()
        told = []
        for method, request in ((ReservationServiceStub(channel).CreateReservation, wanted), listed):
            try:
                told.append(str(await method(request, timeout=CALL_SECONDS, metadata=[("authorization", credential)])))
            except grpc.aio.AioRpcError as error:
                told += [repr(error), str(error.trailing_metadata())]
        return "\n".join(told)


@pytest.mark.parametrize("transport", [TRANSPORT, OTHER_TRANSPORT])
@pytest.mark.usefixtures("cut_off_connections_are_collected")
async def test_running_services_tell_no_secret_while_what_they_need_fails(postgres18, own_valkey, transport, tmp_path):
    database = f"secrets_{transport}"
    url = postgres18.create_database(database)
    with ExitStack() as started:
        async with tcp_proxy(url) as proxy:
            shop = await asyncio.to_thread(Shop, started, postgres18, proxy.url, own_valkey, transport, tmp_path)
            told = await shop.answers()
            async with Redis.from_url(own_valkey.url) as admin:
                await admin.config_set("requirepass", shop.secrets["redis"] + "changed")
            told += await shop.answers()
            own_valkey.kill()
            told += await shop.answers()
            await asyncio.to_thread(shop.change_password)
            told += await shop.answers()
            assert "DATABASE_UNAVAILABLE" in told
            await asyncio.to_thread(postgres18.drop_database, database)
            told += await shop.answers()
            await proxy.close()
            told += await shop.answers()
            for service in (shop.gateway, shop.inventory):
                service.terminate()
                await service.exit_code()
    postgres18.execute(f"DROP ROLE {shop.role}")
    assert leaked(shop.secrets, told) == set()
    assert leaked(shop.secrets, shop.output) == set()


@pytest.fixture
def secrets():
    return {"secret": new_secret()}


SERVER = "postgresql://shop:{escaped}@{host}/{database}"
CLOSED = "127.0.0.1:{port}"
UNUSABLE = {
    "no such server": {"DATABASE_URL": "postgresql://shop:{escaped}@" + CLOSED + "/shop"},
    "no such host": {"DATABASE_URL": "postgresql://shop:{escaped}@host.invalid/shop"},
    "a wrong password": {"DATABASE_URL": SERVER},
    "no TLS": {"DATABASE_URL": SERVER + "?sslmode=require"},
    "no such certificate": {"DATABASE_URL": SERVER + "?sslrootcert=/{escaped}"},
    "a key that has no password": {
        "DATABASE_URL": SERVER + "?sslmode=require&sslcert={certificate}&sslkey={certificate}&sslpassword={escaped}"
    },
    "a password that is not escaped": {"DATABASE_URL": "postgresql://shop:{secret}@" + CLOSED + "/shop"},
    "a port that is none": {"DATABASE_URL": "postgresql://shop:{escaped}@127.0.0.1:x/shop"},
    "an unknown parameter": {"DATABASE_URL": SERVER + "?pasword={escaped}"},
    "Redis of another scheme": {"DATABASE_URL": SERVER, "REDIS_URL": "http://:{escaped}@" + CLOSED + "/0"},
    "Redis without escaping": {"DATABASE_URL": SERVER, "REDIS_URL": "redis://:{secret}@" + CLOSED + "/0"},
    "keys that are no JSON": {"DATABASE_URL": SERVER, "HOLDFAST_API_KEYS": "[{secret}"},
    "an issuer behind a password": {
        "DATABASE_URL": SERVER,
        "HOLDFAST_TOKEN_ISSUER": ISSUER,
        "HOLDFAST_TOKEN_JWKS": "http://shop:{escaped}@" + CLOSED + "/jwks.json",
    },
    "admission behind a password": {
        "DATABASE_URL": SERVER,
        "HOLDFAST_ADMISSION_JWKS": "http://shop:{escaped}@" + CLOSED + "/jwks.json",
    },
}
"""Settings with which no inventory can start, by what is wrong."""


@pytest.mark.parametrize("settings", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_service_that_cannot_start_tells_no_secret(secrets, settings, empty_database_url, free_port, tmp_path):
    secret = secrets["secret"]
    host, _, database = empty_database_url.partition("@")[2].partition("/")
    values = {"secret": secret, "escaped": quote(secret, safe=""), "host": host, "database": database}
    values |= {"port": free_port(), "certificate": Authority(tmp_path).certificate}
    environment = {
        "HOLDFAST_DATABASE_WAIT_SECONDS": "0.2",
        "HOLDFAST_LOG_LEVEL": "debug",
        "HOLDFAST_GRPC_HOST": "127.0.0.1",
        "HOLDFAST_METRICS_PORT": "0",
        **{name: value.format_map(values) for name, value in settings.items()},
    }
    refused = await run(*INVENTORY, "serve", **environment)
    assert refused.status in (1, 2), refused.output
    assert leaked(secrets, refused.output) == set(), refused.output


async def test_a_migration_without_rights_tells_no_secret(secrets, postgres18, empty_database_url):
    role = f"reader_{uuid.uuid4().hex[:8]}"
    postgres18.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{secrets['secret']}'")
    login = f"{role}:{quote(secrets['secret'], safe='')}"
    url = re.sub(r"//[^@]*@", f"//{login}@", empty_database_url)
    refused = await run(*INVENTORY, "migrate", DATABASE_URL=url)
    postgres18.execute(f"DROP ROLE {role}")
    assert refused.status == 1
    assert "permission denied" in refused.output
    assert leaked(secrets, refused.output) == set()
