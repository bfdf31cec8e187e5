"""The issuer's keys are read again when they change, kept while the issuer is away, and never fetched in a flood."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.identity import reloaded
from holdfast_chassis.identity.jwks import parse_jwks
from holdfast_chassis.identity.refusals import IssuerUnavailable, Unauthenticated
from holdfast_chassis.lifecycle import CannotStartError
from tests.support.eventually import eventually
from tests.support.issuer import SigningKey, jwks


class Clock:
    """A clock whose monotonic time is the test's to move."""

    def __init__(self):
        self.now = SYSTEM_CLOCK.now
        self.seconds = 1000.0

    def monotonic(self):
        return self.seconds


class Published:
    """What the issuer's web server answers, and how often it was asked."""

    def __init__(self):
        self.status, self.body, self.headers, self.asked = 200, b"", {}, 0
        self.pause_seconds = 0.0


@contextmanager
def serving(published):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            published.asked += 1
            self.send_response(published.status)
            for name, value in published.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(published.body)))
            self.end_headers()
            try:
                for byte in published.body[:40] if published.pause_seconds else ():
                    time.sleep(published.pause_seconds)
                    self.wfile.write(bytes([byte]))
                self.wfile.write(published.body)
            except OSError:
                return

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def published(key):
    known = Published()
    known.body = jwks(key).encode()
    return known


@pytest.fixture
def url(published):
    with serving(published) as url:
        yield url


def bearer(key):
    return f"Bearer {key.token()}"


async def test_a_file_is_read_again_when_a_token_names_a_key_that_is_new(authenticating, jwks_path, key, monkeypatch):
    monkeypatch.setattr(reloaded, "_FILE_PAUSE_SECONDS", 0.0)
    newer = SigningKey("k-2")
    async with authenticating() as authenticator:
        jwks_path.write_text(jwks(key, newer))
        assert await authenticator.principal_of(bearer(newer))


async def test_a_key_that_is_taken_out_cuts_off_the_tokens_that_are_remembered(
    authenticating, jwks_path, key, monkeypatch
):
    monkeypatch.setattr(reloaded, "_FILE_SECONDS", 0.01)
    async with authenticating() as authenticator:
        token = bearer(key)
        assert await authenticator.principal_of(token)
        jwks_path.write_text(jwks(SigningKey("k-2")))

        async def is_cut_off():
            try:
                await authenticator.principal_of(token)
            except Unauthenticated:
                return True
            return False

        await eventually(is_cut_off)


async def test_another_key_of_the_same_kid_cuts_off_as_well(authenticating, published, url, key):
    clock = Clock()
    async with authenticating(clock, token_jwks=url) as authenticator:
        token = bearer(key)
        assert await authenticator.principal_of(token)
        published.body = jwks(SigningKey(key.kid)).encode()
        clock.seconds += 60
        with pytest.raises(Unauthenticated):
            await authenticator.principal_of(bearer(SigningKey("unknown")))
        with pytest.raises(Unauthenticated, match="not valid"):
            await authenticator.principal_of(token)


async def test_unknown_keys_do_not_flood_the_issuer(authenticating, published, url):
    clock = Clock()
    async with authenticating(clock, token_jwks=url) as authenticator:
        assert published.asked == 1
        for seconds in (60, 0.1):
            clock.seconds += seconds
            for number in range(50):
                with pytest.raises(Unauthenticated):
                    await authenticator.principal_of(bearer(SigningKey(f"forged-{number}", "EdDSA")))
    assert published.asked == 2


async def test_keys_are_kept_while_the_issuer_is_away_but_not_for_ever(authenticating, published, url, key):
    clock = Clock()
    async with authenticating(clock, token_jwks=url, jwks_stale_seconds=3600) as authenticator:
        published.status = 503
        clock.seconds += 60
        with pytest.raises(IssuerUnavailable):
            await authenticator.principal_of(bearer(SigningKey("newer")))
        token = bearer(key)
        assert await authenticator.principal_of(token)
        clock.seconds += 3600
        with pytest.raises(IssuerUnavailable):
            await authenticator.principal_of(bearer(SigningKey("newer")))
        with pytest.raises(IssuerUnavailable):
            await authenticator.principal_of(token)


async def test_an_issuer_may_come_up_late(authenticating, published, url, key):
    published.status = 503
    clock = Clock()
    async with authenticating(clock, token_jwks=url) as authenticator:
        with pytest.raises(IssuerUnavailable):
            await authenticator.principal_of(bearer(key))
        published.status = 200
        clock.seconds += 60
        assert await authenticator.principal_of(bearer(key))


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 302, "headers": {"location": "http://127.0.0.1:1/other"}},
        {"body": b"<html>"},
        {"body": b"x" * (1024 * 1024 + 1)},
        {"body": b'{"keys": []}'},
    ],
    ids=["a redirect", "no JSON", "too large", "no keys"],
)
async def test_what_is_no_key_set_is_not_taken(authenticating, published, url, key, answer):
    vars(published).update(answer)
    async with authenticating(Clock(), token_jwks=url) as authenticator:
        with pytest.raises(IssuerUnavailable):
            await authenticator.principal_of(bearer(key))


async def test_an_issuer_that_answers_byte_by_byte_holds_nobody_up(authenticating, published, url, key, monkeypatch):
    monkeypatch.setattr(reloaded, "_READ_SECONDS", 0.2)
    published.pause_seconds = 0.05
    async with authenticating(Clock(), token_jwks=url) as authenticator:
        with pytest.raises(IssuerUnavailable):
            await authenticator.principal_of(bearer(key))


async def test_keys_on_this_machine_are_not_fetched_through_a_proxy(authenticating, url, key, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with authenticating(Clock(), token_jwks=url) as authenticator:
        assert await authenticator.principal_of(bearer(key))


async def test_a_file_that_cannot_be_used_lets_nothing_start(authenticating, jwks_path):
    for content in ("{", "[]", '{"keys": 1}', '{"keys": []}'):
        jwks_path.write_text(content)
        with pytest.raises(CannotStartError):
            async with authenticating():
                pass
    with pytest.raises(CannotStartError, match="No such file"):
        async with authenticating(token_jwks="/nowhere/jwks.json"):
            pass


async def test_a_file_that_is_spoiled_later_changes_nothing(authenticating, jwks_path, key, monkeypatch):
    monkeypatch.setattr(reloaded, "_FILE_PAUSE_SECONDS", 0.0)
    async with authenticating() as authenticator:
        jwks_path.write_text("{")
        with pytest.raises(IssuerUnavailable):
            await authenticator.principal_of(bearer(SigningKey("newer")))
        assert await authenticator.principal_of(bearer(key))


def test_keys_that_are_not_fit_to_verify_are_left_out(key):
    odd = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        key.jwk | {"kid": "for-encryption", "use": "enc"},
        key.jwk | {"kid": "mislabelled", "alg": "RS256"},
        key.jwk | {"kid": "private", "d": "AAAA"},
        {name: value for name, value in key.jwk.items() if name != "kid"},
        {"kty": "EC", "crv": "P-256", "kid": "broken", "x": "!", "y": "!"},
        "no object",
    ]
    assert list(parse_jwks(json.dumps({"keys": [*odd, key.jwk]}).encode())) == [key.kid]


def test_two_keys_of_one_kid_are_refused(key):
    with pytest.raises(ValueError, match="same kid"):
        parse_jwks(jwks(key, SigningKey(key.kid)).encode())
