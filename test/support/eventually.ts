/** Waiting for conditions with a deadline, which is what these tests do instead of sleeping. */
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 10;

/**
 * Resolves with the first value of `probe` that is neither `undefined` nor `false`.
 * @throws {Error} naming `what` after `withinMs` (default 30,000: for what never comes, not for what is slow)
 */
export const eventually = async <T>(
  what: string,
  probe: () => T | Promise<T>,
  withinMs = 30_000,
): Promise<Exclude<T, undefined | false>> => {
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    if (performance.now() > giveUpAt) throw new Error(`${what}: not within ${withinMs} ms`);
    await delay(POLL_MS);
  }
};

/** Rejects when `promise` takes longer than `ms`. */
export const within = async <T>(what: string, ms: number, promise: Promise<T>): Promise<T> => {
  const late = new AbortController();
  const timeout = delay(ms, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${what}: not within ${ms} ms`);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    late.abort();
    timeout.catch(() => undefined);
  }
};
