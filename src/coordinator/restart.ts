/**
 * What a new run takes over from an older one that it repeats from a command on.
 *
 * Owns: which records of a journal are such a prefix. Does not own: the new run's id, version, acceptance or execution.
 *
 * S1  Every command before `from` is in the prefix with the outcome that the old run had for it, also when that came later than the command
 *     `from` was given: what was done is not done again.
 * S2  What another run owns is not taken over: where a child's outcome is missing, the prefix ends before that child.
 * S3  A call whose effects were undone later is not taken over, nor is what came after it.
 * S4  The machine accepts the prefix, and code that made these commands makes them again: no command below the last one is missing but steps,
 *     which are in journals only once they have ended.
 */
import type { RunId } from "../lib/ids.ts";
import type { JournalRecord } from "../protocol/run.ts";
import type { Driver } from "./direct.ts";

export interface Cut {
  /** Empty when nothing is taken over. */
  records: JournalRecord[];
  /** The command from which the new run goes on by itself: at most the one that was asked for. */
  from: number;
  /** Commands whose outcomes are taken over. */
  reused: number;
}

export interface Restarted {
  /** The run that is repeated. */
  run: RunId;
  acceptedAt: number;
}

type Done = JournalRecord & { t: "done" };
type Command = Extract<
  JournalRecord,
  { t: "call" | "sleep" | "signal" | "step" | "child" | "withdraw" | "state" | "compensate" | "on-stale" }
>;

const COMMANDS = new Set<JournalRecord["t"]>(["call", "sleep", "signal", "step", "child", "withdraw", "state", "compensate", "on-stale"]);

const isCommand = (record: JournalRecord): record is Command => COMMANDS.has(record.t);

/** A journal, and where it may be cut. */
interface Place {
  readonly journal: readonly JournalRecord[];
  /** Commands before this one are taken over. */
  readonly from: number;
  /** What comes before this index had happened when command `from` was made. */
  readonly end: number;
  /** Where the last outcome of each command is. */
  readonly outcomes: ReadonlyMap<number, number>;
}

/**
 * Cuts a journal before command `from`.
 * @param versionOf the version on which a call of this function that has no outcome yet is executed; `undefined` leaves it as it is
 * @returns `undefined` when there is no such command
 */
export const cutBefore = (
  journal: readonly JournalRecord[],
  from: number,
  versionOf: (fn: string) => string | undefined = () => undefined,
): Cut | undefined => {
  if (!journal.some((record) => isCommand(record) && record.seq === from)) return undefined;
  const outcomes = outcomesOf(journal);
  let place = { journal, from, end: endOf(journal, from), outcomes };
  // Each turn moves the cut before something that can't be taken over, and what follows it may have held that together.
  for (;;) {
    const earlier = firstForeign(place);
    if (earlier === undefined) return gather(place, versionOf);
    place = { journal, from: earlier, end: endOf(journal, earlier), outcomes };
  }
};

/** Outcomes that a `reopen` has made void are none, and after a cancellation comes nothing but the end. */
const outcomesOf = (journal: readonly JournalRecord[]): Map<number, number> => {
  const outcomes = new Map<number, number>();
  for (const [index, record] of journal.entries()) {
    if (record.t === "cancel") break;
    if (record.t === "done") outcomes.set(record.seq, index);
    else if (record.t === "reopen") outcomes.delete(record.seq);
  }
  return outcomes;
};

const endOf = (journal: readonly JournalRecord[], from: number): number => {
  const end = journal.findIndex((record) => record.t === "cancel" || (isCommand(record) && record.seq >= from));
  return end < 0 ? journal.length : end;
};

/** The least command before `from` that must not be taken over. */
const firstForeign = (place: Place): number | undefined => {
  let first = place.from;
  for (const record of place.journal) {
    const seq = foreignTo(place, record);
    if (seq !== undefined && seq > 0 && seq < first) first = seq;
  }
  return first === place.from ? undefined : first;
};

