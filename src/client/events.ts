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

/**
 * The platform's events as they happen. A lost connection is taken up again behind the last event that was seen, so none is lost or doubled.
 * @throws {ClientError} NOT_CONNECTED when the platform stays away for `retryForMs`
 */
export async function* followEvents(
  http: Http,
  clock: Clock,
  retryForMs: number,
  options: EventsOptions = {},
): AsyncGenerator<PlatformEvent, void, undefined> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  let after = options.after ?? "latest";
  let connectedBefore = false;
  let lostAt: number | undefined;
  let pauseMs = FIRST_PAUSE_MS;
  try {
    while (!signal.aborted) {
      try {
        const response = await http.open("/v1/events", { after, types: options.types?.join(",") }, signal);
        connectedBefore = true;
        const seen = (position: number): void => {
          if (after === "latest") options.opened?.();
          after = position;
        };
        if (after !== "latest") options.opened?.();
        for await (const event of eventsOf(response, seen)) {
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
async function* eventsOf(response: Response, seen: (position: number) => void): AsyncGenerator<PlatformEvent, void, undefined> {
  if (response.body === null) return;
  const reader = new StreamReader();
  const text = new TextDecoder();
  for await (const chunk of response.body) {
    for (const message of reader.push(text.decode(chunk, { stream: true }))) yield JSON.parse(message.data) as PlatformEvent;
    if (reader.seen !== "") seen(Number(reader.seen));
  }
}
