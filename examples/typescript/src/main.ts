/**
 * A handler of CometChat events in TypeScript: it writes one line for each event, once, to a file.
 *
 *   main.ts     flags, gRPC server, health, graceful stop
 *   handler.ts  a batch of deliveries becomes an outcome for each
 *   line.ts     what a line says of an event, by its typed payload
 *   ledger.ts   the file of lines, which also knows what was written before
 *   gen/        the contract, made by `npm run generate`
 */
import { parseArgs } from "node:util";
import { setTimeout as pause } from "node:timers/promises";

import { Server, ServerCredentials } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";

import { EventHandlerServiceService } from "./gen/hookline/handler/v1/handler.js";
import { makeHandler } from "./handler.js";
import { Ledger } from "./ledger.js";

const SERVICE = "hookline.handler.v1.EventHandlerService";

const { values: flags } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:9000" }, // port 0 takes a free one
    out: { type: "string", default: "activity.jsonl" },
    "notice-ms": { type: "string", default: "1000" }, // how long to say NOT_SERVING before the server stops
    "patience-ms": { type: "string", default: "20000" }, // how long to wait for calls under way when stopping
  },
});

const ledger = await Ledger.open(flags.out);
const server = new Server();
const health = new HealthImplementation({ "": "SERVING", [SERVICE]: "SERVING" });
server.addService(EventHandlerServiceService, makeHandler(ledger));
health.addToServer(server);

const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync(flags.listen, ServerCredentials.createInsecure(), (error, bound) =>
    error ? reject(error) : resolve(bound),
  );
});
console.error(`listening on ${flags.listen.slice(0, flags.listen.lastIndexOf(":"))}:${port}`);

/** Stop gracefully: not ready, calls under way finished, gone. */
async function stop(): Promise<void> {
  // The gateway sends nothing to who is NOT_SERVING: give it the time to notice.
  for (const name of ["", SERVICE]) health.setStatus(name, "NOT_SERVING");
  await pause(Number(flags["notice-ms"]));
  const late = setTimeout(() => server.forceShutdown(), Number(flags["patience-ms"]));
  await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  clearTimeout(late);
  await ledger.close();
}

for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop());
