/** What an adapter knows of its pods beside their connections: labels, versions, and who watches. */
import type { Labels, PodChange, PodSpec, PodStatus } from "./port.ts";

interface Row {
  labels: Labels;
  resourceVersion: number;
}

export class PodRegister {
  readonly #rows = new Map<string, Row>();
  readonly #watchers = new Set<(change: PodChange) => void>();
  #version = 0;

  add({ id, labels = {} }: PodSpec): void {
    this.#rows.set(id, { labels, resourceVersion: ++this.#version });
  }

  /** Replaces the labels. Returns whether there is such a pod. */
  label(id: string, labels: Labels): boolean {
    const row = this.#rows.get(id);
    if (row !== undefined) row.labels = labels;
    return row !== undefined;
  }

  remove(id: string): void {
    this.#rows.delete(id);
  }

  status(pod: Pick<PodStatus, "id" | "pid" | "state" | "startedAt">): PodStatus {
    const { labels, resourceVersion } = this.#rows.get(pod.id) ?? { labels: {}, resourceVersion: 0 };
    return { ...pod, labels, resourceVersion };
  }

  watch(told: (change: PodChange) => void): () => void {
    // A function of its own: the same one may watch twice.
    const watcher = (change: PodChange): void => told(change);
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** The pod has changed: it gets the next version, and those who watch are told. */
  changed(type: PodChange["type"], pod: Pick<PodStatus, "id" | "pid" | "state" | "startedAt">): void {
    const row = this.#rows.get(pod.id);
    if (row === undefined) return;
    row.resourceVersion = type === "added" ? row.resourceVersion : ++this.#version;
    for (const told of [...this.#watchers]) told({ type, pod: this.status(pod) });
  }
}

export const hasLabels = (pod: PodStatus, labels: Labels): boolean =>
  Object.entries(labels).every(([name, value]) => pod.labels[name] === value);
