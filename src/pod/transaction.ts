/**
 * The state transaction of one attempt, as far as the pod has it: writes are kept here until the attempt ends, and its reads see them.
 *
 * Owns: the buffered writes. Does not own: what is committed, conflicts, permissions (the control plane decides them with the result).
 */
import { LockstepError } from "../lib/errors.ts";
import { compareUtf8 } from "../lib/utf8.ts";
import { MAX_LISTED, MAX_WRITES } from "../protocol/requests.ts";
import type { StateEntry, StateRead, StateWrite } from "../protocol/state.ts";
import type { Answer, Requests } from "./requests.ts";
import type { StatePort } from "./state-view.ts";

/** All values that one attempt writes may have so many times the size of the largest payload. */
const PAYLOADS = 4;

export class Transaction implements StatePort {
  readonly isTransaction = true;
  readonly #requests: Requests;
  readonly #limitBytes: number;
  readonly #writes = new Map<string, StateWrite>();
  #bytes = 0;

  constructor(requests: Requests, maxPayloadBytes: number) {
    this.#requests = requests;
    this.#limitBytes = PAYLOADS * maxPayloadBytes;
  }

  /** In the order in which the keys were first written. */
  get writes(): StateWrite[] {
    return [...this.#writes.values()];
  }

  read(read: StateRead): Promise<unknown> {
    return read.op === "get" ? this.#get(read) : this.#list(read);
  }

  write(write: StateWrite): undefined {
    this.#requests.check();
    const before = this.#writes.get(write.key);
    // What is written or deleted here is fresh already.
    if (write.refresh && before !== undefined) return;
    const bytes = this.#bytes + sizeOf(write) - sizeOf(before);
    if (bytes > this.#limitBytes) throw tooMuch(`its values have more than ${this.#limitBytes} bytes`, { limit: this.#limitBytes });
    if (before === undefined && this.#writes.size === MAX_WRITES)
      throw tooMuch(`it writes more than ${MAX_WRITES} keys`, { limit: MAX_WRITES });
    this.#bytes = bytes;
    this.#writes.set(write.key, write);
  }

  #get(read: StateRead & { op: "get" }): Promise<StateEntry> {
    const own = this.#writes.get(read.key);
    if (own === undefined) return this.#ask(read);
    if (own.refresh) return this.#ask({ ...read, stale: "allow" }).then(fresh);
    this.#requests.check();
    return Promise.resolve(entryOf(own));
  }

  #ask(read: StateRead & { op: "get" }): Promise<StateEntry> {
    return this.#requests.ask(read, (answer) => entryFrom(answer, read.key));
  }

  /** Pages of what is committed, with the own writes between them, until there are enough. */
  async #list({ prefix, limit, after }: StateRead & { op: "list" }): Promise<StateEntry[]> {
    const own = this.#ownUnder(prefix);
    const listed: StateEntry[] = [];
    for (let from = after; ; ) {
      const size = Math.min(MAX_LISTED, limit - listed.length + own.length);
      const read: StateRead = { op: "list", prefix, limit: size, ...(from === undefined ? {} : { after: from }) };
      const page = await this.#requests.ask(read, pageFrom);
      const upTo = page.length < size ? undefined : page.at(-1)?.key;
      for (const entry of merged(page, own, from, upTo)) {
        listed.push(entry);
        if (listed.length === limit) return listed;
      }
      if (upTo === undefined) return listed;
      from = upTo;
    }
  }

  #ownUnder(prefix: string): StateWrite[] {
    const own = [...this.#writes.values()].filter(({ key }) => key.startsWith(prefix));
    return own.sort((a, b) => compareUtf8(a.key, b.key));
  }
}

const entryFrom = (answer: Answer, key: string): StateEntry =>
  answer.t === "got" ? { key, value: answer.value, version: answer.version } : (JSON.parse(answer.value) as StateEntry);

const pageFrom = ({ value }: Answer): StateEntry[] => JSON.parse(value) as StateEntry[];

/** A page as the invocation sees it: the keys after `from` and up to `upTo`. */
const merged = (
  page: readonly StateEntry[],
  own: readonly StateWrite[],
  from: string | undefined,
  upTo: string | undefined,
): StateEntry[] => {
  const inPage = ({ key }: StateWrite): boolean =>
    (from === undefined || compareUtf8(key, from) > 0) && (upTo === undefined || compareUtf8(key, upTo) <= 0);
  const mine = new Map(own.filter(inPage).map((write) => [write.key, write]));
  if (mine.size === 0) return [...page];
  const entries: StateEntry[] = [];
  for (const entry of page) {
    const write = mine.get(entry.key);
    if (write === undefined) entries.push(entry);
    else if (write.refresh) entries.push(fresh(entry));
  }
  for (const write of mine.values()) if (write.value !== undefined) entries.push(entryOf(write));
  return entries.sort((a, b) => compareUtf8(a.key, b.key));
};

/** It has no version before it is committed. */
const entryOf = ({ key, value }: StateWrite): StateEntry => ({ key, value: value ?? "", version: 0 });

const fresh = ({ stale: _, ...entry }: StateEntry): StateEntry => entry;

const sizeOf = (write: StateWrite | undefined): number => write?.value?.length ?? 0;

const tooMuch = (what: string, details: Record<string, unknown>): LockstepError =>
  new LockstepError("PAYLOAD_TOO_LARGE", `the invocation's transaction is too large: ${what}`, { details });
