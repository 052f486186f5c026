/** What goes wrong in the study, and how it is brought about on a replica set and on plain pods. */
import type { DrillKind } from "../../src/protocol/faults.ts";

/** `corrupt`: the pod's own code answers wrongly. `restart`: the control plane is killed and started again. */
export type Harm = DrillKind | "corrupt" | "restart";

export interface Scene {
  name: string;
  /** The paper's scene that it is. */
  paper?: string;
  certified: Harm;
  plain: Harm;
}

export const SCENES: readonly Scene[] = [
  { name: "a replica is cut off: three of four votes come back", paper: "Case II, scene I", certified: "partition", plain: "hang" },
  { name: "a pod that executes the function is gone", paper: "Case II, scene II", certified: "replica-crash", plain: "pod" },
  { name: "the leader is gone", certified: "leader-crash", plain: "pod" },
  { name: "a replica lies", certified: "replica-lie", plain: "corrupt" },
  { name: "the leader tells each something else", certified: "leader-equivocate", plain: "corrupt" },
  { name: "the control plane is gone", certified: "restart", plain: "restart" },
];
