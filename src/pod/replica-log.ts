/**
 * What a durable replica has promised, on its own disk: its key, its records, the pages of its snapshots.
 *
 * Owns: one directory. Does not own: which records there are and what follows from them (the machine), when they must be durable (the host).
 *
 * D1  `append` resolves once the records are on the disk: one write and one flush for all of them.
 * D2  A record is read whole or not at all. What a crash has torn off at the end was never confirmed, and is cut; a record that is damaged
 *     elsewhere may be a promise, and the replica must not come back without it.
 * D3  The log begins anew with each stable checkpoint, and older parts go once nothing in them is above it. A checkpoint is recorded as stable
 *     only after its pages are on the disk.
 */
import { constants, mkdirSync } from "node:fs";
import { type FileHandle, open, readdir, readFile, truncate, unlink } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Digest } from "../consensus/crypto.ts";
import type { DurableRecord } from "../consensus/effects.ts";
import type { Membership } from "../consensus/membership.ts";
import { LockstepError } from "../lib/errors.ts";
import type { SecretKey } from "../replicas/node-crypto.ts";
import { PageFiles, syncDirectory, writeWhole } from "./replica-pages.ts";
import type { Page } from "./replica-state.ts";

const KEY = "key";
const NAME = /^log-(\d+)$/;
const CRC_CHARACTERS = 8;

interface Segment {
  readonly number: number;
  /** The highest sequence number that a record in it is about. */
  highest: number;
}

/** Opens a replica's directory, or makes it. @throws {LockstepError} POD_FAILED_TO_START when it is damaged */
export const openLog = async (directory: string, makeSecret: () => SecretKey): Promise<ReplicaLog> => {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const secret = await secretOf(directory, makeSecret);
  const log = new ReplicaLog(directory, secret);
  await log.load();
  return log;
};

const secretOf = async (directory: string, makeSecret: () => SecretKey): Promise<SecretKey> => {
  if ((await readdir(directory)).includes(KEY)) return (await readFile(join(directory, KEY), "utf8")).trim();
  const secret = makeSecret();
  await writeWhole(directory, KEY, secret);
  return secret;
};

export class ReplicaLog {
  readonly secret: SecretKey;
  /** Of the earlier life. */
  readonly records: DurableRecord[] = [];
  readonly #directory: string;
  readonly #pages: PageFiles;
  #segments: Segment[] = [];
  #handle: FileHandle | undefined;
  /** What each part of the log begins with: the last of their kinds. */
  #view: DurableRecord | undefined;
  #stable: (DurableRecord & { t: "stable" }) | undefined;
  #membership: (DurableRecord & { t: "membership" }) | undefined;
  #saving: Promise<void> = Promise.resolve();

  constructor(directory: string, secret: SecretKey) {
    this.#directory = directory;
    this.secret = secret;
    this.#pages = new PageFiles(directory);
  }

  /** The last that the replica was in, and the one before: its peers may still be there. */
  get memberships(): Membership[] {
    const { next, previous } = this.#membership ?? {};
    return [previous, next].flatMap((each) => (each === undefined ? [] : [each.membership]));
  }

