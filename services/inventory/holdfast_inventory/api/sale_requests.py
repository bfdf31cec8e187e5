"""Checks requests of SaleService about sales, items and stock, and converts them to the domain's types."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as pb
from holdfast.inventory.v1.webhook_service_pb2 import ListWebhookChangesRequest
from holdfast_chassis.field_rules import rules_at
from holdfast_inventory.api.checks import MAX_SEQUENCE, Checking, Checks
from holdfast_inventory.domain.change import Condition
from holdfast_inventory.domain.commands import Adjust, Transfer
from holdfast_inventory.domain.identity import adjust_fingerprint, change_fingerprint, transfer_fingerprint
from holdfast_inventory.domain.item import MAX_UNITS, ItemChanges
from holdfast_inventory.domain.labels import labels_text
from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.sale import (
    DEFAULT_HOLD_TIME,
    DEFAULT_MAX_HOLD_TIME,
    LONGEST_EARLY_ACCESS,
    LONGEST_HOLD_TIME,
    MIN_HOLD_TIME,
    NO_EARLY_ACCESS,
    NewItem,
    NewSale,
    SaleChanges,
    SaleState,
    broken_rules,
    hold_times,
    repeated_items,
)

MAX_ITEMS: int = rules_at(sale_pb2.Sale.DESCRIPTOR, "items").repeated.max_items
MAX_TRANSFER_UNITS: int = rules_at(pb.TransferStockRequest.DESCRIPTOR, "quantity").int32.lte
MAX_LABELS: int = rules_at(pb.ListSalesRequest.DESCRIPTOR, "labels").repeated.max_items
MAX_ETAG_CHARACTERS: int = rules_at(pb.PauseSaleRequest.DESCRIPTOR, "etag").string.max_len
MAX_RESUME_TOKEN_CHARACTERS: int = rules_at(pb.WatchStockRequest.DESCRIPTOR, "resume_token").string.max_len


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A page of a list. The next page's token is bound to `filters`."""

    page_size: int
    cursor: str | None
    filters: tuple[str, ...]


# Sales


def create_sale(request: pb.CreateSaleRequest) -> NewSale:
    """Check a sale to create, with its items."""
    with Checking() as checks:
        sale_id = checks.resource_id("sale_id", request.sale_id)
        if not request.HasField("sale"):
            checks.violated("sale", "must be set")
        open_at, close_at = _open_at(checks, request.sale), _close_at(checks, request.sale)
        rules = sale_rules(checks, "sale", request.sale)
        new = NewSale(
            sale_id,
            open_at,
            close_at,
            rules.per_customer_limit,
            rules.hold_time,
            rules.max_hold_time,
            rules.items,
            shop_confirms=rules.shop_confirms,
            admission_required=rules.admission_required,
            early_access=rules.early_access,
            display_name=rules.display_name,
            labels=rules.labels,
        )
        checks.broken(broken_rules(new, "sale"))
        checks.broken(repeated_items(new.items, "sale"))
    return new


class SaleRules(NamedTuple):
    """The common part of a sale and of a schedule's template."""

    per_customer_limit: int
    hold_time: timedelta
    max_hold_time: timedelta
    items: tuple[NewItem, ...]
    shop_confirms: bool
    admission_required: bool
    early_access: timedelta
    display_name: str
    labels: str


def sale_rules(checks: Checks, field: str, sale: sale_pb2.Sale) -> SaleRules:
    """Check the rules and the items of the sale at `field`."""
    hold_time, max_hold_time = _hold_times(checks, field, sale)
    items = _new_items(checks, f"{field}.items", sale.items)
    return SaleRules(
        _customer_limit(checks, field, sale),
        hold_time,
        max_hold_time,
        items,
        sale.shop_confirms,
        sale.admission_required,
        _early_access(checks, field, sale),
        checks.text(f"{field}.display_name", sale.display_name),
        labels_text(checks.labels(f"{field}.labels", sale.labels)),
    )


_UPDATABLE = (
    "open_time",
    "close_time",
    "per_customer_limit",
    "hold_time",
    "max_hold_time",
    "shop_confirms",
    "admission_required",
    "early_access",
    "display_name",
    "labels",
)


