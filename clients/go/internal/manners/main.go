// What the tests ask of the client: manners ADDRESS SALE.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"holdfast.dev/api/holdfast"
	pb "holdfast.dev/api/inventory/v1"
)

func main() {
	address, sale := os.Args[1], os.Args[2]
	credential := func() (string, error) { return "key", nil }
	shop, err := holdfast.Dial(address, holdfast.Options{Credential: credential})
	if err != nil {
		panic(err)
	}
	defer shop.Close()
	ctx := context.Background()
	request := &pb.CreateReservationRequest{Parent: sale, Customer: "c-1", Lines: []*pb.Line{{Item: "cap", Quantity: 2}}}
	held, err := shop.Reservations.CreateReservation(ctx, request)
	fmt.Println(held.GetName(), err)
	command := &pb.Command{Command: &pb.Command_Confirm{Confirm: &pb.ConfirmReservationRequest{Name: held.GetName()}}}
	submitted, err := shop.Reservations.Submit(ctx, &pb.SubmitRequest{Parent: sale, Commands: []*pb.Command{command}})
	fmt.Println(submitted.GetOutcomes()[0].GetReservation().GetState(), err)
	_, err = shop.Sales.GetSale(ctx, &pb.GetSaleRequest{Name: "sales/none"})
	fmt.Println(holdfast.ReasonOf(err))
	nowhere, err := holdfast.Dial("127.0.0.1:9", holdfast.Options{Timeout: 500 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	defer nowhere.Close()
	_, err = nowhere.Sales.GetSale(ctx, &pb.GetSaleRequest{Name: sale})
	fmt.Printf("%T\n", err)
}
