/** What recovery and people have decided of a run, and what waits for a decision, read from its journal. */
import type { ClientStateEntry, JournalEntry, RunDetails } from "../client/index.ts";
import type { Failure } from "../lib/errors.ts";
import type { Decision } from "../protocol/recovery.ts";
import type { Staleness, StateOp } from "../protocol/state.ts";
import type { Style } from "./style.ts";
import { duration, oneLine } from "./text.ts";

/** A run with its journal, and the state keys that it has left stale. */
export interface RunStory {
  run: RunDetails;
  journal: readonly JournalEntry[];
  stale: readonly ClientStateEntry[];
}

/** A decision as HTTP gives it: its values are JSON already. */
type Told<T> = T extends unknown ? Omit<T, "value" | "input"> & { value?: unknown; input?: unknown } : never;

interface Open {
  call: number;
  failure: Failure;
}

/** Dead letters and halts that nobody has decided of yet. */
const openDecisions = (journal: readonly JournalEntry[]): Open[] => {
  const open = new Map<number, Open>();
  for (const { t, seq = 0, failure } of journal) {
    if (t === "suspend") open.set(seq, { call: seq, failure: failure as Failure });
    else if (t === "done" || t === "recovered") open.delete(seq);
    else if (t === "resume" || t === "cancel" || t === "finish") open.clear();
  }
  return [...open.values()];
};

const functionsOf = (journal: readonly JournalEntry[]): Map<number, string> =>
  new Map(journal.flatMap(({ t, seq, fn }) => (t === "call" && seq !== undefined ? [[seq, String(fn)] as const] : [])));

const subjectOf = (seq: number, functions: ReadonlyMap<number, string>, run: RunDetails): string => {
  if (seq === 0) return `${run.kind} ${oneLine(run.name, 60)}`;
  const of = `call ${Math.abs(seq)} of ${functions.get(Math.abs(seq)) ?? "?"}`;
  return seq < 0 ? `compensation of ${of}` : of;
};

/** What people should know of a run that failed somewhere: sections in order, none for most runs. */
export const recoveryText = ({ run, journal, stale }: RunStory, style: Style): string => {
  const functions = functionsOf(journal);
  const subject = (seq: number): string => subjectOf(seq, functions, run);
  const section = (title: string, lines: readonly string[]): string =>
    lines.length === 0 ? "" : `${style.bold(title)}\n${lines.map((line) => `  ${line}\n`).join("")}`;
  return [
    section("to decide", run.status === "suspended" ? decisionLines(run, journal, subject, style) : []),
    section("recoveries", recoveryLines(journal, subject, style)),
    section("compensated", compensationLines(journal, subject, style)),
    section("left stale", staleLines(stale, style)),
    section("has read what is stale now", staleLines(readLines(journal), style)),
  ].join("");
};

const decisionLines = (run: RunDetails, journal: readonly JournalEntry[], subject: (seq: number) => string, style: Style): string[] => {
  const open = openDecisions(journal);
  return open.flatMap(({ call, failure }) => {
    const which = open.length > 1 ? ` --call ${call}` : "";
    return [
      `${subject(call)}  ${style.red(failure.code)}: ${oneLine(failure.message, 160)}`,
      `  ${style.cyan(`lockstep runs resolve ${run.id}${which} --retry | --with <json> | --fail [reason]`)}`,
    ];
  });
};

const recoveryLines = (journal: readonly JournalEntry[], subject: (seq: number) => string, style: Style): string[] => {
  const lines: string[] = [];
  const begun = new Map<number, JournalEntry>();
  for (const entry of journal) {
    const { t, seq = 0 } = entry;
    if (t === "recover") begun.set(seq, entry);
    // A recovery that has failed left no decision.
    if ((t === "recover" && begun.get(seq) !== entry) || t === "suspend") begun.delete(seq);
    if (t !== "recovered") continue;
    const recovery = begun.get(seq);
    begun.delete(seq);
    const who = typeof entry.by === "string" ? `by ${oneLine(entry.by, 40)}` : `by ${recovery?.recovery ?? "its recovery"}`;
    const took = typeof entry.since === "number" && entry.by === undefined ? style.dim(` after ${duration(entry.at - entry.since)}`) : "";
    lines.push(`${subject(seq)}  ${style.cyan(decisionText(entry.decision as Told<Decision>))} ${who}${took}`);
  }
  for (const [seq, { recovery }] of begun) lines.push(`${subject(seq)}  ${style.yellow("under way")} in ${recovery}`);
  return lines;
};

