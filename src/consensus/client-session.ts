import { epochId, sessionId } from "./client-table.ts";
import type { PublicKey } from "./crypto.ts";
import type { Request, RequestBody } from "./messages.ts";

/** A request that was sent, until its results are settled. */
export interface Sent {
  readonly request: Request;
  /** Operations without a result. */
  readonly open: Set<string>;
  /** Operations whose results are not durable. */
  readonly unsettled: Set<string>;
  dueAt: number;
  afterMs: number;
}

/** The numbers of one session: each is given once, and settled when all results of its request are durable at the client. */
export class Session {
  readonly #client: PublicKey;
  readonly #session: number;
  #number = 0;
  #settled = 0;
  readonly #sent = new Map<number, Sent>();
  /** Which request an operation belongs to, until it is settled. */
  readonly #numbers = new Map<string, number>();

  constructor(client: PublicKey, session: number) {
    this.#client = client;
    this.#session = session;
  }

  /** How many numbers the replicas must keep in mind. */
  get unsettled(): number {
    return this.#number - this.#settled;
  }

  has(operation: string): boolean {
    return this.#numbers.has(operation);
  }

  sent(): Iterable<Sent> {
    return this.#sent.values();
  }

  /** The next request, and the operations that it will have results for. */
  next(body: RequestBody): { number: number; unsigned: Omit<Request, "signature">; ids: string[] } {
    const number = ++this.#number;
    const unsigned = { client: this.#client, session: this.#session, number, settled: this.#settled, body };
    return { number, unsigned, ids: this.#idsOf(body) };
  }

  /** What asks for votes only: it has no number of its own. */
  aside(body: RequestBody): Omit<Request, "signature"> {
    return { client: this.#client, session: this.#session, number: this.#settled + 1, settled: this.#settled, body };
  }

  keep(number: number, sent: Sent): Sent {
    this.#sent.set(number, sent);
    for (const id of sent.open) this.#numbers.set(id, number);
    return sent;
  }

  settle(operation: string): void {
    const number = this.#numbers.get(operation);
    if (number === undefined) return;
    this.#numbers.delete(operation);
    const sent = this.#sent.get(number)!;
    sent.unsettled.delete(operation);
    if (sent.unsettled.size > 0) return;
    this.#sent.delete(number);
    while (this.#settled < this.#number && !this.#sent.has(this.#settled + 1)) this.#settled++;
  }

  #idsOf(body: RequestBody): string[] {
    switch (body.t) {
      case "call":
        return body.operations.map(({ id }) => id);
      case "session":
        return [sessionId({ client: this.#client, session: this.#session })];
      case "single":
        return [];
      case "reconfigure":
        return [epochId(body.next.membership.epoch, body.next.signature)];
    }
  }
}
