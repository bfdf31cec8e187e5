// @ts-ignore: there are no types of Node.js here
import { createServer } from "node:http";
import { Client, Refusal, Unanswered } from "holdfast-client";

// In front of the gateway: loses the first answer of each path and method, and remembers the keys.
const keys: (string | undefined)[] = [];
const seen = new Set<string>();
const front = createServer(async (request: any, response: any) => {
  const chunks: any[] = [];
  for await (const chunk of request) chunks.push(chunk);
  keys.push(request.headers["idempotency-key"]);
  const headers = new Headers(request.headers as any);
  for (const name of ["connection", "transfer-encoding", "content-length", "host"]) headers.delete(name);
  const body = chunks.length ? new Blob(chunks) : null;
  const answer = await fetch("GATEWAY" + request.url, { method: request.method, headers, body });
  const text = await answer.text();
  const what = request.method + request.url;
  if (!seen.has(what)) { seen.add(what); request.socket.destroy(); return; }
  response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" }).end(text);
});
await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", () => resolve()));
const shop = new Client(`http://127.0.0.1:${front.address().port}`);
const direct = new Client("GATEWAY");
const sale = "SALE";
const body = { items: [{ item: "cap", onHand: 5 }] };
await shop.call("CreateSale", { query: { saleId: sale }, body }).catch((error: Error) => console.log(error.name));
keys.length = 0;
const lines = [{ item: "cap", quantity: 2 }];
await shop.call("CreateReservation", { path: { sale }, body: { customer: "c-1", lines } });
console.log("attempts", keys.length, "keys", new Set(keys).size);
console.log("held", (await direct.call("GetItem", { path: { sale, item: "cap" } })).held);
const ends = new AbortController();
for await (const event of direct.watchStock(sale, ends.signal)) {
  if ("snapshot" in event) console.log("snapshot", event.snapshot.items[0]!.available);
  break;
}
const nowhere = new Client("http://127.0.0.1:9", { timeoutSeconds: 0.5 });
await nowhere.call("GetSale", { path: { sale } }).catch((error: Error) => console.log(error.name));
await direct.call("GetSale", { path: { sale: "none" } }).catch((error: Error) => console.log(error instanceof Refusal && error.reason));
front.close(); front.closeAllConnections();
