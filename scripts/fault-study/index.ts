/** The same sum twice: certified by a quorum of replicas, and on the word of one pod, which can be corrupted. */
import { fn } from "lockstep";

interface Sum {
  a: number;
  b: number;
}

export const certified = fn("certified", ({ a, b }: Sum) => a + b, { trust: "quorum" });

let isCorrupt = false;

/** With `corrupt`, its pod is from then on what a broken or compromised one is: one that answers, and wrongly. */
export const plain = fn("plain", ({ a, b, corrupt }: Sum & { corrupt?: boolean }) => {
  if (corrupt === true) isCorrupt = true;
  return isCorrupt ? a + b + 1 : a + b;
});