class RuleChange(NamedTuple):
    """A change of a sale's rules without an id yet, which needs the sale's salt. An empty `request_id` means none."""

    sale_id: str
    etag: str
    request_id: str
    fingerprint: bytes

    def condition(self, change_id: UUID | None) -> Condition:
        """Return the condition of the change under an id."""
        return Condition(change_id, self.fingerprint, self.etag)


def update_sale(request: pb.UpdateSaleRequest) -> tuple[RuleChange, SaleChanges]:
    """Check new rules of a sale.

    Without a mask they are the fields that are set. A field in the mask that is not set gets its default.
    """
    with Checking() as checks:
        if not request.HasField("sale"):
            checks.violated("sale", "must be set")
        sale = request.sale
        sale_id = checks.sale("sale.name", sale.name)
        masked = _masked(checks, request.update_mask.paths, sale, _UPDATABLE)
        changes = SaleChanges(
            open_at=_open_at(checks, sale) if "open_time" in masked else None,
            close_at=_close_at(checks, sale) if "close_time" in masked else None,
            never_closes="close_time" in masked and not sale.HasField("close_time"),
            per_customer_limit=_customer_limit(checks, "sale", sale) if "per_customer_limit" in masked else None,
            hold_time=_updated_hold_time(checks, sale) if "hold_time" in masked else None,
            max_hold_time=_updated_max_hold_time(checks, sale) if "max_hold_time" in masked else None,
            shop_confirms=sale.shop_confirms if "shop_confirms" in masked else None,
            admission_required=sale.admission_required if "admission_required" in masked else None,
            early_access=_early_access(checks, "sale", sale) if "early_access" in masked else None,
            display_name=checks.text("sale.display_name", sale.display_name) if "display_name" in masked else None,
            labels=labels_text(checks.labels("sale.labels", sale.labels)) if "labels" in masked else None,
        )
        if "open_time" in masked and not sale.HasField("open_time"):
            checks.violated("sale.open_time", "must be set")
        etag, request_id = _etag(checks, request.etag), checks.request_id("request_id", request.request_id)
    fingerprint = change_fingerprint("update", {"etag": etag or None, **asdict(changes)})
    return RuleChange(sale_id, etag, request_id, fingerprint), changes


def change_sale(request: pb.PauseSaleRequest | pb.ResumeSaleRequest | pb.CancelSaleRequest) -> RuleChange:
    """Check a change that has no values."""
    with Checking() as checks:
        sale_id = checks.sale("name", request.name)
        etag, request_id = _etag(checks, request.etag), checks.request_id("request_id", request.request_id)
    return RuleChange(sale_id, etag, request_id, change_fingerprint(request.DESCRIPTOR.name, {"etag": etag or None}))


def delete_sale(request: pb.DeleteSaleRequest) -> tuple[str, str]:
    """Check a deletion; return the sale's id and the expected etag."""
    with Checking() as checks:
        return checks.sale("name", request.name), _etag(checks, request.etag)


@dataclass(frozen=True, slots=True)
class SaleFilter:
    """A page of sales to list."""

    page: ListRequest
    state: SaleState | None
    schedule_id: str | None
    labels: Sequence[str]


def list_sales(request: pb.ListSalesRequest) -> SaleFilter:
    """Check a list of sales."""
    with Checking() as checks:
        labels = [checks.label(f"labels[{index}]", label) for index, label in enumerate(request.labels)]
        if len(labels) > MAX_LABELS:
            checks.violated("labels", f"must be at most {MAX_LABELS}")
        filters = "sales, newest first", str(request.state), request.schedule, *sorted(labels)
        page = list_page(checks, request, *filters)
        state = checks.choice("state", request.state, SaleState)
        schedule_id = checks.schedule("schedule", request.schedule) if request.schedule else None
    return SaleFilter(page, state, schedule_id, labels)


def list_refusals(request: pb.ListRefusalsRequest) -> tuple[str, str]:
    """Check a list of refusals. Return the ids of sale and customer."""
    with Checking() as checks:
        return checks.sale("parent", request.parent), checks.required_text("customer", request.customer)


def list_changes(request: pb.ListSaleChangesRequest) -> tuple[str, int, ListRequest]:
    """Check a list of a sale's changes. Return the sale's id, the number after which the page begins, and the page."""
    with Checking() as checks:
        return checks.sale("parent", request.parent), *changes_page(checks, request)


