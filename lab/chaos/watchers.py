"""Watchers, which follow a sale, resume when their watch ends, and record every event."""

from lab.chaos.history import Kind
from lab.chaos.messages import as_dict
from lab.kit import watching

MOVEMENTS, STOCK = "watch_movements", "watch_stock"


class Watcher(watching.Watcher):
    """Follow movements or stock of a sale until cancelled."""

    silence_seconds = 4.0

    def __init__(self, recorder, client, action, sale):
        super().__init__(sale, stock=action == STOCK)
        self._recorder, self._client = recorder, client
        self._about = {
            "client": f"{action} {sale} by {client.transport}",
            "action": action,
            "transport": client.transport,
        }
        self._operation = 0

    def choose(self):
        return self._client.one()

    def on_opened(self, request):
        self._operation = self._recorder.next_operation()
        self._record(request=as_dict(request))

    async def on_event(self, event):
        self._record(answer=as_dict(event))

    def on_ended(self, how):
        self._record(reason=how)

    def _record(self, **fields):
        self._recorder.record(Kind.WATCH, operation=self._operation, **self._about, **fields)
