"""WebhookService: where the movements of sales are sent, and how far."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from holdfast.inventory.v1 import webhook_service_pb2 as pb
from holdfast_inventory.api import messages, page_tokens
from holdfast_inventory.api import webhook_requests as requests
from holdfast_inventory.api.call import Call
from holdfast_inventory.api.sale_service import changes_page

if TYPE_CHECKING:
    from holdfast_inventory.postgres.webhook_store import WebhookStore


class WebhookService:
    """The methods of WebhookService. They raise DomainError for a refusal."""

    def __init__(self, store: "WebhookStore", url_rules: requests.UrlRules, on_change: Callable[[], None]) -> None:
        """`on_change` is called after a change that makes messages due."""
        self._store = store
        self._url_rules = url_rules
        self._on_change = on_change

    async def create_webhook(self, request: pb.CreateWebhookRequest, call: Call) -> pb.Webhook:
        """Send the movements that are made from now on."""
        webhook_id, target = requests.create_webhook(request, self._url_rules)
        created = await self._store.create_webhook(webhook_id, target, call.cause)
        self._on_change()
        return messages.webhook_with_secret(created)

    async def get_webhook(self, request: pb.GetWebhookRequest, _: Call) -> pb.Webhook:
        """Read one."""
        return messages.webhook(await self._store.get_webhook(requests.webhook_name(request.name)))

    async def list_webhooks(self, request: pb.ListWebhooksRequest, _: Call) -> pb.ListWebhooksResponse:
        """List webhooks by id."""
        page = requests.list_webhooks(request)
        found, cursor = await self._store.list_webhooks(page.page_size, page.cursor)
        token = page_tokens.next_page(cursor, page.filters)
        return pb.ListWebhooksResponse(webhooks=map(messages.webhook, found), next_page_token=token)

    async def update_webhook(self, request: pb.UpdateWebhookRequest, call: Call) -> pb.Webhook:
        """Change what is sent where."""
        webhook_id, change = requests.update_webhook(request, self._url_rules)
        return messages.webhook(await self._store.update_webhook(webhook_id, change, call.cause))

    async def delete_webhook(self, request: pb.DeleteWebhookRequest, call: Call) -> Empty:
        """Send nothing more."""
        await self._store.delete_webhook(requests.webhook_name(request.name), call.cause)
        return Empty()

    async def pause_webhook(self, request: pb.PauseWebhookRequest, call: Call) -> pb.Webhook:
        """Send nothing for now."""
        webhook_id = requests.webhook_name(request.name)
        return messages.webhook(await self._store.set_webhook_paused(webhook_id, paused=True, cause=call.cause))

    async def resume_webhook(self, request: pb.ResumeWebhookRequest, call: Call) -> pb.Webhook:
        """Send again."""
        webhook_id = requests.webhook_name(request.name)
        resumed = await self._store.set_webhook_paused(webhook_id, paused=False, cause=call.cause)
        self._on_change()
        return messages.webhook(resumed)

    async def rotate_webhook_secret(self, request: pb.RotateWebhookSecretRequest, call: Call) -> pb.Webhook:
        """Sign with a new secret, and for a while with the old one, too."""
        rotated = await self._store.rotate_secret(*requests.rotate_secret(request), call.cause)
        return messages.webhook_with_secret(rotated)

    async def list_webhook_deliveries(
        self, request: pb.ListWebhookDeliveriesRequest, _: Call
    ) -> pb.ListWebhookDeliveriesResponse:
        """List how far each sale's movements were delivered."""
        webhook_id, page = requests.list_deliveries(request)
        found, cursor = await self._store.list_deliveries(
            webhook_id, page.page_size, page.cursor, failing=request.failing
        )
        return pb.ListWebhookDeliveriesResponse(
            webhook_deliveries=map(messages.delivery, found),
            next_page_token=page_tokens.next_page(cursor, page.filters),
        )

    async def list_webhook_changes(
        self, request: pb.ListWebhookChangesRequest, _: Call
    ) -> pb.ListWebhookChangesResponse:
        """List the changes of a webhook in order."""
        webhook_id, after, page = requests.list_changes(request)
        # One more than the page holds tells whether there is a next page.
        found = await self._store.list_webhook_changes(webhook_id, after, page.page_size + 1)
        changes, token = changes_page(found, page)
        return pb.ListWebhookChangesResponse(changes=changes, next_page_token=token)

    async def redeliver_movements(self, request: pb.RedeliverMovementsRequest, _: Call) -> pb.WebhookDelivery:
        """Continue a delivery now, after a sequence or where it is."""
        redelivered = await self._store.redeliver(*requests.redeliver(request))
        self._on_change()
        return messages.delivery(redelivered)