def changes_page(
    checks: Checks,
    request: pb.ListSaleChangesRequest | pb.ListSaleScheduleChangesRequest | ListWebhookChangesRequest,
) -> tuple[int, ListRequest]:
    """Check a page of changes. Return the number after which it begins, and the page."""
    page = list_page(checks, request, "changes", request.parent)
    return 0 if page.cursor is None else _sequence(checks, page.cursor), page


def sale_name(name: str) -> str:
    """Check a request that only has a sale's name. Return the sale's id."""
    with Checking() as checks:
        return checks.sale("name", name)


# Items


def create_item(request: pb.CreateItemRequest) -> tuple[str, NewItem]:
    """Check an item to create; return the sale's id and the item."""
    with Checking() as checks:
        sale_id = checks.sale("parent", request.parent)
        item_id = checks.resource_id("item_id", request.item_id)
        if not request.HasField("item"):
            checks.violated("item", "must be set")
        if request.item.item not in ("", request.item_id):
            checks.violated("item.item", "must be item_id or unset")
        item = _new_item(checks, "item", request.item, item_id)
    return sale_id, item


def create_items(request: pb.BatchCreateItemsRequest) -> tuple[str, tuple[NewItem, ...]]:
    """Check items to create; return the sale's id and the items."""
    with Checking() as checks:
        sale_id = checks.sale("parent", request.parent)
        if not request.items:
            checks.violated("items", "must be set")
        items = _new_items(checks, "items", request.items)
        checks.broken(repeated_items(items, ""))
    return sale_id, items


class ItemChange(NamedTuple):
    """A change of an item without an id yet."""

    sale_id: str
    item_id: str
    changes: ItemChanges
    actor: str
    request_id: str
    fingerprint: bytes


_UPDATABLE_OF_ITEM = ("per_customer_limit", "on_hand", "display_name", "labels")


def update_item(request: pb.UpdateItemRequest) -> ItemChange:
    """Check a change of an item. Without a mask, the fields that are set are changed."""
    with Checking() as checks:
        if not request.HasField("item"):
            checks.violated("item", "must be set")
        item = request.item
        sale_id, item_id = checks.item("item.name", item.name)
        if item.item not in ("", item_id):
            checks.violated("item.item", "must be the last part of the name or unset")
        masked = _masked(checks, request.update_mask.paths, item, _UPDATABLE_OF_ITEM)
        values = _new_item(checks, "item", item, item_id)
        expected_version = None
        if request.HasField("expected_version"):
            expected_version = checks.number("expected_version", request.expected_version, 0, MAX_SEQUENCE)
        changes = ItemChanges(
            per_customer_limit=values.per_customer_limit if "per_customer_limit" in masked else None,
            on_hand=values.on_hand if "on_hand" in masked else None,
            display_name=values.display_name if "display_name" in masked else None,
            labels=values.labels if "labels" in masked else None,
            expected_version=expected_version,
            reason=checks.choice("reason", request.reason, AdjustReason) or AdjustReason.COUNTED,
        )
        request_id = checks.request_id("request_id", request.request_id)
        actor = checks.text("actor", request.actor)
    fingerprint = change_fingerprint("update item", {"item": item_id, **asdict(changes)})
    return ItemChange(sale_id, item_id, changes, actor, request_id, fingerprint)


def get_item(request: pb.GetItemRequest) -> tuple[str, str]:
    """Check a read; return the ids of sale and item."""
    with Checking() as checks:
        return checks.item("name", request.name)


def list_items(request: pb.ListItemsRequest) -> tuple[str, ListRequest]:
    """Check a list of a sale's items; return the sale's id and the page."""
    with Checking() as checks:
        sale_id = checks.sale("parent", request.parent)
        page = list_page(checks, request, "items", request.parent)
    return sale_id, page


# Stock


@dataclass(frozen=True, slots=True)
class AdjustRequest:
    """An adjustment without an id yet, which needs the sale's salt or a random number."""

    sale_id: str
    item_id: str
    delta: int
    reason: AdjustReason
    expected_version: int | None
    actor: str
    request_id: str

    def command(self, change_id: UUID) -> Adjust:
        """Return the command under an id."""
        fingerprint = adjust_fingerprint(self.item_id, self.delta, self.reason, self.expected_version)
        return Adjust(change_id, self.item_id, self.delta, self.reason, self.expected_version, self.actor, fingerprint)


