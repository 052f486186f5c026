import { Deque } from "../lib/deque.ts";
import type { ClientLimits } from "./client-effects.ts";
import type { Operation, RequestBody } from "./messages.ts";

/** What was asked for and is not sent: operations that gather until the end of the host's turn, and requests that wait for a number. */
export class Outbox {
  readonly #limits: Pick<ClientLimits, "maxOperations" | "maxSize">;
  readonly #waiting = new Deque<RequestBody>();
  #gathered: Operation[] = [];

  constructor(limits: Pick<ClientLimits, "maxOperations" | "maxSize">) {
    this.#limits = limits;
  }

  /** @returns whether these are the first since `close` */
  gather(operations: readonly Operation[]): boolean {
    const isFirst = this.#gathered.length === 0;
    for (const operation of operations) this.#gathered.push(operation);
    return isFirst && operations.length > 0;
  }

  /** What has gathered becomes requests, but for operations that are under way already: they will be answered once. */
  close(isUnderWay: (operation: string) => boolean): void {
    const seen = new Set<string>();
    let operations: Operation[] = [];
    let size = 0;
    for (const operation of this.#gathered) {
      if (seen.has(operation.id) || isUnderWay(operation.id)) continue;
      seen.add(operation.id);
      const length = operation.id.length + operation.key.length + operation.input.length;
      if (operations.length >= this.#limits.maxOperations || (operations.length > 0 && size + length > this.#limits.maxSize)) {
        this.#waiting.push({ t: "call", operations });
        operations = [];
        size = 0;
      }
      operations.push(operation);
      size += length;
    }
    if (operations.length > 0) this.#waiting.push({ t: "call", operations });
    this.#gathered = [];
  }

  push(body: RequestBody): void {
    this.#waiting.push(body);
  }

  shift(): RequestBody | undefined {
    return this.#waiting.shift();
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Operations that have gathered, and requests that wait. */
  get size(): number {
    return this.#gathered.length + this.#waiting.size;
  }
}
