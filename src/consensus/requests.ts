import { ChurnMap } from "../lib/churn-map.ts";
import type { Digest, PublicKey } from "./crypto.ts";
import type { Request } from "./messages.ts";

/** A request whose signature was found good, once. */
export interface Pooled {
  readonly digest: Digest;
  readonly request: Request;
  /** In characters. */
  readonly size: number;
  readonly arrivedAt: number;
}

/**
 * Requests whose bodies are here: those that wait for their order, first come first served, and those that batches of the log name.
 *
 * I1  A request is pending from its arrival until a number at which it stands is ordered, with all numbers before it.
 * I2  A body stays while it is pending or a held batch names it.
 * I3  Of each client at most so many are pending; a batch's bodies are bounded by the window.
 */
export class RequestPool {
  readonly #bodies = new ChurnMap<Digest, Pooled>();
  readonly #pending = new ChurnMap<Digest, Pooled>();
  /** Of the pending ones those that no number of the current view has. */
  #unproposed = new ChurnMap<Digest, Pooled>();
  readonly #named = new ChurnMap<Digest, number>();
  readonly #pendingOf = new Map<PublicKey, { count: number; size: number }>();

  get size(): number {
    return this.#bodies.size;
  }

  get pending(): number {
    return this.#pending.size;
  }

  get unproposed(): number {
    return this.#unproposed.size;
  }

  pendingOf(client: PublicKey): number {
    return this.#pendingOf.get(client)?.count ?? 0;
  }

  /** In characters. */
  pendingSizeOf(client: PublicKey): number {
    return this.#pendingOf.get(client)?.size ?? 0;
  }

  body(digest: Digest): Pooled | undefined {
    return this.#bodies.get(digest);
  }

  isPending(digest: Digest): boolean {
    return this.#pending.has(digest);
  }

  isNamed(digest: Digest): boolean {
    return this.#named.has(digest);
  }

  /** The request that has waited longest. */
  get oldest(): Pooled | undefined {
    for (const [, pooled] of this.#pending) return pooled;
    return undefined;
  }

  waiting(): Iterable<[Digest, Pooled]> {
    return this.#unproposed;
  }

  pendings(): Iterable<[Digest, Pooled]> {
    return this.#pending;
  }

  /** Takes a body; it is pending if it waits for its order. */
  add(pooled: Pooled, isPending: boolean): void {
    this.#bodies.set(pooled.digest, pooled);
    if (isPending) this.#wait(pooled);
  }

  #wait(pooled: Pooled): void {
    if (this.#pending.has(pooled.digest)) return;
    this.#pending.set(pooled.digest, pooled);
    this.#unproposed.set(pooled.digest, pooled);
    this.#count(pooled, 1);
  }

  /** A number of the current view has it. */
  propose(digest: Digest): void {
    this.#unproposed.delete(digest);
  }

  /** Another view begins: none has a number, until `propose`. */
  reconsider(): void {
    this.#unproposed = new ChurnMap();
    for (const [digest, pooled] of this.#pending) this.#unproposed.set(digest, pooled);
  }

  /** It has its place in the order, or needs none. */
  order(digest: Digest): void {
    const pooled = this.#pending.get(digest);
    if (pooled === undefined) return;
    this.#pending.delete(digest);
    this.#unproposed.delete(digest);
    this.#count(pooled, -1);
    this.#sweep(digest);
  }

  /** What it was ordered at is void. */
  reopen(digest: Digest): void {
    const pooled = this.#bodies.get(digest);
    if (pooled !== undefined) this.#wait(pooled);
  }

  name(digest: Digest): void {
    this.#named.set(digest, (this.#named.get(digest) ?? 0) + 1);
  }

  unname(digest: Digest): void {
    const left = (this.#named.get(digest) ?? 1) - 1;
    if (left > 0) {
      this.#named.set(digest, left);
      return;
    }
    this.#named.delete(digest);
    this.#sweep(digest);
  }

  #sweep(digest: Digest): void {
    if (!this.#named.has(digest) && !this.#pending.has(digest)) this.#bodies.delete(digest);
  }

  #count({ request: { client }, size }: Pooled, by: 1 | -1): void {
    const count = this.pendingOf(client) + by;
    if (count === 0) this.#pendingOf.delete(client);
    else this.#pendingOf.set(client, { count, size: this.pendingSizeOf(client) + by * size });
  }
}
