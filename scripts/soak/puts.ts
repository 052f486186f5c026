/**
 * Writers that put objects, each into keys of its own, while everything is killed; what they put must be there, and must have started one
 * run each, in order. Of a PUT whose answer was lost half of the writers ask whether it was taken; the others name their PUTs, and repeat it.
 */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Random, seeded } from "../../src/lib/random.ts";
import type { Violations } from "./report.ts";
import type { World } from "./world.ts";

const BUCKET = "soaked";
const KEYS = 3;
const RECONNECT_MS = 50;
const LONGEST_PAUSE_MS = 250;

/** What was put under a key, the first first. */
interface Written {
  versions: string[];
  etag: string;
}

/** A run that an object has started. */
export interface Arrival {
  run: string;
  key: string;
  version: string;
}

export class Puts {
  readonly #world: World;
  readonly #violations: Violations;
  readonly #written = new Map<string, Written>();
  #writers: Promise<void>[] = [];
  #stopping = false;
  /** PUTs whose answer was lost. */
  unanswered = 0;

  constructor(world: World, violations: Violations) {
    this.#world = world;
    this.#violations = violations;
  }

  get count(): number {
    return [...this.#written.values()].reduce((sum, { versions }) => sum + versions.length, 0);
  }

  start(writers: number, random: Random): void {
    this.#writers = Array.from({ length: writers }, (_, writer) => this.#write(writer, seeded(random.below(2 ** 31))));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#writers);
  }

  /** @param arrivals the runs that PUTs under `in/` have started */
  async examine(arrivals: readonly Arrival[]): Promise<void> {
    const byKey = Map.groupBy(arrivals, ({ key }) => key);
    for (const [key, { versions, etag }] of this.#written) {
      // Ids grow with the order of acceptance.
      const started = (byKey.get(key) ?? []).sort((a, b) => (a.run < b.run ? -1 : 1)).map(({ version }) => version);
      if (started.join() !== versions.join()) this.#violations.add(`${key}: put ${versions.join()}, and started ${started.join()}`);
      const found = await this.#found(key);
      if (found?.etag !== etag) this.#violations.add(`${key} has not what was put last`);
      byKey.delete(key);
    }
    for (const key of byKey.keys()) this.#violations.add(`${key} started runs, and nobody has put it`);
  }

  async #write(writer: number, random: Random): Promise<void> {
    for (let n = 0; !this.#stopping; n++) {
      const key = `in/${writer}/${random.below(KEYS)}`;
      try {
        const content = `${writer}/${n} `.repeat(1 + random.below(4) ** 8);
        const etag = `"${createHash("sha256").update(content).digest("hex")}"`;
        const version = await this.#put(key, content, etag, writer % 2 === 0 ? undefined : `${writer}/${n}`);
        const written = this.#written.get(key) ?? { versions: [], etag };
        written.versions.push(version);
        this.#written.set(key, { versions: written.versions, etag });
        if (random.below(4) === 0) await this.#compare(key, etag);
      } catch (error) {
        this.#violations.add(`PUT ${key}: ${(error as Error).message}`);
      }
      await delay(random.below(LONGEST_PAUSE_MS));
    }
  }

  /** Puts until it is known to be there. @returns its version */
  async #put(key: string, body: string, etag: string, name: string | undefined): Promise<string> {
    for (;;) {
      const answer = await this.#ask("PUT", key, body, name);
      if (answer?.ok) return ((await answer.json()) as { version: string }).version;
      if (answer === undefined && name === undefined) {
        const found = await this.#found(key);
        if (found?.etag === etag) return found.version;
      } else if (answer !== undefined && answer.status !== 503 && answer.status !== 429)
        throw new Error(`${answer.status} ${await answer.text()}`);
      await delay(RECONNECT_MS);
    }
  }

  /** What one has put is what one reads, and nothing in between. */
  async #compare(key: string, etag: string): Promise<void> {
    for (;;) {
      const answer = await this.#ask("GET", key);
      const bytes = answer?.ok ? await answer.bytes().catch(() => undefined) : undefined;
      if (bytes !== undefined) {
        const read = `"${createHash("sha256").update(bytes).digest("hex")}"`;
        if (read !== etag) this.#violations.add(`${key} was put and is not what is read`);
        return;
      }
      if (answer?.status === 404) return this.#violations.add(`${key} was put and is gone`);
      await delay(RECONNECT_MS);
    }
  }

  async #found(key: string): Promise<{ etag: string; version: string } | undefined> {
    for (;;) {
      const answer = await this.#ask("HEAD", key);
      if (answer?.status === 404) return undefined;
      if (answer?.ok) return { etag: answer.headers.get("etag") ?? "", version: answer.headers.get("x-lockstep-version") ?? "" };
      await delay(RECONNECT_MS);
    }
  }

  /** `undefined` when the connection broke. */
  async #ask(method: string, key: string, body?: string, name?: string): Promise<Response | undefined> {
    const headers: Record<string, string> = name === undefined ? {} : { "idempotency-key": name };
    const request = body === undefined ? { method, headers } : { method, headers, body };
    try {
      return await fetch(`${this.#world.url}/v1/buckets/${BUCKET}/objects/${key}`, request);
    } catch (error) {
      // Killing what it talks to is what this is about: the caller asks again.
      if (method === "PUT" && (error as { cause?: { code?: string } }).cause?.code !== "ECONNREFUSED") this.unanswered++;
      return undefined;
    }
  }
}
