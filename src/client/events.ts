import type { Clock } from "../lib/clock.ts";
import type { EventBody, PlatformEvent } from "../protocol/events.ts";
import { ClientError } from "./errors.ts";
import type { Http } from "./http.ts";
import { pause } from "./http.ts";
import { StreamReader } from "./sse.ts";

export interface EventsOptions {
  /** The position of the last event that is known: the stream goes on behind it; 0 for all that are kept. Default `latest`: from now on. */
  after?: number | "latest";
  types?: readonly EventBody["type"][];
  /** Told each time that the stream is there: nothing of what happens from then on is missed. */
  opened?: () => void;
  /** Ends the iteration. */
  signal?: AbortSignal;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

/** How streams are opened, and for how long a platform that has gone away is waited for. */
export interface Connection {
  http: Http;
  clock: Clock;
  retryForMs: number;
}

/**
 * The platform's events as they happen. A lost connection is taken up again behind the last event that was seen, so none is lost or doubled.
 * @throws {ClientError} NOT_CONNECTED when the platform stays away for `retryForMs`
 */
export const followEvents = (connection: Connection, options: EventsOptions = {}): AsyncGenerator<PlatformEvent, void, undefined> =>
  followStream(connection, "/v1/events", { types: options.types?.join(",") }, { ...options, after: options.after ?? "latest" });

interface StreamOptions extends Pick<EventsOptions, "opened" | "signal"> {
  /** Absent: where the stream begins by itself. */
  after?: number | "latest";
}

/** What comes of a stream of which each event has a position. Behaves as `followEvents`. */
export async function* followStream<Event extends { position: number }>(
  { http, clock, retryForMs }: Connection,
  path: string,
  query: Record<string, string | boolean | undefined>,
  options: StreamOptions,
): AsyncGenerator<Event, void, undefined> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  let { after } = options;
  let connectedBefore = false;
  let lostAt: number | undefined;
  let pauseMs = FIRST_PAUSE_MS;
  try {
    while (!signal.aborted) {
      try {
        const response = await http.open(path, { ...query, after }, signal);
        connectedBefore = true;
        const seen = (position: number): void => {
          if (after === "latest") options.opened?.();
          after = position;
        };
        if (after !== "latest") options.opened?.();
        for await (const event of eventsOf<Event>(response, seen)) {
          after = event.position;
          lostAt = undefined;
          pauseMs = FIRST_PAUSE_MS;
          yield event;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (isRefusal(error) || !connectedBefore) throw error;
        lostAt ??= clock.now();
        if (clock.now() - lostAt > retryForMs) throw error;
      }
      await pause(clock, pauseMs, signal).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  } finally {
    stop.abort();
  }
}

const isRefusal = (error: unknown): boolean => error instanceof ClientError && error.code !== "NOT_CONNECTED" && error.status < 500;

/** @param seen told up to which position nothing that the filter lets through is still to come */
async function* eventsOf<Event>(response: Response, seen: (position: number) => void): AsyncGenerator<Event, void, undefined> {
  if (response.body === null) return;
  const reader = new StreamReader();
  const text = new TextDecoder();
  for await (const chunk of response.body) {
    for (const message of reader.push(text.decode(chunk, { stream: true }))) yield JSON.parse(message.data) as Event;
    if (reader.seen !== "") seen(Number(reader.seen));
  }
}
