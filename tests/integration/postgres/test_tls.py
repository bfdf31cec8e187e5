"""TLS to a real PostgreSQL that knows its clients by their certificates."""

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast_devstack.postgres import SUPERUSER, PostgresServer
from holdfast_inventory.domain.errors import DatabaseUnavailable
from holdfast_inventory.postgres.database import Database, DatabaseLimits, UnavailableError
from holdfast_inventory.postgres.faults import UnusableDatabaseError
from tests.conftest import DEBIAN_POSTGRES_15, POSTGRES_SETTINGS
from tests.support.certificates import Authority
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("cut_off_connections_are_collected")
LIMITS = DatabaseLimits(writers=1, readers=1)
# Every user except the superuser has a certificate that names the role.
HBA = f"""
host all {SUPERUSER} 127.0.0.1/32 scram-sha-256
hostssl all shop 127.0.0.1/32 cert
"""


class Place:
    """A directory with two authorities, certificates, and a server that uses them."""

    def __init__(self, directory):
        self.directory = directory
        self.authority, self.other = Authority(directory), Authority(directory, "other-ca")
        self.issue_to_server()
        self.shop = self.authority.issue("shop")
        self.hba = directory / "pg_hba.conf"
        self.hba.write_text(HBA)
        self.trusted = directory / "trusted.crt"
        self.trust(self.authority)
        settings = POSTGRES_SETTINGS | {
            "ssl": "on",
            "ssl_cert_file": directory / "server.crt",
            "ssl_key_file": directory / "server.key",
            "ssl_ca_file": self.trusted,
            "hba_file": self.hba,
        }
        self.server = PostgresServer(directory / "postgres", binaries=DEBIAN_POSTGRES_15, settings=settings)

    def issue_to_server(self, host="127.0.0.1"):
        self.authority.issue("server", host=host)

    def trust(self, *authorities):
        self.trusted.write_bytes(b"".join(authority.certificate.read_bytes() for authority in authorities))

    def url(self, *, root=None, certificate=None):
        certificate = certificate or self.shop
        files = f"sslcert={certificate.certificate}&sslkey={certificate.key}"
        root = root or self.authority.certificate
        address = f"postgresql://shop@{self.server.address}/postgres"
        return f"{address}?sslmode=verify-full&sslrootcert={root}&{files}"


@pytest.fixture(scope="module")
def served():
    with tempfile.TemporaryDirectory(prefix="holdfast-tls-") as directory:
        place = Place(Path(directory))
        place.server.start()
        try:
            place.server.execute("CREATE ROLE shop LOGIN")
            yield place
        finally:
            place.server.stop()


@pytest.fixture
def place(served):
    yield served
    served.issue_to_server()
    served.authority.issue("shop")
    served.trust(served.authority)
    served.server.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def opened(url, patience_seconds=10):
    database = Database(url, LIMITS)
    try:
        await database.open(patience_seconds=patience_seconds)
        yield database
    finally:
        await database.close()


async def session_of(database):
    async with database.reading() as reader:
        return dict(await reader.fetchrow("SELECT * FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))


async def test_server_and_client_prove_themselves_by_certificates(place):
    async with opened(place.url()) as database:
        session = await session_of(database)
    assert session["ssl"]
    assert session["version"] == "TLSv1.3"
    assert session["client_dn"] == "/CN=shop"


@pytest.mark.parametrize("fault", ["another authority", "another host"])
async def test_a_server_that_is_not_the_one_that_was_named_is_not_talked_to(place, fault):
    root = place.other.certificate if fault == "another authority" else None
    if fault == "another host":
        place.issue_to_server(host="elsewhere.example")
        place.server.execute("SELECT pg_reload_conf()")
    with pytest.raises(UnusableDatabaseError, match="is not the one that DATABASE_URL requires"):
        async with opened(place.url(root=root)):
            pass


async def test_a_certificate_that_the_server_does_not_trust_is_refused(place):
    stranger = place.other.issue("stranger")
    with pytest.raises((UnavailableError, UnusableDatabaseError)):
        async with opened(place.url(certificate=stranger), patience_seconds=2):
            pass


async def test_a_certificate_of_another_role_cannot_get_better_by_waiting(place):
    clerk = place.authority.issue("clerk")
    with pytest.raises(UnusableDatabaseError, match="certificate authentication failed"):
        async with opened(place.url(certificate=clerk)):
            pass


async def test_certificates_of_both_sides_are_replaced_without_a_restart(place):
    """First both authorities are trusted, then each side gets a certificate of the new one."""
    both = place.directory / "both.crt"
    both.write_bytes(place.authority.certificate.read_bytes() + place.other.certificate.read_bytes())
    place.trust(place.authority, place.other)
    async with opened(place.url(root=both)) as database:
        place.other.issue("server")
        place.other.issue("shop")
        place.trust(place.other)
        place.server.execute("SELECT pg_reload_conf()")
        place.server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'")

        async def is_issued_by_the_other():
            try:
                return (await session_of(database))["issuer_dn"] == "/CN=other-ca"
            except DatabaseUnavailable:
                return False

        await eventually(is_issued_by_the_other)
