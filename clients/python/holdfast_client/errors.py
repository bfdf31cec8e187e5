"""What a call can raise: a refusal by Holdfast, or no answer from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc


class HoldfastError(Exception):
    """The base of all errors of this package."""


@dataclass(eq=False)
class Refusal(HoldfastError):
    """Holdfast has refused the request. Each reason of the contract has its subclass in holdfast_client.refusals.

    An instance of this class itself has a reason that is newer than this client. `retryable`: the same request may
    succeed later; `retry_after_seconds` is how long to wait, if Holdfast knows it. `metadata` has what the contract
    documents for the reason, `violations` the rules that fields break, by field.
    """

    reason: str
    message: str
    code: grpc.StatusCode
    retryable: bool = False
    retry_after_seconds: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the message and the broken rules."""
        return " ".join([self.message, *(f"{name}: {rule}." for name, rule in self.violations.items())])


@dataclass(eq=False)
class Unanswered(HoldfastError):
    """gRPC has ended the call without an answer of Holdfast: no connection, no time, or a proxy's own status.

    It does not say whether the request was applied. Repeat it with the same request id.
    """

    message: str
    code: grpc.StatusCode

    def __str__(self) -> str:
        """Return gRPC's code and message."""
        return f"{self.code.name}: {self.message}"


class TooManyWaiting(HoldfastError):
    """A Batch has reached its limit of waiting calls. Nothing was sent."""
