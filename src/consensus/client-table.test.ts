import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashText } from "../testing/replica-keys.ts";
import { PageWriter, readPages } from "./client-pages.ts";
import { ClientTable, epochId, NUMBERS_AHEAD } from "./client-table.ts";
import type { Request } from "./messages.ts";

const LIMITS = { maxKeptOperations: 30, maxKeptSize: 1_000_000 };

interface Ask {
  client: string;
  session: number;
  number: number;
  settled: number;
  ids: string[];
  opens: boolean;
}

const requestOf = ({ client, session, number, settled, ids, opens }: Ask): Request => ({
  client,
  session,
  number,
  settled,
  body: opens ? { t: "session", keep: ids } : { t: "call", operations: ids.map((id) => ({ id, key: "", input: "" })) },
  signature: "",
});

const asks: fc.Arbitrary<Ask[]> = fc.array(
  fc
    .record({
      client: fc.constantFrom("one", "two"),
      session: fc.integer({ min: 1, max: 3 }),
      number: fc.integer({ min: 1, max: 12 }),
      settled: fc.integer({ min: 0, max: 11 }),
      ids: fc.uniqueArray(fc.integer({ min: 0, max: 20 }), { maxLength: 4 }).map((ids) => ids.map((id) => `op/${id}`)),
      opens: fc.boolean(),
    })
    .map((ask) => ({ ...ask, settled: Math.min(ask.settled, ask.number - 1) })),
  { maxLength: 80 },
);

/** Admits requests one to a number, and fills in results as an executor that lags by `lag` does. */
const play = (table: ClientTable, requests: readonly Ask[], lag: number, first = 1): string[] => {
  const log: string[] = [];
  const waiting: (() => void)[] = [];
  requests.forEach((ask, i) => {
    const seq = first + i;
    const { fresh, refused, known } = table.admit(requestOf(ask), seq, 0);
    log.push(
      `${seq} ${fresh.map((kept) => `${kept.id}${refused.has(kept) ? "!" : ""}`)} | ${known.map(({ id, seq: at }) => `${id}@${at}`)}`,
    );
    waiting.push(() => {
      for (const kept of fresh) {
        kept.isDone = true;
        kept.outcome = `outcome of ${kept.id} at ${seq}`;
        kept.input = "";
      }
      table.keep(
        seq,
        "1",
        fresh.map(({ id }) => hashText(id)),
      );
    });
    if (waiting.length > lag) waiting.shift()!();
  });
  for (const complete of waiting) complete();
  return log;
};

const HEADER = { seq: 1, time: 5, epoch: 1, membership: "", firstView: 0, base: { seq: 0, digest: "" } };

const textOf = (table: ClientTable): string => {
  for (const batch of table.batches.keys()) table.dirty.add(Math.floor(batch / 32));
  return new PageWriter().write(table, HEADER, hashText).core.join("\n");
};

