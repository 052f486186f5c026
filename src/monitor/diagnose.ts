/**
 * The diagnosis of an execution that failed: pure.
 *
 * Owns: which error of a chain of causes decides, and the evidence. Does not own: what each shape means (rules.ts), retries (the run machine
 * asks `verdict.retryable`).
 *
 * D1  The verdict follows from the error's shape (class names, codes, statuses), never from what pods say of themselves.
 * D2  Evidence is short and has no credentials in it, whatever the error holds.
 */
import { type Failure, withoutCredentials } from "../lib/errors.ts";
import type { FaultClass, Verdict } from "../lib/verdict.ts";
import type { CallMetrics, LogLine } from "../protocol/run.ts";
import { outputOf, sqlStateOf, statusOf } from "./match.ts";
import { OTHER, PROGRAMMING, type Rule, SHAPES, TERMINAL } from "./rules.ts";

/** One attempt that failed, with what is known of it. */
export interface Execution {
  function: string;
  failure: Failure;
  metrics?: CallMetrics;
  lines: readonly LogLine[];
  timeoutMs?: number;
  /** The memory that its pod may use, in MiB. */
  memoryMb?: number;
}

const MOST_LINKS = 8;
const MOST_LINES = 3;
const TEXT_LIMIT = 200;
/** From this part of its bound on, a measurement is evidence. */
const NEAR = 0.9;
/** These codes only say where it was thrown; what was thrown is the cause. */
const WRAPPERS: ReadonlySet<string> = new Set(["FUNCTION_FAILED", "COORDINATOR_FAILED", "STEP_FAILED", "CAUSE", "ERROR", "TERMINAL"]);

export const diagnose = (execution: Execution): Verdict => {
  const links = chainOf(execution.failure);
  const { rule, link } = decide(links);
  const { terminal } = execution.failure;
  return {
    class: rule.class,
    // What an application's own code or policy calls final stays so, whatever caused it.
    retryable: rule.retryable && terminal !== true,
    evidence: evidenceOf(execution, link, innermost(links), rule.class),
  };
};

/** The row of the table that decides about a failure. */
export const ruleOf = (failure: Failure): Rule => decide(chainOf(failure)).rule;

const decide = (links: readonly Failure[]): { rule: Rule; link: Failure } => {
  const first = links[0] as Failure;
  const found = search(links, SHAPES) ?? search(links, PROGRAMMING);
  if (found !== undefined) return found;
  return { rule: TERMINAL.fits(first) ? TERMINAL : OTHER, link: links.find(({ code }) => !WRAPPERS.has(code)) ?? innermost(links) };
};

const search = (links: readonly Failure[], rules: readonly Rule[]): { rule: Rule; link: Failure } | undefined => {
  for (const link of links) {
    const rule = rules.find(({ fits }) => fits(link));
    if (rule !== undefined) return { rule, link };
  }
  return undefined;
};

/** The failure and its causes. A wrapper around one is left out: it repeats its name and message, without its code and facts. */
const chainOf = (failure: Failure): Failure[] => {
  const links: Failure[] = [];
  for (let at = linkOf(failure); at !== undefined && links.length < MOST_LINKS; at = linkOf(at.cause)) {
    const repeats = at.code === "FUNCTION_FAILED" && at.message === linkOf(at.cause)?.message;
    if (!repeats) links.push(at);
  }
  return links;
};

// A pod's failure is JSON of which only code and message were checked: what else has the wrong type is no shape of anything.
const linkOf = (value: Failure | undefined): Failure | undefined => {
  if (typeof value !== "object" || value === null || typeof value.code !== "string" || typeof value.message !== "string") return undefined;
  const { name, facts, ...link } = value;
  if (typeof name === "string") Object.assign(link, { name });
  if (typeof facts === "object" && facts !== null) Object.assign(link, { facts });
  return link;
};

const innermost = (links: readonly Failure[]): Failure => links.at(-1) as Failure;

const evidenceOf = (
  { failure, metrics, lines, timeoutMs, memoryMb }: Execution,
  link: Failure,
  root: Failure,
  fault: FaultClass,
): string[] => {
  const evidence = [describe(link)];
  if (failure.message !== link.message) evidence.push(`thrown: ${short(failure.message)}`);
  if (root.message !== link.message && root.message !== failure.message) evidence.push(`caused by: ${short(root.message)}`);
  evidence.push(...telling(outputOf(failure)).map((line) => `pod: ${short(line)}`));
  if (metrics !== undefined && memoryMb !== undefined && metrics.memoryMb >= NEAR * memoryMb)
    evidence.push(`memory: ${Math.round(metrics.memoryMb)} MiB at its peak, memoryMb is ${memoryMb}`);
  if (fault === "timeout" && timeoutMs !== undefined) {
    const took = metrics === undefined ? "" : `${Math.round(metrics.durationMs)} of `;
    evidence.push(`time: ${took}${timeoutMs} ms`);
  }
  const errors = lines.filter(({ level }) => level === "error").slice(-MOST_LINES);
  return [...evidence, ...errors.map(({ text }) => `log: ${short(text)}`)];
};

/** What is worth reading of a pod's last words: V8 ends them with a native stack. */
const telling = (output: string): string[] => {
  const lines = output.split("\n").filter((line) => /\w/.test(line) && !/^\s*(\d+: 0x|at |-{5})/.test(line));
  const grave = lines.filter((line) => /fatal|error|memory/i.test(line));
  return (grave.length > 0 ? grave : lines).slice(-2);
};

/** `NoSuchBucket: The specified bucket does not exist (HTTP 404)`. */
const describe = (link: Failure): string => {
  const { code, name, message, facts } = link;
  const label = WRAPPERS.has(code) ? (name ?? "Error") : code;
  const told: string[] = [];
  const status = statusOf(link);
  if (status !== undefined) told.push(`HTTP ${status}`);
  const state = sqlStateOf(link);
  if (state !== undefined && state !== code) told.push(`SQL state ${state}`);
  const call = [facts?.syscall, facts?.address ?? facts?.hostname].filter((part) => typeof part === "string").join(" ");
  if (call !== "") told.push(typeof facts?.port === "number" ? `${call}:${facts.port}` : call);
  if (name !== undefined && name !== label && name !== "Error" && name !== "LockstepError") told.push(name);
  return `${short(label)}: ${short(message)}${told.length === 0 ? "" : ` (${short(told.join(", "))})`}`;
};

const short = (text: string): string => {
  const line = withoutCredentials(text.slice(0, 4 * TEXT_LIMIT))
    .replace(/\s+/g, " ")
    .trim();
  return line.length <= TEXT_LIMIT ? line : `${line.slice(0, TEXT_LIMIT - 1)}…`;
};
