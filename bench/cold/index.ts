/** Functions that are called once each, so that every call finds no pod. */
import { fn } from "lockstep";

export const cold = Array.from({ length: 20 }, (_, i) => fn(`cold${i}`, (x: number) => x + 1));
export default cold;
