// Create a sale, hold a pair for a customer, sell it, and follow the stock.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"holdfast.dev/api/holdfast"
	pb "holdfast.dev/api/inventory/v1"
)

var errSeen = errors.New("the stock was seen")

func main() {
	ctx, id := context.Background(), cmp.Or(os.Getenv("HOLDFAST_SALE"), "drop-1")
	shop, err := holdfast.Dial(cmp.Or(os.Getenv("HOLDFAST_ADDRESS"), "localhost:50051"), holdfast.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close()

	sale := &pb.Sale{PerCustomerLimit: 2, Items: []*pb.Item{{Item: "sneaker-42", OnHand: 50}}}
	if _, err := shop.Sales.CreateSale(ctx, &pb.CreateSaleRequest{SaleId: id, Sale: sale}); err != nil {
		log.Fatal(err)
	}
	request := func(units int32) *pb.CreateReservationRequest {
		lines := []*pb.Line{{Item: "sneaker-42", Quantity: units}}
		return &pb.CreateReservationRequest{Parent: "sales/" + id, Customer: "c-1", Lines: lines}
	}
	held, err := shop.Reservations.CreateReservation(ctx, request(1))
	if err != nil {
		log.Fatal(err)
	}
	sold, err := shop.Reservations.ConfirmReservation(ctx, &pb.ConfirmReservationRequest{Name: held.GetName(), Order: "o-77"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sold.GetState(), sold.GetLines()[0].GetQuantity(), sold.GetLines()[0].GetItem())

	var refusal *holdfast.Refusal
	if _, err := shop.Reservations.CreateReservation(ctx, request(2)); errors.As(err, &refusal) {
		fmt.Println(refusal.Reason, refusal.Metadata["used"], "of", refusal.Metadata["limit"], refusal.Retryable)
	}
	err = holdfast.Watch(ctx, func(ctx context.Context, token string) (holdfast.Stream[pb.WatchStockResponse], error) {
		return shop.Sales.WatchStock(ctx, &pb.WatchStockRequest{Name: "sales/" + id, ResumeToken: token})
	}, func(event *pb.WatchStockResponse) error {
		for _, item := range event.GetSnapshot().GetItems() {
			fmt.Println(item.GetItem(), item.GetAvailable(), "left", item.GetSold(), "sold")
		}
		return errSeen
	})
	if !errors.Is(err, errSeen) {
		log.Fatal(err)
	}
}
