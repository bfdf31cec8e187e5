"""Edge, gateway and inventory prove themselves to each other; only the gateway speaks for other callers."""

import asyncio
import ssl
import uuid
from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest

from holdfast.inventory.v1 import sale_pb2, sale_service_pb2
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast_chassis import direct
from holdfast_chassis.identity.workload_files import CERTIFICATE, KEY
from holdfast_chassis.rates.callers import COUNTED
from lab.kit.grpc_client import create
from lab.kit.refusals import refused
from tests.e2e.workloads.conftest import TRANSPORTS, Edge
from tests.support.certificates import Authority
from tests.support.eventually import eventually
from tests.support.services import NO_DRAIN, Gateway

CALL_SECONDS = 20
SPOKEN_FOR = (("holdfast-previous-attempts", "1"),)
both = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)) as session:
        yield session


@pytest.fixture
async def sale(tiers):
    """A new sale, made through the edge; its name."""
    new = sale_pb2.Sale(items=[sale_pb2.Item(item="a", on_hand=100_000)])
    wanted = sale_service_pb2.CreateSaleRequest(sale_id=f"sale-{uuid.uuid4().hex}", sale=new)
    async with grpc.aio.insecure_channel(tiers.target, direct.CHANNEL_OPTIONS) as channel:
        return (await SaleServiceStub(channel).CreateSale(wanted, timeout=CALL_SECONDS)).name


async def reserve_over_rest(tiers, session, sale):
    body = {"customer": uuid.uuid4().hex, "lines": [{"item": "a", "quantity": 1}]}
    async with session.post(f"http://{tiers.target}/v1/{sale}/reservations", json=body) as answer:
        return answer.status


async def reserve(channel, sale, **options):
    """The reason why it was refused, or OK."""
    wanted = create(sale, uuid.uuid4().hex, a=1)
    try:
        await ReservationServiceStub(channel).CreateReservation(wanted, timeout=CALL_SECONDS, **options)
    except grpc.aio.AioRpcError as error:
        return refused(error).reason or error.code().name
    return "OK"


def spoofed_calls(tiers, transport):
    with direct.urlopen(tiers.inventories[transport].metrics_url, CALL_SECONDS) as page:
        lines = page.read().decode().splitlines()
    (line,) = [line for line in lines if line.startswith("holdfast_spoofed_calls_total ")]
    return float(line.split()[1])


def context_of(tiers, name):
    """How a client proves itself by the certificate of this name; None: by none."""
    context = ssl.create_default_context(cafile=tiers.authority.certificate)
    context.load_verify_locations(tiers.next_authority.certificate)
    if name is not None:
        directory = tiers.directories[name]
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    return context


