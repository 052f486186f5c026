import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SlotClaim, ViewChange } from "./messages.ts";
import { decideNewView } from "./new-view-decision.ts";

const WINDOW = 4;

const GENESIS = { epoch: 1, seq: 0, digest: "", votes: [] };

const change = (replica: number, prepared: SlotClaim[], preprepared: SlotClaim[] = prepared): ViewChange => ({
  replica,
  epoch: 1,
  view: 9,
  stable: GENESIS,
  checkpoints: [],
  prepared,
  preprepared,
  signature: "",
});

const rules = { faults: 1, window: WINDOW };

const A = "a".repeat(64);
const B = "b".repeat(64);

describe("a new view", () => {
  test("begins with nothing when nothing has prepared", () => {
    expect(decideNewView([change(0, []), change(1, []), change(2, [])], rules)?.slots).toEqual([]);
  });

  test("waits for 2f + 1 view changes", () => {
    expect(decideNewView([change(0, []), change(1, [])], rules)).toBeUndefined();
  });

  test("keeps what f + 1 vouch for, and fills the gap below it with the null request", () => {
    const claim = { seq: 2, digest: A, view: 3 };
    expect(decideNewView([change(0, [claim]), change(1, [], [claim]), change(2, [])], rules)?.slots).toEqual([
      { seq: 1, digest: "" },
      { seq: 2, digest: A },
    ]);
  });

  test("can't tell yet whether one replica's claim is a lie, and finds out when the others have spoken", () => {
    const claim = { seq: 1, digest: A, view: 3 };
    const three = [change(0, [claim]), change(1, []), change(2, [])];
    expect(decideNewView(three, rules)).toBeUndefined();
    expect(decideNewView([...three, change(3, [])], rules)?.slots).toEqual([]);
    expect(decideNewView([...three, change(3, [], [claim])], rules)?.slots).toEqual([{ seq: 1, digest: A }]);
  });

  test("prefers what has prepared in the later view", () => {
    const early = { seq: 1, digest: A, view: 2 };
    const late = { seq: 1, digest: B, view: 5 };
    const changes = [change(0, [early]), change(1, [late]), change(2, [], [late, early])];
    expect(decideNewView(changes, rules)?.slots).toEqual([{ seq: 1, digest: B }]);
  });

  test("begins above the last stable checkpoint that is shown, though only one replica has it", () => {
    const stable = { epoch: 1, seq: 2, digest: "c".repeat(64), votes: [] };
    const claim = { seq: 1, digest: A, view: 3 };
    const changes = [{ ...change(0, []), stable }, change(1, [claim]), change(2, [claim])];
    expect(decideNewView(changes, rules)).toEqual({ checkpoint: stable, slots: [] });
  });
});

// ---------------------------------------------------------------- what no lie may change

interface Vote {
  seq: number;
  /** Which replicas have prepared it; the leader's word and those who have only pre-prepared follow from it. */
  prepared: boolean[];
  preprepared: boolean[];
  view: number;
  digest: string;
}

/** What correct replicas of a set may have in their logs: in each view one digest for each number, prepared only with a quorum. */
const histories = (size: number, quorum: number): fc.Arbitrary<Vote[]> =>
  fc
    .array(
      fc.record({
        seq: fc.integer({ min: 1, max: WINDOW }),
        view: fc.integer({ min: 0, max: 5 }),
        digest: fc.constantFrom(A, B, "c".repeat(64), ""),
        prepared: fc.array(fc.boolean(), { minLength: size, maxLength: size }),
        preprepared: fc.array(fc.boolean(), { minLength: size, maxLength: size }),
      }),
      { maxLength: 12 },
    )
    .map((votes) => consistent(votes, quorum));

/**
 * Only what the protocol makes possible: one digest for each number and view; prepared only where a quorum has pre-prepared; and once a quorum
 * has prepared, hence something may have committed, later views have that digest.
 */
