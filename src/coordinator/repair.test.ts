import { expect, test } from "vitest";
import { LockstepError } from "../lib/errors.ts";
import { runIdOf } from "../lib/ids.ts";
import type { JournalRecord, RunSummary } from "../protocol/run.ts";
import { type RepairParts, repairRuns } from "./repair.ts";

const failure = { code: "FUNCTION_FAILED", message: "no" };
const RECORDS: JournalRecord[] = [
  { t: "call", seq: 1, at: 1, fn: "pay", version: "v", input: "" },
  { t: "suspend", seq: 1, attempt: 1, at: 2, failure },
];

/** So many suspended runs, and what happens when one is resumed. */
const partsOf = (count: number, resume: (run: string) => void = () => {}) => {
  const resumed: string[] = [];
  const ids = Array.from({ length: count }, (_, i) => runIdOf(10_000 + i));
  let pages = 0;
  const head = { kind: "function", name: "pay", application: "a", version: "v", status: "suspended", acceptedAt: 1 } as const;
  const act = async (run: string): Promise<void> => {
    resume(run);
    resumed.push(run);
  };
  const parts: RepairParts = {
    journal: {
      list: async (_filter, limit, cursor = "0") => {
        pages++;
        const runs: RunSummary[] = ids.slice(Number(cursor), Number(cursor) + limit).map((id) => ({ id, ...head }));
        const next = Number(cursor) + limit;
        return next < ids.length ? { runs, cursor: String(next) } : { runs };
      },
      load: async (id) => ({ id, ...head, input: "", priority: 0, live: true }),
      records: async () => RECORDS,
    },
    runs: { resume: act, resolve: act },
  };
  return { parts, ids, resumed, pages: () => pages };
};

test("a run that somebody else has changed meanwhile is left out, and the others are repaired", async () => {
  const changed = new Set([runIdOf(10_001), runIdOf(10_002)]);
  const codes = ["RUN_NOT_SUSPENDED", "RUN_FINISHED", "UNKNOWN_RUN", "CALL_NOT_FOUND"] as const;
  for (const code of codes) {
    const { parts, ids } = partsOf(4, (run) => {
      if (changed.has(run)) throw new LockstepError(code, "too late");
    });
    expect((await repairRuns(parts, {}, false)).map(({ run }) => run)).toEqual([ids[0], ids[3]]);
    expect(await repairRuns(parts, { function: "pay" }, false)).toHaveLength(2);
  }
});

test("any other error ends the repair", async () => {
  const { parts } = partsOf(2, () => {
    throw new LockstepError("JOURNAL_UNAVAILABLE", "the disk is full");
  });
  await expect(repairRuns(parts, {}, false)).rejects.toMatchObject({ code: "JOURNAL_UNAVAILABLE" });
});

test("no more is looked at than the limit asks for, and never everything", async () => {
  const some = partsOf(500);
  expect(await repairRuns(some.parts, { limit: 150 }, false)).toHaveLength(150);
  expect([some.resumed.length, some.pages()]).toEqual([150, 2]);
  const many = partsOf(25_000);
  expect(await repairRuns(many.parts, { function: "other" }, false)).toEqual([]);
  expect(many.pages()).toBe(200);
});
