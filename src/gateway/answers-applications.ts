/** What is answered of deployed applications: manifests and triggers. */
import { integer, list, number, object, runId, text, time, yes } from "./answer-shapes.ts";

const backoff = object({ "initialMs?": number, "factor?": number, "maxMs?": number, "jitter?": number });
export const retryPolicy = object({
  "attempts?": integer,
  "backoff?": backoff,
  "nonRetryable?": list(text),
  "onExhausted?": { enum: ["suspend", "fail"] },
});

const webhook = object({
  path: text,
  "method?": { enum: ["POST", "PUT", "GET"] },
  "signature?": object({ secretEnv: text, "header?": text }),
  "delivery?": text,
});
const trigger = {
  oneOf: [
    object({ object: object({ bucket: text, "prefix?": text, "suffix?": text }) }),
    object({ cron: text, "timezone?": text, "catchUp?": { enum: ["all", "latest", "none"] } }),
    object({ http: webhook }),
    object({
      event: { type: ["string", "array"], items: text },
      "where?": { type: "object", additionalProperties: { type: ["string", "number", "boolean"] } },
    }),
    object({ stale: text }),
  ],
};
const permitted = {
  "permissions?": object({ "objects?": list(text), "state?": list(text), "call?": list(text) }),
  "on?": list(trigger),
};
export const scale = object({
  "min?": integer,
  "max?": integer,
  "policy?": { enum: ["predictive", "threshold", "kpa", "hpa"] },
  "targetMs?": number,
  "coolDownMs?": number,
});
const manifest = object({
  functions: list(
    object({
      name: text,
      "timeoutMs?": number,
      "retry?": retryPolicy,
      "concurrency?": number,
      "memoryMb?": number,
      "deterministic?": yes,
      "compensates?": yes,
      "recovers?": yes,
      "writes?": list(text),
      ...permitted,
      "limits?": object({ "perSecond?": number, "key?": text }),
      "heartbeatMs?": number,
      "scale?": scale,
      "trust?": { enum: ["one", "compare", "quorum"] },
      "faults?": integer,
      "stateful?": yes,
      "stateKey?": text,
    }),
  ),
  coordinators: list(object({ name: text, "recovers?": yes, ...permitted })),
  "tables?": list(object({ name: text, "ttlMs?": number })),
  "buckets?": list(text),
  "alerts?": list(
    object({
      name: text,
      function: text,
      "durationMs?": number,
      "memoryMb?": number,
      "errorRate?": number,
      "windowMs?": number,
      "least?": integer,
    }),
  ),
});

export const applicationAnswers = {
  Application: object({ application: text, version: text, manifest, deployedAt: time, current: yes }),
  TriggerView: object({
    kind: { enum: ["coordinator", "function"], description: "Of what it starts." },
    name: text,
    application: text,
    trigger,
    "next?": { ...time, description: "When a schedule is due." },
    "last?": object({ at: time, "run?": runId }, { description: "What it started last." }),
  }),
} as const;
