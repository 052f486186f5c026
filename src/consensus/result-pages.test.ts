import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashText } from "../testing/replica-keys.ts";
import type { Kept } from "./client-table.ts";
import { areProven, provenResults, readResultPages, writeResultPages } from "./result-pages.ts";

const CORE = { set: "bank/apply@1", crypto: { hash: hashText }, weak: 2 };

const keptAt = (seq: number, position: number, resultHash: string): Kept => ({
  id: `${seq}/${position}`,
  key: "k",
  client: "client",
  number: 1,
  seq,
  position,
  input: "",
  inputHash: "",
  resultHash,
  outcome: "",
  isDone: true,
  isLost: resultHash === "",
});

const places = fc.uniqueArray(fc.tuple(fc.nat(50), fc.nat(200), fc.constantFrom("", hashText("a"), hashText("b"))), {
  maxLength: 3_000,
  selector: ([seq, position]) => `${seq}/${position}`,
});

describe("pages of results", () => {
  test("are the same in whatever order the results were kept, and read as they were written", () => {
    fc.assert(
      fc.property(places, (rows) => {
        const kept = rows.map(([seq, position, hash]) => keptAt(seq, position, hash));
        const written = writeResultPages(CORE, 50, kept);
        expect(writeResultPages(CORE, 50, [...kept].reverse())).toEqual(written);
        const known = readResultPages(written.pages);
        for (const { seq, position, resultHash } of kept) expect(known.get(seq)?.get(position)).toBe(resultHash);
        expect([...known.values()].reduce((sum, batch) => sum + batch.size, 0)).toBe(kept.length);
      }),
      { numRuns: 30 },
    );
  });

  test("have another digest at another number, and with one other result", () => {
    const { digest } = writeResultPages(CORE, 8, [keptAt(1, 0, hashText("a"))]);
    expect(writeResultPages(CORE, 16, [keptAt(1, 0, hashText("a"))]).digest).not.toBe(digest);
    expect(writeResultPages(CORE, 8, [keptAt(1, 0, hashText("b"))]).digest).not.toBe(digest);
  });
});

describe("what votes prove of results", () => {
  const votes = (...results: (string | undefined)[]) => ({
    votes: results.map((each, replica) => ({ replica, signature: "", ...(each === undefined ? {} : { results: each }) })),
  });

  test("is what f + 1 of them name", () => {
    expect(provenResults(votes("x", "y", "y"), 2)).toBe("y");
    expect(provenResults(votes("x", undefined, "y"), 2)).toBeUndefined();
    expect(provenResults(votes(undefined, undefined, undefined), 2)).toBeUndefined();
    expect(provenResults(votes("x", "x", "y", "y", "y"), 2)).toBe("y");
  });

  test("is a list of pages only with its digest", () => {
    const { digest, digests } = writeResultPages(CORE, 8, [keptAt(1, 0, hashText("a"))]);
    const stable = { epoch: 1, seq: 8, digest: "", ...votes(digest, digest, "z") };
    expect(areProven(CORE, stable, digests)).toBe(true);
    expect(areProven(CORE, stable, [])).toBe(false);
    expect(areProven(CORE, { ...stable, seq: 9 }, digests)).toBe(false);
  });
});
