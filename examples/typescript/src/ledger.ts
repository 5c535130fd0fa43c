import { type FileHandle, open } from "node:fs/promises";
import { constants } from "node:fs";

import type { Line } from "./line.js";

/** The file of lines, and the memory of what was written: delivery is at least once, a line comes once. */
export class Ledger {
  /** Writes go one after another. */
  private last: Promise<void> = Promise.resolve();

  private constructor(
    private readonly file: FileHandle,
    private readonly known: Set<string>,
    private end: number,
  ) {}

  /** Reads what the file at `path` has, and goes on behind its last whole line. */
  static async open(path: string): Promise<Ledger> {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    const content = await file.readFile();
    // A line that a crash cut off was never accepted, and comes again.
    const end = content.lastIndexOf(0x0a) + 1;
    await file.truncate(end);
    const lines = content.subarray(0, end).toString().split("\n").slice(0, -1);
    return new Ledger(file, new Set(lines.map((line) => keyOf(JSON.parse(line) as Line))), end);
  }

  /** Writes the lines that are new; they are on the disk when the promise is fulfilled. */
  add(lines: Line[]): Promise<void> {
    const turn = this.last.then(() => this.write(lines));
    this.last = turn.catch(() => undefined);
    return turn;
  }

  async close(): Promise<void> {
    await this.last;
    await this.file.close();
  }

  private async write(lines: Line[]): Promise<void> {
    const fresh = new Map(lines.map((line) => [keyOf(line), line]));
    for (const key of fresh.keys()) if (this.known.has(key)) fresh.delete(key);
    if (fresh.size === 0) return;
    const bytes = Buffer.from([...fresh.values()].map((line) => `${JSON.stringify(line)}\n`).join(""));
    // At the known end: what a failed write left behind is overwritten by the next one.
    for (let done = 0; done < bytes.length; ) {
      done += (await this.file.write(bytes, done, bytes.length - done, this.end + done)).bytesWritten;
    }
    await this.file.sync();
    this.end += bytes.length;
    for (const key of fresh.keys()) this.known.add(key);
  }
}

function keyOf({ source, id }: Line): string {
  return JSON.stringify([source, id]);
}
