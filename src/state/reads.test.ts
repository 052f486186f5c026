import { expect, test } from "vitest";
import type { Staleness, StateEntry } from "../protocol/state.ts";
import type { StateMachine } from "./machine.ts";
import type { StateReader } from "./reader.ts";
import { TransactionReads } from "./reads.ts";
import { Transaction } from "./transaction.ts";

const STALE: Staleness = { run: "run_9", call: 1, function: "pay", fault: "execution", message: "no", at: 1 };

/** `during` is what happens while a row is read. */
const setUp = ({ stale = undefined as Staleness | undefined, during = (_: Transaction): void => {} } = {}) => {
  const told: string[] = [];
  const world = { stale };
  const tx = new Transaction({ space: "shop", run: "run_1", seq: 1, function: "ship" }, 0);
  const entryOf = (key: string): StateEntry => ({
    key,
    value: "1",
    version: 1,
    ...(world.stale === undefined ? {} : { stale: world.stale }),
  });
  const machine = {
    watch: (_: Transaction, _space: string, key: string) => told.push(`watch ${key}`),
    watchRange: () => ({ to: undefined }),
    staleOf: () => world.stale,
    yield: () => told.push("yield"),
  } as unknown as StateMachine;
  const reader = {
    known: (_: string, key: string) => entryOf(key),
    entry: async (_: string, key: string) => {
      const entry = entryOf(key);
      during(tx);
      return entry;
    },
    page: async () => [entryOf("a/1"), entryOf("a/2")],
    freshness: async () => {
      told.push("waits");
      world.stale = undefined;
    },
  } as unknown as StateReader;
  return { reads: new TransactionReads(machine, reader, () => told.push("yielded")), tx, told, world };
};

test("a read is watched before its row is looked at", async () => {
  const { reads, tx, told } = setUp({ during: () => expect(told).toEqual(["watch a/1"]) });
  expect(await reads.get(tx, "shop", { op: "get", key: "a/1" })).toMatchObject({ value: "1" });
  expect(tx.reads).toEqual(["a/1"]);
});

test("a key that is read alone needs no watch", async () => {
  const { reads, tx, told } = setUp();
  await reads.getAlone(tx, { op: "get", key: "a/1" });
  expect([told, tx.reads]).toEqual([[], ["a/1"]]);
});

test("a stale entry is refused, unless the read allows it or its own call has left it so", async () => {
  const { reads, tx, world } = setUp({ stale: STALE });
  await expect(reads.get(tx, "shop", { op: "get", key: "a/1" })).rejects.toMatchObject({ code: "STATE_STALE" });
  expect(await reads.get(tx, "shop", { op: "get", key: "a/1", stale: "allow" })).toMatchObject({ stale: STALE });
  world.stale = { ...STALE, run: "run_1" };
  expect(await reads.get(tx, "shop", { op: "get", key: "a/1" })).toMatchObject({ value: "1" });
});

test("one that waits until it is fresh is watched only then, and lets others commit if it goes before them", async () => {
  const { reads, tx, told } = setUp({ stale: STALE });
  tx.isUrgent = true;
  await reads.get(tx, "shop", { op: "get", key: "a/1", stale: "wait" });
  expect(told).toEqual(["yield", "yielded", "waits", "watch a/1"]);
});

test("what is known without the disk is given at once, unless it is stale or the transaction is over", () => {
  const { reads, tx, told, world } = setUp();
  expect(reads.known(tx, "a/1")).toMatchObject({ value: "1" });
  world.stale = STALE;
  expect(reads.known(tx, "a/1")).toBeUndefined();
  world.stale = undefined;
  tx.ended = true;
  expect([reads.known(tx, "a/1"), told]).toEqual([undefined, ["watch a/1"]]);
});

test("nothing is shown that was read for a transaction that can't commit any more", async () => {
  const { reads, tx } = setUp({
    during: (reading) => {
      reading.conflicted = true;
    },
  });
  await expect(reads.get(tx, "shop", { op: "get", key: "a/1" })).rejects.toMatchObject({ code: "STATE_CONFLICT" });
});
