import { checkpointText, outcomeText } from "../../../src/consensus/canonical.ts";
import type { Stage, Tactic } from "./tactic.ts";
import { chance, randomDigest } from "./tactic.ts";

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
        const outcome = JSON.stringify({ value: `made up at ${seq}/${position}` });
        return { id, seq, position, resultHash: stage.crypto.hash(outcomeText(outcome)), outcome };
      });
      const told = { ...message, results };
      return chance(stage, 0.3) ? [told, told, told] : [told];
    },
  }),

  /** Signs other results than it has come to beside a checkpoint, to all of them the same or not, or that it knows none; and shows nobody the list. */
  "false-words": (stage: Stage): Tactic => ({
    outgoing: (_, message) => {
      if (message.t === "checkpoint-proof") {
        const { results: _results, ...rest } = message;
        return [chance(stage, 0.7) ? rest : message];
      }
      if (message.t !== "checkpoint" || chance(stage, 0.1)) return [message];
      const { seq, digest, t } = message;
      const results = chance(stage, 0.3) ? undefined : stage.crypto.hash(`made up at ${chance(stage, 0.5) ? seq : stage.random.next()}`);
      const signature = stage.crypto.sign(checkpointText(stage.set, stage.epoch(), seq, digest, results));
      return [{ t, seq, digest, signature, ...(results === undefined ? {} : { results }) }];
    },
  }),

  /** Never gives what it is asked for. */
  "no-content": (): Tactic => ({
    outgoing: (_, message) => (["content", "page", "checkpoint-proof", "results"].includes(message.t) ? [] : [message]),
  }),
} satisfies Record<string, (stage: Stage) => Tactic>;
