/**
 * Which operation has the process that executes, and whether that process lives: it writes, the replica's process reads, at any time, also while
 * user code lets nothing else run, and after the process has died.
 *
 * A file without a name holds it: one write of a few bytes (about 1 µs) reaches the other process without its help.
 */
import { randomUUID } from "node:crypto";
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Marker } from "./replica-runner.ts";

/** Whether an operation has the process, its batch, its position, and when it began. Then turns of the event loop. */
const MARK = new Float64Array(4);
const TURNS = new Float64Array(1);
const TURN_MS = 50;

/** What has the process. */
export interface Busy {
  seq: number;
  position: number;
  sinceMs: number;
}

const { hrtime } = process;
const nanoseconds = hrtime.bigint.bind(hrtime);

/** A clock that all processes of a machine read the same, and that nobody sets. */
export const monotonicMs = (): number => Number(nanoseconds() / 1_000_000n);

/** @param fd of the file that the other process has made */
export const markerOf = (fd: number): Marker => {
  const write = (cells: Float64Array, at: number): void => void writeSync(fd, cells, 0, cells.byteLength, at);
  const mark = new Float64Array(MARK);
  const turns = new Float64Array(TURNS);
  setInterval(() => {
    turns[0] = (turns[0] as number) + 1;
    write(turns, MARK.byteLength);
  }, TURN_MS).unref();
  return {
    begin(seq, position) {
      mark.set([1, seq, position, monotonicMs()]);
      write(mark, 0);
    },
    end() {
      if (mark[0] === 0) return;
      mark[0] = 0;
      write(mark, 0);
    },
  };
};

/** The reader's end. */
export class Marks {
  readonly fd: number;
  readonly #cells = new Float64Array(MARK.length + TURNS.length);

  constructor() {
    const path = join(tmpdir(), `lockstep-marks-${randomUUID()}`);
    this.fd = openSync(path, "wx+", 0o600);
    unlinkSync(path);
  }

  read(): { turns: number; busy: Busy | undefined } {
    readSync(this.fd, this.#cells, 0, this.#cells.byteLength, 0);
    const [isBusy, seq, position, sinceMs, turns] = this.#cells as unknown as [number, number, number, number, number];
    return { turns, busy: isBusy === 0 ? undefined : { seq, position, sinceMs } };
  }

  close(): void {
    closeSync(this.fd);
  }
}