const consistent = (votes: Vote[], quorum: number): Vote[] => {
  const seen = new Set<string>();
  const decided = new Map<number, string>();
  const sorted = votes.sort((a, b) => a.view - b.view);
  return sorted.flatMap((vote) => {
    const name = `${vote.seq} ${vote.view}`;
    if (seen.has(name)) return [];
    seen.add(name);
    const digest = decided.get(vote.seq) ?? vote.digest;
    const preprepared = vote.preprepared.map((is, i) => is || vote.prepared[i]!);
    const canPrepare = preprepared.filter(Boolean).length >= quorum;
    const prepared = vote.prepared.map((is) => is && canPrepare);
    if (prepared.filter(Boolean).length >= quorum) decided.set(vote.seq, digest);
    return [{ ...vote, digest, preprepared, prepared }];
  });
};

const committedOf = (votes: readonly Vote[], quorum: number): Map<number, string> =>
  new Map(votes.filter(({ prepared }) => prepared.filter(Boolean).length >= quorum).map(({ seq, digest }) => [seq, digest]));

/** The last view in which each number has prepared, and each digest pre-prepared, at one replica. */
const honest = (replica: number, votes: readonly Vote[]): ViewChange => {
  const prepared = new Map<number, SlotClaim>();
  const preprepared = new Map<string, SlotClaim>();
  for (const { seq, digest, view, ...who } of votes) {
    if (who.prepared[replica]) prepared.set(seq, { seq, digest, view });
    if (who.preprepared[replica]) preprepared.set(`${seq} ${digest}`, { seq, digest, view });
  }
  return change(replica, [...prepared.values()], [...preprepared.values()]);
};

const lies = fc.record({
  prepared: fc.uniqueArray(
    fc.record({
      seq: fc.integer({ min: 1, max: WINDOW }),
      digest: fc.constantFrom(A, B, "d".repeat(64), ""),
      view: fc.integer({ min: 0, max: 8 }),
    }),
    { selector: ({ seq }) => seq, maxLength: WINDOW },
  ),
  preprepared: fc.array(
    fc.record({
      seq: fc.integer({ min: 1, max: WINDOW }),
      digest: fc.constantFrom(A, B, "d".repeat(64), ""),
      view: fc.integer({ min: 0, max: 8 }),
    }),
    { maxLength: 8 },
  ),
});

describe.each([
  { faults: 1, size: 4 },
  { faults: 2, size: 7 },
])("with f = $faults, whatever faulty replicas claim", ({ faults, size }) => {
  const quorum = 2 * faults + 1;
  const liars = fc.array(lies, { minLength: faults, maxLength: faults });
  const absent = fc.uniqueArray(fc.integer({ min: 0, max: size - 1 }), { maxLength: faults });

  test("a new view keeps everything that may have committed", () => {
    fc.assert(
      fc.property(histories(size, quorum), liars, absent, (votes, lying, gone) => {
        const changes = Array.from({ length: size }, (_, i) => {
          const lie = lying[i];
          return lie === undefined ? honest(i, votes) : change(i, lie.prepared, lie.preprepared);
        }).filter(({ replica }) => !gone.includes(replica));
        const decision = decideNewView(changes, { faults, window: WINDOW });
        if (decision === undefined) return;
        for (const [seq, digest] of committedOf(votes, quorum)) {
          expect(decision.slots[seq - 1]?.digest ?? "").toBe(digest);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("the view changes of all correct replicas are enough to decide, with contents that one of them has", () => {
    fc.assert(
      fc.property(histories(size, quorum), liars, fc.boolean(), (votes, lying, areThere) => {
        const changes = Array.from({ length: size }, (_, i) => {
          const lie = lying[i];
          return lie === undefined ? honest(i, votes) : change(i, lie.prepared, lie.preprepared);
        }).filter(({ replica }) => areThere || replica >= faults);
        const decision = decideNewView(changes, { faults, window: WINDOW });
        expect(decision).toBeDefined();
        const correct = changes.filter(({ replica }) => replica >= faults);
        for (const { seq, digest } of decision!.slots) {
          if (digest === "") continue;
          expect(correct.some(({ preprepared }) => preprepared.some((claim) => claim.seq === seq && claim.digest === digest))).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
