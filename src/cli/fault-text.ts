import type { FaultView } from "../protocol/faults.ts";
import { duration, oneLine } from "./text.ts";

/** What failed, and whose it was. */
export const faultHead = ({ type, what, pod, function: role }: Pick<FaultView, "type" | "what" | "pod" | "function">): string =>
  `fault ${type} ${what}${pod === undefined ? "" : ` ${pod}`}${role === undefined ? "" : ` (${role})`}`;

/** What became of it. */
export const repairText = ({ repairMs, did }: Pick<FaultView, "repairMs" | "did">): string =>
  repairMs === undefined ? "not repaired yet" : `repaired in ${duration(repairMs)}: ${oneLine(did ?? "", 160)}`;
