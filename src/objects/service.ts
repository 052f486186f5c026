/**
 * Objects in buckets: what the edges and attempts may do with them.
 *
 * Owns: which buckets there are, the rules of names, bounds of size and time, and what of attempts is staged. Does not own: bytes, metadata,
 * and that an object and its event are one (the store's), what a PUT starts (triggers observe the event), permissions.
 */
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { ObjectPlane } from "../protocol/control-plane.ts";
import type { ByteRange, ObjectInfo, ObjectPage, ObjectRequest, ObjectWrite, PutOptions } from "../protocol/objects.ts";
import type { AttemptReply, ObjectSession } from "./attempt.ts";
import { AttemptObjects } from "./attempt.ts";
import { bounded } from "./body.ts";
import type { BucketRegister } from "./buckets.ts";
import { pageOf } from "./listing.ts";
import { checkBucket, checkPlace, contentOf, fits, preconditionFailed, unknownBucket, unknownObject } from "./names.ts";
import type { Change, ObjectPlace, ObjectStore, Staged } from "./port.ts";

export interface ObjectServiceOptions {
  maxObjectBytes: number;
  /** A body that brings nothing for longer is given up, and one that lasts longer. */
  stallMs: number;
  bodyMs: number;
  /** How long a PUT waits for a store that publishes later, such as S3. */
  publishMs: number;
}

export interface ObjectServiceParts {
  store: ObjectStore;
  buckets: BucketRegister;
  clock: Clock;
  /** Throws OVERLOADED when a PUT there would start runs that there is no room for. */
  admit(place: ObjectPlace): void;
  /** Told of defects, and of what can't be cleaned up. */
  report(error: unknown): void;
}

export class ObjectService implements ObjectPlane {
  readonly #parts: ObjectServiceParts;
  readonly #options: ObjectServiceOptions;
  readonly #attempts: AttemptObjects;

  constructor(parts: ObjectServiceParts, options: ObjectServiceOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#attempts = new AttemptObjects({ ...parts, maxObjectBytes: options.maxObjectBytes, check: (bucket) => this.#checkBucket(bucket) });
  }

  /** Takes up what an earlier life left unfinished. */
  start(): Promise<void> {
    return this.#parts.store.start();
  }

  stop(): Promise<void> {
    return this.#parts.store.stop();
  }

  // ---------------------------------------------------------------- the edges

  buckets(): Promise<string[]> {
    return this.#parts.buckets.list();
  }

  async createBucket(bucket: string): Promise<void> {
    checkBucket(bucket);
    await this.#parts.store.ensureBucket(bucket);
    await this.#parts.buckets.create(bucket);
  }

