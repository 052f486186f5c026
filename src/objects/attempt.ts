/**
 * Objects as attempts use them: bodies in chunks, one message each, and changes that wait for the attempt's result.
 *
 * Owns: the handles of each attempt, what it has staged, and its claims. All that attempts ask comes from user code: number, size and order
 * of the requests are bounded and checked here.
 */
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { ByteRange, ObjectRequest, ObjectWrite, PutOptions } from "../protocol/objects.ts";
import { CHUNK_BYTES, MAX_WRITES } from "../protocol/requests.ts";
import { bounded } from "./body.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import { pageOf } from "./listing.ts";
import { checkPlace, contentOf, fits, nameOf, preconditionFailed } from "./names.ts";
import type { Change, Claim, ObjectPlace, ObjectStore, Staged } from "./port.ts";

export interface AttemptReply {
  value: Json;
  data?: Uint8Array;
}

interface Reading {
  t: "reading";
  body: AsyncIterator<Uint8Array>;
  /** What a chunk had beyond one message's size. */
  rest: Uint8Array;
  last: Promise<unknown>;
  waiting: number;
}

interface Writing {
  t: "writing";
  change: Omit<Change, "staged">;
  claim: Claim;
  queue: ChunkQueue;
  staging: Promise<Staged>;
  staged?: Staged;
}

/** What one attempt has under way. Only this file looks inside. */
export interface ObjectSession {
  readonly run: RunId | undefined;
  readonly handles: Map<number, Reading | Writing>;
  readonly deletions: Map<string, Claim>;
  last: number;
  /** Requests that will become handles. */
  opening: number;
  closed: boolean;
}

export interface AttemptParts {
  store: ObjectStore;
  maxObjectBytes: number;
  /** Rejects with UNKNOWN_BUCKET. */
  check(bucket: string): Promise<void>;
  report(error: unknown): void;
}

/** Bodies that an attempt may have open. */
const MAX_OPEN = 64;
/** Chunks, or requests for chunks, that may wait for one body. */
const MAX_AHEAD = 8;

const NOTHING: AttemptReply = { value: "" };
const EMPTY = new Uint8Array();

export class AttemptObjects {
  readonly #parts: AttemptParts;

  constructor(parts: AttemptParts) {
    this.#parts = parts;
  }

  open(run: RunId | undefined): ObjectSession {
    return { run, handles: new Map(), deletions: new Map(), last: 0, opening: 0, closed: false };
  }

