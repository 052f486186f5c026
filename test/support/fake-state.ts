import { LockstepError } from "../../src/lib/errors.ts";
import type { StatePlane } from "../../src/protocol/control-plane.ts";
import type { StateEntry, StateWrite } from "../../src/protocol/state.ts";

/** A state store in a map, whose keys are stale when the test says so. */
export class FakeState implements StatePlane {
  readonly entries = new Map<string, StateEntry & { application: string }>();
  #version = 0;

  async get(application: string, key: string): Promise<StateEntry> {
    const { application: _, ...entry } = this.entries.get(`${application} ${key}`) ?? { application, key, value: "", version: 0 };
    return entry;
  }

  async list(application: string, prefix: string, limit: number, after = ""): Promise<StateEntry[]> {
    return [...this.entries.values()]
      .filter((entry) => entry.application === application && entry.key.startsWith(prefix) && entry.key > after)
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, limit)
      .map(({ application: _, ...entry }) => entry);
  }

  async write(application: string, { key, value, ifVersion, refresh }: StateWrite): Promise<StateEntry> {
    const { stale: _, ...before } = await this.get(application, key);
    if (ifVersion !== undefined && ifVersion !== before.version) {
      throw new LockstepError("STATE_CONFLICT", `${key} has version ${before.version}, not ${ifVersion}`);
    }
    const version = value === undefined && refresh !== true ? 0 : ++this.#version;
    const after = { ...before, value: refresh === true ? before.value : (value ?? ""), version };
    if (version === 0) this.entries.delete(`${application} ${key}`);
    else this.entries.set(`${application} ${key}`, { application, ...after });
    return after;
  }

  async stale(application?: string): Promise<(StateEntry & { application: string })[]> {
    return [...this.entries.values()].filter(
      (entry) => entry.stale !== undefined && (application === undefined || entry.application === application),
    );
  }
}
