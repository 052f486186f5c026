import type { Clock } from "../lib/clock.ts";
import { LockstepError } from "../lib/errors.ts";

export interface BodyBounds {
  maxBytes: number;
  /** Without these, the body may take any time. */
  clock?: Clock;
  stallMs?: number;
  bodyMs?: number;
}

/**
 * A body that ends with an error beyond its bounds, of whatever source: one that never brings its next chunk is given up, not waited for.
 */
export async function* bounded(body: AsyncIterable<Uint8Array>, bounds: BodyBounds): AsyncGenerator<Uint8Array> {
  const { maxBytes, clock, bodyMs = Number.POSITIVE_INFINITY } = bounds;
  const source = body[Symbol.asyncIterator]();
  const until = (clock?.now() ?? 0) + bodyMs;
  let bytes = 0;
  let ended = false;
  try {
    for (;;) {
      const step = await inTime(source, bounds, until);
      ended = step.done === true;
      if (step.done) return;
      bytes += step.value.length;
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      if (step.value.length > 0) yield step.value;
    }
  } finally {
    // Not awaited: a source that hangs may never answer.
    if (!ended) source.return?.()?.catch(() => undefined);
  }
}

const inTime = (
  source: AsyncIterator<Uint8Array>,
  { clock, stallMs = Number.POSITIVE_INFINITY }: BodyBounds,
  until: number,
): Promise<IteratorResult<Uint8Array, undefined>> => {
  if (clock === undefined) return source.next();
  const waitMs = Math.min(stallMs, until - clock.now());
  if (waitMs <= 0) return Promise.reject(tooSlow("took too long"));
  return new Promise((resolve, reject) => {
    const stop = clock.after(waitMs, () => reject(tooSlow(waitMs < stallMs ? "took too long" : `brought nothing for ${stallMs} ms`)));
    source.next().then(resolve, reject).finally(stop);
  });
};

const tooSlow = (what: string): LockstepError => new LockstepError("BAD_REQUEST", `the body ${what}`, { details: { field: "body" } });

export const tooLarge = (limit: number): LockstepError =>
  new LockstepError("PAYLOAD_TOO_LARGE", `the object is larger than ${limit} bytes`, { details: { limit } });
