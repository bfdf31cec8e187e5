"""A gateway of faults in front of a replica, and the Python client."""

from contextlib import AsyncExitStack

import grpc
import pytest

from holdfast_client import AsyncClient


class Front(grpc.GenericRpcHandler):
    """Passes calls on to a replica, and loses the answers of some."""

    def __init__(self, target):
        self._channel = grpc.aio.insecure_channel(target)
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers([self])
        self.lose = 0
        """The number of answers that it will lose."""
        self.calls = []
        """The path and the metadata of each call."""

    async def start(self):
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def close(self):
        await self._server.stop(0)
        await self._channel.close()

    def service(self, details):
        path = details.method
        if path.startswith("/grpc.health"):
            return None

        async def pass_on(request, context):
            metadata = dict(context.invocation_metadata())
            self.calls.append((path, metadata))
            told = [(key, value) for key, value in metadata.items() if key.startswith(("holdfast", "authorization"))]
            try:
                answer = await self._channel.unary_unary(path)(request, metadata=told)
            except grpc.aio.AioRpcError as refused:
                await context.abort(refused.code(), refused.details(), tuple(refused.trailing_metadata()))
            if self.lose:
                self.lose -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            return answer

        return grpc.unary_unary_rpc_method_handler(pass_on)


@pytest.fixture
async def opened_here():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def front(cluster, opened_here):
    front = Front(cluster.addresses[0])
    await front.start()
    opened_here.push_async_callback(front.close)
    return front


@pytest.fixture
async def client(cluster, opened_here):
    """A client of all replicas."""
    return await opened_here.enter_async_context(AsyncClient("ipv4:" + ",".join(cluster.addresses)))


@pytest.fixture
async def behind_front(front, opened_here):
    """A client that calls through the front."""
    return await opened_here.enter_async_context(AsyncClient(front.target))


@pytest.fixture
def new_client(opened_here):
    """Open clients of the given addresses."""

    async def connect(*addresses, **options):
        return await opened_here.enter_async_context(AsyncClient("ipv4:" + ",".join(addresses), **options))

    return connect
