/**
 * The state of a replicated function: for each key its JSON, in buckets that are written to pages.
 *
 * Owns: which page a key is in, and that the same state has the same pages at each replica, whatever way it came to be. Values are kept as text:
 * an operation that throws has changed nothing, and what the next one sees is what a replica sees that has got the state from a peer.
 */
import { createHash } from "node:crypto";
import type { Digest } from "../consensus/crypto.ts";
import type { Json } from "../lib/json.ts";

export interface Page {
  digest: Digest;
  text: string;
}

const BUCKETS = 256;
/** Characters; a single key's state may be longer. */
const PAGE_CHARACTERS = 256 * 1024;

interface Bucket {
  readonly states: Map<string, Json>;
  /** As they were written last; undefined when something has changed since. */
  pages: Page[] | undefined;
}

export class ReplicaState {
  readonly #buckets: (Bucket | undefined)[] = Array.from({ length: BUCKETS });
  /** A key's bucket is asked for by each operation, and its hash costs more than a small one. */
  readonly #places = new Map<string, number>();

  get size(): number {
    return this.#places.size;
  }

  get(key: string): Json | undefined {
    const at = this.#places.get(key);
    return at === undefined ? undefined : this.#buckets[at]?.states.get(key);
  }

  set(key: string, state: Json): void {
    const at = this.#places.get(key) ?? bucketOf(key);
    this.#places.set(key, at);
    this.#buckets[at] ??= { states: new Map(), pages: undefined };
    const bucket = this.#buckets[at];
    if (bucket.states.get(key) === state) return;
    bucket.states.set(key, state);
    bucket.pages = undefined;
  }

  /** Only what has changed since the last time is written anew. */
  pages(): Page[] {
    const all: Page[] = [];
    for (const bucket of this.#buckets) {
      if (bucket === undefined) continue;
      bucket.pages ??= write(bucket.states);
      for (const page of bucket.pages) all.push(page);
    }
    return all;
  }

  /** Replaces everything by what `pages` of another replica, or of an earlier life, says. */
  install(pages: readonly string[]): void {
    this.#buckets.fill(undefined);
    this.#places.clear();
    for (const text of pages) for (const [key, state] of JSON.parse(text) as [string, Json][]) this.set(key, state);
  }
}

export const digestOf = (text: string): Digest => createHash("sha256").update(text).digest("hex");

const bucketOf = (key: string): number => createHash("sha256").update(key).digest()[0] as number;

const byKey = ([a]: [string, Json], [b]: [string, Json]): number => (a < b ? -1 : 1);

const write = (states: ReadonlyMap<string, Json>): Page[] => {
  const pages: Page[] = [];
  let part: string[] = [];
  let characters = 0;
  const close = (): void => {
    const text = `[${part.join(",")}]`;
    pages.push({ digest: digestOf(text), text });
    part = [];
    characters = 0;
  };
  for (const entry of [...states].sort(byKey)) {
    const text = JSON.stringify(entry);
    if (characters > 0 && characters + text.length > PAGE_CHARACTERS) close();
    part.push(text);
    characters += text.length;
  }
  if (part.length > 0) close();
  return pages;
};
