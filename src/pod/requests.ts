import { refusalOf } from "../application/errors.ts";
import { type Failure, LockstepError } from "../lib/errors.ts";
import type { FromPod, Request, ToPod } from "../protocol/pod.ts";

/** What a request is answered with. */
export type Answer = ToPod & { t: "reply" | "got" };

interface Waiting {
  ask: Request;
  take(answer: Answer): void;
  reject(error: Error): void;
}

/** The control plane bounds what one attempt may have under way; what goes beyond waits here. */
const MOST_UNDER_WAY = 64;

/** What one attempt asks of the control plane, and the answers. */
export class Requests {
  readonly #lease: number;
  readonly #send: (message: FromPod) => void;
  readonly #waiting = new Map<number, Waiting>();
  #queue: Waiting[] | undefined;
  #last = 0;
  #isOver = false;

  constructor(lease: number, send: (message: FromPod) => void) {
    this.#lease = lease;
    this.#send = send;
  }

  /** Gives what `read` makes of the answer. Rejects with what the platform refuses, as user code is to catch it. */
  ask<T>(ask: Request, read: (answer: Answer) => T): Promise<T> {
    if (this.#isOver) return Promise.reject(over());
    return new Promise((resolve, reject) => {
      this.#tell({ ask, take: (answer) => resolve(read(answer)), reject });
    });
  }

  /** Asks for what nobody waits for. */
  tell(ask: Request): void {
    if (!this.#isOver) this.#send({ t: "request", lease: this.#lease, id: ++this.#last, ask });
  }

  take(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.id);
    const next = this.#queue?.shift();
    if (next !== undefined) this.#tell(next);
    if (answer.t === "got" || answer.failure === "") waiting.take(answer);
    else waiting.reject(refusalOf(JSON.parse(answer.failure) as Failure));
  }

  /** The attempt has ended: what it still asks for is refused. */
  end(): void {
    this.#isOver = true;
    this.#queue = undefined;
    this.#waiting.clear();
  }

  /** @throws {LockstepError} CALL_CANCELLED when the attempt has ended */
  check(): void {
    if (this.#isOver) throw over();
  }

  #tell(waiting: Waiting): void {
    if (this.#waiting.size === MOST_UNDER_WAY) {
      this.#queue ??= [];
      this.#queue.push(waiting);
      return;
    }
    const id = ++this.#last;
    this.#waiting.set(id, waiting);
    this.#send({ t: "request", lease: this.#lease, id, ask: waiting.ask });
  }
}

const over = (): LockstepError =>
  new LockstepError("CALL_CANCELLED", "the invocation has ended: await all that uses its ctx before the handler returns");
