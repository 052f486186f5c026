/**
 * Requests to a platform: addresses, authentication, problems as errors, and what may be tried again. A start without a key is only repeated when
 * the platform said that it did not take it; everything else here is safe to repeat.
 */
import type { Clock } from "../lib/clock.ts";
import { ClientError } from "./errors.ts";

export interface HttpOptions {
  url: string;
  apiKey: string | undefined;
  fetch: typeof fetch;
  clock: Clock;
  /** How long refusals and lost connections are tried again. */
  retryForMs: number;
}

export interface HttpRequest {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  /** How long the platform was asked to hold its answer back. */
  waitMs?: number;
  /** Repeating it does nothing twice, so it may be sent again even after it may have arrived. */
  repeatable?: boolean;
  /** Whether a platform that does not listen is waited for, as during its restart: true when it answered before. */
  reconnect?: boolean;
  signal?: AbortSignal;
}

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** A request whose body, or whose answer, is no JSON. */
export interface RawRequest extends Pick<HttpRequest, "query" | "repeatable" | "signal"> {
  headers?: Record<string, string>;
  /** A stream is sent once, whatever happens. */
  body?: Uint8Array | string | ReadableStream<Uint8Array>;
  /** Statuses that are answers, although they are no success. */
  accept?: readonly number[];
}

export interface Http {
  /** The answer itself, once its status is good. */
  raw(method: Method | "HEAD", path: string, request: RawRequest): Promise<Response>;
  json<T>(method: Method, path: string, request?: HttpRequest): Promise<T>;
  /** The answer itself, once its status is good; for streams. Never repeated. */
  open(path: string, query: HttpRequest["query"], signal: AbortSignal): Promise<Response>;
}

// An answer that was not to be held back and takes longer than this never comes.
const PATIENCE_MS = 30_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

export const createHttp = (options: HttpOptions): Http => {
  const { clock } = options;
  const addressOf = (path: string, query: HttpRequest["query"]): string => {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) search.set(name, String(value));
    const dots = /\/(\.\.?)(?:\/|$)/.exec(path)?.[1];
    // `fetch` takes such a segment out, and would ask for something else, with the same method.
    if (dots !== undefined) throw new ClientError("BAD_REQUEST", `nothing can be called "${dots}": no address leads there`);
    return `${options.url}${path}${search.size > 0 ? `?${search}` : ""}`;
  };
  const headersOf = (more: Record<string, string>): Record<string, string> =>
    options.apiKey === undefined ? more : { ...more, authorization: `Bearer ${options.apiKey}` };

  const attempt = async (method: string, path: string, request: HttpRequest, body: string | null): Promise<unknown> => {
    const aborted = new AbortController();
    const stop = clock.after((request.waitMs ?? 0) + PATIENCE_MS, () => aborted.abort());
    const signal = request.signal === undefined ? aborted.signal : AbortSignal.any([aborted.signal, request.signal]);
    const headers = headersOf(body === null ? {} : { "content-type": "application/json" });
    try {
      const response = await options.fetch(addressOf(path, request.query), { method, headers, body, signal });
      return await read(response, options.url);
    } catch (cause) {
      if (cause instanceof ClientError || request.signal?.aborted) throw cause;
      throw notConnected(options.url, cause);
    } finally {
      stop();
    }
  };

  const json = (method: Method, path: string, request: HttpRequest = {}): Promise<unknown> => {
    const body = request.body === undefined ? null : write(request.body);
    return repeated({ ...request, repeatable: request.repeatable === true || method === "GET" }, () =>
      attempt(method, path, request, body),
    );
  };

  const raw = async (method: string, path: string, { headers = {}, body, query, signal, accept = [] }: RawRequest): Promise<Response> => {
    try {
      const sent = { method, headers: headersOf(headers), body: body ?? null, signal: signal ?? null };
      const response = await options.fetch(addressOf(path, query), (isStream(body) ? { ...sent, duplex: "half" } : sent) as RequestInit);
      if (!response.ok && !accept.includes(response.status)) await read(response, options.url);
      return response;
    } catch (cause) {
      if (cause instanceof ClientError || signal?.aborted) throw cause;
      throw notConnected(options.url, cause);
    }
  };

  /** Does it until it is answered, or until it must not be repeated. */
  const repeated = async <T>(request: Pick<HttpRequest, "repeatable" | "reconnect" | "signal">, once: () => Promise<T>): Promise<T> => {
    const giveUpAt = clock.now() + options.retryForMs;
    const repeatable = request.repeatable === true;
    let reached = request.reconnect === true;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        return await once();
      } catch (error) {
        if (!(error instanceof ClientError) || request.signal?.aborted) throw error;
        const waitMs = waitBeforeRetry(error, repeatable, reached, pauseMs);
        if (waitMs === undefined || clock.now() + waitMs > giveUpAt) throw error;
        reached ||= !neverArrived(error);
        await pause(clock, waitMs, request.signal);
      }
    }
  };

  return {
    raw: async (method, path, request) => {
      checkHeaders(request.headers);
      return isStream(request.body) ? raw(method, path, request) : repeated(request, () => raw(method, path, request));
    },
    json: async <T>(method: Method, path: string, request?: HttpRequest) => (await json(method, path, request)) as T,
    open: async (path, query, signal) => {
      try {
        const response = await options.fetch(addressOf(path, query), { headers: headersOf({ accept: "text/event-stream" }), signal });
        if (!response.ok) await read(response, options.url);
        return response;
      } catch (cause) {
        if (cause instanceof ClientError || signal.aborted) throw cause;
        throw notConnected(options.url, cause);
      }
    },
  };
};

