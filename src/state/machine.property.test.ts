import fc from "fast-check";
import { expect, test } from "vitest";
import { rowAfter } from "../journal/state-changes.ts";
import { compareUtf8 } from "../lib/utf8.ts";
import type { StateEntry, StateWrite } from "../protocol/state.ts";
import { type Decided, StateMachine, type Step } from "./machine.ts";
import { type Owner, type Transaction, URGENT_AFTER } from "./transaction.ts";

const SPACE = "shop";
const KEYS = ["a/1", "a/2", "a/é", "b/1", "b/2"];
const SLOTS = 4;

const slot = fc.nat({ max: SLOTS - 1 });
const key = fc.constantFrom(...KEYS);
const write: fc.Arbitrary<StateWrite> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ key }) },
  { weight: 1, arbitrary: fc.record({ key, refresh: fc.constant(true) }) },
  { weight: 5, arbitrary: fc.record({ key, value: fc.nat({ max: 99 }).map(String) }) },
);

const action = fc.oneof(
  { weight: 3, arbitrary: fc.record({ t: fc.constant("get" as const), slot, key }) },
  {
    weight: 3,
    arbitrary: fc.record({
      t: fc.constant("list" as const),
      slot,
      prefix: fc.constantFrom("a/", "b/", "a/1"),
      limit: fc.integer({ min: 1, max: 3 }),
      after: fc.option(key, { nil: undefined }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ t: fc.constant("commit" as const), slot, writes: fc.array(write, { maxLength: 2 }) }) },
  { weight: 1, arbitrary: fc.record({ t: fc.constant("fault" as const), slot, keys: fc.array(key, { maxLength: 2 }) }) },
  { weight: 1, arbitrary: fc.record({ t: fc.constant("abandon" as const), slot }) },
  { weight: 2, arbitrary: fc.record({ t: fc.constant("settle" as const), count: fc.nat({ max: 3 }) }) },
);

type Rows = Map<string, StateEntry>;

const shown = (entry: StateEntry | undefined): string => (entry === undefined ? "" : JSON.stringify(entry));

const listed = (rows: Rows, prefix: string, limit: number, after: string | undefined): StateEntry[] =>
  [...rows.values()]
    .filter((row) => row.key.startsWith(prefix) && row.version > 0 && (after === undefined || compareUtf8(row.key, after) > 0))
    .sort((x, y) => compareUtf8(x.key, y.key))
    .slice(0, limit);

/** One open transaction, and the questions that it has asked with the answers that it got. */
interface Open {
  tx: Transaction;
  asked: { again(rows: Rows): string; answer: string }[];
}

/** A machine, and the rows that it has decided, as a disk would hold them. */
class World {
  readonly machine = new StateMachine(0);
  readonly rows: Rows = new Map();
  readonly open = new Map<number, Open>();
  readonly pending: Decided[][] = [];
  readonly conflicts = new Map<number, number>();
  /** The call that each slot executes; the next one after it has committed. */
  readonly calls = new Map<number, number>();
  version = 0;

  ownerOf(of: number): Owner {
    return { space: SPACE, run: "run_00000000001", seq: (this.calls.get(of) ?? 0) * SLOTS + of + 1, function: "f" };
  }

  openOf(of: number): Open {
    const found = this.open.get(of) ?? { tx: this.machine.begin(this.ownerOf(of), this.conflicts.get(of) ?? 0), asked: [] };
    this.open.set(of, found);
    return found;
  }

  get(of: number, at: string): void {
    const { tx, asked } = this.openOf(of);
    this.machine.watch(tx, SPACE, at);
    asked.push({ again: (now) => shown(now.get(at)), answer: shown(this.rows.get(at)) });
  }

  list(of: number, prefix: string, limit: number, after?: string): void {
    const { tx, asked } = this.openOf(of);
    const range = this.machine.watchRange(tx, SPACE, prefix, after);
    const entries = listed(this.rows, prefix, limit, after);
    if (entries.length === limit) range.to = entries.at(-1)?.key;
    asked.push({ again: (now) => JSON.stringify(listed(now, prefix, limit, after)), answer: JSON.stringify(entries) });
  }

  /** Whether it has committed, after checking that what it has read is still so, or else that nothing was written. */
  commit(of: number, writes: readonly StateWrite[]): boolean {
    const { tx, asked } = this.openOf(of);
    this.open.delete(of);
    const before = JSON.stringify([...this.rows]);
    const isAsRead = asked.every(({ again, answer }) => again(this.rows) === answer);
    const step = this.machine.commit(tx, [{ space: SPACE, writes }], 0);
    this.conflicts.set(of, step === undefined ? (this.conflicts.get(of) ?? 0) + 1 : 0);
    if (step === undefined) {
      expect(JSON.stringify([...this.rows])).toBe(before);
      return false;
    }
    expect(isAsRead).toBe(true);
    this.take(step);
    return true;
  }

  fault(of: number, keys: readonly string[]): void {
    const owner = this.ownerOf(of);
    this.take(this.machine.fault(owner, keys, { run: owner.run, call: owner.seq, function: "f", fault: "execution", message: "", at: 0 }));
  }

  take(step: Step): void {
    for (const change of step.changes) {
      const row = rowAfter(this.rows.get(change.key), change);
      if (row === undefined) this.rows.delete(change.key);
      else this.rows.set(change.key, row);
      if (change.keep === true) continue;
      expect(change.version).toBeGreaterThan(this.version);
      this.version = change.version;
    }
    this.pending.push(step.decided);
  }

  settle(count: number): void {
    for (const decided of this.pending.splice(0, count)) this.machine.settle(decided);
  }

  /** The machine's marks are those of the rows, and what is on its way to the disk is what was decided last. */
  check(): void {
    for (const of of KEYS) {
      const entry = this.rows.get(of);
      expect(this.machine.staleOf(SPACE, of)).toEqual(entry?.stale);
      const isPending = this.pending.some((decided) => decided.some(({ key: at }) => at === of));
      expect(this.machine.decided(SPACE, of) !== undefined).toBe(isPending);
      const row = this.machine.decided(SPACE, of)?.row;
      if (row === undefined) continue;
      expect(row.value ?? "").toBe(entry?.value ?? "");
      if (row.value !== undefined) expect(row.version).toBe(entry?.version);
    }
  }
}

const perform = (world: World, step: typeof action extends fc.Arbitrary<infer Action> ? Action : never): void => {
  switch (step.t) {
    case "get":
      return world.get(step.slot, step.key);
    case "list":
      return world.list(step.slot, step.prefix, step.limit, step.after);
    case "commit":
      world.commit(step.slot, step.writes);
      return;
    case "fault":
      return world.fault(step.slot, step.keys);
    case "abandon":
      world.machine.end(world.openOf(step.slot).tx);
      world.open.delete(step.slot);
      return;
    case "settle":
      return world.settle(step.count);
  }
};

test("what commits has read what is there at its commit, and what does not commit writes nothing (I1, I2, I3)", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 30 }), (actions) => {
      const world = new World();
      for (const step of actions) {
        perform(world, step);
        world.check();
      }
      for (const { tx } of world.open.values()) world.machine.end(tx);
      world.settle(Number.POSITIVE_INFINITY);
      expect(world.machine.isIdle).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test("of calls that always conflict the oldest gets through soon, in whatever order they come to their commits (I4)", () => {
  fc.assert(
    fc.property(fc.array(slot, { maxLength: 200 }), fc.array(fc.boolean(), { minLength: SLOTS, maxLength: SLOTS }), (order, lists) => {
      const world = new World();
      const begin = (of: number): void => (lists[of] === true ? world.list(of, "a/", 9) : world.get(of, "a/1"));
      for (let of = 0; of < SLOTS; of++) begin(of);
      let losses = 0;
      for (const of of order) {
        const isOldest = [0, 1, 2, 3].every((other) => world.ownerOf(of).seq <= world.ownerOf(other).seq);
        const commits = world.commit(of, [{ key: "a/1", value: "1" }]);
        if (commits) world.calls.set(of, (world.calls.get(of) ?? 0) + 1);
        if (isOldest) losses = commits ? 0 : losses + 1;
        // It may have lost already when it became the oldest, and becomes urgent by the third loss.
        expect(losses).toBeLessThanOrEqual(URGENT_AFTER);
        begin(of);
      }
    }),
  );
});
