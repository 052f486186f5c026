import type { Verdict } from "../lib/verdict.ts";
import type { Style } from "./style.ts";
import { oneLine } from "./text.ts";

/** `timeout`, or `permission, not retryable`. */
export const verdictText = ({ class: fault, retryable }: Verdict): string => (retryable ? fault : `${fault}, not retryable`);

/** What decided a verdict, a line each. */
export const evidenceLines = (verdict: Verdict | undefined, style: Style): string[] =>
  (verdict?.evidence ?? []).map((text) => style.dim(`- ${oneLine(text, 300)}`));
