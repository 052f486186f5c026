import type { ClusterPodView, PodWatchEvent, ServiceSpec, ServiceView, ServiceWatchEvent } from "../protocol/cluster.ts";
import type { Connection } from "./events.ts";
import { followStream } from "./events.ts";

export interface WatchOptions {
  /** The position of the last change that is known: what has changed since follows. Default: all that there is, and then what changes. */
  after?: number;
  /** Ends the iteration. */
  signal?: AbortSignal;
}

/** Services, which are stable names in front of functions' pods, and pods. */
export interface ClientCluster {
  services(): Promise<ServiceView[]>;
  /** @throws {ClientError} UNKNOWN_SERVICE */
  service(name: string): Promise<ServiceView>;
  /** In place of its function's default service, or for one version beside it. @throws {ClientError} SERVICE_EXISTS */
  createService(spec: ServiceSpec): Promise<ServiceView>;
  /** Creates or replaces. @throws {ClientError} PRECONDITION_FAILED when the spec has another resource version than `ifVersion` (0: there is none) */
  putService(spec: ServiceSpec, options?: { ifVersion?: number }): Promise<ServiceView>;
  /** The function has its default service again. */
  deleteService(name: string, options?: { ifVersion?: number }): Promise<void>;
  /**
   * All services, and each change of one. A lost connection is taken up again. `reset` comes first, and again when too much was missed, as after
   * a restart of the platform: forget what you know, all that there is follows.
   */
  watchServices(options?: WatchOptions): AsyncGenerator<ServiceWatchEvent, void, undefined>;
  pods(): Promise<ClusterPodView[]>;
  /** All pods, and each change of one, but for how many calls it executes; as `watchServices`. */
  watchPods(options?: WatchOptions): AsyncGenerator<PodWatchEvent, void, undefined>;
  pod(id: string): Promise<ClusterPodView>;
  /** One pod more for a service, until its policy decides otherwise. */
  createPod(service: string): Promise<ClusterPodView>;
  /** Ends a pod when it has finished what it executes, after `graceMs` (default 30,000) at the latest. */
  deletePod(id: string, options?: { graceMs?: number }): Promise<void>;
}

const SERVICES = "/v1/cluster/services";
const PODS = "/v1/cluster/pods";

export const createCluster = (connection: Connection): ClientCluster => {
  const { http } = connection;
  const watch = <Event extends { position: number }>(path: string, options: WatchOptions = {}) =>
    followStream<Event>(connection, path, { watch: true }, options);
  return {
    services: async () => (await http.json<{ services: ServiceView[] }>("GET", SERVICES)).services,
    service: (name) => http.json("GET", pathOf(SERVICES, name)),
    createService: (spec) => http.json("POST", SERVICES, { body: spec }),
    putService: ({ name, ...spec }, { ifVersion } = {}) =>
      // A write with a condition that has arrived would be refused the second time.
      http.json("PUT", pathOf(SERVICES, name), { body: spec, query: { ifVersion }, repeatable: ifVersion === undefined }),
    deleteService: async (name, { ifVersion } = {}) => {
      await http.json("DELETE", pathOf(SERVICES, name), { query: { ifVersion } });
    },
    watchServices: (options) => watch<ServiceWatchEvent>(SERVICES, options),
    watchPods: (options) => watch<PodWatchEvent>(PODS, options),
    pods: async () => (await http.json<{ pods: ClusterPodView[] }>("GET", PODS)).pods,
    pod: (id) => http.json("GET", pathOf(PODS, id)),
    createPod: (service) => http.json("POST", PODS, { body: { service } }),
    deletePod: async (id, { graceMs } = {}) => {
      const query = { grace: graceMs === undefined ? undefined : `${Math.round(graceMs)}ms` };
      await http.json("DELETE", pathOf(PODS, id), { query });
    },
  };
};

const pathOf = (base: string, name: string): string => `${base}/${encodeURIComponent(name)}`;
