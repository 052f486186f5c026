import type { Marker } from "./replica-runner.ts";

/** A count that is odd while an operation has the thread, its batch, its position, when it began, and turns of the event loop. */
const CELLS = 5;
const [COUNT, SEQ, POSITION, SINCE, TURNS] = [0, 1, 2, 3, 4];
const TURN_MS = 50;
const SEQ_LIMIT = 2 ** 31;

/** Written by the thread that executes, read by the one that watches it: it must be readable while user code lets nothing else run. */
export const createMarks = (): SharedArrayBuffer => new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT);

/** @param elapsed ms of a clock that both threads read the same */
export const markerOf = (buffer: SharedArrayBuffer, elapsed: () => number): Marker => {
  const cells = new Int32Array(buffer);
  setInterval(() => Atomics.add(cells, TURNS, 1), TURN_MS).unref();
  return {
    begin(seq, position) {
      cells[SEQ] = seq % SEQ_LIMIT;
      cells[POSITION] = position;
      cells[SINCE] = elapsed();
      Atomics.add(cells, COUNT, 1);
    },
    end() {
      Atomics.add(cells, COUNT, 1);
    },
  };
};

/** What has the thread. `seq` is the batch's number modulo 2^31. */
export interface Busy {
  seq: number;
  position: number;
  sinceMs: number;
}

export const readMarks = (buffer: SharedArrayBuffer): { turns: number; busy: Busy | undefined } => {
  const cells = new Int32Array(buffer);
  const count = Atomics.load(cells, COUNT);
  const busy = { seq: cells[SEQ] as number, position: cells[POSITION] as number, sinceMs: cells[SINCE] as number };
  const isBusy = count % 2 !== 0 && Atomics.load(cells, COUNT) === count;
  return { turns: Atomics.load(cells, TURNS), busy: isBusy ? busy : undefined };
};

/** Whether a batch is the one that was marked. */
export const isMarked = (seq: number, busy: Busy): boolean => seq % SEQ_LIMIT === busy.seq;

/** Milliseconds since `base`, the same in all threads of a process, and not moved by whoever sets the wall clock. */
export const elapsedSince = (base: number): (() => number) => {
  const { performance } = globalThis;
  const now = performance.now.bind(performance);
  const offset = performance.timeOrigin - base;
  return () => Math.trunc(offset + now());
};
