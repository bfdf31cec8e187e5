"""Checks requests of WebhookService, and converts them to the domain's types."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit

from holdfast.inventory.v1 import webhook_service_pb2 as pb
from holdfast_chassis.field_rules import rules_at
from holdfast_inventory.api import names
from holdfast_inventory.api.checks import MAX_SEQUENCE, Checking, Checks
from holdfast_inventory.api.sale_requests import ListRequest, changes_page, list_page
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.webhook import DEFAULT_OVERLAP, LONGEST_OVERLAP, Target

_MAX_URL_CHARACTERS: int = rules_at(pb.Webhook.DESCRIPTOR, "url").string.max_len
_MAX_KINDS: int = rules_at(pb.Webhook.DESCRIPTOR, "kinds").repeated.max_items
_UPDATABLE = {"url": "url", "kinds": "kinds", "sale": "sale_id", "schedule": "schedule_id"}
"""The fields that may be changed, and the attributes of `Target` that they are."""


@dataclass(frozen=True, slots=True)
class UrlRules:
    """Which URLs a webhook may have. The addresses of its host are checked whenever a message is sent."""

    allow_http: bool = False


def create_webhook(request: pb.CreateWebhookRequest, rules: UrlRules) -> tuple[str, Target]:
    """Check a webhook to create. Return its id and its target."""
    with Checking() as checks:
        webhook_id = checks.resource_id("webhook_id", request.webhook_id)
        if not request.HasField("webhook"):
            checks.violated("webhook", "must be set")
        target = _target(checks, request.webhook, rules)
    return webhook_id, target


def update_webhook(request: pb.UpdateWebhookRequest, rules: UrlRules) -> tuple[str, Callable[[Target], Target]]:
    """Check a change of a webhook. Return its id, and what makes the new target of the old one.

    Without a mask the fields that are set change. A field in the mask that is not set gets its default.
    """
    with Checking() as checks:
        if not request.HasField("webhook"):
            checks.violated("webhook", "must be set")
        webhook_id = checks.webhook("webhook.name", request.webhook.name)
        masked = _masked(checks, request)
        given = _target(checks, request.webhook, rules, masked)
    changed = {attribute: getattr(given, attribute) for field, attribute in _UPDATABLE.items() if field in masked}
    return webhook_id, lambda target: replace(target, **changed)


def webhook_name(name: str) -> str:
    """Check a request that only has a webhook's name. Return the webhook's id."""
    with Checking() as checks:
        return checks.webhook("name", name)


def list_webhooks(request: pb.ListWebhooksRequest) -> ListRequest:
    """Check a list of webhooks."""
    with Checking() as checks:
        return list_page(checks, request, "webhooks")


def rotate_secret(request: pb.RotateWebhookSecretRequest) -> tuple[str, timedelta]:
    """Check a rotation. Return the webhook's id, and how long the old secret stays valid."""
    with Checking() as checks:
        webhook_id, overlap = checks.webhook("name", request.name), DEFAULT_OVERLAP
        if request.HasField("overlap"):
            overlap = checks.duration("overlap", request.overlap, timedelta(0), LONGEST_OVERLAP)
    return webhook_id, overlap


def list_deliveries(request: pb.ListWebhookDeliveriesRequest) -> tuple[str, ListRequest]:
    """Check a list of deliveries. Return the webhook's id, and the page."""
    with Checking() as checks:
        webhook_id = checks.webhook("parent", request.parent)
        return webhook_id, list_page(checks, request, "deliveries", request.parent, str(request.failing))


def list_changes(request: pb.ListWebhookChangesRequest) -> tuple[str, int, ListRequest]:
    """Check a list of a webhook's changes. Return its id, the number after which the page begins, and the page."""
    with Checking() as checks:
        return checks.webhook("parent", request.parent), *changes_page(checks, request)


def redeliver(request: pb.RedeliverMovementsRequest) -> tuple[str, str, int | None]:
    """Check a redelivery. Return the ids of webhook and sale, and the sequence to continue after."""
    with Checking() as checks:
        webhook_id, sale_id = checks.delivery("name", request.name)
        after_sequence = None
        if request.HasField("after_sequence"):
            after_sequence = checks.number("after_sequence", request.after_sequence, 0, MAX_SEQUENCE)
    return webhook_id, sale_id, after_sequence


def _target(checks: Checks, given: pb.Webhook, rules: UrlRules, fields: Collection[str] = _UPDATABLE.keys()) -> Target:
    """Check the fields of a target that are named."""
    return Target(
        _url(checks, given.url, rules) if "url" in fields else "",
        _kinds(checks, given) if "kinds" in fields else frozenset(),
        checks.sale("webhook.sale", given.sale) if "sale" in fields and given.sale else None,
        checks.schedule("webhook.schedule", given.schedule) if "schedule" in fields and given.schedule else None,
    )


def _url(checks: Checks, url: str, rules: UrlRules) -> str:
    if fault := _url_fault(url, rules):
        checks.violated("webhook.url", fault)
    return url


def _url_fault(url: str, rules: UrlRules) -> str:
    if len(url) > _MAX_URL_CHARACTERS or names.match_url(url) is None:
        return f"must be an https URL of at most {_MAX_URL_CHARACTERS} visible ASCII characters"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "must have a valid host and port"
    if parts.scheme != "https" and not rules.allow_http:
        return "must begin with https://"
    if not parts.hostname or "@" in parts.netloc or "#" in url or "\\" in url:
        return "must have a host, and neither a user, nor a password, a fragment or a backslash"
    return ""


def _kinds(checks: Checks, given: pb.Webhook) -> frozenset[MovementKind]:
    if len(given.kinds) > _MAX_KINDS:
        checks.violated("webhook.kinds", f"must be at most {_MAX_KINDS}")
        return frozenset()
    kinds = [_kind(checks, index, number) for index, number in enumerate(given.kinds)]
    return frozenset(kind for kind in kinds if kind is not None)


def _kind(checks: Checks, index: int, number: int) -> MovementKind | None:
    field = f"webhook.kinds[{index}]"
    if number == 0:
        checks.violated(field, "must be set")
    return checks.choice(field, number, MovementKind)


def _masked(checks: Checks, request: pb.UpdateWebhookRequest) -> Collection[str]:
    paths = request.update_mask.paths
    if not paths:
        return [field.name for field, _ in request.webhook.ListFields() if field.name in _UPDATABLE]
    if "*" in paths:
        return _UPDATABLE.keys()
    for index, path in enumerate(paths):
        if path not in _UPDATABLE:
            checks.violated(f"update_mask.paths[{index}]", f"must be one of {', '.join(_UPDATABLE)}")
    return paths
