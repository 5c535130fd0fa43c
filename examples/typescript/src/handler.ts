import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";

import type {
  Delivery,
  DeliverRequest,
  DeliverResponse,
  EventHandlerServiceServer,
  Outcome,
} from "./gen/hookline/handler/v1/handler.js";
import type { Ledger } from "./ledger.js";
import { type Line, lineOf, Malformed } from "./line.js";

/** The service, writing to `ledger`. */
export function makeHandler(ledger: Ledger): EventHandlerServiceServer {
  return {
    deliver(call: ServerUnaryCall<DeliverRequest, DeliverResponse>, done: sendUnaryData<DeliverResponse>): void {
      // An error given to `done` would say that the call failed, and all its events would come again.
      handle(call.request.deliveries, ledger).then(
        (outcomes) => done(null, { outcomes }),
        (error: Error) => done(error),
      );
    },
  };
}

/** Write a line for each event of the batch that has none yet, then say how each went. */
async function handle(deliveries: Delivery[], ledger: Ledger): Promise<Outcome[]> {
  const lines: Line[] = [];
  const outcomes = deliveries.map((delivery) => {
    try {
      lines.push(lineOf(delivery));
      return accepted(delivery);
    } catch (error) {
      if (error instanceof Malformed) return rejected(delivery, error.message);
      return later(delivery, (error as Error).name);
    }
  });
  try {
    // One flush for the whole batch. Nothing is accepted before its line is on the disk.
    await ledger.add(lines);
    return outcomes;
  } catch (error) {
    console.error("lines not written, the events will come again:", error);
    return outcomes.map((outcome, index) =>
      outcome.result?.$case === "accepted" ? later(deliveries[index]!, "not written") : outcome,
    );
  }
}

function accepted({ deliveryId }: Delivery): Outcome {
  return { deliveryId, result: { $case: "accepted", value: {} } };
}

function rejected({ deliveryId }: Delivery, reason: string): Outcome {
  console.error(`event rejected: ${deliveryId}: ${reason}`);
  return { deliveryId, result: { $case: "rejected", value: { reason } } };
}

/** No delay of our own: the route's backoff decides. */
function later({ deliveryId }: Delivery, reason: string): Outcome {
  return { deliveryId, result: { $case: "retryAfter", value: { delay: undefined, reason } } };
}
