/**
 * Objects in S3. Bytes are staged as an upload in parts, which S3 shows nobody before it is completed; that it is to be completed is a row of
 * the journal, in the commit of whoever wanted it; the event follows when S3 has done it (s3-publications.ts).
 *
 * Owns: uploads that are staged, and the claims on keys. Does not own: requests (s3-client.ts), order and completion.
 */
import { createHash, randomUUID } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { ByteRange, ObjectInfo } from "../protocol/objects.ts";
import type { StoreParts } from "./journaled.ts";
import { checkKey, fits, nameOf, preconditionFailed, unknownObject } from "./names.ts";
import type { Change, Claim, Content, ObjectPlace, ObjectStore, Staged } from "./port.ts";
import { S3Body } from "./s3-body.ts";
import type { S3Client, S3Facts, S3Upload } from "./s3-client.ts";
import { toldBy } from "./s3-notifications.ts";
import { type Pending, Publications } from "./s3-publications.ts";

interface Token {
  upload: S3Upload;
  publication: string;
  place: ObjectPlace;
  at: number;
}

interface Known {
  facts: Pick<S3Facts, "info" | "put"> | undefined;
  users: number;
}

/** The least that S3 takes for all parts but the last. */
const PART_BYTES = 5 * 1024 * 1024;
const COPY_BYTES = 1024 ** 3;
/** Uploads that were begun so long ago and that nobody waits for are what a crash has left. */
const ABANDONED_MS = 24 * 3_600_000;

export class S3Objects implements ObjectStore {
  readonly #s3: S3Client;
  readonly #parts: StoreParts;
  readonly #publications: Publications;
  readonly #known = new Map<string, Known>();
  readonly #ensured = new Map<string, Promise<void>>();
  readonly #bucketNames: () => Promise<string[]>;
  #stopped = false;

  /** @param buckets those in which uploads are looked for that were left behind */
  constructor(s3: S3Client, parts: StoreParts, clock: Pick<Clock, "after">, buckets: () => Promise<string[]>) {
    this.#s3 = s3;
    this.#parts = parts;
    this.#bucketNames = buckets;
    this.#publications = new Publications(s3, parts, clock);
  }

  async start(): Promise<void> {
    const needed = await this.#publications.start();
    this.#sweep(needed).catch((error: unknown) => this.#stopped || this.#parts.report(error));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#publications.stop();
    this.#s3.close();
  }

  ensureBucket(bucket: string): Promise<void> {
    const known = this.#ensured.get(bucket);
    if (known !== undefined) return known;
    const ensuring = this.#s3.ensureBucket(bucket);
    this.#ensured.set(bucket, ensuring);
    ensuring.catch(() => this.#ensured.delete(bucket));
    return ensuring;
  }

  async stage(place: ObjectPlace, body: AsyncIterable<Uint8Array>, content: Content): Promise<Staged> {
    return this.#upload(place, content, async (upload) => {
      const digests: Buffer[] = [];
      let size = 0;
      for await (const part of partsOf(body)) {
        upload.parts.push(await this.#s3.part(place, upload.id, upload.parts.length + 1, part));
        digests.push(createHash("md5").update(part).digest());
        size += part.length;
      }
      return { size, etag: etagOf(digests) };
    });
  }

  async stageCopy(from: ObjectPlace, to: ObjectPlace): Promise<Staged> {
    const source = (await this.#in(from.bucket, () => this.#s3.head(from)))?.info;
    if (source === undefined) throw unknownObject(from);
    const { size, etag, contentType, metadata } = source;
    if (size === 0) return this.stage(to, nothing(), { contentType, metadata });
    return this.#upload(to, { contentType, metadata }, async (upload) => {
      for (let start = 0; start < size; start += COPY_BYTES) {
        const part = { start, end: Math.min(start + COPY_BYTES, size) - 1 };
        upload.parts.push(await this.#s3.copyPart(from, to, upload.id, upload.parts.length + 1, part, etag));
      }
      return { size, etag: etagOf(upload.parts.map((one) => Buffer.from(one.replaceAll('"', ""), "hex"))) };
    });
  }

  async discard(staged: Staged): Promise<void> {
    const { upload, place } = tokenOf(staged);
    await this.#s3.abort(place, upload.id);
  }

  async claim(place: ObjectPlace, look: boolean): Promise<Claim> {
    const name = nameOf(place);
    const known = this.#known.get(name) ?? { facts: undefined, users: 0 };
    this.#known.set(name, known);
    known.users++;
    let released = false;
    const release = (): void => {
      if (!released && --known.users === 0) this.#known.delete(name);
      released = true;
    };
    try {
      if (look) known.facts = await this.#in(place.bucket, () => this.#s3.head(place));
    } catch (error) {
      release();
      throw error;
    }
    return {
      get info() {
        return known.facts?.info;
      },
      get put() {
        return known.facts?.put;
      },
      release,
    };
  }

