/**
 * What replicas say that calls have logged, until the calls end.
 *
 * Owns: whose lines are a call's, and how much is held of each replica's. Does not own: calls, what lines mean.
 */
import type { ReplicaIndex } from "../consensus/membership.ts";
import { MAX_LINES } from "../protocol/replica-shapes.ts";
import type { LogLine } from "../protocol/run.ts";

/** A replica bounds a log itself, and then says that it has. */
const LOG_ROOM = 2;
/** Beside its texts, what a line takes. */
const LINE_CHARACTERS = 64;
/** Of one replica's lines, of all calls. */
const MOST_HELD_CHARACTERS = 67_108_864;

export interface CallLog {
  lines: LogLine[];
  /** Characters of the texts. */
  size: number;
  /** The seat whose lines these are: each replica has logged them. */
  from: ReplicaIndex | undefined;
}

export const newLog = (): CallLog => ({ lines: [], size: 0, from: undefined });

export class CallLogs {
  readonly #mostOfCall: number;
  readonly #mostHeld: number;
  /** Characters, by replica. */
  readonly #held: number[] = [];

  /** @param maxLogBytes what a correct replica tells of one call's log at the most */
  constructor(maxLogBytes: number, mostHeld = MOST_HELD_CHARACTERS) {
    this.#mostOfCall = LOG_ROOM * maxLogBytes;
    this.#mostHeld = mostHeld;
  }

  /** Of the first replica that tells any. One that lies must not fill this process's memory while calls wait, neither with one log nor with all. */
  take(log: CallLog, from: ReplicaIndex, lines: readonly LogLine[]): void {
    if (log.from !== undefined && log.from !== from) return;
    for (const line of lines) {
      const held = heldOf(line);
      if (log.size > this.#mostOfCall || log.lines.length >= MAX_LINES || this.of(from) + held > this.#mostHeld) return;
      log.from = from;
      log.size += line.text.length + 1;
      log.lines.push(line);
      this.#held[from] = this.of(from) + held;
    }
  }

  /** The call has ended, or nobody waits for it. @returns its lines */
  end(log: CallLog): LogLine[] {
    const { lines, from } = log;
    if (from !== undefined) this.#held[from] = lines.reduce((held, line) => held - heldOf(line), this.of(from));
    Object.assign(log, newLog());
    return lines;
  }

  /** Characters that are held of a replica's lines. */
  of(replica: ReplicaIndex): number {
    return this.#held[replica] ?? 0;
  }
}

const heldOf = ({ text, level }: LogLine): number => LINE_CHARACTERS + text.length + level.length;
