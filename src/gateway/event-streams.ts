/**
 * Server-sent event streams. Owns who listens, where each listener stands and how its backlog is read; the events themselves are their
 * source's: the journal, or those who watch over pods and services.
 *
 * Invariants:
 * I1 A stream shows every event after its start that its filter lets through, once, in order.
 * I2 A stream holds at most what the last write gave its socket: a client that reads slowly is served from its source at its own pace, and
 *    one that does not read at all for `stallMs` is disconnected.
 * I3 Without streams, events cost nothing.
 *
 *           caught up                 socket full
 *  reading ──────────► live ─────────────────────────► blocked
 *     ▲  ▲              │ events are missing              │ drained
 *     │  └──────────────┘                                 │
 *     └───────────────────────────────────────────────────┘
 */
import type { ServerResponse } from "node:http";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";

const PAGE = 500;

export interface StreamSettings {
  clock: Clock;
  maxStreams: number;
  heartbeatMs: number;
  stallMs: number;
  onDefect: (error: unknown, where: string) => void;
}

interface StreamEvent {
  readonly position: number;
  readonly type: string;
}

/** Where events come from. Positions only grow. */
export interface StreamSource {
  /** Of the last event. */
  position(): number;
  /** Those behind a position, in order; the others follow when these have been read. */
  events(after: number, limit: number): Promise<readonly StreamEvent[]>;
  onEvents(listener: (events: readonly StreamEvent[]) => void): () => void;
}

export interface StreamRequest {
  /** Begins after this position; `latest` begins with the next event. */
  after: number | "latest";
  /** Default: all. */
  types?: ReadonlySet<string>;
}

export class EventStreams {
  readonly #source: StreamSource;
  readonly #settings: StreamSettings;
  readonly #streams = new Set<EventStream>();
  #stop: (() => void) | undefined;

  constructor(source: StreamSource, settings: StreamSettings) {
    this.#source = source;
    this.#settings = settings;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** @throws {LockstepError} OVERLOADED when there are too many streams already */
  admit(): void {
    const { maxStreams } = this.#settings;
    if (this.#streams.size >= maxStreams)
      throw new LockstepError("OVERLOADED", `${maxStreams} event streams are open, the most that may be`);
  }

  /** Serves `response`, whose head is written, until its client or the platform ends it. */
  open(response: ServerResponse, request: StreamRequest): void {
    const stream = new EventStream(response, request, this.#source, this.#settings);
    this.#streams.add(stream);
    response.on("close", () => this.#remove(stream));
    this.#stop ??= this.#listen();
    stream.start();
  }

  endAll(): void {
    for (const stream of this.#streams) stream.end();
  }

  #remove(stream: EventStream): void {
    stream.close();
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  #listen(): () => void {
    const stopEvents = this.#source.onEvents((events) => this.#publish(events));
    const stopHeartbeat = this.#beat();
    return () => {
      stopEvents();
      stopHeartbeat();
    };
  }

  #publish(events: readonly StreamEvent[]): void {
    if (events.length === 0) return;
    const frames = events.map(frameOf);
    for (const stream of this.#streams) stream.offer(events, frames);
  }

  #beat(): () => void {
    const { clock, heartbeatMs } = this.#settings;
    let cancel: () => void;
    const beatAll = (): void => {
      again();
      for (const stream of this.#streams) stream.beat();
    };
    const again = (): void => {
      cancel = clock.after(heartbeatMs, beatAll, "upkeep");
    };
    again();
    return () => cancel();
  }
}

const frameOf = (event: StreamEvent): string => `id: ${event.position}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

class EventStream {
  readonly #response: ServerResponse;
  readonly #types: ReadonlySet<string> | undefined;
  readonly #source: StreamSource;
  readonly #settings: StreamSettings;
  #mode: "reading" | "live" | "blocked" | "closed";
  /** Everything up to this position is shown or filtered out. */
  #position: number;
  /** Events came while the journal was read: they may or may not have been part of the page. */
  #missed = false;
  #cancelStall: (() => void) | undefined;

  constructor(response: ServerResponse, request: StreamRequest, source: StreamSource, settings: StreamSettings) {
    this.#response = response;
    this.#types = request.types;
    this.#source = source;
    this.#settings = settings;
    this.#position = request.after === "latest" ? source.position() : request.after;
    this.#mode = request.after === "latest" ? "live" : "reading";
  }

  start(): void {
    // Its id is where to go on from when the connection is lost before the first event.
    this.#write(`: connected\nid: ${this.#position}\n\n`);
    if (this.#mode === "reading") this.#read();
  }

  /** New events, in order, with their frames. */
  offer(events: readonly StreamEvent[], frames: readonly string[]): void {
    const first = (events[0] as StreamEvent).position;
    if (this.#mode !== "live") this.#missed = true;
    else if (first > this.#position + 1) this.#read();
    else this.#show(events, frames);
  }

  /** A comment, so that nobody on the way takes the connection for dead; its id spares a filtered client to read again what it skipped. */
  beat(): void {
    if (this.#mode === "live") this.#write(`: heartbeat\nid: ${this.#position}\n\n`);
  }

  end(): void {
    this.close();
    this.#response.end();
  }

  close(): void {
    this.#mode = "closed";
    this.#cancelStall?.();
  }

  #read(): void {
    this.#mode = "reading";
    this.#readPage().catch((error: unknown) => {
      this.#settings.onDefect(error, "reading events for a stream");
      // The client comes back with the id of the last event that it saw.
      if (this.#mode !== "closed") this.end();
    });
  }

  async #readPage(): Promise<void> {
    while (this.#mode === "reading") {
      this.#missed = false;
      const page = await this.#source.events(this.#position, PAGE);
      if (this.#mode !== "reading") return;
      // Nothing can come between this check and `live`, so nothing is lost between journal and listener (I1).
      if (page.length === 0 && !this.#missed) this.#mode = "live";
      this.#show(page, page.map(frameOf));
    }
  }

  #show(events: readonly StreamEvent[], frames: readonly string[]): void {
    let text = "";
    for (const [i, event] of events.entries()) {
      if (event.position <= this.#position) continue;
      this.#position = event.position;
      if (this.#types === undefined || this.#types.has(event.type)) text += frames[i];
    }
    if (text !== "") this.#write(text);
  }

  #write(text: string): void {
    if (this.#mode === "closed" || this.#response.write(text)) return;
    this.#mode = "blocked";
    if (this.#cancelStall !== undefined) return;
    this.#cancelStall = this.#settings.clock.after(this.#settings.stallMs, () => this.#response.destroy());
    this.#response.once("drain", () => {
      this.#cancelStall?.();
      this.#cancelStall = undefined;
      if (this.#mode === "blocked") this.#read();
    });
  }
}
