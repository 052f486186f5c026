import type { Core } from "./core.ts";
import type { ReplicaIndex } from "./membership.ts";
import type { PeerMessage } from "./messages.ts";
import { sendProof } from "./state-source.ts";
import { mayAnswer } from "./status.ts";

// Messages of replicas that are in another epoch. Who is behind is shown the state in which its epoch ended, and who goes on after it; what
// those who are ahead say is kept for a while, and a proof asked for.

/** Of each peer. */
const MOST_EARLY = 64;

/** What would be sent again only later; all of it is small. */
const KEPT: ReadonlySet<PeerMessage["t"]> = new Set(["pre-prepare", "prepare", "commit", "checkpoint", "view-change"]);

/** State proves itself, whoever brings it. */
export const isOfAnyEpoch = ({ t }: PeerMessage): boolean =>
  t === "fetch-checkpoint" || t === "checkpoint-proof" || t === "fetch-page" || t === "page";

export const takeOtherEpoch = (core: Core, from: ReplicaIndex, epoch: number, message: PeerMessage): void => {
  if (core.joining) return;
  if (epoch < core.epoch) {
    if (message.t !== "checkpoint" && isStillMember(core, from) && mayAnswer(core, from, core.pace.provenAt)) sendProof(core, from, true);
    return;
  }
  if (!core.isLate) {
    core.isLate = true;
    core.broadcast({ t: "fetch-checkpoint", above: 0 });
  }
  if (epoch === core.epoch + 1 && KEPT.has(message.t) && core.early.filter((each) => each.from === from).length < MOST_EARLY) {
    core.early.push({ from, epoch, message });
  }
};

/** Behind an index of an earlier epoch there may be another replica now. */
const isStillMember = ({ membership, previous }: Core, from: ReplicaIndex): boolean =>
  previous === undefined || previous.membership.replicas[from] === membership.replicas[from];

/** @param epoch that of the peer */
export const answerFetchCheckpoint = (core: Core, from: ReplicaIndex, epoch: number, above: number): void => {
  if (core.joining || (epoch < core.epoch && !isStillMember(core, from))) return;
  if (core.log.low > above && mayAnswer(core, from, core.pace.provenAt)) sendProof(core, from, epoch !== core.epoch);
};
