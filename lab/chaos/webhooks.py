"""The receiver of a webhook, which records every message that it accepts."""

from google.protobuf import json_format

from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast.inventory.v1 import webhook_service_pb2 as ws
from lab.chaos.history import Kind
from lab.chaos.messages import as_dict
from lab.kit.webhook_follower import WebhookFollower

WEBHOOK = "webhook"


class WebhookWatcher(WebhookFollower):
    """A follower with the interface of a watcher, of which it is one: it never has to open its watch again."""

    def __init__(self, recorder, sale):
        super().__init__(sale)
        self.sale = sale
        self._recorder = recorder
        self._operation = 0

    async def start(self, client):
        self._operation = self._recorder.next_operation()
        self._record(request=as_dict(ss.WatchMovementsRequest(parent=self.sale)))
        await super().start(client)

    def _accept(self, data):
        self._record(answer=as_dict(json_format.ParseDict(data, ws.MovementsMade())))
        super()._accept(data)

    def _record(self, **fields):
        about = {"client": f"{WEBHOOK} {self.sale}", "action": WEBHOOK, "transport": "rest"}
        self._recorder.record(Kind.WATCH, operation=self._operation, **about, **fields)
