/**
 * Objects whose metadata are rows of the journal: a PUT, its event, and whatever is recorded when that event is told, are one commit (P5).
 *
 * Owns: the rows of the space `$objects` and what they say. Does not own: bytes (bytes.ts), who may do what (service.ts).
 *
 * I1  A row names bytes that are durable. Bytes that no row names are nobody's: a kill at any moment leaves only such.
 * I2  Bytes are removed after the commit that took the last row from them, never before.
 * I3  Nobody else writes these rows, and a key's row is in memory while it is claimed or on its way to the disk: so `publish` decides at
 *     once, and reads see what is decided, but not before it is durable.
 */
import type { StateRows } from "../journal/port.ts";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { EventBody } from "../protocol/events.ts";
import type { ByteRange, ObjectInfo } from "../protocol/objects.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import type { Bytes, StoredBytes } from "./bytes.ts";
import { fits, nameOf, preconditionFailed, rangeIn, unknownObject } from "./names.ts";
import type { Change, Claim, Content, ObjectPlace, ObjectStore, Staged } from "./port.ts";

/** What the stores use of the turn. */
export interface Recorder {
  state(changes: readonly StateChange[]): void;
  event(body: EventBody): void;
  after(effect: () => void): void;
}

export interface StoreParts {
  rows: StateRows;
  turn: Recorder;
  now(): number;
  /** The next of the state store's versions. */
  nextVersion(): number;
  /** Told of defects, and of what can't be cleaned up. */
  report(error: unknown): void;
}

const SPACE = "$objects";

/** The value of a row. */
interface Meta extends StoredBytes, Content {
  modifiedAt: number;
}

type Cause = { run?: RunId };

interface Row {
  meta: Meta;
  version: string;
}

/** A key's row while it is in memory. */
interface Held {
  row: Row | undefined;
  loading: Promise<void> | undefined;
  users: number;
  /** Changes that are not durable yet. */
  open: number;
}

const SWEEP_PAGE = 200;
const READ_TRIES = 10;