  async serve(session: ObjectSession, ask: ObjectRequest): Promise<AttemptReply> {
    switch (ask.op) {
      case "object-head": {
        const info = await this.#parts.store.head(await this.#check(ask));
        return info === undefined ? NOTHING : answer(info);
      }
      case "object-list": {
        const { bucket, prefix, cursor, limit } = ask;
        await this.#parts.check(bucket);
        return answer(await pageOf(this.#parts.store, bucket, { ...present({ prefix, cursor, limit }) }));
      }
      case "object-get":
        return this.#opened(session, () => this.#get(session, ask, ask.range));
      case "object-put":
        return this.#opened(session, () => this.#put(session, ask, ask.options));
      case "object-copy":
        return this.#opened(session, () => this.#copy(session, ask, ask.to));
      case "object-read":
        return this.#read(session, ask.handle);
      case "object-write":
        await writingOf(session, ask.handle).queue.push(ask.data);
        return NOTHING;
      case "object-close": {
        const writing = writingOf(session, ask.handle);
        writing.queue.end();
        const { size, etag } = await writing.staging;
        return answer({ size, etag });
      }
      case "object-delete":
        return this.#announce(session, ask);
      case "object-drop":
        this.#drop(session, ask.handle);
        return NOTHING;
    }
  }

  /** @throws {LockstepError} BAD_REQUEST */
  holds(session: ObjectSession, writes: readonly ObjectWrite[]): boolean {
    return this.#parts.store.holds(this.#changes(session, writes));
  }

  publish(session: ObjectSession, writes: readonly ObjectWrite[]): void {
    const changes = this.#changes(session, writes);
    for (const publication of this.#parts.store.publish(changes)) publication.catch(this.#parts.report);
    const published = new Set(changes.map(({ staged }) => staged));
    for (const [number, handle] of session.handles) {
      if (handle.t === "reading" || handle.staged === undefined || !published.has(handle.staged)) continue;
      handle.claim.release();
      session.handles.delete(number);
    }
  }

  close(session: ObjectSession): void {
    if (session.closed) return;
    session.closed = true;
    for (const handle of [...session.handles.keys()]) this.#drop(session, handle);
    for (const claim of session.deletions.values()) claim.release();
    session.deletions.clear();
  }

  #changes(session: ObjectSession, writes: readonly ObjectWrite[]): Change[] {
    if (session.closed) throw unusable("the attempt has ended");
    const used = new Set<number>();
    const cause = present({ run: session.run });
    return writes.flatMap((write): Change[] => {
      if (write.op === "delete") {
        if (session.deletions.has(nameOf(write))) return [{ place: { bucket: write.bucket, key: write.key }, ...cause }];
        throw unusable(`the deletion of ${nameOf(write)} was not announced`);
      }
      const { change, staged, claim } = writingOf(session, write.handle);
      if (staged === undefined || used.has(write.handle)) throw unusable(`handle ${write.handle} holds nothing to publish`);
      used.add(write.handle);
      const { put } = staged.content;
      // The object is there already, by this very PUT: what was staged for it is discarded with the session.
      return put !== undefined && claim.put === put ? [] : [{ ...change, staged, ...cause }];
    });
  }

  // ---------------------------------------------------------------- requests

  async #check({ bucket, key }: ObjectPlace): Promise<ObjectPlace> {
    const place = { bucket, key };
    checkPlace(place);
    await this.#parts.check(bucket);
    return place;
  }

  async #opened(session: ObjectSession, open: () => Promise<AttemptReply>): Promise<AttemptReply> {
    if (session.closed) throw unusable("the attempt has ended");
    const all = session.opening + session.handles.size;
    const busy = [...session.handles.values()].filter((handle) => handle.t === "reading" || handle.staged === undefined).length;
    if (session.opening + busy >= MAX_OPEN) throw unusable(`an attempt may have ${MAX_OPEN} bodies open`);
    if (all >= MAX_WRITES) throw unusable(`an attempt may put ${MAX_WRITES} objects`);
    session.opening++;
    try {
      return await open();
    } finally {
      session.opening--;
    }
  }

