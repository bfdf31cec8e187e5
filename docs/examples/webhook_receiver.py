"""Receives the movements of sales, and prints each once. Needs `pip install standardwebhooks`.

WEBHOOK_SECRET=whsec_... python webhook_receiver.py 8091
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
# A real one keeps this in its database, and changes it in the transaction that processes the movements.
reached: dict[str, int] = {}


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            data = webhook.verify(body, dict(self.headers))["data"]
        except WebhookVerificationError:
            return self.answer(401)
        for movement in data["movements"]:
            if int(movement["sequence"]) > reached.get(data["sale"], 0):
                print(data["sale"], movement["sequence"], movement["kind"], movement["item"], flush=True)
        reached[data["sale"]] = max(reached.get(data["sale"], 0), int(data["sequence"]))
        return self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
