import type { Payload } from "./gen/hookline/cometchat/v1/payload.js";
import { type Delivery, Untyped_Reason } from "./gen/hookline/handler/v1/handler.js";

/** What is kept of an event. `source` and `id` together tell a repetition. */
export interface Line {
  source: string;
  id: string;
  type: string;
  time: string;
  subject: string;
  /** A sentence for people; of what was written it holds nothing but the length. */
  what: string;
}

/** The payload of a known trigger does not have the documented shape: for a person to see. */
export class Malformed extends Error {}

/** The line of a delivery; throws Malformed where there can't be one. */
export function lineOf(delivery: Delivery): Line {
  const { event, typed } = delivery;
  if (!event) throw new Malformed("the delivery has no event");
  // Unknown triggers have no typed form and a line all the same.
  if (typed?.$case === "untyped" && typed.value.reason === Untyped_Reason.REASON_MALFORMED) {
    throw new Malformed(`malformed payload: ${typed.value.detail}`);
  }
  const time = event.attributes["time"]?.attr;
  const subject = event.attributes["subject"]?.attr;
  return {
    source: event.source,
    id: event.id,
    type: event.type,
    time: time?.$case === "ceTimestamp" ? time.value.toISOString() : "",
    subject: subject?.$case === "ceString" ? subject.value : "",
    what: (typed?.$case === "payload" && whatOf(typed.value)) || event.type.replace("com.cometchat.", ""),
  };
}

/** Who did what; "" for events that this program has no words for. */
function whatOf({ event }: Payload): string {
  switch (event?.$case) {
    case "messageSent": {
      const { sender, text, receiverType, receiver } = event.value.message ?? {};
      return `${sender} sent ${[...(text ?? "")].length} characters to ${receiverType} ${receiver}`;
    }
    case "messageEdited":
      return `${event.value.editedBy} edited message ${event.value.message?.id}`;
    case "messageReactionAdded":
      return `${event.value.reaction?.uid} reacted to message ${event.value.reaction?.messageId}`;
    case "groupMemberAdded": {
      const { by, members, group } = event.value;
      return `${by?.uid} added ${members?.users.map((user) => user.uid).join(", ")} to group ${group?.guid}`;
    }
    case "callEnded": {
      const { sessionId, startedAt, endedAt } = event.value; // Timestamps are Dates here.
      const seconds = startedAt && endedAt ? Math.floor((endedAt.getTime() - startedAt.getTime()) / 1000) : 0;
      return `call ${sessionId} ended after ${seconds} seconds`;
    }
    default:
      return "";
  }
}
