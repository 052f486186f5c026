import type { Clock } from "../lib/clock.ts";
import { FrameDecoder, FrameEncoder } from "../lib/frames.ts";

/** What befalls a message on its way. A delayed one holds up those behind it: a stream never changes their order. */
export type Disturbance = "lose" | { delayMs: number };

export interface WireOptions<Message> {
  clock: Clock;
  deliver(batch: Message[]): void;
  /** Called before each flush, so that what gathered in this turn leaves with it. */
  beforeFlush?(): void;
  disturb(message: Message): Disturbance | undefined;
  /** A message that cannot be encoded: the real sender would die of it. */
  broken(error: unknown): void;
}

/**
 * One direction of a connection: what is sent in one turn arrives in one batch, in order and in a turn of its own. Messages pass through the
 * encoding of the real wire, so that nothing is shared and nothing arrives that could not travel.
 */
export class Wire<Message> {
  readonly #options: WireOptions<Message>;
  readonly #encoder = new FrameEncoder<Message>();
  readonly #decoder = new FrameDecoder<Message>();
  #queue: { message: Message; at: number }[] = [];
  #latest = 0;
  #open = false;
  #closed = false;
  #scheduled = false;
  /** Those that will flush what is delayed. */
  #timers = 0;

  constructor(options: WireOptions<Message>) {
    this.#options = options;
  }

  /** From now on messages arrive; what was sent before waits for this. */
  open(): void {
    this.#open = true;
    if (this.#queue.length > 0) this.schedule();
  }

  /** Nothing arrives any more. */
  close(): void {
    this.#closed = true;
    this.#queue = [];
  }

  /** Holds back everything until it is opened again. */
  block(): void {
    this.#open = false;
  }

  send(message: Message): void {
    if (this.#closed) return;
    const disturbance = this.#options.disturb(message);
    if (disturbance === "lose") return;
    const now = this.#options.clock.now();
    this.#latest = Math.max(this.#latest, now + (disturbance?.delayMs ?? 0));
    this.#queue.push({ message, at: this.#latest });
    if (this.#latest <= now) this.schedule();
    else this.#scheduleAfter(this.#latest - now);
  }

  #scheduleAfter(delayMs: number): void {
    this.#timers++;
    this.#options.clock.after(delayMs, () => {
      this.#timers--;
      this.schedule();
    });
  }

  /** Makes sure that a flush happens at the end of this turn. */
  schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    this.#options.clock.endOfTurn(() => {
      this.#scheduled = false;
      if (this.#closed) return;
      this.#options.beforeFlush?.();
      if (this.#open) this.#flush();
    });
  }

  #flush(): void {
    const now = this.#options.clock.now();
    const held = this.#queue.findIndex(({ at }) => at > now);
    // Timers and the time of day are different clocks: the last timer may come a millisecond before its message may arrive.
    if (held >= 0 && this.#timers === 0) this.#scheduleAfter((this.#queue[held] as { at: number }).at - now);
    const ready = held === -1 ? this.#queue : this.#queue.slice(0, held);
    if (ready.length === 0) return;
    this.#queue = held === -1 ? [] : this.#queue.slice(held);
    this.#options.deliver(this.#travel(ready.map(({ message }) => message)));
  }

  #travel(batch: Message[]): Message[] {
    try {
      return this.#decoder.push(Buffer.concat(this.#encoder.encode(batch)));
    } catch (error) {
      this.#options.broken(error);
      return [];
    }
  }
}