def adjust(request: pb.AdjustStockRequest) -> AdjustRequest:
    """Check an adjustment."""
    with Checking() as checks:
        sale_id, item_id = checks.item("name", request.name)
        if request.delta == 0:
            checks.violated("delta", "must not be 0")
        reason = checks.choice("reason", request.reason, AdjustReason)
        if request.reason == 0:
            checks.violated("reason", "must be set")
        expected_version = None
        if request.HasField("expected_version"):
            expected_version = checks.number("expected_version", request.expected_version, 0, MAX_SEQUENCE)
        request_id = checks.request_id("request_id", request.request_id)
        actor = checks.text("actor", request.actor)
    return AdjustRequest(
        sale_id, item_id, request.delta, reason or AdjustReason.CORRECTED, expected_version, actor, request_id
    )


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """A transfer without an id yet, which needs the source's salt or a random number."""

    source_sale_id: str
    source_item_id: str
    destination_sale_id: str
    destination_item_id: str
    quantity: int
    actor: str
    request_id: str

    def command(self, change_id: UUID) -> Transfer:
        """Return the command under an id."""
        fingerprint = transfer_fingerprint(
            self.source_item_id, self.destination_sale_id, self.destination_item_id, self.quantity
        )
        return Transfer(
            change_id,
            self.source_sale_id,
            self.source_item_id,
            self.destination_sale_id,
            self.destination_item_id,
            self.quantity,
            self.actor,
            fingerprint,
        )


def transfer(request: pb.TransferStockRequest) -> TransferRequest:
    """Check a transfer."""
    with Checking() as checks:
        source_sale_id, source_item_id = checks.item("source", request.source)
        destination_sale_id, destination_item_id = checks.item("destination", request.destination)
        if source_sale_id and source_sale_id == destination_sale_id:
            checks.violated("destination", "must be an item of another sale than source")
        quantity = checks.number("quantity", request.quantity, 1, MAX_TRANSFER_UNITS)
        request_id = checks.request_id("request_id", request.request_id)
        actor = checks.text("actor", request.actor)
    return TransferRequest(
        source_sale_id, source_item_id, destination_sale_id, destination_item_id, quantity, actor, request_id
    )


# The ledger


@dataclass(frozen=True, slots=True)
class MovementPage:
    """A page of movements to list."""

    sale_id: str
    after_sequence: int
    page_size: int
    filters: tuple[str, ...]


def list_movements(request: pb.ListMovementsRequest) -> MovementPage:
    """Check a list of movements."""
    with Checking() as checks:
        sale_id = checks.sale("parent", request.parent)
        after_sequence = checks.number("after_sequence", request.after_sequence, 0, MAX_SEQUENCE)
        page = list_page(checks, request, "movements", request.parent, str(request.after_sequence))
        if page.cursor is not None:
            after_sequence = _sequence(checks, page.cursor)
    return MovementPage(sale_id, after_sequence, page.page_size, page.filters)


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """A watch and its start; a resume token takes precedence over a sequence."""

    sale_id: str
    after_sequence: int
    resume_token: str


def watch_stock(request: pb.WatchStockRequest) -> WatchRequest:
    """Check a watch of stock. The feed checks the resume token."""
    with Checking() as checks:
        sale_id = checks.sale("name", request.name)
        resume_token = _resume_token(checks, request.resume_token)
    return WatchRequest(sale_id, 0, resume_token)


def watch_movements(request: pb.WatchMovementsRequest) -> WatchRequest:
    """Check a watch of movements. The feed checks the resume token."""
    with Checking() as checks:
        sale_id = checks.sale("parent", request.parent)
        after_sequence = checks.number("after_sequence", request.after_sequence, 0, MAX_SEQUENCE)
        resume_token = _resume_token(checks, request.resume_token)
    return WatchRequest(sale_id, after_sequence, resume_token)


class Paged(Protocol):
    """A request for one page of a list."""

    @property
    def page_size(self) -> int:
        """The most entries of the page; 0 means the default."""

    @property
    def page_token(self) -> str:
        """The next_page_token of the previous page."""


