"""A client of Holdfast over gRPC: deadlines, retries that are executed once, typed refusals, watches that resume.

`AsyncClient` is for asyncio, `Client` blocks; both have the contract's methods, with the fields of the requests as
arguments. `Batch` sends concurrent calls of a sale together. See docs/python-client.md.
"""

from holdfast_client.async_client import AsyncClient
from holdfast_client.batching import Batch
from holdfast_client.errors import HoldfastError, Refusal, TooManyWaiting, Unanswered
from holdfast_client.retries import Policy
from holdfast_client.statuses import result_of
from holdfast_client.sync_client import Client

__all__ = [
    "AsyncClient",
    "Batch",
    "Client",
    "HoldfastError",
    "Policy",
    "Refusal",
    "TooManyWaiting",
    "Unanswered",
    "result_of",
]
