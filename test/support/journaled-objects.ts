import { Turn } from "../../src/coordinator/turn.ts";
import { createMemoryJournal, type MemoryJournal } from "../../src/journal/memory.ts";
import { systemClock } from "../../src/lib/clock.ts";
import type { Bytes } from "../../src/objects/bytes.ts";
import { JournaledObjects } from "../../src/objects/journaled.ts";
import type { EventBody, PlatformEvent } from "../../src/protocol/events.ts";
import type { OpenStore } from "../../src/testing/object-store-fixtures.ts";

export interface JournaledStore extends OpenStore {
  store: JournaledObjects;
  journal: MemoryJournal;
  turn: Turn;
  /** What the store has reported. */
  reports: unknown[];
  /** The next life: this one is fenced. */
  crash(): Promise<JournaledStore>;
}

/** The embedded store on a journal in memory, with a turn of its own. */
export const openJournaled = async (bytesAt: (epoch: number) => Bytes, journal = createMemoryJournal()): Promise<JournaledStore> => {
  const reports: unknown[] = [];
  const turn = new Turn(
    journal,
    systemClock,
    () => undefined,
    (error) => reports.push(error),
  );
  let version = journal.state.lastVersion;
  const store = new JournaledObjects(bytesAt(journal.epoch), {
    rows: journal.state,
    turn,
    now: systemClock.now,
    nextVersion: () => ++version,
    report: (error) => reports.push(error),
  });
  await store.start();
  const events = async (): Promise<EventBody[]> => (await journal.events(0, 10_000)).map(bodyOf);
  return { store, journal, turn, reports, events, crash: () => openJournaled(bytesAt, journal.reopen()) };
};

const bodyOf = ({ position: _, at: __, ...body }: PlatformEvent): EventBody => body as EventBody;
