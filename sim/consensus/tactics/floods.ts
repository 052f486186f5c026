import { checkpointText, viewChangeText } from "../../../src/consensus/canonical.ts";
import type { PeerMessage, ViewChange } from "../../../src/consensus/messages.ts";
import type { Stage, Tactic } from "./tactic.ts";
import { chance, others, randomDigest } from "./tactic.ts";

const PER_TICK = 6;

/** Much of what is allowed, and much of what isn't. */
export const floodTactics = {
  /** Votes and proposals for numbers and views in and far out of the window. */
  "flood-votes": (stage: Stage): Tactic => {
    let seq = 1;
    return {
      incoming: (_, message) => {
        if (message.t === "prepare") seq = message.seq;
      },
      tick: () => {
        for (let i = 0; i < PER_TICK; i++) {
          const far = chance(stage, 0.3) ? 1_000_000 * stage.random.next() : 40 * stage.random.next();
          const at = { view: stage.random.below(6), seq: Math.floor(seq + far) };
          const batch = { time: Math.floor(stage.now()), seed: randomDigest(stage), requests: [randomDigest(stage)] };
          const kinds: PeerMessage[] = [
            { t: "prepare", ...at, digest: randomDigest(stage) },
            { t: "commit", ...at, digest: randomDigest(stage) },
            { t: "pre-prepare", ...at, batch },
          ];
          toAll(stage, kinds[stage.random.below(kinds.length)]!);
        }
      },
    };
  },

  /** Signed checkpoints and view changes without end. */
  "flood-signed": (stage: Stage): Tactic => {
    let model: ViewChange | undefined;
    return {
      incoming: (_, message) => {
        if (message.t === "view-change") model = message.viewChange;
      },
      tick: () => {
        for (let i = 0; i < PER_TICK / 2; i++) {
          const seq = 4 * stage.random.below(1_000);
          const digest = randomDigest(stage);
          toAll(stage, {
            t: "checkpoint",
            seq,
            digest,
            signature: stage.crypto.sign(checkpointText(stage.set, stage.epoch(), seq, digest)),
          });
          if (model === undefined) continue;
          const { signature: _other, ...rest } = { ...model, replica: stage.me, view: stage.random.below(1_000_000) };
          toAll(stage, { t: "view-change", viewChange: { ...rest, signature: stage.crypto.sign(viewChangeText(stage.set, rest)) } });
        }
      },
    };
  },

  /** Asks for everything all the time. */
  "flood-fetches": (stage: Stage): Tactic => {
    const digests: string[] = [];
    return {
      incoming: (_, message) => {
        if (message.t === "pre-prepare" && digests.length < 1_000) digests.push(...message.batch.requests);
      },
      tick: () => {
        const some = digests.filter(() => chance(stage, 0.1));
        toAll(stage, { t: "fetch", requests: some, batches: [randomDigest(stage)] });
        toAll(stage, { t: "fetch-checkpoint", above: stage.random.below(3) });
        toAll(stage, { t: "fetch-page", seq: 4 * stage.random.below(20), page: stage.random.below(5), digest: randomDigest(stage) });
        toAll(stage, { t: "status", view: stage.random.below(5), active: chance(stage, 0.5), stable: 0, committed: 0, executed: 0 });
      },
    };
  },

  /** Contents that nobody has asked for. */
  "flood-content": (stage: Stage): Tactic => ({
    tick: () => {
      const requests = Array.from({ length: PER_TICK }, () => stage.requests[stage.random.below(stage.requests.length)]).filter(
        (request) => request !== undefined,
      );
      const batches = Array.from({ length: PER_TICK }, () => {
        const batch = { time: stage.now(), seed: randomDigest(stage), requests: [randomDigest(stage)] };
        return { seq: stage.random.below(40), batch };
      });
      toAll(stage, {
        t: "content",
        requests: requests.map((each) => ({ ...each, number: each.number + stage.random.below(9_999) })),
        batches,
      });
    },
  }),
} satisfies Record<string, (stage: Stage) => Tactic>;

const toAll = (stage: Stage, message: PeerMessage): void => {
  for (const to of others(stage)) stage.send(to, message);
};
