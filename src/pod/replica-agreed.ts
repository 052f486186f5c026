/**
 * What user code in a replica finds in place of the clock and of chance: values on which all replicas have agreed, so that the same operation
 * comes to the same result everywhere.
 *
 * The clock stands still during an operation; timers run by the real one. What is random follows from the batch's seed and the operation's id:
 * it is nothing that the other replicas would not know, and so no secret. Code that looks elsewhere (files, what the process has used) can still
 * differ, and is named by the votes.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import crypto, { createHash } from "node:crypto";
import os from "node:os";
import { LockstepError } from "../lib/errors.ts";

/** The agreed values of one operation. */
export interface Agreed {
  /** Unix ms. */
  readonly time: number;
  /** From it follows all that is random. */
  readonly seed: string;
  /** Made when something random is asked for first. */
  chance?: Chance;
}

export const agreed = new AsyncLocalStorage<Agreed>();

/** Of a module that is loading: the same at all replicas, and at each start. */
export const LOADING: Agreed = { time: 0, seed: "loading" };

const HASH_BYTES = 32;
const WORD = 2 ** 32;
const HALF_BITS = 2 ** 21;

/** SHA-256 in counter mode over a seed. */
export class Chance {
  readonly #seed: string;
  #counter = 0;
  #block = Buffer.alloc(0);
  #at = 0;

