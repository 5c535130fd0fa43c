package main

import (
	"fmt"
	"strings"
	"time"

	cometchatv1 "example.com/activity/gen/hookline/cometchat/v1"
	handlerv1 "example.com/activity/gen/hookline/handler/v1"
)

// Line is what is kept of an event. Source and ID together tell a repetition.
type Line struct {
	Source  string    `json:"source"`
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	Subject string    `json:"subject"`
	// What is a sentence for people; of what was written it holds nothing but the length.
	What string `json:"what"`
}

// LineOf reads the line of a delivery; the error says why there can't be one.
func LineOf(delivery *handlerv1.Delivery) (Line, error) {
	event := delivery.Event
	line := Line{
		Source:  event.Source,
		ID:      event.Id,
		Type:    event.Type,
		Time:    event.Attributes["time"].GetCeTimestamp().AsTime(),
		Subject: event.Attributes["subject"].GetCeString(),
		What:    strings.TrimPrefix(event.Type, "com.cometchat."),
	}
	// Unknown triggers have no typed form and a line all the same. A known one that is broken is for a person to see.
	if untyped := delivery.GetUntyped(); untyped.GetReason() == handlerv1.Untyped_REASON_MALFORMED {
		return Line{}, fmt.Errorf("malformed payload: %s", untyped.Detail)
	}
	if what := whatOf(delivery.GetPayload()); what != "" {
		line.What = what
	}
	return line, nil
}

// whatOf says who did what; "" for events that this program has no words for. Getters of what is absent return zero
// values, so nothing here has to look for nil.
func whatOf(payload *cometchatv1.Payload) string {
	switch event := payload.GetEvent().(type) {
	case *cometchatv1.Payload_MessageSent:
		message := event.MessageSent.GetMessage()
		length := len([]rune(message.GetText()))
		return fmt.Sprintf(
			"%s sent %d characters to %s %s", message.GetSender(), length, message.GetReceiverType(), message.GetReceiver())
	case *cometchatv1.Payload_MessageEdited:
		return fmt.Sprintf("%s edited message %s", event.MessageEdited.GetEditedBy(), event.MessageEdited.GetMessage().GetId())
	case *cometchatv1.Payload_MessageReactionAdded:
		reaction := event.MessageReactionAdded.GetReaction()
		return fmt.Sprintf("%s reacted to message %s", reaction.GetUid(), reaction.GetMessageId())
	case *cometchatv1.Payload_GroupMemberAdded:
		added := event.GroupMemberAdded
		var uids []string
		for _, user := range added.GetMembers().GetUsers() {
			uids = append(uids, user.GetUid())
		}
		return fmt.Sprintf("%s added %s to group %s", added.GetBy().GetUid(), strings.Join(uids, ", "), added.GetGroup().GetGuid())
	case *cometchatv1.Payload_CallEnded:
		ended := event.CallEnded
		length := ended.GetEndedAt().AsTime().Sub(ended.GetStartedAt().AsTime())
		return fmt.Sprintf("call %s ended after %d seconds", ended.GetSessionId(), int(length.Seconds()))
	}
	return ""
}
