import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashText } from "../testing/replica-keys.ts";
import type { Kept } from "./client-table.ts";
import { areProven, provenResults, ResultWriter, readResultPages } from "./result-pages.ts";

const CORE = { set: "bank/apply@1", crypto: { hash: hashText }, weak: 2 };

const writeResultPages = (core: typeof CORE, seq: number, kept: readonly Kept[]) => new ResultWriter().write(core, seq, kept);

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

  test("are those of a new writer, whatever was learnt, let go, added and settled since they were written before", () => {
    const change = fc.record({ drop: fc.nat(), learn: fc.nat(), hash: fc.constantFrom("", hashText("c")), more: fc.nat(300) });
    fc.assert(
      fc.property(places, fc.array(change, { minLength: 1, maxLength: 5 }), (rows, changes) => {
        const writer = new ResultWriter();
        let kept = rows.map(([seq, position, hash]) => keptAt(20 * seq, position, hash));
        for (const { drop, learn, hash, more } of changes) {
          writer.write(CORE, 50, kept);
          kept = kept.filter((_, i) => i % 500 !== drop % 500);
          const learnt = kept[learn % kept.length];
          if (learnt !== undefined) learnt.resultHash = hash;
          for (let i = 0; i < more; i++) kept.push(keptAt(2_000 + learn, i, hashText("d")));
          expect(writer.write(CORE, 50, kept)).toEqual(writeResultPages(CORE, 50, kept));
        }
      }),
      { numRuns: 30 },
    );
  });

  test("are written anew only where something has changed", () => {
    const writer = new ResultWriter();
    const hashed: string[] = [];
    const core = { ...CORE, crypto: { hash: (text: string) => hashText(hashed[hashed.push(text) - 1]!) } };
    const kept = Array.from({ length: 1_000 }, (_, i) => keptAt(i, 0, hashText("a")));
    writer.write(core, 1_000, kept);
    expect(hashed).toHaveLength(32 + 1);
    hashed.length = 0;
    kept[500]!.resultHash = hashText("b");
    writer.write(core, 1_000, kept);
    expect(hashed).toHaveLength(1 + 1);
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
