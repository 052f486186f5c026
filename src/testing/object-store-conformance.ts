/**
 * What every object store must do, as tests. Run it on an adapter of your own:
 *
 *     objectStoreConformance("my store", { test, open: () => openMine(), crash: (old) => openMineAgain(old), close: (store) => … });
 */
import { bodyCases } from "./object-store-cases-bodies.ts";
import { changeCases } from "./object-store-cases-changes.ts";
import { listCases } from "./object-store-cases-lists.ts";
import type { OpenStore } from "./object-store-fixtures.ts";

export interface ObjectStoreSubject {
  /** Registers a test: `test` of Vitest, of `node:test` or of anything like them. */
  test: (name: string, body: () => Promise<void>) => unknown;
  /** Opens and starts a store with the empty buckets `orders` and `other`, which shares nothing with those opened before. */
  open(): Promise<OpenStore>;
  /** Kills the store without a warning, and opens and starts the next one on what is left. */
  crash(old: OpenStore): Promise<OpenStore>;
  close(store: OpenStore): Promise<void>;
}

/** Registers the suite's tests under `name`. */
export const objectStoreConformance = (name: string, subject: ObjectStoreSubject): void => {
  const cases = { ...bodyCases, ...listCases, ...changeCases };
  for (const [sentence, body] of Object.entries(cases)) {
    subject.test(`${name}: ${sentence}`, async () => {
      let now = await subject.open();
      try {
        await body({
          get store() {
            return now.store;
          },
          events: () => now.events(),
          crash: async () => {
            now = await subject.crash(now);
          },
        });
      } finally {
        await subject.close(now);
      }
    });
  }
};
