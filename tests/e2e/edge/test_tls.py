"""TLS by files: both protocols over it, and a renewed certificate without a restart."""

import asyncio
import ssl

import aiohttp
import grpc
import pytest

from holdfast.inventory.v1 import reservation_service_pb2, reservation_service_pb2_grpc
from tests.support.certificates import write_certificate
from tests.support.eventually import eventually


@pytest.fixture
def tls_dir(tmp_path):
    """A directory for the certificate."""
    directory = tmp_path / "tls"
    directory.mkdir()
    return directory


async def presented(edge):
    """Return the certificate that a client is shown, as PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", edge.ports["tls"], ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return ssl.DER_cert_to_PEM_cert(certificate)


async def shows(edge, certificate):
    return await presented(edge) == certificate


async def test_rest_and_grpc_over_tls(start_edge, gateway, inventory, tls_dir, channel):
    certificate = write_certificate(tls_dir)
    edge = await start_edge([gateway], [inventory], tls_dir=tls_dir)
    context = ssl.create_default_context(cadata=certificate.decode())
    url = f"https://localhost:{edge.ports['tls']}/v1/sales"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        assert (await answer.json())["headers"]["x-forwarded-proto"] == "https"
    credentials = grpc.ssl_channel_credentials(certificate)
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel(f"localhost:{edge.ports['tls']}", credentials))
    call = stub.GetReservation(reservation_service_pb2.GetReservationRequest(name="x"), timeout=5)
    assert (await call).name == "x"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1])
async def test_old_tls_is_refused(start_edge, gateway, inventory, tls_dir, version):
    write_certificate(tls_dir)
    edge = await start_edge([gateway], [inventory], tls_dir=tls_dir)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", edge.ports["tls"], ssl=context)


async def test_a_renewed_certificate_is_used_at_once(start_edge, gateway, inventory, tls_dir):
    old = write_certificate(tls_dir, "old").decode()
    edge = await start_edge([gateway], [inventory], tls_dir=tls_dir)
    assert await presented(edge) == old
    new = write_certificate(tls_dir, "new").decode()
    await eventually(lambda: shows(edge, new))


async def test_a_renewed_secret_of_kubernetes_is_used_at_once(start_edge, gateway, inventory, tls_dir):
    versions = []
    for name in ("old", "new"):
        (tls_dir / f"..{name}").mkdir()
        versions.append(write_certificate(tls_dir / f"..{name}", name).decode())
    (tls_dir / "..data").symlink_to("..old")
    for file in ("tls.crt", "tls.key"):
        (tls_dir / file).symlink_to(f"..data/{file}")
    edge = await start_edge([gateway], [inventory], tls_dir=tls_dir)
    assert await presented(edge) == versions[0]
    (tls_dir / "..data_tmp").symlink_to("..new")
    (tls_dir / "..data_tmp").rename(tls_dir / "..data")
    await eventually(lambda: shows(edge, versions[1]))


async def test_without_a_certificate_there_is_no_tls_port(edge):
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", edge.ports["tls"])