async def serial_of(tiers, address, server):
    """The serial number of the certificate that a server shows."""
    host, _, port = address.rpartition(":")
    context = context_of(tiers, "edge")
    context.set_alpn_protocols(["h2"] if server == "inventory" else ["http/1.1"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=server)
    try:
        return writer.get_extra_info("peercert")["serialNumber"]
    finally:
        writer.close()


async def test_a_purchase_crosses_all_tiers(tiers, session, sale):
    assert await reserve_over_rest(tiers, session, sale) == 200
    async with grpc.aio.insecure_channel(tiers.target, direct.CHANNEL_OPTIONS) as channel:
        assert await reserve(channel, sale) == "OK"


@both
@pytest.mark.parametrize("name", [None, "of a foreign authority", "expired"])
async def test_a_client_without_a_valid_certificate_reaches_no_inventory(tiers, calling, sale, transport, name):
    assert await reserve(calling(transport, name), sale) == "UNAVAILABLE"


@both
async def test_a_client_without_tls_reaches_no_inventory(tiers, sale, transport):
    async with grpc.aio.insecure_channel(tiers.inventories[transport].address, direct.CHANNEL_OPTIONS) as channel:
        assert await reserve(channel, sale) == "UNAVAILABLE"


@both
@pytest.mark.parametrize("name", ["stranger", "edge"])
@pytest.mark.parametrize("metadata", [SPOKEN_FOR, (("holdfast-principal", "customers/c-1"),), (COUNTED,)])
async def test_another_workload_does_not_speak_for_callers(tiers, calling, sale, transport, name, metadata):
    before = spoofed_calls(tiers, transport)
    channel = calling(transport, name)
    assert await reserve(channel, sale, metadata=metadata) == "PERMISSION_DENIED"
    assert spoofed_calls(tiers, transport) == before + 1
    assert await reserve(channel, sale) == "OK"


@both
async def test_a_name_is_not_proven_by_a_header(tiers, calling, sale, transport):
    claimed = (("x-forwarded-client-cert", "Hash=00;DNS=gateway"), *SPOKEN_FOR)
    assert await reserve(calling(transport, "stranger"), sale, metadata=claimed) == "PERMISSION_DENIED"


@both
async def test_the_gateway_speaks_for_callers(calling, sale, transport):
    assert await reserve(calling(transport, "gateway"), sale, metadata=SPOKEN_FOR) == "OK"


async def test_a_client_of_the_edge_does_not_speak_for_callers(tiers, sale):
    async with grpc.aio.insecure_channel(tiers.target, direct.CHANNEL_OPTIONS) as channel:
        assert await reserve(channel, sale, metadata=SPOKEN_FOR) == "PERMISSION_DENIED"


async def test_the_edge_removes_a_clients_claim_that_it_has_been_counted(tiers, sale):
    async with grpc.aio.insecure_channel(tiers.target, direct.CHANNEL_OPTIONS) as channel:
        assert await reserve(channel, sale, metadata=(COUNTED,)) == "OK"


@pytest.mark.parametrize("name", [None, "of a foreign authority", "expired"])
async def test_a_client_without_a_valid_certificate_reaches_no_gateway(tiers, session, name):
    context = context_of(tiers, name)
    context.check_hostname = False
    with pytest.raises(aiohttp.ClientError):
        await session.get(f"{tiers.gateway.url}/health/live", ssl=context)


async def test_a_gateway_may_accept_edges_only(tiers, tmp_path):
    """By an authority of theirs, under the authority of all: neither an inventory nor a stranger is an edge."""
    edges = Authority(tmp_path, "edges", issuer=tiers.authority)
    own = tiers.authority.equip(tmp_path / "gateway", "gateway")
    edges.trust(own)
    settings = {"http_tls_dir": own, "inventory_tls_dir": tiers.directories["gateway"], **NO_DRAIN}
    ports = [each.address for each in tiers.inventories.values()]
    with Gateway(ports, **settings) as gateway:
        await gateway.is_serving()
        address = gateway.url.removeprefix("https://")
        for name, known_by, healthy in (
            ("inventory", r"health_check\.failure", 0),
            ("stranger", r"health_check\.failure", 0),
            ("edge", "membership_healthy", 1),
        ):
            directory = (edges if name == "edge" else tiers.authority).equip(tmp_path / f"own-{name}", name)
            tiers.authority.trust(directory)
            with Edge([address], ports, workload_tls_dir=directory) as edge:
                await edge.says("serving")
                await eventually(lambda edge=edge, known_by=known_by: all(edge.of_clusters(known_by)[:2]))
                assert edge.of_clusters("membership_healthy")[:2] == [healthy] * 2


@asynccontextmanager
async def load(tiers, session, sale):
    """Reserves again and again over both protocols through the edge; no call may fail."""
    made, ending = [], asyncio.Event()

    async def over_rest():
        while not ending.is_set():
            made.append(await reserve_over_rest(tiers, session, sale))

    async def over_grpc(channel):
        while not ending.is_set():
            made.append(await reserve(channel, sale))

    async with (
        grpc.aio.insecure_channel(tiers.target, direct.CHANNEL_OPTIONS) as channel,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(4):
            tasks.create_task(over_rest())
            tasks.create_task(over_grpc(channel))
        try:
            yield made
        finally:
            ending.set()
    assert set(made) == {200, "OK"}


async def test_certificates_of_all_tiers_are_renewed_under_load(tiers, session, sale):
    addresses = [("gateway", tiers.gateway.url.removeprefix("https://"))]
    addresses += [("inventory", each.address) for each in tiers.inventories.values()]
    async with load(tiers, session, sale) as made:
        for name in ("gateway", "inventory", "edge"):
            shown = [await serial_of(tiers, address, server) for server, address in addresses if server == name]
            tiers.authority.equip(tiers.directories[name], name)
            for (_, address), former in zip([each for each in addresses if each[0] == name], shown, strict=True):

                async def is_renewed(address=address, former=former, name=name):
                    return await serial_of(tiers, address, name) != former

                await eventually(is_renewed)
            seen = len(made)
            await eventually(lambda seen=seen: len(made) > seen + 50)
        await tiers.gateway.says("certificate_renewed", logger="holdfast_gateway.inventory_client")


async def acceptance(tiers, session, calling, sale, name):
    """Whether the gateway and the inventories accept the certificate of this name: one of these, if they agree."""
    context = context_of(tiers, name)
    context.check_hostname = False
    accepted = {await reserve(calling(transport, name), sale) == "OK" for transport in TRANSPORTS}
    try:
        await (await session.get(f"{tiers.gateway.url}/health/live", ssl=context)).read()
    except aiohttp.ClientError:
        return accepted | {False}
    return accepted | {True}


@asynccontextmanager
async def read_by_all(tiers):
    """Wait until edge, gateway and inventories have read the files that are changed inside."""
    counter = r"client_ssl_socket_factory\.ssl_context_update_by_sds"
    updates = tiers.edge.of_clusters(counter)
    services = {tiers.gateway: 4, **dict.fromkeys(tiers.inventories.values(), 1)}
    before = {service: len(certificate_events(service)) for service in services}
    yield
    await eventually(lambda: all(map(int.__gt__, tiers.edge.of_clusters(counter), updates)))
    for service, count in before.items():
        wanted = count + services[service]
        await eventually(lambda service=service, wanted=wanted: len(certificate_events(service)) >= wanted)


def certificate_events(service):
    """Of the gateway: that two have read the files, and that its server and its channel use them."""
    return [*service.events("credentials_read"), *service.events("certificate_renewed")]


async def test_the_authority_is_replaced_under_load(tiers, session, calling, sale):
    workloads = ("gateway", "inventory", "edge")
    former, following = "of the former authority", "of the next authority"
    tiers.directories[former] = tiers.authority.equip(tiers.directories["edge"].with_name("former"), "gateway")
    async with load(tiers, session, sale) as made:
        # There and back, so that other tests find the authority that they know.
        for old, new, refused_name, accepted_name in (
            (tiers.authority, tiers.next_authority, former, following),
            (tiers.next_authority, tiers.authority, following, former),
        ):
            async with read_by_all(tiers):
                for name in workloads:
                    old.trust(tiers.directories[name], new)
            assert await acceptance(tiers, session, calling, sale, accepted_name) == {True}
            assert await acceptance(tiers, session, calling, sale, refused_name) == {True}
            async with read_by_all(tiers):
                for name in workloads:
                    new.equip(tiers.directories[name], name)
            async with read_by_all(tiers):
                for name in workloads:
                    new.trust(tiers.directories[name])
            assert await acceptance(tiers, session, calling, sale, accepted_name) == {True}
            assert await acceptance(tiers, session, calling, sale, refused_name) == {False}
            seen = len(made)
            await eventually(lambda seen=seen: len(made) > seen + 50)


@pytest.mark.parametrize("path", ["live", "startup", "ready"])
def test_probes_need_no_certificate(tiers, path):
    for service in (tiers.gateway, *tiers.inventories.values()):
        with direct.urlopen(f"http://127.0.0.1:{service.metrics_port}/health/{path}", CALL_SECONDS) as answer:
            assert answer.status == 200
