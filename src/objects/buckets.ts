import type { StateRows } from "../journal/port.ts";
import type { StateChange } from "../protocol/state.ts";

const SPACE = "$buckets";
const PAGE = 1_000;

export interface BucketParts {
  rows: StateRows;
  turn: { state(changes: readonly StateChange[]): void; durable(): Promise<void> };
  now(): number;
  nextVersion(): number;
  /** Whether an application defines the bucket. */
  isDeclared(bucket: string): boolean;
  declared(): Iterable<string>;
}

/** Which buckets there are: those that applications define, and those that were created. */
export class BucketRegister {
  readonly #parts: BucketParts;
  /** Buckets stay, so that one which was found need not be looked for again. */
  readonly #known = new Set<string>();

  constructor(parts: BucketParts) {
    this.#parts = parts;
  }

  async has(bucket: string): Promise<boolean> {
    if (this.#known.has(bucket) || this.#parts.isDeclared(bucket)) return true;
    const there = (await this.#parts.rows.get(SPACE, bucket)) !== undefined;
    if (there) this.#known.add(bucket);
    return there;
  }

  async create(bucket: string): Promise<void> {
    if (await this.has(bucket)) return;
    const value = JSON.stringify({ at: this.#parts.now() });
    this.#parts.turn.state([{ space: SPACE, key: bucket, value, version: this.#parts.nextVersion() }]);
    await this.#parts.turn.durable();
    this.#known.add(bucket);
  }

  async list(): Promise<string[]> {
    const all = new Set(this.#parts.declared());
    let after: string | undefined;
    do {
      const rows = await this.#parts.rows.list(SPACE, "", PAGE, after);
      for (const { key } of rows) all.add(key);
      after = rows.length < PAGE ? undefined : rows.at(-1)?.key;
    } while (after !== undefined);
    return [...all].sort();
  }
}
