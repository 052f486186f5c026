import type { Journal } from "../journal/port.ts";
import type { PlatformEvent } from "../protocol/events.ts";

type Listener = (events: readonly PlatformEvent[]) => void;

/**
 * The event bus: what the turn's commits published, to whoever listens now; what came before is read from the journal.
 */
export class EventBus {
  readonly #journal: Journal;
  readonly #failed: (error: unknown) => void;
  readonly #listeners = new Set<Listener>();
  /** Position of the newest event that is on disk. */
  position: number;

  /** @param failed told when a listener throws */
  constructor(journal: Journal, failed: (error: unknown) => void) {
    this.#journal = journal;
    this.#failed = failed;
    this.position = journal.lastPosition;
  }

  readonly publish = (events: readonly PlatformEvent[]): void => {
    this.position = events.at(-1)?.position ?? this.position;
    for (const listener of this.#listeners) {
      try {
        listener(events);
      } catch (error) {
        // What is told here is on disk already: a listener that fails must not look like a commit that did.
        this.#failed(error);
      }
    }
  };

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  after(position: number, limit: number): Promise<PlatformEvent[]> {
    return this.#journal.events(position, limit);
  }
}