const compensationLines = (journal: readonly JournalEntry[], subject: (seq: number) => string, style: Style): string[] => {
  const ends = new Map(journal.flatMap((entry) => (entry.t === "done" && (entry.seq ?? 0) < 0 ? [[entry.seq, entry] as const] : [])));
  return journal.flatMap(({ t, seq = 0 }) => {
    if (t !== "undo") return [];
    const end = ends.get(seq);
    const how = end === undefined ? style.yellow("not ended") : end.failure === undefined ? style.green("done") : style.red("failed");
    return [`${subject(-seq)}  ${how}`];
  });
};

type Stale = Pick<ClientStateEntry, "key" | "stale">;

const readLines = (journal: readonly JournalEntry[]): Stale[] => {
  const told = journal.flatMap(({ t, key, stale }) => (t === "stale" ? [[String(key), stale as Staleness] as const] : []));
  return [...new Map(told)].map(([key, stale]) => ({ key, stale }));
};

const staleLines = (entries: readonly Stale[], style: Style): string[] =>
  entries.flatMap(({ key, stale }) => (stale === undefined ? [] : [`${style.bold(oneLine(key, 100))}  ${staleText(stale, style)}`]));

const staleText = ({ function: fn, run, call, fault, message }: Staleness, style: Style): string =>
  `${style.red(fault)} in ${fn}${call === 0 ? "" : `, call ${call}`} of ${run}: ${oneLine(message, 100)}`;

export const decisionText = (decision: Told<Decision>): string => {
  const value = (given: unknown): string => (given === undefined ? "" : ` ${oneLine(JSON.stringify(given), 80)}`);
  switch (decision.t) {
    case "retry": {
      const { afterMs, input } = decision;
      const pause = afterMs === undefined || afterMs === 0 ? "" : ` in ${duration(afterMs)}`;
      return `retry${pause}${input === undefined ? "" : ` with${value(input)}`}`;
    }
    case "resume":
      return `resume with${value(decision.value) || " nothing"}`;
    case "fail":
      return `fail: ${oneLine(decision.failure.message, 100)}`;
    case "escalate":
      return `escalate: ${oneLine(decision.message, 100)}`;
    default:
      return decision.t;
  }
};

/** The line of a record of recovery, compensation, state or progress; `undefined` for any other. */
export const storyText = (entry: JournalEntry, style: Style): string | undefined => {
  const by = typeof entry.by === "string" ? ` by ${oneLine(entry.by, 40)}` : "";
  switch (entry.t) {
    case "restarted":
      return `of ${entry.of}${entry.from === undefined ? "" : `, from call ${entry.from}`}`;
    case "undo":
      return `compensates call ${-(entry.seq ?? 0)}`;
    case "recover":
      return `${lastAttempt(entry)}${style.red((entry.failure as Failure).code)}, left to ${entry.recovery}`;
    case "recovered":
      return `${style.cyan(decisionText(entry.decision as Told<Decision>))}${by}`;
    case "reopen":
      return "pending again";
    case "state":
      return operationText(entry.op as StateOp);
    case "stale":
      return `${entry.key}  ${staleText(entry.stale as Staleness, style)}`;
    default:
      return undefined;
  }
};

/** The attempt after which a call was left to its recovery has no record of its own. */
const lastAttempt = ({ seq = 0, attempt }: JournalEntry): string => (seq > 0 && attempt !== undefined ? `attempt ${attempt} failed ` : "");

const operationText = (op: Told<StateOp>): string => {
  if (op.op === "list") return `list ${op.prefix}`;
  if (op.op === "get") return `get ${op.key}`;
  if (op.refresh === true) return `refresh ${op.key}`;
  return op.value === undefined ? `delete ${op.key}` : `set ${op.key} ${oneLine(JSON.stringify(op.value), 80)}`;
};
