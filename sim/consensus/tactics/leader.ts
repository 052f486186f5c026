import { batchText, requestText, seedText } from "../../../src/consensus/canonical.ts";
import type { Digest } from "../../../src/consensus/crypto.ts";
import type { Batch, PeerMessage, Request } from "../../../src/consensus/messages.ts";
import type { Stage, Tactic } from "./tactic.ts";
import { chance, randomDigest } from "./tactic.ts";

/** What a leader can do to the order. All are harmless from a backup. */
export const leaderTactics = {
  /** Half of the backups get another batch for the same number, and votes that fit to what they got. */
  equivocate: (stage: Stage): Tactic => {
    const other = new Map<Digest, { batch: Batch; digest: Digest }>();
    const side = stage.random.below(stage.nodes);
    const isOtherSide = (to: number): boolean => (to + side) % stage.nodes >= stage.nodes / 2;
    return {
      outgoing: (to, message) => {
        if (message.t === "pre-prepare") {
          const digest = digestOf(stage, message.seq, message.batch);
          if (!other.has(digest) && chance(stage, 0.7)) {
            const batch = rebuilt(stage, message.seq, message.batch, shuffled(stage, message.batch.requests));
            other.set(digest, { batch, digest: digestOf(stage, message.seq, batch) });
          }
          const twin = other.get(digest);
          return twin !== undefined && isOtherSide(to) ? [{ ...message, batch: twin.batch }] : [message];
        }
        if (message.t !== "commit" && message.t !== "prepare") return [message];
        const twin = other.get(message.digest);
        if (twin === undefined || !isOtherSide(to)) return [message];
        // The backups of the other side have to believe that the leader itself stands behind its proposal.
        return [{ ...message, digest: twin.digest }];
      },
    };
  },

  /** Proposes nothing; otherwise it is alive. */
  "silent-leader": (): Tactic => ({ outgoing: (_, message) => (message.t === "pre-prepare" || message.t === "new-view" ? [] : [message]) }),

  /** Each proposal as late as the patience of the backups allows. */
  "slow-leader": (stage): Tactic => {
    const delayMs = 100 + stage.random.below(190);
    return {
      outgoing: (to, message) => {
        if (message.t !== "pre-prepare") return [message];
        stage.send(to, message, delayMs);
        return [];
      },
    };
  },

  /** Proposals go to a few of the backups only, others each time. */
  "selective-leader": (stage): Tactic => ({
    outgoing: (_, message) => (message.t === "pre-prepare" && chance(stage, 0.5) ? [] : [message]),
  }),

  /** Times that run away or back, and seeds of its own choice. */
  "wrong-time": (stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t !== "pre-prepare" || chance(stage, 0.4)) return [message];
      const { time, requests } = message.batch;
      const wrong = [time + 10_000_000, time - 10_000_000, time + 20_000, Number.NaN, 0.5, time];
      const to = wrong[stage.random.below(wrong.length)]!;
      const seed = to === time ? randomDigest(stage) : stage.crypto.hash(seedText(stage.set, message.seq, to, requests));
      return [{ ...message, batch: { time: to, seed, requests } }];
    },
  }),

  /** Proposes requests that no client has made, and hands out their bodies. */
  "forge-requests": (stage): Tactic => {
    let forged: Request | undefined;
    return {
      outgoing: (to, message) => {
        if (message.t !== "pre-prepare" || stage.requests.length === 0 || chance(stage, 0.5)) return [message];
        if (forged === undefined || chance(stage, 0.3)) forged = forge(stage);
        const requests = [...message.batch.requests, stage.crypto.hash(requestText(forged, stage.set))];
        const content: PeerMessage = { t: "content", requests: [forged], batches: [] };
        stage.send(to, content);
        return [{ ...message, batch: rebuilt(stage, message.seq, message.batch, requests) }];
      },
    };
  },

  /** Proposes requests anew that were ordered before, some of them twice in one batch. */
  "replay-requests": (stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t !== "pre-prepare" || stage.requests.length === 0 || chance(stage, 0.3)) return [message];
      const old = stage.requests[stage.random.below(stage.requests.length)]!;
      const digest = stage.crypto.hash(requestText(old, stage.set));
      const requests = chance(stage, 0.3) ? [digest, ...message.batch.requests, digest] : [digest, ...message.batch.requests];
      return [{ ...message, batch: rebuilt(stage, message.seq, message.batch, requests) }];
    },
  }),

  /** Proposes what nobody has a body for. */
  "phantom-requests": (stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t !== "pre-prepare" || chance(stage, 0.5)) return [message];
      return [{ ...message, batch: rebuilt(stage, message.seq, message.batch, [...message.batch.requests, randomDigest(stage)]) }];
    },
  }),

  /** Leaves one client's requests out of all proposals. */
  censor: (stage): Tactic => ({
    outgoing: (_, message) => {
      const victim = stage.requests[0]?.client;
      if (message.t !== "pre-prepare" || victim === undefined) return [message];
      const banned = new Set(
        stage.requests.filter(({ client }) => client === victim).map((r) => stage.crypto.hash(requestText(r, stage.set))),
      );
      const requests = message.batch.requests.filter((digest) => !banned.has(digest));
      return requests.length === 0 ? [] : [{ ...message, batch: rebuilt(stage, message.seq, message.batch, requests) }];
    },
  }),
} satisfies Record<string, (stage: Stage) => Tactic>;

export const digestOf = (stage: Stage, seq: number, batch: Batch): Digest => stage.crypto.hash(batchText(stage.set, seq, batch));

/** With other requests and the only seed that is valid beside them; the time moves a little, so that the digest is another for sure. */
const rebuilt = (stage: Stage, seq: number, batch: Batch, requests: Digest[]): Batch => {
  const time = batch.time + 1;
  return { time, seed: stage.crypto.hash(seedText(stage.set, seq, time, requests)), requests };
};

const shuffled = (stage: Stage, requests: readonly Digest[]): Digest[] => {
  if (requests.length > 1 && chance(stage, 0.5)) return requests.toReversed();
  return chance(stage, 0.3) ? requests.slice(1) : [...requests];
};

/** Another's request with another body: the signature doesn't fit, and a better one can't be had. */
const forge = (stage: Stage): Request => {
  const model = stage.requests[stage.random.below(stage.requests.length)]!;
  const input = JSON.stringify({ t: "deposit", to: "thief", amount: 1_000_000 });
  const operations = [{ id: `forged/${stage.random.below(1_000)}`, key: "east", input }];
  const request: Request = { ...model, number: model.number + 1 + stage.random.below(3), body: { t: "call", operations } };
  return chance(stage, 0.5) ? request : { ...request, signature: stage.crypto.sign(requestText(request, stage.set)) };
};
