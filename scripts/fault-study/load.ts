/** Callers that want one sum after the other, and remember when each came and whether it was right. */
import type { Client } from "lockstep/client";

export interface Answer {
  /** Unix milliseconds. */
  at: number;
  isRight: boolean;
}

export interface Load {
  readonly answers: readonly Answer[];
  /** Calls that ended with an error: what. */
  readonly errors: readonly string[];
  /** Resolves when the last call has ended. */
  stop(): Promise<void>;
}

const CALLERS = 4;
const RESULT_MS = 60_000;

export const startLoad = (client: Client, name: string, tag: string): Load => {
  const answers: Answer[] = [];
  const errors: string[] = [];
  let isOver = false;
  const call = async (caller: number): Promise<void> => {
    for (let n = 0; !isOver; n++) {
      try {
        // With a key a request that gets no answer can be sent again: nothing is called twice.
        const run = await client.startFunction<number>(name, { a: caller, b: n }, { key: `${tag}-${caller}-${n}` });
        const sum = await run.result({ timeoutMs: RESULT_MS });
        answers.push({ at: Date.now(), isRight: sum === caller + n });
      } catch (error) {
        errors.push(error instanceof Error ? error.message : String(error));
      }
    }
  };
  const callers = Array.from({ length: CALLERS }, (_, caller) => call(caller));
  return {
    answers,
    errors,
    stop: async () => {
      isOver = true;
      await Promise.all(callers);
    },
  };
};

/** Resolves once so many more answers have come. */
export const moreOf = async ({ answers }: Load, count: number): Promise<void> => {
  const enough = answers.length + count;
  while (answers.length < enough) await new Promise((resolve) => setTimeout(resolve, 5));
};
