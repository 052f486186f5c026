import { leafText, outcomeText, voteText } from "../../../src/consensus/canonical.ts";
import type { Digest } from "../../../src/consensus/crypto.ts";
import { merkleRoot } from "../../../src/consensus/merkle.ts";
import type { Reply } from "../../../src/consensus/messages.ts";
import type { Stage, Tactic } from "./tactic.ts";
import { chance, others, randomDigest } from "./tactic.ts";

/** Lies in the votes on the order and on the results. */
export const voteTactics = {
  /** Votes for digests that nobody has proposed. */
  "wrong-votes": (stage: Stage): Tactic => ({
    outgoing: (_, message) =>
      (message.t === "prepare" || message.t === "commit") && chance(stage, 0.5) ? [{ ...message, digest: randomDigest(stage) }] : [message],
  }),

  /** Votes for whatever anyone has voted for, on each side of any dispute, as early as it can. */
  "vote-for-all": (stage: Stage): Tactic => {
    // Two of this kind would answer each other for ever.
    const voted = new Set<string>();
    return {
      incoming: (from, message) => {
        if (message.t !== "prepare" && message.t !== "commit") return;
        const { view, seq, digest } = message;
        const name = `${from} ${view} ${seq} ${digest}`;
        if (voted.has(name)) return;
        voted.add(name);
        stage.send(from, { t: "prepare", view, seq, digest });
        stage.send(from, { t: "commit", view, seq, digest });
      },
    };
  },

  /** Tells those who lag of decisions that nobody has made. */
  "false-decisions": (stage: Stage): Tactic => ({
    incoming: (from, message) => {
      if (message.t !== "status") return;
      const slots = Array.from({ length: 4 }, (_, i) => ({ seq: message.committed + 1 + i, digest: randomDigest(stage) }));
      stage.send(from, { t: "decided", slots });
    },
    outgoing: (_, message) =>
      message.t === "decided"
        ? [{ t: "decided", slots: message.slots.map((slot) => ({ ...slot, digest: randomDigest(stage) })) }]
        : [message],
  }),

  /** Commits without being prepared: the votes of both rounds at once. */
  "hasty-commits": (): Tactic => ({
    outgoing: (_, message) =>
      message.t === "prepare" ? [message, { t: "commit", view: message.view, seq: message.seq, digest: message.digest }] : [message],
  }),

  /** Its results are others than they should be. */
  "wrong-results": (stage: Stage): Tactic => ({
    outcome: (outcome) => (chance(stage, 0.5) ? outcome.replace(/\d+/, (digits) => `${Number(digits) + 1}`) : outcome),
  }),

  /** True results in its own state, other ones in the replies: a tree of lies with a good signature. */
  "wrong-replies": (stage: Stage): Tactic => ({
    reply: (reply) => {
      const lie = JSON.stringify({ value: { count: 1, result: 1_000_000 } });
      const resultHash: Digest = stage.crypto.hash(outcomeText(lie));
      const leaves = reply.results.map((r) =>
        stage.crypto.hash(
          leafText(stage.set, {
            operation: r.id,
            version: reply.version,
            key: r.key,
            inputHash: r.inputHash,
            resultHash,
            sequence: reply.seq,
            position: r.position,
          }),
        ),
      );
      if (leaves.length !== 1 || chance(stage, 0.3)) return [{ ...reply, results: reply.results.map((r) => ({ ...r, outcome: lie })) }];
      const root = merkleRoot(leaves, stage.crypto.hash);
      const signature = stage.crypto.sign(voteText(stage.set, reply.epoch, reply.view, reply.seq, root));
      return [{ ...reply, root, signature, results: reply.results.map((r) => ({ ...r, resultHash, path: [], outcome: lie })) }];
    },
  }),

  /** Replies in the name of others, and with signatures that are none. */
  "forged-replies": (stage: Stage): Tactic => ({
    reply: (reply) => {
      const replica = others(stage)[stage.random.below(stage.nodes - 1)]!;
      return [{ ...reply, replica }, chance(stage, 0.5) ? reply : { ...reply, signature: "A".repeat(86) }];
    },
  }),

  /** Under the true root and signature, results that are not those of the tree: changed, moved, left out, or without their way to the root. */
  "torn-replies": (stage: Stage): Tactic => ({
    reply: ({ whole, ...reply }) => {
      const { results } = reply;
      const at = stage.random.below(results.length);
      const changed = results.map((each, i) => (i === at ? { ...each, resultHash: randomDigest(stage), outcome: "" } : each));
      const lies: Reply[] = [
        { ...reply, results: changed, ...(whole === undefined ? {} : { whole }) },
        { ...reply, results: results.toReversed(), whole: true },
        { ...reply, results: results.toSpliced(at, 1), whole: true },
        { ...reply, results: results.map((each) => ({ ...each, path: [] })) },
      ];
      return [lies[stage.random.below(lies.length)]!];
    },
  }),

  "no-replies": (): Tactic => ({ reply: () => [] }),

  /** Each message goes to some only. */
  selective: (stage: Stage): Tactic => ({ outgoing: (_, message) => (chance(stage, 0.4) ? [] : [message]) }),

  /** Speaks with some of the others only, as if the rest weren't there. */
  favourites: (stage: Stage): Tactic => {
    const ignored = new Set(others(stage).filter(() => chance(stage, 0.4)));
    return { outgoing: (to, message) => (ignored.has(to) ? [] : [message]) };
  },

  mute: (): Tactic => ({ outgoing: () => [], reply: () => [] }),
} satisfies Record<string, (stage: Stage) => Tactic>;
