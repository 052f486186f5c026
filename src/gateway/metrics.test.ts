import { expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";

const LAYER = 'application="shop",function="pay",version="0123456789abcdef"';

test("the metrics show counters, layers, pods and the process in the text format of Prometheus", async () => {
  const { call } = await open();
  const answer = await call("/metrics");
  expect(answer.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
  const lines = answer.text.split("\n");
  for (const line of [
    "# TYPE lockstep_runs_accepted_total counter",
    "lockstep_runs_accepted_total 11",
    'lockstep_runs_finished_total{status="completed"} 5',
    'lockstep_runs_finished_total{status="failed"} 2',
    'lockstep_runs_finished_total{status="cancelled"} 1',
    "lockstep_runs_live 3",
    "lockstep_calls_completed_total 40",
    "lockstep_calls_failed_total 4",
    "lockstep_calls_retried_total 6",
    "lockstep_journal_commits_total 90",
    "lockstep_journal_records_total 400",
    "lockstep_audit_repairs_total 0",
    "lockstep_admission_refused_total 7",
    "lockstep_pods_started_total 3",
    "lockstep_pods_lost_total 1",
    'lockstep_cold_starts_total{application="shop",function="pay"} 2',
    'lockstep_cold_start_seconds_total{application="shop",function="pay"} 0.015',
    `lockstep_layer_waiting{${LAYER}} 3`,
    `lockstep_layer_delayed{${LAYER}} 1`,
    `lockstep_layer_running{${LAYER}} 2`,
    `lockstep_layer_dead{${LAYER}} 1`,
    `lockstep_layer_pods{${LAYER}} 2`,
    `lockstep_layer_oldest_waiting_seconds{${LAYER}} 1.5`,
    `lockstep_layer_calls_total{${LAYER},outcome="completed"} 40`,
    `lockstep_layer_calls_total{${LAYER},outcome="failed"} 4`,
    'lockstep_pods{role="pay",state="ready"} 2',
    'lockstep_pods{role="warm",state="ready"} 1',
    'lockstep_pod_slots{role="pay"} 16',
    'lockstep_pod_calls_in_flight{role="pay"} 3',
    "lockstep_event_streams 0",
  ]) {
    expect(lines).toContain(line);
  }
  expect(answer.text).toMatch(/^process_resident_memory_bytes \d+$/m);
  expect(answer.text).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
});

test("each scrape shows the figures of its moment, and nothing of what no longer exists", async () => {
  const { call, plane } = await open();
  await call("/metrics");
  const counters = { ...plane.counters(), runsAccepted: 12 };
  plane.counters = () => counters;
  plane.layers = () => [];
  const { text } = await call("/metrics");
  expect(text).toContain("\nlockstep_runs_accepted_total 12\n");
  expect(text).not.toContain("lockstep_layer_waiting{");
});

test("every line is of the text format", async () => {
  const { call } = await open();
  const { text } = await call("/metrics");
  const sample = /^[a-z_:][a-z0-9_:]*(\{([a-z_]+="[^"\n]*",?)*\})? (-?[0-9.e+-]+|NaN|\+Inf)( \d+)?$/i;
  for (const line of text.split("\n")) if (line !== "" && !line.startsWith("#")) expect(line).toMatch(sample);
});
