/** The platform's figures in the text format of Prometheus. */
import type { Counter, Gauge, Registry } from "prom-client";
import type { ColdStarts, ControlPlane, Counters, LayerView, PodView } from "../protocol/control-plane.ts";

type Prometheus = typeof import("prom-client");

export interface Metrics {
  contentType: string;
  text(): Promise<string>;
}

/** @param gauges further gauges by name, read at each scrape */
export const createMetrics = async (
  plane: ControlPlane,
  gauges: Record<string, { help: string; read: () => number }>,
): Promise<Metrics> => {
  // Loaded at the first scrape: it takes tens of milliseconds that a start of the platform can do without.
  const { default: prometheus } = (await import("prom-client")) as unknown as { default: Prometheus };
  const registry = new prometheus.Registry();
  prometheus.collectDefaultMetrics({ register: registry });
  addCounters(prometheus, registry, plane);
  addLayers(prometheus, registry, plane);
  addPods(prometheus, registry, plane);
  for (const [name, { help, read }] of Object.entries(gauges)) addGauge(prometheus, registry, name, help, [], (gauge) => gauge.set(read()));
  return { contentType: registry.contentType, text: () => registry.metrics() };
};

const COUNTERS: [name: string, help: string, read: (counters: Counters) => number][] = [
  ["runs_accepted", "Runs accepted.", (c) => c.runsAccepted],
  ["calls_completed", "Calls with a committed result.", (c) => c.callsCompleted],
  ["calls_failed", "Calls that failed for good.", (c) => c.callsFailed],
  ["calls_retried", "Attempts that failed and were tried again.", (c) => c.callsRetried],
  ["journal_commits", "Commits of the journal.", (c) => c.commits],
  ["journal_records", "Records written to the journal.", (c) => c.records],
  ["audit_repairs", "Runs without a next wake-up that the auditor has repaired; must stay 0.", (c) => c.auditRepairs],
  ["admission_refused", "Starts refused because too much work was waiting.", (c) => c.admissionRefused],
  ["pods_started", "Pods started.", (c) => c.podsStarted],
  ["pods_lost", "Pods that died or hung.", (c) => c.podsLost],
];

const addCounters = (prometheus: Prometheus, registry: Registry, plane: ControlPlane): void => {
  for (const [name, help, read] of COUNTERS) {
    addCounter(prometheus, registry, `lockstep_${name}_total`, help, [], (counter) => counter.inc(read(plane.counters())));
  }
  addCounter(prometheus, registry, "lockstep_runs_finished_total", "Runs finished, by how they ended.", ["status"], (counter) => {
    for (const [status, value] of Object.entries(plane.counters().runsFinished)) counter.inc({ status }, value);
  });
  addColdStarts(prometheus, registry, plane);
  addGauge(prometheus, registry, "lockstep_runs_live", "Unfinished runs in memory.", [], (gauge) => gauge.set(plane.counters().runsLive));
};

const addColdStarts = (prometheus: Prometheus, registry: Registry, plane: ControlPlane): void => {
  const add = (name: string, help: string, read: (one: ColdStarts) => number): void =>
    addCounter(prometheus, registry, name, help, ["application", "function"], (counter) => {
      for (const one of plane.counters().coldStarts) counter.inc({ application: one.application, function: one.function }, read(one));
    });
  add("lockstep_cold_starts_total", "Pods that had to load a function's code before they could work.", (one) => one.count);
  const help = "Time from the moment at which such a pod was asked for until it had loaded.";
  add("lockstep_cold_start_seconds_total", help, (one) => one.totalMs / 1_000);
};

const OF_LAYER = ["application", "function", "version"];
const labelsOf = (layer: LayerView) => ({ application: layer.application, function: layer.function, version: layer.version });

const LAYER_GAUGES: [name: string, help: string, read: (layer: LayerView) => number][] = [
  ["waiting", "Calls that wait for a pod.", (layer) => layer.waiting],
  ["delayed", "Calls that wait for their next attempt.", (layer) => layer.delayed],
  ["running", "Calls in pods.", (layer) => layer.running],
  ["dead", "Dead letters.", (layer) => layer.dead],
  ["pods", "Pods of the function.", (layer) => layer.pods],
  ["oldest_waiting_seconds", "Age of the call that has waited longest.", (layer) => layer.oldestWaitingMs / 1_000],
];

const addLayers = (prometheus: Prometheus, registry: Registry, plane: ControlPlane): void => {
  for (const [name, help, read] of LAYER_GAUGES) {
    addGauge(prometheus, registry, `lockstep_layer_${name}`, help, OF_LAYER, (gauge) => {
      for (const layer of plane.layers()) gauge.set(labelsOf(layer), read(layer));
    });
  }
  addCounter(
    prometheus,
    registry,
    "lockstep_layer_calls_total",
    "Calls ended, by function and outcome.",
    [...OF_LAYER, "outcome"],
    (counter) => {
      for (const layer of plane.layers()) {
        counter.inc({ ...labelsOf(layer), outcome: "completed" }, layer.completed);
        counter.inc({ ...labelsOf(layer), outcome: "failed" }, layer.failed);
      }
    },
  );
};

const addPods = (prometheus: Prometheus, registry: Registry, plane: ControlPlane): void => {
  const sum = (name: string, help: string, labels: (keyof PodView)[], read: (pod: PodView) => number): void => {
    addGauge(prometheus, registry, name, help, labels, (gauge) => {
      for (const pod of plane.pods()) gauge.inc(Object.fromEntries(labels.map((label) => [label, String(pod[label])])), read(pod));
    });
  };
  sum("lockstep_pods", "Pods, by what they execute and their state.", ["role", "state"], () => 1);
  sum("lockstep_pod_slots", "Calls that pods may execute at the same time.", ["role"], (pod) => pod.slots);
  sum("lockstep_pod_calls_in_flight", "Calls that pods execute.", ["role"], (pod) => pod.inFlight);
};

// Both kinds are filled anew at each scrape, so that what no longer exists is no longer shown.
const addGauge = (
  { Gauge }: Prometheus,
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  fill: (gauge: Gauge) => void,
): void => {
  new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      fill(this);
    },
  });
};

const addCounter = (
  { Counter }: Prometheus,
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  fill: (counter: Counter) => void,
): void => {
  new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      fill(this);
    },
  });
};
