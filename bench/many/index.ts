/** Many functions that all have pods, for what the platform does for each of them beside their calls; and one whose calls last. */
import { setTimeout as delay } from "node:timers/promises";
import { fn } from "lockstep";

export const many = Array.from({ length: 50 }, (_, i) => fn(`many${i}`, (x: number) => x + 1, { memoryMb: 48 }));
export const hold = fn("hold", (x: number) => delay(20, x + 1));
export default many;
