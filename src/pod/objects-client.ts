/**
 * Objects as a function sees them: bodies travel in chunks, one request each, so that neither side holds more than one.
 *
 * Owns: the chunks, and what the attempt wants to have published. Does not own: storage, permissions, or when it is published (with the
 * result, by the control plane). What the attempt itself has put is not there for its own reads before that.
 */
import type { ObjectBody, ObjectContent, Objects } from "../application/context.ts";
import { LockstepError } from "../lib/errors.ts";
import { fromJson, toJson } from "../lib/json.ts";
import type { ByteRange, ObjectInfo, ObjectPage, ObjectRequest, ObjectWrite, PutOptions } from "../protocol/objects.ts";
import { CHUNK_BYTES, MAX_WRITES } from "../protocol/requests.ts";
import type { Answer, Requests } from "./requests.ts";

interface Place {
  bucket: string;
  key: string;
}

interface Staged {
  size: number;
  etag: string;
}

export class ObjectsClient implements Objects {
  readonly #requests: Requests;
  /** What the attempt has put and deleted, in order. */
  readonly writes: ObjectWrite[] = [];

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  async put(bucket: string, key: string, content: ObjectContent, options: PutOptions = {}): Promise<Staged> {
    const place = placeOf(bucket, key);
    const { chunks, contentType } = contentOf(content, `the content of object "${bucket}/${key}"`);
    const asked = plainOptions({ ...(contentType === undefined ? {} : { contentType }), ...options });
    const { handle } = (await this.#ask({ op: "object-put", ...place, options: asked })) as { handle: number };
    try {
      for await (const data of chunks) await this.#ask({ op: "object-write", handle, data });
      const staged = (await this.#ask({ op: "object-close", handle })) as Staged;
      this.#publish({ op: "put", handle });
      return { size: staged.size, etag: staged.etag };
    } catch (error) {
      this.#requests.tell({ op: "object-drop", handle });
      throw error;
    }
  }

  async get(bucket: string, key: string, range?: ByteRange): Promise<ObjectBody> {
    const ask: ObjectRequest = { op: "object-get", ...placeOf(bucket, key) };
    if (range !== undefined) ask.range = rangeOf(range);
    const { handle, info } = (await this.#ask(ask)) as { handle: number; info: ObjectInfo };
    return new Body(this.#requests, handle, info);
  }

  async head(bucket: string, key: string): Promise<ObjectInfo | undefined> {
    return (await this.#ask({ op: "object-head", ...placeOf(bucket, key) })) as ObjectInfo | undefined;
  }

  async list(bucket: string, { prefix, cursor, limit }: { prefix?: string; cursor?: string; limit?: number } = {}): Promise<ObjectPage> {
    const ask: ObjectRequest = { op: "object-list", bucket: textOf(bucket, "a bucket's name") };
    if (prefix !== undefined) ask.prefix = textOf(prefix, "a prefix");
    if (cursor !== undefined) ask.cursor = textOf(cursor, "a cursor");
    if (limit !== undefined) ask.limit = limitOf(limit);
    return (await this.#ask(ask)) as ObjectPage;
  }

  async copy(from: Place, to: Place): Promise<Staged> {
    const ask: ObjectRequest = { op: "object-copy", ...placeOf(from.bucket, from.key), to: placeOf(to.bucket, to.key) };
    const { handle, size, etag } = (await this.#ask(ask)) as Staged & { handle: number };
    this.#publish({ op: "put", handle });
    return { size, etag };
  }

  async delete(bucket: string, key: string): Promise<void> {
    const place = placeOf(bucket, key);
    await this.#ask({ op: "object-delete", ...place });
    this.#publish({ op: "delete", ...place });
  }

  #publish(write: ObjectWrite): void {
    this.#requests.check();
    if (this.writes.length === MAX_WRITES) {
      throw new LockstepError("PAYLOAD_TOO_LARGE", `the invocation changes more than ${MAX_WRITES} objects`, {
        details: { limit: MAX_WRITES },
      });
    }
    this.writes.push(write);
  }

  #ask(ask: ObjectRequest): Promise<unknown> {
    return this.#requests.ask(ask, valueFrom);
  }
}

/** The body of an object that is read: its chunks are asked for one by one, and given back when the reader leaves early. */
class Body implements ObjectBody {
  readonly info: ObjectInfo;
  readonly #requests: Requests;
  readonly #handle: number;
  #isTaken = false;

  constructor(requests: Requests, handle: number, info: ObjectInfo) {
    this.#requests = requests;
    this.#handle = handle;
    this.info = info;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    if (this.#isTaken) throw new LockstepError("BAD_REQUEST", "the body of an object can be read once: get it again");
    this.#isTaken = true;
    let isAtEnd = false;
    try {
      for (;;) {
        const data = await this.#requests.ask({ op: "object-read", handle: this.#handle }, chunkFrom);
        isAtEnd = data === undefined || data.length === 0;
        if (data === undefined || data.length === 0) return;
        yield data;
      }
    } finally {
      if (!isAtEnd) this.#requests.tell({ op: "object-drop", handle: this.#handle });
    }
  }

  async bytes(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async text(): Promise<string> {
    return Buffer.from(await this.bytes()).toString("utf8");
  }

  async json<Value = unknown>(): Promise<Value> {
    return JSON.parse(await this.text()) as Value;
  }
}

const valueFrom = ({ value }: Answer): unknown => fromJson(value);

const chunkFrom = (answer: Answer): Uint8Array | undefined => (answer.t === "reply" ? answer.data : undefined);

const contentOf = (content: unknown, what: string): { chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>; contentType?: string } => {
  if (typeof content === "string") return { chunks: slices(Buffer.from(content)), contentType: "text/plain; charset=utf-8" };
  if (content instanceof ArrayBuffer) return { chunks: slices(new Uint8Array(content)) };
  if (ArrayBuffer.isView(content)) return { chunks: slices(new Uint8Array(content.buffer, content.byteOffset, content.byteLength)) };
  if (isStream(content)) return { chunks: regular(content) };
  return { chunks: slices(Buffer.from(toJson(content, what))), contentType: "application/json" };
};

const isStream = (content: unknown): content is AsyncIterable<unknown> =>
  typeof content === "object" && content !== null && typeof (content as AsyncIterable<unknown>)[Symbol.asyncIterator] === "function";

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

/** Joins what is small and cuts what is large, so that each chunk but the last is full. */
async function* regular(stream: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stream) {
    let bytes = bytesOf(part);
    while (size + bytes.length >= CHUNK_BYTES) {
      const first = bytes.subarray(0, CHUNK_BYTES - size);
      yield parts.length === 0 ? first : Buffer.concat([...parts, first]);
      bytes = bytes.subarray(first.length);
      parts = [];
      size = 0;
    }
    if (bytes.length === 0) continue;
    parts.push(bytes);
    size += bytes.length;
  }
  if (size > 0) yield Buffer.concat(parts);
}

const bytesOf = (part: unknown): Uint8Array => {
  if (typeof part === "string") return Buffer.from(part);
  if (ArrayBuffer.isView(part)) return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
  throw invalid(`a stream that is put must give bytes or text, not ${typeof part}`);
};

/** Only what the protocol knows: the control plane ends a pod that sends it anything else. */
const plainOptions = ({ contentType, metadata, ifMatch, ifNoneMatch, idempotencyKey }: PutOptions): PutOptions => {
  const options: PutOptions = {};
  if (contentType !== undefined) options.contentType = textOf(contentType, "contentType");
  if (ifMatch !== undefined) options.ifMatch = textOf(ifMatch, "ifMatch");
  if (idempotencyKey !== undefined) options.idempotencyKey = textOf(idempotencyKey, "idempotencyKey");
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch !== "*") throw invalid('ifNoneMatch must be "*"');
    options.ifNoneMatch = ifNoneMatch;
  }
  if (metadata !== undefined) {
    const entries = Object.entries(metadata);
    if (entries.length > MOST_METADATA) throw invalid(`metadata has ${entries.length} entries: ${MOST_METADATA} is the most`);
    options.metadata = Object.fromEntries(entries.map(([name, value]) => [name, textOf(value, `metadata "${name}"`)]));
  }
  return options;
};

const placeOf = (bucket: unknown, key: unknown): Place => ({
  bucket: textOf(bucket, "a bucket's name"),
  key: textOf(key, "an object's key"),
});

const LONGEST_TEXT = 8_192;
const MOST_METADATA = 100;

const textOf = (given: unknown, what: string): string => {
  if (typeof given !== "string") throw invalid(`${what} must be a text, not ${given === null ? "null" : typeof given}`);
  if (given.length > LONGEST_TEXT) throw invalid(`${what} is longer than ${LONGEST_TEXT} characters`);
  return given;
};

const rangeOf = ({ start, end }: ByteRange): ByteRange => {
  if (!Number.isSafeInteger(start)) throw invalid(`range.start must be a whole number, not ${String(start)}`);
  if (end === undefined) return { start };
  if (!Number.isSafeInteger(end) || end < 0) throw invalid(`range.end must be a whole number of at least 0, not ${String(end)}`);
  return { start, end };
};

const limitOf = (given: number): number => {
  if (Number.isSafeInteger(given) && given >= 1) return given;
  throw invalid(`limit must be a whole number of at least 1, not ${String(given)}`);
};

const invalid = (message: string): Error => Object.assign(new LockstepError("BAD_REQUEST", message), { terminal: true });