  async put(bucket: string, key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<ObjectInfo> {
    const place = await this.#checkPlace({ bucket, key });
    const content = contentOf(options);
    this.#parts.admit(place);
    const { maxObjectBytes, stallMs, bodyMs } = this.#options;
    const bytes = bounded(body, { maxBytes: maxObjectBytes, clock: this.#parts.clock, stallMs, bodyMs });
    return this.#change(place, options, (store) => store.stage(place, bytes, content), content.put);
  }

  async get(bucket: string, key: string, range?: ByteRange): ReturnType<ObjectPlane["get"]> {
    return this.#parts.store.open(await this.#checkPlace({ bucket, key }), range);
  }

  async head(bucket: string, key: string): Promise<ObjectInfo> {
    const place = await this.#checkPlace({ bucket, key });
    const info = await this.#parts.store.head(place);
    if (info === undefined) throw unknownObject(place);
    return info;
  }

  async list(bucket: string, options: { prefix?: string; cursor?: string; limit?: number }): Promise<ObjectPage> {
    await this.#checkBucket(bucket);
    return pageOf(this.#parts.store, bucket, options);
  }

  async copy(from: ObjectPlace, to: ObjectPlace): Promise<ObjectInfo> {
    await this.#checkPlace(from);
    await this.#checkPlace(to);
    this.#parts.admit(to);
    return this.#change(to, {}, (store) => store.stageCopy(from, to));
  }

  async delete(bucket: string, key: string, { ifMatch }: { ifMatch?: string } = {}): Promise<boolean> {
    const place = await this.#checkPlace({ bucket, key });
    const claim = await this.#parts.store.claim(place, true);
    try {
      const change: Change = { place, ...(ifMatch === undefined ? {} : { ifMatch }) };
      return (await this.#published(change)) !== undefined;
    } finally {
      claim.release();
    }
  }

  async notify(notification: unknown): Promise<number> {
    const { store } = this.#parts;
    if (store.notify !== undefined) return store.notify(notification);
    throw new LockstepError("BAD_REQUEST", "this platform keeps its objects itself: there is no S3 whose events it could be told");
  }

  // ---------------------------------------------------------------- attempts

  /** What one attempt reads and stages; `close` it when the attempt has ended, however. Events of what it publishes name `run`. */
  session(run?: RunId): ObjectSession {
    return this.#attempts.open(run);
  }

  /** Answers what an attempt asks. Permissions were checked before. */
  serve(session: ObjectSession, ask: ObjectRequest): Promise<AttemptReply> {
    return this.#attempts.serve(session, ask);
  }

  /**
   * Whether `publish` can do this. `false`: the condition of a PUT does not hold any more, and the attempt must be executed anew.
   * @throws {LockstepError} BAD_REQUEST for what was not staged or announced
   */
  holds(session: ObjectSession, writes: readonly ObjectWrite[]): boolean {
    return this.#attempts.holds(session, writes);
  }

  /** Records what an attempt has staged and announced, with its events, in this turn. Only after `holds`, in the same step. */
  publish(session: ObjectSession, writes: readonly ObjectWrite[]): void {
    this.#attempts.publish(session, writes);
  }

  /** Discards what was staged and not published, and ends what is being read. */
  close(session: ObjectSession): void {
    this.#attempts.close(session);
  }

  // ---------------------------------------------------------------- helpers

  async #checkPlace(place: ObjectPlace): Promise<ObjectPlace> {
    checkPlace(place);
    await this.#checkBucket(place.bucket);
    return place;
  }

  async #checkBucket(bucket: string): Promise<void> {
    checkBucket(bucket);
    if (!(await this.#parts.buckets.has(bucket))) throw unknownBucket(bucket);
  }

  /** Stages and publishes; a condition that does not hold already is refused before the body is read. */
  async #change(
    place: ObjectPlace,
    conditions: PutOptions,
    stage: (store: ObjectStore) => Promise<Staged>,
    put?: string,
  ): Promise<ObjectInfo> {
    const { store } = this.#parts;
    const { ifMatch, ifNoneMatch } = conditions;
    const condition = { ...(ifMatch === undefined ? {} : { ifMatch }), ...(ifNoneMatch === undefined ? {} : { ifNoneMatch }) };
    const claim = await store.claim(place, ifMatch !== undefined || ifNoneMatch !== undefined || put !== undefined);
    try {
      const repeated = (): ObjectInfo | undefined => (put !== undefined && claim.put === put ? claim.info : undefined);
      if (repeated() !== undefined) return await this.#again(place);
      if (!fits(claim.info?.etag, condition)) throw preconditionFailed(place, claim.info);
      const staged = await stage(store);
      if (repeated() !== undefined || !store.holds([{ place, staged, ...condition }])) {
        await store.discard(staged).catch(this.#parts.report);
        if (repeated() !== undefined) return await this.#again(place);
        throw preconditionFailed(place, claim.info);
      }
      return (await this.#published({ place, staged, ...condition })) as ObjectInfo;
    } finally {
      claim.release();
    }
  }

  /** The object as it is on disk: that it is decided is not enough to say so. */
  async #again(place: ObjectPlace): Promise<ObjectInfo> {
    const info = await this.#parts.store.head(place);
    if (info === undefined) throw preconditionFailed(place, undefined);
    return info;
  }

  #published(change: Change): Promise<ObjectInfo | undefined> {
    const { store, clock, report } = this.#parts;
    const [publication] = store.publish([change]) as [Promise<ObjectInfo | undefined>];
    const { publishMs } = this.#options;
    return new Promise((resolve, reject) => {
      let late = false;
      const stop = clock.after(publishMs, () => {
        late = true;
        const message = `the store has not answered for ${publishMs} ms; the change will be made when it does`;
        reject(new LockstepError("STORAGE_UNAVAILABLE", message, { details: { retryAfterMs: publishMs } }));
      });
      publication.then(resolve, (error: unknown) => (late ? report(error) : reject(error))).finally(stop);
    });
  }
}
