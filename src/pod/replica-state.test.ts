import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { digestOf, ReplicaState } from "./replica-state.ts";

const digests = (state: ReplicaState): string[] => state.pages().map(({ digest }) => digest);

describe("the state of a replicated function", () => {
  test("the same state has the same pages, whatever way it came to be", () => {
    const writes = fc.array(
      fc.tuple(
        fc.string({ maxLength: 5 }),
        fc.jsonValue().map((value) => JSON.stringify(value)),
      ),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(writes, fc.nat(200), (all, cut) => {
        const one = new ReplicaState();
        const other = new ReplicaState();
        for (const [i, [key, state]] of all.entries()) {
          one.set(key, state);
          if (i === cut) one.pages();
        }
        const last = new Map(all);
        for (const [key, state] of [...last].reverse()) other.set(key, state);
        expect(digests(one)).toEqual(digests(other));
        const installed = new ReplicaState();
        installed.set("stray", "1");
        installed.install(one.pages().map(({ text }) => text));
        expect(digests(installed)).toEqual(digests(one));
        for (const [key, state] of last) expect(installed.get(key)).toBe(state);
      }),
    );
  });

  test("a page's digest is that of its text, and only pages of changed keys are written anew", () => {
    const state = new ReplicaState();
    for (let i = 0; i < 2_000; i++) state.set(`key-${i}`, `${i}`);
    const before = state.pages();
    for (const { digest, text } of before) expect(digest).toBe(digestOf(text));
    state.set("key-7", "8");
    const changed = state.pages().filter((page) => !before.includes(page));
    expect(changed).toHaveLength(1);
    expect(changed[0]?.text).toContain('["key-7","8"]');
  });

  test("large buckets are split", () => {
    const state = new ReplicaState();
    for (let i = 0; i < 4; i++) state.set("k".repeat(i + 1), "x".repeat(200_000));
    for (const { text } of state.pages()) expect(text.length).toBeLessThan(256 * 1024);
  });
});
