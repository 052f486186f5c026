import { batchText, requestText, seedText } from "../../../src/consensus/canonical.ts";
import type { Digest } from "../../../src/consensus/crypto.ts";
import type { Batch, PeerMessage, Request } from "../../../src/consensus/messages.ts";
import type { Stage, Tactic } from "./tactic.ts";
import { alike, chance, others, randomDigest } from "./tactic.ts";

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

  /** Goes on with f backups only. F others get no proposals, and all others commits and decisions that nobody has made; its status says that all is well. */
  "favoured-few": (stage: Stage): Tactic => {
    const faults = (stage.nodes - 1) / 3;
    const first = stage.random.below(stage.nodes);
    const backups = others(stage).sort((a, b) => ((a + first) % stage.nodes) - ((b + first) % stage.nodes));
    const favoured = new Set(backups.slice(0, faults));
    const ignored = new Set(backups.slice(faults, 2 * faults));
    const lie = randomDigest(stage);
    return {
      outgoing: (to, message) => {
        if (favoured.has(to)) return [message];
        if (message.t === "pre-prepare") return ignored.has(to) ? [] : [message];
        if (message.t === "commit") return [{ ...message, digest: lie }];
        if (message.t === "decided") return [{ ...message, slots: message.slots.map(({ seq }) => ({ seq, digest: lie })) }];
        return [message];
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
  "wrong-time": (stage: Stage): Tactic => {
    const kind = stage.random.below(5);
    return proposing(stage, (seq, batch) => {
      if (chance(stage, 0.4)) return batch;
      const { time, requests } = batch;
      const to = [time + 10_000_000, time - 10_000_000, time + 20_000, stage.random.next() < 0.5 ? Number.NaN : 0.5, time][kind]!;
      const seed = to === time ? randomDigest(stage) : stage.crypto.hash(seedText(stage.set, seq, to, requests));
      return { time: to, seed, requests };
    });
  },

  /** Proposes requests that no client has made, and hands out their bodies. */
  "forge-requests": (stage: Stage): Tactic => {
    let forged: Request | undefined;
    return {
      ...proposing(stage, (seq, batch) => {
        if (stage.requests.length === 0 || chance(stage, 0.5)) return batch;
        if (forged === undefined || chance(stage, 0.3)) forged = forge(stage);
        const content: PeerMessage = { t: "content", requests: [forged], batches: [] };
        for (const to of others(stage)) {
          stage.send(to, content);
          stage.send(to, content, 10);
        }
        return rebuilt(stage, seq, batch, [...batch.requests, stage.crypto.hash(requestText(forged, stage.set))]);
      }),
      incoming: (from, message) => {
        if (message.t === "fetch" && forged !== undefined) stage.send(from, { t: "content", requests: [forged], batches: [] });
      },
    };
  },

  /** Proposes requests anew that were ordered before, some of them twice in one batch. */
  "replay-requests": (stage: Stage): Tactic =>
    proposing(stage, (seq, batch) => {
      if (stage.requests.length === 0 || chance(stage, 0.3)) return batch;
      const old = stage.requests[stage.random.below(stage.requests.length)]!;
      const digest = stage.crypto.hash(requestText(old, stage.set));
      const others = batch.requests.filter((each) => each !== digest);
      return rebuilt(stage, seq, batch, chance(stage, 0.2) ? [digest, ...others, digest] : [digest, ...others]);
    }),

  /** Proposes what nobody has a body for. */
  "phantom-requests": (stage: Stage): Tactic =>
    proposing(stage, (seq, batch) => (chance(stage, 0.5) ? batch : rebuilt(stage, seq, batch, [...batch.requests, randomDigest(stage)]))),

  /** Leaves one client's requests out of all proposals. */
  censor: (stage: Stage): Tactic =>
    proposing(stage, (seq, batch) => {
      const victim = stage.requests[0]?.client;
      const own = stage.requests.filter(({ client }) => client === victim);
      const banned = new Set(own.map((request) => stage.crypto.hash(requestText(request, stage.set))));
      const requests = batch.requests.filter((digest) => !banned.has(digest));
      return requests.length === 0 ? undefined : rebuilt(stage, seq, batch, requests);
    }),
} satisfies Record<string, (stage: Stage) => Tactic>;

/** Changes proposals, each in the same way for (almost) all backups. */
const proposing = (stage: Stage, change: (seq: number, batch: Batch) => Batch | undefined): Tactic => {
  const lieOf = alike<Batch | undefined>(stage);
  return {
    outgoing: (_, message) => {
      if (message.t !== "pre-prepare") return [message];
      const { view, seq } = message;
      const batch = lieOf(`${view} ${seq} ${message.batch.seed}`, () => change(seq, message.batch));
      return batch === undefined ? [] : [{ ...message, batch }];
    },
  };
};

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
