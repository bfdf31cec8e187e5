"""A waiting room for one sale: it admits some customers per second. Needs `pip install "pyjwt[crypto]"`.

python waiting_room.py 8090 sales/drop-1
curl 'http://127.0.0.1:8090/?customer=c-1'
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PORT, SALE = int(sys.argv[1]), sys.argv[2]
PER_SECOND, ALLOW_LIST = 5, {"c-7"}
KEY = Ed25519PrivateKey.generate()
JWK = jwt.algorithms.OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "room-1", "use": "sig"}
admitted: dict[int, int] = {}


class WaitingRoom(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        # A real one takes the customer from the shop's session, after a challenge perhaps.
        customer = parse_qs(url.query).get("customer", [""])[0]
        now = int(time.time())
        if url.path == "/jwks.json":
            return self.answer(200, {"keys": [JWK]})
        if not customer or admitted.get(now, 0) >= PER_SECOND:
            return self.answer(429, {"retry": "in a second"})
        admitted[now] = admitted.get(now, 0) + 1
        claims = {"aud": "holdfast-admission", "sub": customer, "sale": SALE, "exp": now + 300}
        claims |= {"early": True} if customer in ALLOW_LIST else {}
        return self.answer(200, {"token": jwt.encode(claims, KEY, "EdDSA", {"kid": "room-1"})})

    def answer(self, status, document):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())


ThreadingHTTPServer(("127.0.0.1", PORT), WaitingRoom).serve_forever()
