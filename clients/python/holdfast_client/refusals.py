"""A class for each reason of a refusal. Written by scripts/python_client.py (`make generate`)."""

from collections.abc import Mapping
from typing import Final

from holdfast_client.errors import Refusal


class InvalidRequest(Refusal):
    """One or more fields break a rule; google.rpc.BadRequest names each."""


class NotFound(Refusal):
    """The sale, item, reservation or schedule does not exist, or it belongs to another customer. Metadata: resource."""


class AlreadyExists(Refusal):
    """The sale, item or schedule exists already. Metadata: resource."""


class InsufficientStock(Refusal):
    """Fewer units are available than a line asks for. There is a google.rpc.PreconditionFailure violation for each
    such line. Metadata: `asked.{item}` and `available.{item}` for each such line; `left_out` is the number of
    lines that do not fit, if any. Retryable, with RetryInfo until the first hold ends, if open holds have the
    missing units; final if they are sold or never existed. The code is not RESOURCE_EXHAUSTED, because clients and
    proxies retry that by themselves.
    """


class CustomerLimitReached(Refusal):
    """The customer would exceed the sale's or the item's limit. With google.rpc.QuotaFailure. Metadata: limit, used,
    item (absent for the sale's own limit).
    """


class SaleNotOpen(Refusal):
    """open_time has not been reached yet. With RetryInfo until then. Metadata: // open_time."""


class SaleClosed(Refusal):
    """close_time has passed, or the sale is cancelled."""


class SalePaused(Refusal):
    """The sale is paused, for an unknown time. With RetryInfo."""


class ReservationExpired(Refusal):
    """The hold has run out. Metadata: expire_time."""


class ReservationReleased(Refusal):
    """The hold was released."""


class ReservationConfirmed(Refusal):
    """The reservation is confirmed, or is confirmed with another order. Metadata: order."""


class ReservationHeld(Refusal):
    """The reservation is not confirmed, so it has no units to return."""


class NotReturnable(Refusal):
    """The reservation has fewer units of an item than are to be returned, because it never had them or they were
    returned before. Metadata: item, asked, left.
    """


class ExtensionLimitReached(Refusal):
    """The new end is later than max_hold_time allows. Metadata: latest_expire_time."""


class BelowHeld(Refusal):
    """The adjustment would leave fewer units than are held. Metadata: on_hand, held."""


class StockChanged(Refusal):
    """The item's version is not the expected one. Metadata: version. Read the item and decide again; the same request
    would be refused again.
    """


class RequestIdReused(Refusal):
    """The request id was used with another meaning."""


class Overloaded(Refusal):
    """The queue is too long; nothing was done. With RetryInfo."""


class RateLimited(Refusal):
    """The caller sends too many requests; nothing was done. With RetryInfo."""


class DatabaseUnavailable(Refusal):
    """The database cannot be reached; nothing was done. With RetryInfo. Retry with the same request id."""


class Draining(Refusal):
    """This process is shutting down. Nothing was done; a watch can be resumed elsewhere. With RetryInfo. Retry with
    the same request id.
    """


class DeadlineInQueue(Refusal):
    """The deadline passed in the queue; nothing was done. With RetryInfo."""


class OutcomeUnknown(Refusal):
    """The connection was lost during COMMIT, and the outcome could not be determined before the deadline; or gRPC
    sent the call again by itself after it had lost the answer of an earlier attempt. With RetryInfo. Retry with
    the same request id.
    """


class ReaderTooSlow(Refusal):
    """The reader of a watch is too slow. With RetryInfo. Retry from the last resume token."""


class Internal(Refusal):
    """A fault of the service. Details are only in its log."""


class InventoryUnavailable(Refusal):
    """No replica of the inventory service can be reached. If the connection was lost during the call, it may have
    been applied. With RetryInfo. Retry with the same request id.
    """


class WatchExpired(Refusal):
    """The lifetime of a watch is over. It is limited so that new replicas get their share of watches; this is not a
    failure. With RetryInfo of no delay. Metadata: resume_token (none for a watch of health). Resume at once from
    there. The code is not UNAVAILABLE, because that would count against clients' retry budgets.
    """