def _masked(checks: Checks, paths: Sequence[str], resource: Message, updatable: Sequence[str]) -> Sequence[str]:
    if not paths:
        return [field.name for field, _ in resource.ListFields() if field.name in updatable]
    if "*" in paths:
        return updatable
    for index, path in enumerate(paths):
        if path not in updatable:
            checks.violated(f"update_mask.paths[{index}]", f"must be one of {', '.join(updatable)}")
    return paths


def _etag(checks: Checks, etag: str) -> str:
    if len(etag) > MAX_ETAG_CHARACTERS or not (etag.isascii() and etag.isprintable() and " " not in etag):
        checks.violated("etag", f"must be at most {MAX_ETAG_CHARACTERS} visible ASCII characters")
    return etag


def _open_at(checks: Checks, sale: sale_pb2.Sale) -> datetime | None:
    return checks.timestamp("sale.open_time", sale.open_time) if sale.HasField("open_time") else None


def _close_at(checks: Checks, sale: sale_pb2.Sale) -> datetime | None:
    return checks.timestamp("sale.close_time", sale.close_time) if sale.HasField("close_time") else None


def _customer_limit(checks: Checks, field: str, sale: sale_pb2.Sale) -> int:
    return checks.number(f"{field}.per_customer_limit", sale.per_customer_limit, 0, MAX_UNITS)


def _early_access(checks: Checks, field: str, sale: sale_pb2.Sale) -> timedelta:
    return checks.duration(f"{field}.early_access", sale.early_access, NO_EARLY_ACCESS, LONGEST_EARLY_ACCESS)


def _updated_hold_time(checks: Checks, sale: sale_pb2.Sale) -> timedelta:
    given = sale.HasField("hold_time")
    return _hold_time(checks, "sale.hold_time", sale.hold_time) if given else DEFAULT_HOLD_TIME


def _updated_max_hold_time(checks: Checks, sale: sale_pb2.Sale) -> timedelta:
    given = sale.HasField("max_hold_time")
    return _hold_time(checks, "sale.max_hold_time", sale.max_hold_time) if given else DEFAULT_MAX_HOLD_TIME


def _hold_times(checks: Checks, field: str, sale: sale_pb2.Sale) -> tuple[timedelta, timedelta]:
    given = [
        _hold_time(checks, f"{field}.{name}", getattr(sale, name)) if sale.HasField(name) else None
        for name in ("hold_time", "max_hold_time")
    ]
    return hold_times(*given)


def _hold_time(checks: Checks, field: str, value: Duration) -> timedelta:
    return checks.duration(field, value, MIN_HOLD_TIME, LONGEST_HOLD_TIME)


def _new_items(checks: Checks, field: str, items: Sequence[sale_pb2.Item]) -> tuple[NewItem, ...]:
    if len(items) > MAX_ITEMS:
        checks.violated(field, f"must be at most {MAX_ITEMS} items")
        return ()
    new = []
    for index, item in enumerate(items):
        path = f"{field}[{index}]"
        item_id = checks.resource_id(f"{path}.item", item.item)
        new.append(_new_item(checks, path, item, item_id))
    return tuple(new)


def _new_item(checks: Checks, field: str, item: sale_pb2.Item, item_id: str) -> NewItem:
    on_hand = checks.number(f"{field}.on_hand", item.on_hand, 0, MAX_UNITS)
    limit = checks.number(f"{field}.per_customer_limit", item.per_customer_limit, 0, MAX_UNITS)
    display_name = checks.text(f"{field}.display_name", item.display_name)
    return NewItem(item_id, on_hand, limit, display_name, labels_text(checks.labels(f"{field}.labels", item.labels)))


def list_page(checks: Checks, request: Paged, *filters: str) -> ListRequest:
    """Check the requested page of a list."""
    page_size = checks.page_size("page_size", request.page_size)
    return ListRequest(page_size, checks.page_token("page_token", request.page_token, *filters), filters)


def _sequence(checks: Checks, cursor: str) -> int:
    if cursor.isascii() and cursor.isdecimal() and len(cursor) <= len(str(MAX_SEQUENCE)):
        return checks.number("page_token", int(cursor), 0, MAX_SEQUENCE)
    checks.violated("page_token", "must be a next_page_token of the same list")
    return 0


def _resume_token(checks: Checks, token: str) -> str:
    if len(token) > MAX_RESUME_TOKEN_CHARACTERS:
        checks.violated("resume_token", f"must be at most {MAX_RESUME_TOKEN_CHARACTERS} characters")
    return token
