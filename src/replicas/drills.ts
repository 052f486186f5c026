import { leaderOf, type ReplicaIndex } from "../consensus/membership.ts";
import { LockstepError } from "../lib/errors.ts";
import type { ReplicaDrillKind } from "../protocol/faults.ts";
import type { Misbehaviour } from "../protocol/replica.ts";
import type { Pod } from "../scheduler/pod.ts";
import type { ReplicaSet } from "./set.ts";

/** Which replica a drill hits: the leader of the present view, or one that follows it. `crash` is done to its process from outside. */
const DRILLS: Readonly<Record<ReplicaDrillKind, { leader: boolean; how: Misbehaviour }>> = {
  "replica-lie": { leader: false, how: "lie" },
  "replica-crash": { leader: false, how: "crash" },
  "leader-crash": { leader: true, how: "crash" },
  "leader-equivocate": { leader: true, how: "equivocate" },
  partition: { leader: false, how: "partition" },
};

/**
 * Lets a replica of the set misbehave.
 * @param kill ends a pod's process as `kill -9` would; whether there was one
 * @throws {LockstepError} UNKNOWN_POD when the set has too few replicas at work for it to survive the drill
 */
export const provokeReplica = (
  set: ReplicaSet,
  kind: ReplicaDrillKind,
  kill: (pod: Pod) => boolean,
): { pod: Pod; replica: ReplicaIndex } => {
  const { leader, how } = DRILLS[kind];
  const { seats, serving, view } = set.machine;
  const leading = leaderOf(view, set.spec.faults);
  const seat = seats.find(({ index, state }) => state === "serving" && (index === leading) === leader);
  const pod = seat === undefined ? undefined : set.podAt(seat.index);
  if (seat === undefined || pod === undefined || serving < seats.length) {
    throw new LockstepError("UNKNOWN_POD", `the replica set "${set.spec.set}" is not whole: wait until it is, then try again`);
  }
  if (how === "crash") kill(pod);
  else set.misbehave(seat.index, how);
  return { pod, replica: seat.index };
};
