import type { ByteRange, ObjectInfo, ObjectPage, PutOptions } from "../protocol/objects.ts";
import { ClientError } from "./errors.ts";
import type { Http } from "./http.ts";

/** An object that is read: one pass. */
export interface ClientObject {
  readonly info: ObjectInfo;
  /** Present when only a part was asked for: both ends included. */
  readonly range?: Required<ByteRange>;
  /** Ends with an error when it is cut off, or found to be corrupt. */
  readonly body: ReadableStream<Uint8Array>;
  bytes(): Promise<Uint8Array>;
  text(): Promise<string>;
  json<Value = unknown>(): Promise<Value>;
}

export interface ClientPutOptions extends PutOptions {
  signal?: AbortSignal;
}

interface Place {
  bucket: string;
  key: string;
}

/** Buckets of objects. Errors: UNKNOWN_BUCKET, UNKNOWN_OBJECT, PRECONDITION_FAILED, STORAGE_FULL, STORAGE_UNAVAILABLE. */
export interface ClientObjects {
  buckets(): Promise<string[]>;
  createBucket(bucket: string): Promise<void>;
  /**
   * Resolves when the object, its event and the runs that it starts are durable. A text or bytes are sent again when the answer was lost; that
   * puts them once, because each such PUT has a name (`idempotencyKey`, of its own by default). A stream is sent once.
   */
  put(
    bucket: string,
    key: string,
    content: string | Uint8Array | ReadableStream<Uint8Array>,
    options?: ClientPutOptions,
  ): Promise<ObjectInfo>;
  get(bucket: string, key: string, options?: { range?: ByteRange; signal?: AbortSignal }): Promise<ClientObject>;
  /** `undefined` when there is none, or no such bucket. */
  head(bucket: string, key: string): Promise<ObjectInfo | undefined>;
  /** One page; give its `cursor` back for the next one. `limit` is 1,000 by default, and at most. */
  list(bucket: string, options?: { prefix?: string; cursor?: string; limit?: number }): Promise<ObjectPage>;
  copy(from: Place, to: Place): Promise<ObjectInfo>;
  /** Whether there was one. */
  delete(bucket: string, key: string, options?: { ifMatch?: string }): Promise<boolean>;
}

const META = "x-lockstep-meta-";

export const createObjects = (http: Http): ClientObjects => ({
  buckets: async () => (await http.json<{ buckets: string[] }>("GET", "/v1/buckets")).buckets,
  createBucket: async (bucket) => {
    await http.raw("PUT", pathOf(bucket), { repeatable: true });
  },
  put: async (bucket, key, body, { signal, ...options } = {}) => {
    const isWhole = typeof body === "string" || body instanceof Uint8Array;
    const named = isWhole ? { idempotencyKey: crypto.randomUUID(), ...options } : options;
    const headers = headersOf({ contentType: contentTypeOf(body), ...named });
    const request = { headers, body, repeatable: true, ...(signal === undefined ? {} : { signal }) };
    return (await (await http.raw("PUT", pathOf(bucket, key), request)).json()) as ObjectInfo;
  },
  get: async (bucket, key, { range, signal } = {}) => {
    const headers: Record<string, string> = range === undefined ? {} : { range: rangeText(range) };
    const response = await http.raw("GET", pathOf(bucket, key), { headers, repeatable: true, ...(signal === undefined ? {} : { signal }) });
    return objectOf({ bucket, key }, response);
  },
  head: async (bucket, key) => {
    const response = await http.raw("HEAD", pathOf(bucket, key), { repeatable: true, accept: [404] });
    return response.status === 404 ? undefined : infoOf({ bucket, key }, response);
  },
  list: (bucket, options = {}) => http.json("GET", `${pathOf(bucket)}/objects`, { query: { ...options } }),
  copy: async (from, to) => {
    const headers = {
      "x-lockstep-copy-source": `${encodeURIComponent(from.bucket)}/${encodeURIComponent(from.key)}`,
    };
    return (await (await http.raw("PUT", pathOf(to.bucket, to.key), { headers })).json()) as ObjectInfo;
  },
  delete: async (bucket, key, { ifMatch } = {}) => {
    const headers: Record<string, string> = ifMatch === undefined ? {} : { "if-match": ifMatch };
    const response = await http.raw("DELETE", pathOf(bucket, key), { headers, repeatable: ifMatch === undefined });
    return ((await response.json()) as { deleted: boolean }).deleted;
  },
});

const pathOf = (bucket: string, key?: string): string => {
  const base = `/v1/buckets/${encodeURIComponent(bucket)}`;
  // With its slashes encoded: a part of the key that is ".." would otherwise take the address apart.
  return key === undefined ? base : `${base}/objects/${encodeURIComponent(key)}`;
};

const contentTypeOf = (body: unknown): string => (typeof body === "string" ? "text/plain; charset=utf-8" : "application/octet-stream");

const headersOf = ({ contentType, metadata = {}, ifMatch, ifNoneMatch, idempotencyKey }: PutOptions): Record<string, string> => {
  const headers: Record<string, string> = {};
  if (contentType !== undefined) headers["content-type"] = contentType;
  if (ifMatch !== undefined) headers["if-match"] = ifMatch;
  if (ifNoneMatch !== undefined) headers["if-none-match"] = ifNoneMatch;
  if (idempotencyKey !== undefined) headers["idempotency-key"] = idempotencyKey;
  for (const [name, value] of Object.entries(metadata)) headers[META + name] = encodeURIComponent(value);
  return headers;
};

const rangeText = ({ start, end }: ByteRange): string => (start < 0 ? `bytes=${start}` : `bytes=${start}-${end ?? ""}`);

const objectOf = (place: Place, response: Response): ClientObject => {
  const info = infoOf(place, response);
  const [, start, end] = /^bytes (\d+)-(\d+)\//.exec(response.headers.get("content-range") ?? "") ?? [];
  return {
    info,
    ...(start === undefined ? {} : { range: { start: Number(start), end: Number(end) } }),
    body: response.body ?? new ReadableStream({ start: (controller) => controller.close() }),
    bytes: async () => new Uint8Array(await response.arrayBuffer()),
    text: () => response.text(),
    json: async () => JSON.parse(await response.text()),
  };
};

const infoOf = ({ bucket, key }: Place, { headers }: Response): ObjectInfo => {
  const etag = headers.get("etag");
  if (etag === null)
    throw new ClientError("NOT_CONNECTED", "what answers is no Lockstep platform: it tells no etag", { details: { foreign: true } });
  const metadata: Record<string, string> = {};
  for (const [name, value] of headers) if (name.startsWith(META)) metadata[name.slice(META.length)] = decode(value);
  const size = /\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1] ?? headers.get("content-length");
  return {
    bucket,
    key,
    version: headers.get("x-lockstep-version") ?? "",
    size: Number(size),
    etag,
    contentType: headers.get("content-type") ?? "",
    metadata,
    // As exact as a header tells it: to the second.
    modifiedAt: Date.parse(headers.get("last-modified") ?? "") || 0,
  };
};

const decode = (value: string): string => {
  try {
    return decodeURIComponent(value);
  } catch {
    // Put by a client that does not encode.
    return value;
  }
};
