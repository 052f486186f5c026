/**
 * What every adapter of the journal must do, as tests. Run it on an adapter of your own:
 *
 *     journalConformance("my journal", { test, open: () => openMine(), reopen: (old) => openMineAgain(old) });
 */
import type { Journal } from "../journal/port.ts";
import { commitCases } from "./journal-cases-commit.ts";
import { logCases } from "./journal-cases-logs.ts";
import { ownershipCases } from "./journal-cases-ownership.ts";
import { proofCases } from "./journal-cases-proofs.ts";
import { queryCases } from "./journal-cases-query.ts";
import { stateCases } from "./journal-cases-state.ts";
import { upkeepCases } from "./journal-cases-upkeep.ts";

export interface JournalSubject {
  /** Registers a test: `test` of Vitest, of `node:test` or of anything like them. */
  test: (name: string, body: () => Promise<void>) => unknown;
  /** Opens a journal that is empty and shares nothing with those opened before. */
  open(): Promise<Journal>;
  /** What `old` holds, opened by the next owner. `old` may be closed, or still open: then it is fenced, and the suite closes it later. */
  reopen(old: Journal): Promise<Journal>;
}

/** Registers the suite's tests under `name`. Journals that a test has opened are closed at its end. */
export const journalConformance = (name: string, { test, open, reopen }: JournalSubject): void => {
  const cases = { ...commitCases, ...queryCases, ...upkeepCases, ...stateCases, ...logCases, ...proofCases, ...ownershipCases };
  for (const [sentence, body] of Object.entries(cases)) {
    test(`${name}: ${sentence}`, async () => {
      const opened: Journal[] = [];
      const tracked = async (journal: Promise<Journal>): Promise<Journal> => {
        opened.push(await journal);
        return journal;
      };
      try {
        await body({ open: () => tracked(open()), reopen: (old) => tracked(reopen(old)) });
      } finally {
        for (const journal of opened) await journal.close();
      }
    });
  }
};