/** The command which a record shows to be another run's affair. */
const foreignTo = (place: Place, record: JournalRecord): number | undefined => {
  if (record.t === "child") return isTaken(place, record.seq) ? undefined : record.seq;
  if (record.t === "compensate") return isPast(place, record.seq) ? undefined : record.seq;
  if (record.t === "undo") return isPast(place, record.seq) ? undefined : -record.seq;
  // It was failing while all before it was undone: made again, it would go on as if nothing had been.
  if (record.t === "recovered" && record.decision.t === "compensate") return isPast(place, record.seq) ? undefined : record.seq;
  return undefined;
};

/** Whether the command was done when command `from` was made. */
const isPast = ({ outcomes, end }: Place, seq: number): boolean => (outcomes.get(seq) ?? end) < end;

/** Whether there is an outcome to take over: a failure that came after the cut is one that the new run may avoid. */
const isTaken = (place: Place, seq: number): boolean => {
  const at = place.outcomes.get(seq);
  return at !== undefined && (at < place.end || (place.journal[at] as Done).failure === undefined);
};

const gather = (place: Place, versionOf: (fn: string) => string | undefined): Cut => {
  const { journal, from } = place;
  const signals = new Set(journal.flatMap((record) => (record.t === "signal" ? [record.seq] : [])));
  const records = journal.filter((record, index) => isKept(place, record, index, signals));
  if (!records.some(isCommand)) return { records: [], from, reused: 0 };
  const reused = records.filter((record) => record.t === "done" && record.seq > 0).length;
  return { records: records.map((record) => moved(place, record, versionOf)), from, reused };
};

const isKept = (place: Place, record: JournalRecord, index: number, signals: ReadonlySet<number>): boolean => {
  const { journal, from, end, outcomes } = place;
  // A step is recorded when it has ended, which may be after later commands were made. Without its outcome it must be made again.
  if (record.t === "step") return record.seq < from && isTaken(place, record.seq);
  if (isCommand(record)) return record.seq < from && index < end;
  if (record.t === "done") {
    // The compensations of what is taken over have ended before the cut, all of them.
    const isLate = index >= end && record.seq < 0;
    return record.seq < from && outcomes.get(record.seq) === index && isTaken(place, record.seq) && !isLate;
  }
  if (record.t === "stale" || record.t === "undo") return index < end;
  if (record.t !== "signalled") return false;
  // A signal that came after the cut, for a command before it, comes with it.
  const next = journal[index + 1];
  return index < end || (next?.t === "done" && signals.has(next.seq) && isKept(place, next, index + 1, signals));
};

/** Calls that have no outcome yet are executed on the new run's version. */
const moved = (place: Place, record: JournalRecord, versionOf: (fn: string) => string | undefined): JournalRecord => {
  if (record.t !== "call" || isTaken(place, record.seq)) return record;
  const version = versionOf(record.fn);
  return version === undefined || version === record.version ? record : { ...record, version };
};

/** How a driver's commands differ from those that are taken over: its own version of them may count otherwise. */
export const divergenceOf = (driver: Driver | undefined, records: readonly JournalRecord[]): string | undefined => {
  if (driver === undefined) return undefined;
  const commands = driver.start();
  for (const record of records) if (record.t === "done" && record.seq > 0) commands.push(...driver.resolve(record.seq, record));
  const made = new Map(commands.flatMap((command) => (command.t === "call" ? [[command.seq, command] as const] : [])));
  for (const record of records) {
    if (record.t !== "call") continue;
    const command = made.get(record.seq);
    if (command?.fn !== record.fn || command.input !== record.input) {
      return `call ${record.seq} of "${record.fn}" is not what the current version makes there`;
    }
  }
  return undefined;
};

/** The first record of a run that repeats another, and whose time and chance it has as far as it does the same. */
export const restartedRecord = (of: Restarted, first: JournalRecord | undefined, cut: Cut | undefined, now: number): JournalRecord => {
  const origin = first?.t === "restarted" ? (first.origin ?? of) : of;
  const record: JournalRecord = { t: "restarted", at: now, of: of.run };
  if (cut === undefined || cut.records.length === 0) return record;
  return { ...record, from: cut.from, origin: { run: origin.run, acceptedAt: origin.acceptedAt } };
};
