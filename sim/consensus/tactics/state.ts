import { checkpointText, outcomeText, resultsText, viewChangeText } from "../../../src/consensus/canonical.ts";
import type { Digest } from "../../../src/consensus/crypto.ts";
import type { StableCheckpoint } from "../../../src/consensus/messages.ts";
import type { Stage, Tactic } from "./tactic.ts";
import { chance, randomDigest } from "./tactic.ts";

const inventedAt = (seq: number, position: number): string => JSON.stringify({ value: `made up at ${seq}/${position}` });

/** Numbers and places that it invents results for: nobody misses those that were not kept. */
const NUMBERS = 24;
const PLACES = 6;

/** All liars invent the same. */
const inventedResults = ({ set, crypto }: Stage, seq: number): { page: string; list: Digest[]; digest: Digest } => {
  const rows: [number, number, Digest][] = [];
  for (let at = Math.max(1, seq - NUMBERS); at <= seq; at++)
    for (let place = 0; place < PLACES; place++) rows.push([at, place, crypto.hash(outcomeText(inventedAt(at, place)))]);
  const page = JSON.stringify(rows);
  const list = [crypto.hash(page)];
  return { page, list, digest: crypto.hash(resultsText(set, seq, list)) };
};

/** Lies about checkpoints and in transfers of state. */
export const stateTactics = {
  /** Signs checkpoints that are none. */
  "wrong-checkpoints": (stage: Stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t !== "checkpoint") return [message];
      const digest = randomDigest(stage);
      return [{ ...message, digest, signature: stage.crypto.sign(checkpointText(stage.set, stage.epoch(), message.seq, digest)) }];
    },
  }),

  /** Its machine's snapshots are of another state, so that all that it signs fits to them. */
  "wrong-snapshots": (): Tactic => ({ page: (data) => data.replace(/\d+/, (digits) => `${Number(digits) + 1}`) }),

  /** Pages that don't fit to the checkpoint, or none. */
  "corrupt-pages": (stage: Stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t !== "page" || chance(stage, 0.2)) return [message];
      if (chance(stage, 0.3)) return [];
      return [{ ...message, data: chance(stage, 0.5) ? "[]" : message.data.replace(/\d/, (digit) => `${(Number(digit) + 1) % 10}`) }];
    },
  }),

  /** Proofs with votes too few, votes of nobody, another digest, or another list of pages. */
  "false-proofs": (stage: Stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t !== "checkpoint-proof" || chance(stage, 0.2)) return [message];
      const { stable } = message;
      const digest = randomDigest(stage);
      const self = { replica: stage.me, signature: stage.crypto.sign(checkpointText(stage.set, stable.epoch, stable.seq, digest)) };
      const lies = [
        { ...message, stable: { ...stable, votes: stable.votes.slice(1) } },
        { ...message, stable: { ...stable, votes: stable.votes.map(() => stable.votes[0]!) } },
        { ...message, stable: { ...stable, digest, votes: stable.votes.map(() => self) } },
        { ...message, stable: { ...stable, seq: stable.seq + 100, votes: [...stable.votes, self] } },
        { ...message, pages: message.pages.slice(1) },
        { ...message, pages: [...message.pages, digest] },
        { ...message, pages: message.pages.map(() => digest) },
        { ...message, results: [digest] },
        { ...message, stable: { ...stable, votes: stable.votes.map((vote) => ({ ...vote, results: digest })) }, results: [] },
      ];
      return [lies[stage.random.below(lies.length)]!];
    },
  }),

  /** Says to be far ahead or far behind. */
  "false-status": (stage: Stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t !== "status") return [message];
      const shift = stage.random.below(400) - 200;
      const moved = (seq: number): number => Math.max(0, seq + shift);
      return [{ ...message, stable: moved(message.stable), committed: moved(message.committed), executed: moved(message.executed) }];
    },
  }),

  /** Tells whoever has no results of its own others than it has come to, to all of them the same, or that it has none. */
  "false-results": (stage: Stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t !== "results" || chance(stage, 0.1)) return [message];
      const results = message.results.map(({ id, seq, position }) => {
        if (chance(stage, 0.2)) return { id, seq, position, resultHash: "", outcome: "" };
        const outcome = inventedAt(seq, position);
        return { id, seq, position, resultHash: stage.crypto.hash(outcomeText(outcome)), outcome };
      });
      const told = { ...message, results };
      return chance(stage, 0.3) ? [told, told, told] : [told];
    },
  }),

  /**
   * Signs other results than it has come to beside a checkpoint, to all of them the same or not, or that it knows none; and shows nobody the
   * list, or its own, and the page that belongs to it. In view changes it lays it into the others' mouths.
   */
  "false-words": (stage: Stage): Tactic => {
    const changed = (stable: StableCheckpoint): StableCheckpoint => {
      const of = chance(stage, 0.5) ? "" : inventedResults(stage, stable.seq).digest;
      return { ...stable, votes: stable.votes.map((vote) => ({ ...vote, results: vote.results === undefined ? "" : of })) };
    };
    return {
      incoming: (from, message) => {
        if (message.t !== "fetch-page") return;
        const { seq, page, digest } = message;
        const invented = inventedResults(stage, seq);
        if (invented.list[0] === digest) stage.send(from, { t: "page", seq, page, data: invented.page });
      },
      outgoing: (_, message) => {
        if (message.t === "checkpoint-proof") {
          const { results: _results, ...rest } = message;
          return [chance(stage, 0.5) ? rest : { ...rest, results: inventedResults(stage, rest.stable.seq).list }];
        }
        if (message.t === "view-change" && message.viewChange.replica === stage.me && chance(stage, 0.2)) {
          const { signature: _old, ...rest } = { ...message.viewChange, stable: changed(message.viewChange.stable) };
          return [{ t: "view-change", viewChange: { ...rest, signature: stage.crypto.sign(viewChangeText(stage.set, rest)) } }];
        }
        if (message.t !== "checkpoint" || chance(stage, 0.1)) return [message];
        const { seq, digest, t } = message;
        const made = chance(stage, 0.7) ? inventedResults(stage, seq).digest : stage.crypto.hash(`made up at ${stage.random.next()}`);
        const results = chance(stage, 0.3) ? undefined : made;
        const signature = stage.crypto.sign(checkpointText(stage.set, stage.epoch(), seq, digest, results));
        return [{ t, seq, digest, signature, ...(results === undefined ? {} : { results }) }];
      },
    };
  },

  /** Never gives what it is asked for. */
  "no-content": (): Tactic => ({
    outgoing: (_, message) => (["content", "page", "checkpoint-proof", "results"].includes(message.t) ? [] : [message]),
  }),
} satisfies Record<string, (stage: Stage) => Tactic>;