  /** Gives the handle its number; undoes it when the attempt has ended while it was made. */
  #add(session: ObjectSession, handle: Reading | Writing): number {
    const number = ++session.last;
    session.handles.set(number, handle);
    if (!session.closed) return number;
    this.#drop(session, number);
    throw unusable("the attempt has ended");
  }

  async #get(session: ObjectSession, at: ObjectPlace, range: ByteRange | undefined): Promise<AttemptReply> {
    const { info, body } = await this.#parts.store.open(await this.#check(at), range);
    const reading: Reading = { t: "reading", body: body[Symbol.asyncIterator](), rest: EMPTY, last: Promise.resolve(), waiting: 0 };
    return answer({ handle: this.#add(session, reading), info });
  }

  async #put(session: ObjectSession, at: ObjectPlace, options: PutOptions): Promise<AttemptReply> {
    const { ifMatch, ifNoneMatch } = options;
    const content = contentOf(options);
    const place = await this.#check(at);
    const { store, maxObjectBytes } = this.#parts;
    const condition = present({ ifMatch, ifNoneMatch });
    const claim = await store.claim(place, ifMatch !== undefined || ifNoneMatch !== undefined || content.put !== undefined);
    if (!fits(claim.info?.etag, condition)) {
      const refusal = preconditionFailed(place, claim.info);
      claim.release();
      throw refusal;
    }
    const queue = new ChunkQueue(MAX_AHEAD);
    const staging = store.stage(place, bounded(queue, { maxBytes: maxObjectBytes }), content);
    return answer({ handle: this.#stage(session, { place, ...condition }, claim, staging, queue) });
  }

  async #copy(session: ObjectSession, at: ObjectPlace, to: ObjectPlace): Promise<AttemptReply> {
    const from = await this.#check(at);
    const place = await this.#check(to);
    const claim = await this.#parts.store.claim(place, false);
    const queue = new ChunkQueue(0);
    queue.end();
    const staging = this.#parts.store.stageCopy(from, place);
    const handle = this.#stage(session, { place }, claim, staging, queue);
    try {
      const { size, etag } = await staging;
      return answer({ handle, size, etag });
    } catch (error) {
      this.#drop(session, handle);
      throw error;
    }
  }

  #stage(session: ObjectSession, change: Omit<Change, "staged">, claim: Claim, staging: Promise<Staged>, queue: ChunkQueue): number {
    const writing: Writing = { t: "writing", change, claim, queue, staging };
    staging.then(
      (staged) => {
        writing.staged = staged;
      },
      // Told to those who push, and at `object-close`.
      (error: unknown) => queue.fail(error),
    );
    return this.#add(session, writing);
  }

  async #announce(session: ObjectSession, at: ObjectPlace): Promise<AttemptReply> {
    const place = await this.#check(at);
    const name = nameOf(place);
    if (!session.deletions.has(name)) {
      if (session.closed || session.deletions.size >= MAX_WRITES) throw unusable(`an attempt may delete ${MAX_WRITES} objects`);
      const claim = await this.#parts.store.claim(place, true);
      // While it was waited for, the attempt may have ended, or have announced it again.
      if (session.closed || session.deletions.has(name)) claim.release();
      else session.deletions.set(name, claim);
    }
    return answer({ existed: session.deletions.get(name)?.info !== undefined });
  }

  async #read(session: ObjectSession, number: number): Promise<AttemptReply> {
    const reading = readingOf(session, number);
    if (reading.waiting >= MAX_AHEAD) throw unusable("chunks are asked for faster than they are read");
    reading.waiting++;
    // One at a time: bodies are no good at being asked twice.
    const chunk = reading.last.then(() => nextOf(reading));
    reading.last = chunk.catch(() => undefined);
    try {
      const data = await chunk;
      if (data.length === 0) session.handles.delete(number);
      return { value: "", data };
    } finally {
      reading.waiting--;
    }
  }

  #drop(session: ObjectSession, number: number): void {
    const handle = session.handles.get(number);
    if (handle === undefined) return;
    session.handles.delete(number);
    if (handle.t === "reading") {
      handle.body.return?.()?.catch(this.#parts.report);
      return;
    }
    handle.queue.fail(unusable("the object was dropped"));
    handle.claim.release();
    handle.staging.then(
      (staged) => this.#parts.store.discard(staged).catch(this.#parts.report),
      // Was told already, or was caused by the line above.
      () => undefined,
    );
  }
}

const nextOf = async (reading: Reading): Promise<Uint8Array> => {
  if (reading.rest.length === 0) {
    const { value, done } = await reading.body.next();
    if (done === true) return EMPTY;
    reading.rest = value;
  }
  const chunk = reading.rest.subarray(0, CHUNK_BYTES);
  reading.rest = reading.rest.subarray(CHUNK_BYTES);
  return chunk;
};

const readingOf = (session: ObjectSession, number: number): Reading => {
  const handle = session.handles.get(number);
  if (handle?.t === "reading") return handle;
  throw unusable(`there is no object open for reading as ${number}`);
};

const writingOf = (session: ObjectSession, number: number): Writing => {
  const handle = session.handles.get(number);
  if (handle?.t === "writing") return handle;
  throw unusable(`there is no object open for writing as ${number}`);
};

const answer = (value: unknown): AttemptReply => ({ value: JSON.stringify(value) });

const unusable = (message: string): LockstepError => new LockstepError("BAD_REQUEST", message);

/** The same without what is `undefined`. */
const present = <T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never;
