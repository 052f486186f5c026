import { batchText, newViewText, requestText, seedText, viewChangeText } from "../../../src/consensus/canonical.ts";
import type { Digest } from "../../../src/consensus/crypto.ts";
import type { Batch, NewView, PeerMessage, SlotClaim, ViewChange } from "../../../src/consensus/messages.ts";
import type { Stage, Tactic } from "./tactic.ts";
import { alike, chance, others, randomDigest } from "./tactic.ts";

/** Lies that only show when the leader changes. */
export const viewTactics = {
  /** Claims in P and Q what it has never seen, with batches that it hands out to whoever asks. */
  "invented-claims": (stage: Stage): Tactic => inventing(stage),

  /** Claims to have prepared in the latest view whatever it has prepared, at another number. */
  "changed-claims": (stage: Stage): Tactic =>
    changing(stage, (v) => {
      const prepared = v.prepared.map((claim, i) => ({
        ...claim,
        view: v.view - 1,
        digest: v.prepared[(i + 1) % v.prepared.length]!.digest,
      }));
      return { prepared, preprepared: prepared };
    }),

  /** Doesn't tell what has prepared. */
  "hidden-prepared": (stage: Stage): Tactic =>
    changing(stage, (v) => {
      if (chance(stage, 0.5)) return { prepared: [] };
      return { prepared: v.prepared.slice(0, -1), preprepared: v.preprepared.filter(() => chance(stage, 0.5)) };
    }),

  /** A stable checkpoint, or later ones, that never were. */
  "false-checkpoints": (stage: Stage): Tactic =>
    changing(stage, (v) => {
      const digest = randomDigest(stage);
      const seq = v.stable.seq + 1 + stage.random.below(20);
      if (chance(stage, 0.4)) return { checkpoints: [...v.checkpoints, { seq, digest }] };
      return { stable: { ...v.stable, seq, digest } };
    }),

  /** Other view changes for each of the others. */
  "two-faced-changes": (stage: Stage): Tactic =>
    changing(stage, (v) => (chance(stage, 0.5) ? {} : { prepared: [], preprepared: v.preprepared.slice(1) })),

  /** Wants another view again and again, and the others to come along. */
  restless: (stage: Stage): Tactic => {
    let last: ViewChange | undefined;
    return {
      outgoing: (_, message) => {
        if (message.t === "view-change") last = message.viewChange;
        return [message];
      },
      tick: () => {
        if (last === undefined || !chance(stage, 0.2)) return;
        last = resigned(stage, { ...last, view: last.view + 1 + stage.random.below(3) });
        for (const to of others(stage)) stage.send(to, { t: "view-change", viewChange: last });
      },
    };
  },

  /** A new view that decides otherwise than its view changes say. */
  "invalid-new-view": (stage: Stage): Tactic => {
    const lies: ((v: NewView) => Partial<NewView>)[] = [
      (v) => ({ slots: v.slots.map((slot) => ({ ...slot, digest: "" })) }),
      (v) => ({ slots: v.slots.map((slot, i) => ({ ...slot, digest: v.slots[(i + 1) % v.slots.length]!.digest })) }),
      (v) => ({ slots: v.slots.slice(0, -1) }),
      (v) => ({ slots: v.slots.slice(1) }),
      (v) => ({ viewChanges: v.viewChanges.slice(1) }),
      (v) => ({ viewChanges: v.viewChanges.map((each) => v.viewChanges[0] ?? each) }),
      (v) => ({ viewChanges: v.viewChanges.map((each) => ({ ...each, prepared: [] })), slots: [] }),
      (v) => ({ checkpoint: { seq: v.checkpoint.seq + 4, digest: randomDigest(stage) }, slots: v.slots.slice(4) }),
    ];
    const lieOf = alike<NewView>(stage);
    const lied = (newView: NewView): NewView => {
      const lie = lies[stage.random.below(lies.length)]!;
      const { signature: _old, ...rest } = { ...newView, ...lie(newView) };
      return { ...rest, signature: stage.crypto.sign(newViewText(stage.set, rest)) };
    };
    return {
      outgoing: (_, message) => {
        if (message.t !== "new-view" || message.newView.slots.length === 0) return [message];
        return [{ t: "new-view", newView: lieOf(`${message.newView.view}`, () => lied(message.newView)) }];
      },
    };
  },

  /** Sends again what was true in an earlier view: its own words, and those of others as if they were its own. */
  "old-views": (stage: Stage): Tactic => {
    const heard: PeerMessage[] = [];
    const note = (message: PeerMessage): void => {
      if (heard.length < 500) heard.push(message);
      else if (chance(stage, 0.1)) heard[stage.random.below(heard.length)] = message;
    };
    return {
      incoming: (_, message) => note(message),
      outgoing: (_, message) => {
        note(message);
        return [message];
      },
      tick: () => {
        for (let i = 0; i < 4 && heard.length > 0; i++) {
          const to = others(stage)[stage.random.below(stage.nodes - 1)]!;
          stage.send(to, heard[stage.random.below(heard.length)]!);
        }
      },
    };
  },
} satisfies Record<string, (stage: Stage) => Tactic>;

type Change = (viewChange: ViewChange) => Partial<ViewChange>;

const resigned = (stage: Stage, viewChange: ViewChange): ViewChange => {
  const { signature: _old, ...rest } = viewChange;
  return { ...rest, signature: stage.crypto.sign(viewChangeText(stage.set, rest)) };
};

/** Lies in each of its own view changes, to each of the others anew. */
const changing = (stage: Stage, change: Change): Tactic => ({
  outgoing: (_, message) => {
    if (message.t !== "view-change" || message.viewChange.replica !== stage.me) return [message];
    return [{ t: "view-change", viewChange: resigned(stage, { ...message.viewChange, ...change(message.viewChange) }) }];
  },
});

/** Claims about batches that nobody has proposed, and that it gives to all who fetch them. */
const inventing = (stage: Stage): Tactic => {
  const invented = new Map<Digest, { seq: number; batch: Batch }>();
  const claim = (seq: number, view: number): SlotClaim => {
    const known = stage.requests.map((request) => stage.crypto.hash(requestText(request, stage.set)));
    const requests = known.filter(() => chance(stage, 0.3)).slice(0, 3);
    const time = Math.floor(stage.now());
    const batch: Batch = { time, seed: stage.crypto.hash(seedText(stage.set, seq, time, requests)), requests };
    const digest = stage.crypto.hash(batchText(stage.set, seq, batch));
    invented.set(digest, { seq, batch });
    return { seq, digest, view };
  };
  const change = ({ view, stable, prepared, preprepared }: ViewChange): Partial<ViewChange> => {
    const last = Math.max(stable.seq, ...preprepared.map(({ seq }) => seq)) + 2;
    const claims: SlotClaim[] = [];
    for (let seq = stable.seq + 1; seq <= last; seq++) if (chance(stage, 0.4)) claims.push(claim(seq, view - 1));
    const claimed = new Set(claims.map(({ seq }) => seq));
    return { prepared: [...prepared.filter(({ seq }) => !claimed.has(seq)), ...claims], preprepared: [...preprepared, ...claims] };
  };
  const { outgoing } = changing(stage, change);
  const fails = chance(stage, 0.8);
  return {
    // A view that fails makes its claims the latest ones.
    outgoing: (to, message) => (message.t === "new-view" && fails ? [] : outgoing!(to, message)),
    incoming: (from, message) => {
      if (message.t !== "fetch") return;
      const batches = message.batches.flatMap((digest) => invented.get(digest) ?? []);
      if (batches.length > 0) stage.send(from, { t: "content", requests: [], batches });
    },
  };
};
