/**
 * Changes of objects in S3 that the journal has decided: they are carried out, told, and forgotten.
 *
 * Owns: the rows `pending/…` and `seen/…` of the space `$s3`, and the order of what happens to a key.
 *
 * U1  What is pending in the journal is carried out, also by later lives, until S3 has it or refuses it. Its event commits with the end of
 *     its row, so that it is told exactly once.
 * U2  Of one key one thing happens at a time, in the order in which it was decided or told.
 */
import type { StateRows } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { ObjectInfo } from "../protocol/objects.ts";
import type { StateEntry } from "../protocol/state.ts";
import type { StoreParts } from "./journaled.ts";
import { fits, nameOf, preconditionFailed } from "./names.ts";
import type { Content, ObjectPlace } from "./port.ts";
import { type S3Client, type S3Facts, type S3Published, type S3Upload, versionOf } from "./s3-client.ts";
import { isPassing, lostUpload, s3Error } from "./s3-errors.ts";
import { afterOwn, afterTold, ownMark, type S3Memory, type S3Told } from "./s3-notifications.ts";

/** A row `pending/…`. Without `upload`, the object is deleted; then `version` is that of the one to be deleted. */
export interface Pending {
  place: ObjectPlace;
  run?: RunId;
  upload?: S3Upload;
  publication?: string;
  content?: Content;
  size?: number;
  at?: number;
  ifMatch?: string;
  ifNoneMatch?: "*";
  version?: string;
}

interface Job {
  row: string;
  pending: Pending;
  /** It may have been carried out before. */
  again: boolean;
}

const SPACE = "$s3";
const PENDING = "pending/";
const SEEN = "seen/";
const VERSION_DIGITS = 16;
const PAGE = 200;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
/** S3 gives up delivering a notification long before. */
const REMEMBERED_MS = 7 * 24 * 3_600_000;
const FORGET_EVERY_MS = 3_600_000;

export class Publications {
  readonly #s3: S3Client;
  readonly #parts: StoreParts;
  readonly #clock: Pick<Clock, "after">;
  /** What happens to each key, while anything does. */
  readonly #queues = new Map<string, Promise<unknown>>();
  #stopped = false;
  #wake = new Set<() => void>();
  #cancelForgetting = () => {};

  constructor(s3: S3Client, parts: StoreParts, clock: Pick<Clock, "after">) {
    this.#s3 = s3;
    this.#parts = parts;
    this.#clock = clock;
  }

  /** Takes up what earlier lives have decided and not finished. Returns the uploads that this still needs. */
  async start(): Promise<Set<string>> {
    const uploads = new Set<string>();
    for await (const { key, value } of this.#rows(PENDING)) {
      const pending = JSON.parse(value) as Pending;
      if (pending.upload !== undefined) uploads.add(pending.upload.id);
      this.#enqueue({ row: key, pending, again: true }).catch(this.#parts.report);
    }
    this.#forgetLater();
    return uploads;
  }

