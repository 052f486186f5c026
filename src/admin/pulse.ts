import { closeSync, futimesSync, openSync, statSync } from "node:fs";

/** What tells a later life when this one was alive last. */
export interface Pulse {
  /** When the last life beat last: Unix ms; `undefined` when there was none. */
  readonly last: number | undefined;
  beat(at: number): void;
  close(): void;
}

/**
 * A pulse that is the time of a file: a beat costs no commit, and an idle platform writes nothing into its journal. It outlives `kill -9`;
 * after a power cut it may be some seconds old.
 */
export const filePulse = (path: string): Pulse => {
  const last = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  const file = openSync(path, "a", 0o600);
  return {
    last: last === undefined ? undefined : Math.round(last),
    beat(at) {
      futimesSync(file, at / 1_000, at / 1_000);
    },
    close: () => closeSync(file),
  };
};