describe("the client table", () => {
  test("decides the same however far execution lags behind the order", () => {
    fc.assert(
      fc.property(asks, fc.integer({ min: 0, max: 20 }), (requests, lag) => {
        const [now, late] = [new ClientTable(LIMITS), new ClientTable(LIMITS)];
        expect(play(late, requests, lag)).toEqual(play(now, requests, 0));
        expect(textOf(late)).toBe(textOf(now));
      }),
      { numRuns: 300 },
    );
  });

  test("goes on in the same way after it was written to pages and read again", () => {
    fc.assert(
      fc.property(asks, asks, (before, after) => {
        const table = new ClientTable(LIMITS);
        play(table, before, 3);
        const pages = new PageWriter().write(table, HEADER, hashText).core;
        const copy = new ClientTable(LIMITS);
        readPages([...pages, "a page of the function"])!.restore(copy);
        expect(readPages(pages)!.count).toBe(pages.length);
        expect(textOf(copy)).toBe(textOf(table));
        expect(play(copy, after, 2, 1_000)).toEqual(play(table, after, 0, 1_000));
        expect(textOf(copy)).toBe(textOf(table));
      }),
      { numRuns: 300 },
    );
  });

  test("writes the same pages whether or not it remembers earlier ones", () => {
    fc.assert(
      fc.property(asks, asks, (before, after) => {
        const table = new ClientTable(LIMITS);
        const writer = new PageWriter();
        play(table, before, 0);
        writer.write(table, HEADER, hashText);
        play(table, after, 0, 1_000);
        expect(writer.write(table, HEADER, hashText).core.join("\n")).toBe(textOf(table));
      }),
      { numRuns: 300 },
    );
  });

  test("admits an operation at most once while its result is kept, and each number of a session once", () => {
    fc.assert(
      fc.property(asks, (requests) => {
        const table = new ClientTable(LIMITS);
        const numbers = new Set<string>();
        requests.forEach((ask, i) => {
          // What the request itself settles may go, and come again.
          const rest = [...table.kept.values()].filter(
            ({ client, number }) => client !== ask.client || number > ask.settled || number === 0,
          );
          const before = new Set(rest.map(({ id }) => id));
          const { fresh } = table.admit(requestOf(ask), i + 1, 0);
          const session = table.clients.get(ask.client)!.session;
          for (const { id } of fresh) {
            // A new session has dropped what it did not ask to keep; anything else that was there may not come again.
            if (!ask.opens) expect(before.has(id)).toBe(false);
            expect(ask.session).toBe(session);
          }
          if (fresh.length === 0) return;
          const name = `${ask.client} ${ask.session} ${ask.number}`;
          expect(numbers.has(name)).toBe(false);
          numbers.add(name);
        });
      }),
      { numRuns: 300 },
    );
  });

  test("never keeps more than its limit, but for refusals", () => {
    fc.assert(
      fc.property(asks, (requests) => {
        const table = new ClientTable({ ...LIMITS, maxKeptOperations: 6 });
        let refusals = 0;
        requests.forEach((ask, i) => {
          refusals += table.admit(requestOf(ask), i + 1, 0).refused.size;
          const sessions = table.clients.size;
          expect(table.kept.size - refusals - sessions).toBeLessThanOrEqual(6);
        });
      }),
    );
  });

  test("takes no number that is too far ahead, and has it open for later", () => {
    const table = new ClientTable(LIMITS);
    const ask = { client: "one", session: 1, settled: 0, ids: [], opens: false };
    table.admit(requestOf({ ...ask, number: 1, opens: true }), 1, 0);
    const far = requestOf({ ...ask, number: NUMBERS_AHEAD + 1, ids: ["far"] });
    expect(table.admit(far, 2, 0).fresh).toEqual([]);
    table.admit(requestOf({ ...ask, number: 2, settled: 1 }), 3, 0);
    expect(table.admit(far, 4, 0).fresh.map(({ id }) => id)).toEqual(["far"]);
  });

  test("fills holes in the numbers, in any order", () => {
    const table = new ClientTable(LIMITS);
    const ask = { client: "one", session: 1, settled: 0, opens: false };
    table.admit(requestOf({ ...ask, number: 1, ids: [], opens: true }), 1, 0);
    const fresh = [5, 3, 4, 3].map((number, i) => table.admit(requestOf({ ...ask, number, ids: [`${number}`] }), i + 2, 0).fresh.length);
    expect(fresh).toEqual([1, 1, 1, 0]);
  });

  test("reads no pages that it has not written", () => {
    for (const pages of [[], [""], ["{}"], ["[]"], ['["lockstep/state/1"]'], ["null"], ['["lockstep/state/1",1,1,1,"",0,0,"",[],[3]]']]) {
      expect(readPages(pages)).toBeUndefined();
    }
  });

  test("has what a client has left for the client that comes after it, and drops what that one does not ask for", () => {
    const table = new ClientTable(LIMITS);
    const ask = { client: "one", session: 1, settled: 0, opens: false };
    table.admit(requestOf({ ...ask, number: 1, ids: [], opens: true }), 1, 0);
    table.admit(requestOf({ ...ask, number: 2, ids: ["a", "b"] }), 2, 0);
    table.retire(["two"]);
    const next = { ...ask, client: "two" };
    table.admit(requestOf({ ...next, number: 1, ids: ["a"], opens: true }), 3, 0);
    expect([...table.kept.keys()].filter((id) => !id.startsWith("lockstep:"))).toEqual(["a"]);
    const again = table.admit(requestOf({ ...next, number: 2, ids: ["a"] }), 4, 0);
    expect([again.fresh.length, again.known.length]).toEqual([0, 1]);
    // It is the next client's now: its word lets it go.
    table.admit(requestOf({ ...next, number: 3, settled: 2, ids: [] }), 5, 0);
    expect(table.kept.has("a")).toBe(false);
  });

  test("names a change of the members by all that it changes", () => {
    expect(epochId(2, "a")).not.toBe(epochId(2, "b"));
  });
});
