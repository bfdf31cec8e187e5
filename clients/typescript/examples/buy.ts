// Create a sale, hold a pair for a customer, and sell it.
import { Client, Refusal } from "holdfast-client";

const shop = new Client("http://localhost:8080");
const sale = "drop-1";

await shop.call("CreateSale", {
  query: { saleId: sale },
  body: { perCustomerLimit: 2, items: [{ item: "sneaker-42", onHand: 50 }] },
});
const lines = [{ item: "sneaker-42", quantity: 1 }];
const held = await shop.call("CreateReservation", { path: { sale }, body: { customer: "c-1", lines } });
const reservation = held.name.split("/").at(-1)!;
const sold = await shop.call("ConfirmReservation", { path: { sale, reservation }, body: { order: "o-77" } });
console.log(`${sold.state}: ${sold.lines[0]!.quantity} of ${sold.lines[0]!.item}`);

try {
  await shop.call("CreateReservation", { path: { sale }, body: { customer: "c-1", lines: [{ item: "sneaker-42", quantity: 2 }] } });
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  console.log(`${error.reason}: ${error.metadata["used"]} of ${error.metadata["limit"]}, retryable: ${error.retryable}`);
}
for await (const item of shop.all("ListItems", "items", { path: { sale } })) {
  console.log(`${item.item}: ${item.available} left, ${item.sold} sold`);
}