class MethodNotAllowed(Refusal):
    """Over REST: the path supports other methods, which the header Allow names."""


class NotAcceptable(Refusal):
    """Over REST: Accept contains no supported media type."""


class SlowSender(Refusal):
    """The request did not arrive in time; nothing was done."""


class BodyTooLarge(Refusal):
    """The request's body is too large."""


class UnsupportedMediaType(Refusal):
    """Over REST: the body is not JSON."""


class HeadersTooLarge(Refusal):
    """The request's headers are too many or too large."""


class NotImplementedRefusal(Refusal):
    """The service is older than the caller and does not know the method."""


class Unauthenticated(Refusal):
    """The call has no valid credential. Metadata: error (`invalid_token`, as in RFC 6750; absent if there was no
    credential).
    """


class PermissionDenied(Refusal):
    """The caller may not do this, or not for this customer. Metadata: scope (the scopes of which any one would allow
    it, separated by spaces).
    """


class IssuerUnavailable(Refusal):
    """The keys of the token's issuer cannot be fetched, so the token cannot be checked; nothing was done. With
    RetryInfo.
    """


class AdmissionRequired(Refusal):
    """The admission token is not valid, or the sale requires one and the create has none, or one that has expired."""


class WebhookLimitReached(Refusal):
    """There are as many webhooks as there may be. Metadata: limit."""


class SaleChanged(Refusal):
    """The sale's etag is not the one that the request expects. Metadata: etag. Read the sale and decide again; the
    same request would be refused again.
    """


class SaleInUse(Refusal):
    """Units of the sale were held, sold or transferred, so that it cannot be deleted. Cancel it instead."""


BY_REASON: Final[Mapping[str, type[Refusal]]] = {
    "INVALID_REQUEST": InvalidRequest,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "INSUFFICIENT_STOCK": InsufficientStock,
    "CUSTOMER_LIMIT_REACHED": CustomerLimitReached,
    "SALE_NOT_OPEN": SaleNotOpen,
    "SALE_CLOSED": SaleClosed,
    "SALE_PAUSED": SalePaused,
    "RESERVATION_EXPIRED": ReservationExpired,
    "RESERVATION_RELEASED": ReservationReleased,
    "RESERVATION_CONFIRMED": ReservationConfirmed,
    "RESERVATION_HELD": ReservationHeld,
    "NOT_RETURNABLE": NotReturnable,
    "EXTENSION_LIMIT_REACHED": ExtensionLimitReached,
    "BELOW_HELD": BelowHeld,
    "STOCK_CHANGED": StockChanged,
    "REQUEST_ID_REUSED": RequestIdReused,
    "OVERLOADED": Overloaded,
    "RATE_LIMITED": RateLimited,
    "DATABASE_UNAVAILABLE": DatabaseUnavailable,
    "DRAINING": Draining,
    "DEADLINE_IN_QUEUE": DeadlineInQueue,
    "OUTCOME_UNKNOWN": OutcomeUnknown,
    "READER_TOO_SLOW": ReaderTooSlow,
    "INTERNAL": Internal,
    "INVENTORY_UNAVAILABLE": InventoryUnavailable,
    "WATCH_EXPIRED": WatchExpired,
    "METHOD_NOT_ALLOWED": MethodNotAllowed,
    "NOT_ACCEPTABLE": NotAcceptable,
    "SLOW_SENDER": SlowSender,
    "BODY_TOO_LARGE": BodyTooLarge,
    "UNSUPPORTED_MEDIA_TYPE": UnsupportedMediaType,
    "HEADERS_TOO_LARGE": HeadersTooLarge,
    "NOT_IMPLEMENTED": NotImplementedRefusal,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "ISSUER_UNAVAILABLE": IssuerUnavailable,
    "ADMISSION_REQUIRED": AdmissionRequired,
    "WEBHOOK_LIMIT_REACHED": WebhookLimitReached,
    "SALE_CHANGED": SaleChanged,
    "SALE_IN_USE": SaleInUse,
}