/** `fetch` tells of what no header can hold only as of a request that has failed, and that would be sent again. */
const checkHeaders = (headers: Record<string, string> | undefined): void => {
  try {
    new Headers(headers);
  } catch (cause) {
    throw new ClientError("BAD_REQUEST", `the request can't have such a header: ${(cause as Error).message}`, { cause });
  }
};

const isStream = (body: RawRequest["body"]): boolean => typeof body === "object" && !(body instanceof Uint8Array);

/** How long to wait before the request is sent again; `undefined` when it must not be. */
const waitBeforeRetry = (error: ClientError, repeatable: boolean, reached: boolean, pauseMs: number): number | undefined => {
  if (error.code === "NOT_CONNECTED") {
    if (error.details?.foreign === true) return undefined;
    return (neverArrived(error) ? reached : repeatable) ? pauseMs : undefined;
  }
  // Other 503s (a pod that doesn't start, a full disk) don't pass by themselves.
  const passes = error.status === 429 || error.code === "SHUTTING_DOWN";
  return passes ? (error.retryAfterMs ?? pauseMs) : undefined;
};

const neverArrived = (error: ClientError): boolean => error.code === "NOT_CONNECTED" && error.details?.arrived === false;

const write = (body: unknown): string => {
  try {
    return JSON.stringify(body);
  } catch (cause) {
    throw new ClientError("RESULT_NOT_JSON", `the request cannot be written as JSON: ${(cause as Error).message}`, { cause });
  }
};

/** Resolves after `ms`; rejects when `signal` is aborted. */
export const pause = (clock: Clock, ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const onAbort = (): void => {
      stop();
      reject(signal?.reason);
    };
    const stop = clock.after(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    if (signal?.aborted) return onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
  });

const read = async (response: Response, url: string): Promise<unknown> => {
  const text = await response.text();
  const content = parse(text);
  if (response.ok) {
    if (content !== undefined) return content;
    throw noPlatform(response, url);
  }
  throw problemOf(response, content, url);
};

const parse = (text: string): unknown => {
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: something else than a platform answered, and the caller says so.
    return undefined;
  }
};

const noPlatform = (response: Response, url: string): ClientError =>
  new ClientError("NOT_CONNECTED", `what answers at ${url} is no Lockstep platform (HTTP ${response.status})`, {
    details: { url, foreign: true },
  });

const problemOf = (response: Response, content: unknown, url: string): ClientError => {
  if (typeof content !== "object" || content === null) return noPlatform(response, url);
  const { type: _, title, status: __, detail, instance: ___, code, mend, details, ...more } = content as Record<string, unknown>;
  if (typeof code !== "string") return noPlatform(response, url);
  const facts = { ...more, ...(typeof details === "object" && details !== null ? details : {}) };
  const retryAfterMs = retryAfter(response.headers.get("retry-after"));
  return new ClientError(code, typeof detail === "string" ? detail : String(title ?? code), {
    status: response.status,
    ...(typeof mend === "string" ? { mend } : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(Object.keys(facts).length > 0 ? { details: facts } : {}),
  });
};

const retryAfter = (header: string | null): number | undefined => {
  const seconds = header === null ? Number.NaN : Number(header);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined;
};

// Codes that say that the request cannot have reached a platform.
const NEVER_ARRIVED = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);

const notConnected = (url: string, cause: unknown): ClientError => {
  const code = causeCode(cause);
  const arrived = code === undefined || !NEVER_ARRIVED.has(code);
  const why = code ?? (cause instanceof Error ? cause.message : String(cause));
  const detail = arrived ? `the connection to ${url} was lost before the answer came (${why})` : `no platform answers at ${url} (${why})`;
  return new ClientError("NOT_CONNECTED", detail, { cause, details: { url, arrived } });
};

const causeCode = (thrown: unknown): string | undefined => {
  const cause = thrown instanceof Error ? (thrown.cause ?? thrown) : undefined;
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : undefined;
};
