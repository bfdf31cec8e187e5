"""A watch of the inventory that outlasts the individual calls."""

from google.protobuf.message import Message

from holdfast_gateway.inventory_client import InventoryClient, Metadata, Stream
from holdfast_gateway.problems import DRAINING, INVENTORY_UNAVAILABLE, WATCH_EXPIRED, ProblemError
from holdfast_gateway.routes import DynamicMessage, Route

_ENDS = frozenset({WATCH_EXPIRED, DRAINING, INVENTORY_UNAVAILABLE})
"""The reasons after which the watch resumes with another call, perhaps to another replica."""


class Watch:
    """A reader of a server-streaming method that resumes after the latest message when a call ends."""

    def __init__(self, inventory: InventoryClient, route: Route, request: DynamicMessage, metadata: Metadata) -> None:
        self._inventory = inventory
        self._route = route
        self._request = request
        self._metadata = metadata
        self._call: Stream | None = None
        self._heard = False

    async def read(self) -> Message | None:
        """Return the next message, or None at the end. Raises ProblemError, also if a call ends without a message."""
        while True:
            try:
                message = await self._inventory.read(await self._opened())
            except ProblemError as error:
                if not self._heard or error.problem.reason not in _ENDS:
                    raise
                self._call = None
                self._heard = False
                continue
            if message is not None:
                self._heard = True
                known: DynamicMessage = message
                self._request.resume_token = known.resume_token
            return message

    def cancel(self) -> None:
        """End the call."""
        if self._call is not None:
            self._call.cancel()

    async def _opened(self) -> Stream:
        if self._call is None:
            self._call = await self._inventory.open_stream(self._route, self._request, self._metadata)
        return self._call