export class JournaledObjects implements ObjectStore {
  readonly #bytes: Bytes;
  readonly #parts: StoreParts;
  readonly #held = new Map<string, Held>();
  /** Changes on their way to the disk. */
  #open = 0;
  #sweeping: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(bytes: Bytes, parts: StoreParts) {
    this.#bytes = bytes;
    this.#parts = parts;
  }

  async start(): Promise<void> {
    this.#sweeping = this.#bytes.sweep(() => this.#referenced()).catch(this.#parts.report);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#sweeping;
  }

  async ensureBucket(): Promise<void> {}

  async stage(_: ObjectPlace, body: AsyncIterable<Uint8Array>, content: Content): Promise<Staged> {
    return stagedOf(await this.#bytes.store(body), content);
  }

  async stageCopy(from: ObjectPlace): Promise<Staged> {
    const [{ meta }, copy] = await this.#use(from, (row) => this.#bytes.copy(row.meta));
    const { contentType, metadata } = meta;
    return stagedOf(copy, { contentType, metadata });
  }

  async discard(staged: Staged): Promise<void> {
    await this.#bytes.remove(bytesOf(staged).file);
  }

  async claim(place: ObjectPlace): Promise<Claim> {
    const name = nameOf(place);
    const held = await this.#hold(name);
    let released = false;
    return {
      get info() {
        return held.row === undefined ? undefined : infoOf(place, held.row);
      },
      get put() {
        return held.row?.meta.put;
      },
      release: () => {
        if (!released) this.#release(name, held);
        released = true;
      },
    };
  }

  holds(changes: readonly Change[]): boolean {
    return this.#unfit(changes) === undefined;
  }

  publish(changes: readonly Change[]): Promise<ObjectInfo | undefined>[] {
    const unfit = this.#unfit(changes);
    if (unfit !== undefined) throw preconditionFailed(unfit.place, this.#infoNow(unfit.place));
    return changes.map(({ place, staged, run }) => {
      const cause = run === undefined ? {} : { run };
      const held = this.#claimed(place);
      const before = held.row;
      const after = staged === undefined ? this.#delete(place, held, cause) : this.#put(place, held, staged, cause);
      const told = after ?? (before === undefined ? undefined : infoOf(place, before));
      return this.#durable(nameOf(place), held, before?.meta.file).then(() => told);
    });
  }

  async head(place: ObjectPlace): Promise<ObjectInfo | undefined> {
    const row = await this.#row(place);
    return row === undefined ? undefined : infoOf(place, row);
  }

  async open(place: ObjectPlace, range?: ByteRange): ReturnType<ObjectStore["open"]> {
    let part: Required<ByteRange> | undefined;
    const [row, body] = await this.#use(place, ({ meta }) => {
      part = range === undefined ? undefined : rangeIn(range, meta.size);
      return this.#bytes.read(meta, part);
    });
    return { info: infoOf(place, row), ...(part === undefined ? {} : { range: part }), body };
  }

  async list(bucket: string, { prefix, after, limit }: { prefix: string; after?: string; limit: number }): ReturnType<ObjectStore["list"]> {
    if (this.#open > 0) await this.#committed();
    const start = after === undefined ? undefined : `${bucket}/${after}`;
    const rows = await this.#parts.rows.list(SPACE, `${bucket}/${prefix}`, limit + 1, start);
    const objects = rows.slice(0, limit).map((entry) => {
      const place = { bucket, key: entry.key.slice(bucket.length + 1) };
      return infoOf(place, rowOf(entry));
    });
    return { objects, more: rows.length > limit };
  }

  // ---------------------------------------------------------------- changes

  /** The first change whose condition does not hold, those before it carried out. */
  #unfit(changes: readonly Change[]): Change | undefined {
    const etags = new Map<string, string | undefined>();
    for (const change of changes) {
      const name = nameOf(change.place);
      const etag = etags.has(name) ? etags.get(name) : this.#infoNow(change.place)?.etag;
      if (!fits(etag, change)) return change;
      etags.set(name, change.staged?.etag);
    }
    return undefined;
  }

  #put(place: ObjectPlace, held: Held, staged: Staged, cause: Cause): ObjectInfo {
    const version = this.#parts.nextVersion();
    const meta: Meta = { ...bytesOf(staged), ...staged.content, modifiedAt: this.#parts.now() };
    held.row = { meta, version: String(version) };
    const info = infoOf(place, held.row);
    this.#parts.turn.state([{ space: SPACE, key: nameOf(place), value: JSON.stringify(meta), version }]);
    this.#parts.turn.event({ type: "object.put", object: info, ...cause });
    return info;
  }

  #delete({ bucket, key }: ObjectPlace, held: Held, cause: Cause): undefined {
    const { row } = held;
    if (row === undefined) return;
    held.row = undefined;
    this.#parts.turn.state([{ space: SPACE, key: nameOf({ bucket, key }), version: this.#parts.nextVersion() }]);
    this.#parts.turn.event({ type: "object.deleted", bucket, key, version: row.version, ...cause });
  }

  /** Resolves once all that was recorded is on disk, and removes the bytes that nothing names any more. */
  #durable(name: string, held: Held, file: string | undefined): Promise<void> {
    held.users++;
    held.open++;
    this.#open++;
    return new Promise((resolve) => {
      this.#parts.turn.after(() => {
        held.open--;
        this.#open--;
        this.#release(name, held);
        if (file !== undefined) this.#bytes.remove(file).catch(this.#parts.report);
        resolve();
      });
    });
  }

  // ---------------------------------------------------------------- rows in memory

  async #hold(name: string): Promise<Held> {
    let held = this.#held.get(name);
    if (held === undefined) {
      held = { row: undefined, loading: undefined, users: 0, open: 0 };
      held.loading = this.#load(name, held);
      this.#held.set(name, held);
    }
    held.users++;
    if (held.loading === undefined) return held;
    try {
      await held.loading;
    } catch (error) {
      this.#release(name, held);
      throw error;
    }
    return held;
  }

  async #load(name: string, held: Held): Promise<void> {
    const entry = await this.#parts.rows.get(SPACE, name);
    if (entry !== undefined) held.row = rowOf(entry);
    held.loading = undefined;
  }

  #release(name: string, held: Held): void {
    if (--held.users === 0 && this.#held.get(name) === held) this.#held.delete(name);
  }

  #claimed(place: ObjectPlace): Held {
    const held = this.#held.get(nameOf(place));
    if (held === undefined || held.loading !== undefined)
      throw new LockstepError("INTERNAL", `${nameOf(place)} is changed but not claimed`);
    return held;
  }

  #infoNow(place: ObjectPlace): ObjectInfo | undefined {
    const { row } = this.#claimed(place);
    return row === undefined ? undefined : infoOf(place, row);
  }

  /** The row as it is on disk, with all that was decided before. */
  async #row(place: ObjectPlace): Promise<Row | undefined> {
    const name = nameOf(place);
    const held = this.#held.get(name);
    if (held === undefined || held.loading !== undefined) {
      const entry = await this.#parts.rows.get(SPACE, name);
      return entry === undefined ? undefined : rowOf(entry);
    }
    const { row } = held;
    if (held.open > 0) await this.#committed();
    return row;
  }

  /** Does something with the bytes of an object. `use` gives `undefined` when they are not there. */
  async #use<T>(place: ObjectPlace, use: (row: Row) => Promise<T | undefined>): Promise<[Row, T]> {
    let last: string | undefined;
    for (let tries = 1; ; tries++) {
      const row = await this.#row(place);
      if (row === undefined) throw unknownObject(place);
      const used = await use(row);
      if (used !== undefined) return [row, used];
      // Its bytes went between the look at the row and that at the file, when the object was replaced: unless it wasn't.
      if (last === row.meta.file || tries === READ_TRIES) throw lost(place);
      last = row.meta.file;
    }
  }

  #committed(): Promise<void> {
    return new Promise((resolve) => this.#parts.turn.after(resolve));
  }

  async *#referenced(): AsyncGenerator<string> {
    let after: string | undefined;
    do {
      const rows: StateEntry[] = await this.#parts.rows.list(SPACE, "", SWEEP_PAGE, after);
      for (const entry of rows) yield rowOf(entry).meta.file;
      after = rows.length < SWEEP_PAGE ? undefined : rows.at(-1)?.key;
      // Whoever sweeps must not take what it has not been told of: it is told nothing rather than half.
      if (this.#stopped) throw new LockstepError("SHUTTING_DOWN", "objects that nobody needs were left for the next start");
    } while (after !== undefined);
  }
}

const stagedOf = (stored: StoredBytes, content: Content): Staged => ({
  size: stored.size,
  etag: etagOf(stored),
  content,
  token: JSON.stringify(stored),
});

const bytesOf = ({ token }: Staged): StoredBytes => JSON.parse(token) as StoredBytes;

const etagOf = ({ sha256 }: StoredBytes): string => `"${sha256}"`;

const rowOf = ({ value, version }: StateEntry): Row => ({ meta: JSON.parse(value) as Meta, version: String(version) });

const infoOf = ({ bucket, key }: ObjectPlace, { meta, version }: Row): ObjectInfo => ({
  bucket,
  key,
  version,
  size: meta.size,
  etag: etagOf(meta),
  contentType: meta.contentType,
  metadata: meta.metadata,
  modifiedAt: meta.modifiedAt,
});

const lost = (place: ObjectPlace): LockstepError =>
  new LockstepError("OBJECT_CORRUPT", `the bytes of ${nameOf(place)} are gone from the disk`, { details: { ...place } });