  /** By what was seen when the keys were claimed: S3 has the last word, when the changes are carried out. */
  holds(changes: readonly Change[]): boolean {
    return changes.every((change) => fits(this.#known.get(nameOf(change.place))?.facts?.info.etag, change));
  }

  publish(changes: readonly Change[]): Promise<ObjectInfo | undefined>[] {
    const unfit = changes.find((change) => !this.holds([change]));
    if (unfit !== undefined) throw preconditionFailed(unfit.place, this.#known.get(nameOf(unfit.place))?.facts?.info);
    return changes.map((change) => {
      const done = this.#publications.add(this.#pendingOf(change));
      done.then(
        (info) => this.#learn(change, info),
        () => undefined,
      );
      return done;
    });
  }

  async head(place: ObjectPlace): Promise<ObjectInfo | undefined> {
    return (await this.#s3.head(place))?.info;
  }

  async open(place: ObjectPlace, range?: ByteRange): ReturnType<ObjectStore["open"]> {
    const found = await this.#in(place.bucket, () => this.#s3.get(place, range));
    if (found === undefined) throw unknownObject(place);
    const { start, end } = found.range ?? { start: 0, end: found.facts.info.size - 1 };
    const body = new S3Body(found.body, place, end - start + 1);
    return { info: found.facts.info, body, ...(range === undefined ? {} : { range: { start, end } }) };
  }

  list(bucket: string, page: { prefix: string; after?: string; limit: number }): ReturnType<ObjectStore["list"]> {
    return this.#in(bucket, () => this.#s3.list(bucket, page));
  }

  async notify(notification: unknown): Promise<number> {
    const all = toldBy(notification);
    await Promise.all(
      all.map(async (told) => {
        const bucket = this.#s3.bucketOf(told.bucket);
        if (bucket === undefined) return;
        checkKey(told.key);
        await this.#publications.told({ bucket, key: told.key }, told);
      }),
    );
    return all.length;
  }

  // ---------------------------------------------------------------- helpers

  /** A bucket that an application defines exists as soon as it is needed. */
  async #in<T>(bucket: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof LockstepError) || error.code !== "UNKNOWN_BUCKET") throw error;
      this.#ensured.delete(bucket);
      await this.ensureBucket(bucket);
      return work();
    }
  }

  async #upload(
    place: ObjectPlace,
    content: Content,
    fill: (upload: S3Upload) => Promise<{ size: number; etag: string }>,
  ): Promise<Staged> {
    const publication = randomUUID();
    const at = this.#parts.now();
    const id = await this.#in(place.bucket, () => this.#s3.begin(place, content, publication, at));
    const upload: S3Upload = { id, parts: [] };
    try {
      const { size, etag } = await fill(upload);
      const token: Token = { upload, publication, place, at };
      return { size, etag, content, token: JSON.stringify(token) };
    } catch (error) {
      await this.#s3.abort(place, id).catch(this.#parts.report);
      throw error;
    }
  }

  #pendingOf({ place, staged, run, ifMatch, ifNoneMatch }: Change): Pending {
    const pending: Pending = { place };
    if (run !== undefined) pending.run = run;
    if (ifMatch !== undefined) pending.ifMatch = ifMatch;
    if (ifNoneMatch !== undefined) pending.ifNoneMatch = ifNoneMatch;
    if (staged !== undefined) {
      const { upload, publication, at } = tokenOf(staged);
      return { ...pending, upload, publication, at, content: staged.content, size: staged.size };
    }
    const version = this.#known.get(nameOf(place))?.facts?.info.version;
    return version === undefined ? pending : { ...pending, version };
  }

  /** What is claimed is known as it is now. */
  #learn({ place, staged }: Change, info: ObjectInfo | undefined): void {
    const known = this.#known.get(nameOf(place));
    if (known === undefined) return;
    known.facts = staged === undefined || info === undefined ? undefined : { info, put: staged.content.put };
  }

  /** Ends uploads that nobody will complete: S3 keeps, and bills, their parts for ever. */
  async #sweep(needed: ReadonlySet<string>): Promise<void> {
    for (const bucket of await this.#bucketNames()) {
      const abandoned = await this.#s3.uploads(bucket, this.#parts.now() - ABANDONED_MS).catch((error: unknown) => {
        if (error instanceof LockstepError && error.code === "UNKNOWN_BUCKET") return [];
        throw error;
      });
      for (const { key, id } of abandoned) if (!needed.has(id)) await this.#s3.abort({ bucket, key }, id);
    }
  }
}

const tokenOf = ({ token }: Staged): Token => JSON.parse(token) as Token;

/** As S3 makes it of an upload in parts. */
const etagOf = (digests: readonly Buffer[]): string =>
  `"${createHash("md5").update(Buffer.concat(digests)).digest("hex")}-${digests.length}"`;

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** The body in parts of the size that S3 wants, at least one; one of them is in memory at a time. */
async function* partsOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  let isFirst = true;
  for await (const chunk of body) {
    waiting.push(chunk);
    bytes += chunk.length;
    while (bytes >= PART_BYTES) {
      const all = waiting.length === 1 ? Buffer.from(waiting[0] as Uint8Array) : Buffer.concat(waiting);
      yield all.subarray(0, PART_BYTES);
      isFirst = false;
      waiting = all.length > PART_BYTES ? [all.subarray(PART_BYTES)] : [];
      bytes = all.length - PART_BYTES;
    }
  }
  if (bytes > 0 || isFirst) yield Buffer.concat(waiting);
}