  /** What is under way is taken up by the next life. */
  stop(): void {
    this.#stopped = true;
    this.#cancelForgetting();
    for (const wake of this.#wake) wake();
  }

  /** Records that this is to happen, in this turn. Resolves when it has, with the object or what was deleted. */
  add(pending: Pending): Promise<ObjectInfo | undefined> {
    const version = this.#parts.nextVersion();
    const row = PENDING + String(version).padStart(VERSION_DIGITS, "0");
    this.#parts.turn.state([{ space: SPACE, key: row, value: JSON.stringify(pending), version }]);
    const durable = this.#durable();
    return this.#enqueue({ row, pending, again: false }, durable);
  }

  /** Takes what S3 tells. Resolves when what follows from it is durable. */
  told(place: ObjectPlace, told: S3Told): Promise<void> {
    return this.#inTurn(place, () => this.#told(place, told));
  }

  // ---------------------------------------------------------------- order

  #inTurn<T>(place: ObjectPlace, work: () => Promise<T>): Promise<T> {
    const name = nameOf(place);
    const mine = (this.#queues.get(name) ?? Promise.resolve()).then(work, work);
    this.#queues.set(name, mine);
    const end = (): void => {
      if (this.#queues.get(name) === mine) this.#queues.delete(name);
    };
    mine.then(end, end);
    return mine;
  }

  #enqueue(job: Job, durable: Promise<void> = Promise.resolve()): Promise<ObjectInfo | undefined> {
    return this.#inTurn(job.pending.place, async () => {
      // Nothing may happen that the journal does not know: after a crash nobody would tell it.
      await durable;
      return this.#perform(job);
    });
  }

  // ---------------------------------------------------------------- carrying out

  async #perform(job: Job): Promise<ObjectInfo | undefined> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      if (this.#stopped) throw new LockstepError("SHUTTING_DOWN", "the platform is stopping: the object is published when it is back");
      try {
        return await (job.pending.upload === undefined ? this.#delete(job) : this.#put(job, job.pending.upload));
      } catch (thrown) {
        const error = s3Error(thrown, job.pending.place);
        if (!isPassing(error)) return await this.#refuse(job, error);
        this.#parts.report(error);
        // Whatever went wrong may have gone wrong after it was done.
        job.again = true;
        await this.#pause(pauseMs);
      }
    }
  }

  async #put(job: Job, upload: S3Upload): Promise<ObjectInfo> {
    const { place, publication, content, size, at, run } = job.pending;
    const done = await this.#complete(job, upload);
    const { contentType, metadata } = content as Content;
    const { etag, versionId } = done;
    const version = versionOf(versionId, publication, etag);
    const info: ObjectInfo = { ...place, version, size: size as number, etag, contentType, metadata, modifiedAt: at as number };
    await this.#end(job, ownMark(done), () =>
      this.#parts.turn.event({ type: "object.put", object: info, ...(run === undefined ? {} : { run }) }),
    );
    return info;
  }

  async #complete({ pending, again }: Job, upload: S3Upload): Promise<S3Published> {
    const { place, publication } = pending;
    const conditional = pending.ifMatch !== undefined || pending.ifNoneMatch !== undefined;
    if (conditional || again) {
      // Not every S3 keeps to the conditions of an upload.
      const there = await this.#s3.head(place);
      if (there?.publication === publication && there !== undefined) return published(there);
      if (!fits(there?.info.etag, pending)) throw preconditionFailed(place, there?.info);
    }
    const done = await this.#s3.complete(place, upload, pending);
    if (done !== undefined) return done;
    const there = await this.#s3.head(place);
    if (there?.publication !== publication || there === undefined) throw lostUpload(place);
    return published(there);
  }

  async #delete(job: Job): Promise<ObjectInfo | undefined> {
    const { place, run, version } = job.pending;
    const there = await this.#s3.head(place);
    if (!job.again && !fits(there?.info.etag, job.pending)) throw preconditionFailed(place, there?.info);
    if (there !== undefined) await this.#s3.delete(place);
    // One that is gone already when this is tried again was deleted by the try before.
    const deleted = there?.info.version ?? (job.again ? version : undefined);
    if (deleted === undefined) {
      await this.#end(job, undefined, () => undefined);
      return undefined;
    }
    const { bucket, key } = place;
    const cause = run === undefined ? {} : { run };
    await this.#end(job, ownMark("deleted"), () =>
      this.#parts.turn.event({ type: "object.deleted", bucket, key, version: deleted, ...cause }),
    );
    return there?.info ?? { ...place, version: deleted, size: 0, etag: "", contentType: "", metadata: {}, modifiedAt: 0 };
  }

  /** Tells what was done, and forgets that it was to be done, in one commit. */
  async #end({ row, pending: { place } }: Job, mark: string | undefined, tell: () => void): Promise<void> {
    const memory = mark === undefined ? undefined : afterOwn(await this.#memory(place), mark, this.#parts.now());
    this.#parts.turn.state([{ space: SPACE, key: row, version: this.#parts.nextVersion() }]);
    if (memory !== undefined) this.#remember(place, memory);
    tell();
    await this.#durable();
  }

  async #refuse(job: Job, error: LockstepError): Promise<never> {
    const { place, upload, run } = job.pending;
    const { code, message } = error;
    if (upload !== undefined) await this.#s3.abort(place, upload.id).catch(this.#parts.report);
    await this.#end(job, undefined, () => {
      // The call that wanted it has its result: nobody else hears of it.
      if (run !== undefined) this.#parts.turn.event({ type: "object.refused", ...place, run, failure: { code, message } });
    });
    throw error;
  }

  // ---------------------------------------------------------------- what S3 tells

  async #told(place: ObjectPlace, told: S3Told): Promise<void> {
    const after = afterTold(await this.#memory(place), told, this.#parts.now());
    if (after === undefined) return;
    const tell = after.isNew ? await this.#teller(place, told) : () => undefined;
    this.#remember(place, after.memory);
    tell();
    await this.#durable();
  }

  async #teller(place: ObjectPlace, { kind, etag, version, sequencer, size }: S3Told): Promise<() => void> {
    const known = version ?? (etag === "" ? (sequencer ?? "") : etag);
    if (kind === "deleted") return () => this.#parts.turn.event({ type: "object.deleted", ...place, version: known });
    const there = (await this.#s3.head(place))?.info;
    // Of what has been replaced meanwhile, only that is known which was told.
    const isThere = there !== undefined && (version === undefined ? there.etag.replaceAll('"', "") === etag : there.version === version);
    const object: ObjectInfo = isThere
      ? there
      : { ...place, version: known, size, etag: `"${etag}"`, contentType: "", metadata: {}, modifiedAt: this.#parts.now() };
    return () => this.#parts.turn.event({ type: "object.put", object });
  }

  async #memory(place: ObjectPlace): Promise<S3Memory | undefined> {
    const entry = await this.#parts.rows.get(SPACE, SEEN + nameOf(place));
    return entry === undefined ? undefined : (JSON.parse(entry.value) as S3Memory);
  }

  #remember(place: ObjectPlace, memory: S3Memory): void {
    const version = this.#parts.nextVersion();
    this.#parts.turn.state([{ space: SPACE, key: SEEN + nameOf(place), value: JSON.stringify(memory), version }]);
  }

  #forgetLater(): void {
    if (this.#stopped) return;
    this.#cancelForgetting = this.#clock.after(FORGET_EVERY_MS, () => {
      this.#forget().catch(this.#parts.report);
      this.#forgetLater();
    });
  }

  async #forget(): Promise<void> {
    for await (const { key, value } of this.#rows(SEEN)) {
      if (this.#isRecent(value)) continue;
      const name = key.slice(SEEN.length);
      const slash = name.indexOf("/");
      const place = { bucket: name.slice(0, slash), key: name.slice(slash + 1) };
      await this.#inTurn(place, async () => {
        const memory = await this.#memory(place);
        if (memory === undefined || this.#isRecent(JSON.stringify(memory))) return;
        this.#parts.turn.state([{ space: SPACE, key, version: this.#parts.nextVersion() }]);
        await this.#durable();
      });
    }
  }

  #isRecent(value: string): boolean {
    return (JSON.parse(value) as S3Memory).at > this.#parts.now() - REMEMBERED_MS;
  }

  // ---------------------------------------------------------------- helpers

  async *#rows(prefix: string): AsyncGenerator<StateEntry> {
    let after: string | undefined;
    do {
      const rows: Awaited<ReturnType<StateRows["list"]>> = await this.#parts.rows.list(SPACE, prefix, PAGE, after);
      yield* rows;
      after = rows.length < PAGE || this.#stopped ? undefined : rows.at(-1)?.key;
    } while (after !== undefined);
  }

  #durable(): Promise<void> {
    return new Promise((resolve) => this.#parts.turn.after(resolve));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        this.#wake.delete(wake);
        resolve();
      };
      const cancel = this.#clock.after(ms, wake);
      this.#wake.add(wake);
      if (this.#stopped) wake();
    });
  }
}

/** What `complete` would have given. */
const published = ({ info, versionId }: S3Facts): S3Published => ({ etag: info.etag, versionId });
