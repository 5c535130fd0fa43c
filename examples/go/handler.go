package main

import (
	"context"
	"fmt"
	"log/slog"

	handlerv1 "example.com/activity/gen/hookline/handler/v1"
)

// Handler implements EventHandlerService.
type Handler struct {
	handlerv1.UnimplementedEventHandlerServiceServer
	Ledger *Ledger
}

// Deliver writes a line for each event of the batch that has none yet, then says how each went.
//
// An error returned here would say that the call failed, and all its events would come again.
func (handler *Handler) Deliver(
	_ context.Context, request *handlerv1.DeliverRequest,
) (*handlerv1.DeliverResponse, error) {
	response := &handlerv1.DeliverResponse{}
	var lines []Line
	for _, delivery := range request.Deliveries {
		outcome := accepted(delivery)
		if line, err := LineOf(delivery); err != nil {
			slog.Warn("event rejected", "delivery_id", delivery.DeliveryId, "error", err)
			outcome = rejected(delivery, err)
		} else {
			lines = append(lines, line)
		}
		response.Outcomes = append(response.Outcomes, outcome)
	}
	// One flush for the whole batch. Nothing is accepted before its line is on the disk.
	if err := handler.Ledger.Add(lines); err != nil {
		slog.Error("lines not written, the events will come again", "error", err)
		for index, outcome := range response.Outcomes {
			if outcome.GetAccepted() != nil {
				response.Outcomes[index] = later(request.Deliveries[index], err)
			}
		}
	}
	return response, nil
}

func accepted(delivery *handlerv1.Delivery) *handlerv1.Outcome {
	result := &handlerv1.Outcome_Accepted{Accepted: &handlerv1.Accepted{}}
	return &handlerv1.Outcome{DeliveryId: delivery.DeliveryId, Result: result}
}

func rejected(delivery *handlerv1.Delivery, reason error) *handlerv1.Outcome {
	result := &handlerv1.Outcome_Rejected{Rejected: &handlerv1.Rejected{Reason: reason.Error()}}
	return &handlerv1.Outcome{DeliveryId: delivery.DeliveryId, Result: result}
}

func later(delivery *handlerv1.Delivery, reason error) *handlerv1.Outcome {
	// No delay of our own: the route's backoff decides.
	result := &handlerv1.Outcome_RetryAfter{RetryAfter: &handlerv1.RetryAfter{Reason: fmt.Sprint("not written: ", reason)}}
	return &handlerv1.Outcome{DeliveryId: delivery.DeliveryId, Result: result}
}