  constructor(seed: string) {
    this.#seed = seed;
  }

  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; ) {
      if (this.#at === this.#block.length) this.#next();
      const count = Math.min(bytes.length - i, HASH_BYTES - this.#at);
      bytes.set(this.#block.subarray(this.#at, this.#at + count), i);
      this.#at += count;
      i += count;
    }
  }

  /** A float in [0, 1) with 53 bits. */
  float(): number {
    const bytes = Buffer.allocUnsafe(8);
    this.fill(bytes);
    return (bytes.readUInt32LE(0) * HALF_BITS + (bytes.readUInt32LE(4) >>> 11)) / (WORD * HALF_BITS);
  }

  uuid(): string {
    const bytes = Buffer.allocUnsafe(16);
    this.fill(bytes);
    bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
    const hex = bytes.toString("hex");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  #next(): void {
    this.#block = createHash("sha256")
      .update(`${this.#seed}/${this.#counter++}`)
      .digest();
    this.#at = 0;
  }
}

export const chanceOf = (values: Agreed): Chance => {
  values.chance ??= new Chance(values.seed);
  return values.chance;
};

/** Puts the agreed values in the place of this process's clock and sources of chance; outside of operations these stay what they are. */
export const installAgreed = (): void => {
  installClock();
  installRandom();
  installPlace();
  installNetwork();
};

const installClock = (): void => {
  const Real = Date;
  const realNow = Date.now;
  const now = (): number => agreed.getStore()?.time ?? realNow();
  Real.now = now;
  // A proxy, so that what Date is besides (its statics, `instanceof`, being called as a function) stays as it is.
  const Clock = new Proxy(Real, {
    construct: (target, given, as) => Reflect.construct(target, given.length === 0 ? [now()] : given, as),
    apply: () => new Real(now()).toString(),
  });
  Real.prototype.constructor = Clock;
  globalThis.Date = Clock;
  const { timeOrigin } = performance;
  const elapsed = performance.now.bind(performance);
  define(performance, "now", () => agreed.getStore()?.time ?? elapsed());
  Object.defineProperty(performance, "timeOrigin", {
    configurable: true,
    get: () => (agreed.getStore() === undefined ? timeOrigin : 0),
  });
  const { hrtime, uptime } = process;
  const nanoseconds = (): bigint => {
    const values = agreed.getStore();
    return values === undefined ? hrtime.bigint() : BigInt(Math.trunc(values.time)) * 1_000_000n;
  };
  define(
    process,
    "hrtime",
    Object.assign((since?: [number, number]) => timeSince(nanoseconds(), since), { bigint: nanoseconds }),
  );
  define(process, "uptime", () => (agreed.getStore() === undefined ? uptime.call(process) : 0));
  installFormat(now);
};

/** What is formatted without a date is the present moment, which Node asks its own clock for. */
const installFormat = (now: () => number): void => {
  const { prototype } = Intl.DateTimeFormat;
  const { formatToParts } = prototype;
  const formatOf = Object.getOwnPropertyDescriptor(prototype, "format")?.get as () => (date?: Date | number) => string;
  const bound = new WeakMap<object, (date?: Date | number) => string>();
  const get = function (this: Intl.DateTimeFormat) {
    const known = bound.get(this);
    if (known !== undefined) return known;
    const real = formatOf.call(this);
    const format = (date?: Date | number): string => real(date === undefined ? now() : date);
    bound.set(this, format);
    return format;
  };
  Object.defineProperty(prototype, "format", { get, configurable: true });
  define(prototype, "formatToParts", function (this: Intl.DateTimeFormat, date?: Date | number) {
    return formatToParts.call(this, date === undefined ? now() : date);
  });
};

/** Of this process and machine: the same everywhere, and as good as unknown. */
const installPlace = (): void => {
  const { pid, ppid } = process;
  const places = { pid, ppid };
  for (const name of ["pid", "ppid"] as const) {
    const get = (): number => (agreed.getStore() === undefined ? places[name] : 1);
    Object.defineProperty(process, name, { get, configurable: true, enumerable: true });
  }
  const { uptime, loadavg, freemem, totalmem } = os;
  define(os, "uptime", () => (agreed.getStore() === undefined ? uptime() : 0));
  define(os, "loadavg", () => (agreed.getStore() === undefined ? loadavg() : [0, 0, 0]));
  define(os, "freemem", () => (agreed.getStore() === undefined ? freemem() : totalmem()));
};

const SECOND = 1_000_000_000n;

const timeSince = (at: bigint, [seconds, nanoseconds]: [number, number] = [0, 0]): [number, number] => {
  const passed = at - (BigInt(seconds) * SECOND + BigInt(nanoseconds));
  return [Number(passed / SECOND), Number(passed % SECOND)];
};

const installRandom = (): void => {
  const chance = (): Chance | undefined => {
    const values = agreed.getStore();
    return values === undefined ? undefined : chanceOf(values);
  };
  const random = Math.random;
  define(Math, "random", () => chance()?.float() ?? random());
  // That of the module asks the web's.
  const web = Object.getPrototypeOf(globalThis.crypto) as typeof globalThis.crypto;
  const { getRandomValues } = web;
  const { randomUUID, randomBytes, randomFillSync, randomFill, randomInt } = crypto;
  const uuid = (options?: object): string => chance()?.uuid() ?? randomUUID(options);
  const values = <T extends ArrayBufferView>(into: T): T =>
    filled(chance(), into) ?? (getRandomValues.call(globalThis.crypto, into as never) as unknown as T);
  define(crypto, "randomUUID", uuid);
  define(web, "randomUUID", uuid);
  define(web, "getRandomValues", values);
  define(crypto, "randomBytes", (size: number, done?: (error: null, bytes: Buffer) => void) => {
    const source = chance();
    if (source === undefined) return done === undefined ? randomBytes(size) : randomBytes(size, done as never);
    const bytes = filled(source, Buffer.alloc(size)) as Buffer;
    return done === undefined ? bytes : later(done, bytes);
  });
  define(crypto, "randomFillSync", (into: ArrayBufferView, ...part: number[]) => {
    const source = chance();
    if (source === undefined) return randomFillSync(into as never, ...(part as []));
    source.fill(partOf(into, ...part));
    return into;
  });
  define(crypto, "randomFill", (into: ArrayBufferView, ...rest: unknown[]) => {
    const source = chance();
    if (source === undefined) return (randomFill as (...given: unknown[]) => void)(into, ...rest);
    source.fill(partOf(into, ...(rest.slice(0, -1) as number[])));
    later(rest.at(-1) as (error: null, bytes: unknown) => void, into);
  });
  define(crypto, "randomInt", (...given: unknown[]) => {
    const source = chance();
    if (source === undefined) return (randomInt as (...args: unknown[]) => unknown)(...given);
    const done = typeof given.at(-1) === "function" ? (given.pop() as (error: null, value: unknown) => void) : undefined;
    const [least, most] = given.length === 1 ? [0, given[0] as number] : (given as [number, number]);
    const value = least + Math.floor(source.float() * (most - least));
    return done === undefined ? value : later(done, value);
  });
};

const installNetwork = (): void => {
  const { fetch } = globalThis;
  define(globalThis, "fetch", (...given: Parameters<typeof fetch>) =>
    agreed.getStore() === undefined ? fetch(...given) : Promise.reject(denied("fetch", "what the network answers is not agreed on")),
  );
};

/** Why a replicated function can't have something. */
export const denied = (what: string, why: string): LockstepError =>
  Object.assign(new LockstepError("ACCESS_DENIED", `${what} is not offered to a function that is replicated: ${why}`), { terminal: true });

const define = (on: object, name: string, value: unknown): void => {
  Object.defineProperty(on, name, { value, writable: true, configurable: true });
};

const filled = <T extends ArrayBufferView>(source: Chance | undefined, into: T): T | undefined => {
  source?.fill(partOf(into));
  return source === undefined ? undefined : into;
};

const partOf = (view: ArrayBufferView, offset = 0, size?: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength).subarray(offset, size === undefined ? undefined : offset + size);

const later = (done: (error: null, value: never) => void, value: unknown): void => {
  setImmediate(done, null, value as never);
};