  async load(): Promise<void> {
    await this.#pages.load();
    const numbers = (await readdir(this.#directory)).flatMap((name) => NAME.exec(name)?.slice(1).map(Number) ?? []).sort((a, b) => a - b);
    for (const number of numbers) await this.#read(number, number === numbers.at(-1));
    const last = numbers.at(-1);
    if (last === undefined) await this.#begin(1);
    else this.#handle = await open(this.#path(last), constants.O_WRONLY | constants.O_APPEND);
  }

  async append(records: readonly DurableRecord[]): Promise<void> {
    const stable = records.some(({ t }) => t === "stable");
    if (stable) await this.#saving;
    await this.#write(records);
    if (stable) await this.#rotate();
  }

  /** Writes a snapshot's pages, beside whatever else is written. */
  savePages(pages: readonly Page[]): void {
    this.#saving = this.#saving.then(() => this.#pages.save(pages));
    // Whoever waits for it is told; until then it is nobody's.
    this.#saving.catch(() => {});
  }

  pages(digests: readonly Digest[]): string[] | undefined {
    return this.#pages.texts(digests);
  }

  async close(): Promise<void> {
    await this.#saving.catch(() => {});
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #read(number: number, isLast: boolean): Promise<void> {
    const segment = { number, highest: 0 };
    this.#segments.push(segment);
    const bytes = await readFile(this.#path(number));
    let at = 0;
    while (at < bytes.length) {
      const end = bytes.indexOf("\n", at);
      const line = end < 0 ? undefined : lineAt(bytes, at, end);
      if (line === undefined) break;
      // What a part begins with is in those before it, as long as these are there.
      const records = Array.isArray(line) ? (this.#segments.length === 1 ? line : []) : [line];
      for (const record of records) {
        this.records.push(record);
        this.#note(record, segment);
      }
      at = end + 1;
    }
    if (at === bytes.length) return;
    // Only the end of the last part can be torn: anything before it was flushed and confirmed.
    const isTorn = isLast && !hasRecord(bytes, at);
    if (!isTorn) {
      throw new LockstepError(
        "POD_FAILED_TO_START",
        `the replica's log is damaged at byte ${at} of ${this.#path(number)}: replace the replica`,
      );
    }
    await truncate(this.#path(number), at);
  }

  #note(record: DurableRecord, segment: Segment): void {
    if (record.t === "view") this.#view = record;
    if (record.t === "stable") this.#stable = record;
    if (record.t === "stable" && record.entering !== undefined) this.#membership = { t: "membership", ...record.entering };
    if (record.t === "membership") this.#membership = record;
    if ("seq" in record) segment.highest = Math.max(segment.highest, record.seq);
  }

  async #write(records: readonly DurableRecord[]): Promise<void> {
    const segment = this.#segments.at(-1);
    if (this.#handle === undefined || segment === undefined) throw new LockstepError("POD_FAILED_TO_START", "the replica's log is closed");
    for (const record of records) this.#note(record, segment);
    await this.#handle.appendFile(records.map((record) => lineOf(record)).join(""));
    await this.#handle.datasync();
  }

  async #rotate(): Promise<void> {
    const stable = this.#stable?.checkpoint.seq ?? 0;
    await this.#begin((this.#segments.at(-1)?.number ?? 0) + 1);
    const needed = this.#segments.findIndex(({ highest }, i) => highest > stable || i === this.#segments.length - 1);
    const gone = this.#segments.splice(0, needed);
    for (const { number } of gone) await unlink(this.#path(number));
  }

  async #begin(number: number): Promise<void> {
    const heads = [this.#membership, this.#stable, this.#view].filter((record) => record !== undefined);
    // Whole or not at all: a part without its beginning would hide that an older one is needed.
    await writeWhole(this.#directory, `log-${number}`, lineOf(heads));
    await this.#handle?.close();
    this.#handle = await open(this.#path(number), constants.O_WRONLY | constants.O_APPEND);
    this.#segments.push({ number, highest: 0 });
    await syncDirectory(this.#directory);
  }

  #path(number: number): string {
    return join(this.#directory, `log-${number}`);
  }
}

const checksum = (text: string): string => crc32(text).toString(16).padStart(CRC_CHARACTERS, "0");

const lineOf = (records: DurableRecord | readonly DurableRecord[]): string => {
  const text = JSON.stringify(records);
  return `${checksum(text)} ${text}\n`;
};

/** `undefined` when the line is damaged. */
const lineAt = (bytes: Buffer, start: number, end: number): DurableRecord | DurableRecord[] | undefined => {
  const line = bytes.toString("utf8", start, end);
  const text = line.slice(CRC_CHARACTERS + 1);
  return line.slice(0, CRC_CHARACTERS) === checksum(text) ? (JSON.parse(text) as DurableRecord | DurableRecord[]) : undefined;
};

/** Whether a whole record follows the line at `at`: then what is damaged was not the end. */
const hasRecord = (bytes: Buffer, at: number): boolean => {
  for (let start = bytes.indexOf("\n", at) + 1; start > 0 && start < bytes.length; ) {
    const end = bytes.indexOf("\n", start);
    if (end < 0) return false;
    if (lineAt(bytes, start, end) !== undefined) return true;
    start = end + 1;
  }
  return false;
};
