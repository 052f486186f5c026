import { setTimeout as delay } from "node:timers/promises";

/** Something that the demo promises to show did not happen. */
export class NotShown extends Error {
  override readonly name = "NotShown";
}

export const expect = (condition: boolean, otherwise: string): void => {
  if (!condition) throw new NotShown(otherwise);
};

export const expectEqual = (what: string, actual: unknown, expected: unknown): void => {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new NotShown(`${what} is ${is}, expected ${should}`);
};

const POLL_MS = 5;

/** Resolves with the first value of `probe` that is not `undefined`. @throws {NotShown} after `withinMs` (default 10,000) */
export const until = async <T>(what: string, probe: () => T | undefined | Promise<T | undefined>, withinMs = 10_000): Promise<T> => {
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > giveUpAt) throw new NotShown(`${what}: not within ${withinMs / 1_000} s`);
    await delay(POLL_MS);
  }
};
