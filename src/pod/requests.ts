import { refusalOf } from "../application/errors.ts";
import { type Failure, LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { FromPod, Request, ToPod } from "../protocol/pod.ts";

export interface Answer {
  value: Json;
  data: Uint8Array | undefined;
}

interface Waiting {
  ask: Request;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** The control plane bounds what one attempt may have under way; what goes beyond waits here. */
const MOST_UNDER_WAY = 64;

/** What one attempt asks of the control plane, and the answers. */
export class Requests {
  readonly #lease: number;
  readonly #send: (message: FromPod) => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #queue: Waiting[] = [];
  #last = 0;
  #isOver = false;

  constructor(lease: number, send: (message: FromPod) => void) {
    this.#lease = lease;
    this.#send = send;
  }

  /** Rejects with what the platform refuses, as user code is to catch it. */
  ask(ask: Request): Promise<Answer> {
    if (this.#isOver) return Promise.reject(over());
    return new Promise((resolve, reject) => {
      const waiting = { ask, resolve, reject };
      if (this.#waiting.size < MOST_UNDER_WAY) this.#tell(waiting);
      else this.#queue.push(waiting);
    });
  }

  /** Asks for what nobody waits for. */
  tell(ask: Request): void {
    if (!this.#isOver) this.#tell({ ask, resolve: () => {}, reject: () => {} });
  }

  take({ id, value, failure, data }: ToPod & { t: "reply" }): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    const next = this.#queue.shift();
    if (next !== undefined) this.#tell(next);
    if (failure === "") waiting.resolve({ value, data });
    else waiting.reject(refusalOf(JSON.parse(failure) as Failure));
  }

  /** The attempt has ended: what it still asks for is refused. */
  end(): void {
    this.#isOver = true;
    this.#queue.length = 0;
    this.#waiting.clear();
  }

  /** @throws {LockstepError} CALL_CANCELLED when the attempt has ended */
  check(): void {
    if (this.#isOver) throw over();
  }

  #tell(waiting: Waiting): void {
    const id = ++this.#last;
    this.#waiting.set(id, waiting);
    this.#send({ t: "request", lease: this.#lease, id, ask: waiting.ask });
  }
}

const over = (): LockstepError =>
  new LockstepError("CALL_CANCELLED", "the invocation has ended: await all that uses its ctx before the handler returns");
